"""Fused CUDA kernels: sources, NumPy references, compilation and launch.

``sources/`` holds the kernels, ``catalogue`` what is known of each (``spec``), ``reference`` the
same in NumPy, ``compile`` and ``cache`` make them into code for a GPU, ``prebuilt`` holds some such
code, ``binaries`` finds the best there is, ``launch`` runs it. ``catalogue`` tells how to add one.
"""
