"""Fused CUDA kernels and their NumPy references. Nothing here yet."""
