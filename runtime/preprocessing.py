"""Normalisation constants of the backbone's input: the one place where they stand.

Training, export and the runtime all import them from here, so that a photograph is prepared the
same way everywhere. A pixel of RGB value x in 0..255 becomes ``(x / 255 - MEAN) / STD``, per
channel. The numbers are the mean and standard deviation of ImageNet that torchvision's weights are
made for.
"""

from __future__ import annotations

from typing import Final

MEAN: Final[tuple[float, float, float]] = (0.485, 0.456, 0.406)
"""Mean of the red, green and blue channel, in units of the full range (0..1)."""

STD: Final[tuple[float, float, float]] = (0.229, 0.224, 0.225)
"""Standard deviation of the red, green and blue channel, in units of the full range (0..1)."""
