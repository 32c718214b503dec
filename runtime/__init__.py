"""The torch-free side: photographs, annotations, masks and their drawing.

Nothing below this package imports torch, torchvision or onnx.
"""
