"""TensorRT plans: the graphs of a bundle, built for the GPU of this machine.

``graphs`` prepares them, ``profiles`` says what sizes they take, ``builder`` is all that talks to
TensorRT while it builds, ``inspection`` asks what was built, ``plans`` makes one set of them all.
``library`` finds TensorRT and the GPU, or says what is missing.
"""
