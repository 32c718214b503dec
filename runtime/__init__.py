"""The torch-free side: photographs, annotations, masks and their drawing.

Nothing below this package imports torch, torchvision or onnx.
"""

import os

# From 1.32 on ONNX Runtime tells its makers of its use and keeps an identifier of the device in
# ~/.cache. It reads this when it is imported; who wants it sets the variable to 0.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
