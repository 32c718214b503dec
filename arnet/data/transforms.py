"""Resize, augmentation and normalisation of a photograph together with its mask."""

from __future__ import annotations

import math

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from arnet.config import AugmentConfig
from arnet.runtime.annotations.common import IGNORE
from arnet.runtime.errors import ConfigError
from arnet.runtime.preprocessing import MEAN, STD

_FILL = [round(255 * mean) for mean in MEAN]  # becomes about 0 when normalised


def binary_mask(index_mask: np.ndarray, class_id: int, ignore: int = IGNORE) -> np.ndarray:
    """Mask of one class.

    Args:
        index_mask: (H, W) integers, class indices.
        class_id: the class that is foreground.
        ignore: index that stays ignored.

    Returns:
        uint8 of shape (H, W): 1 the class, 255 ignored, 0 all else.
    """
    mask = (index_mask == class_id).astype(np.uint8)
    mask[index_mask == ignore] = IGNORE
    return mask


def to_tensors(image: np.ndarray, mask: np.ndarray) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Wraps a photograph and its mask for the functions below.

    Args:
        image: uint8 RGB of shape (H, W, 3).
        mask: uint8 of shape (H, W).

    Returns:
        uint8 image of shape (3, H, W) and uint8 mask of shape (H, W).
    """
    channels_first = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    return tv_tensors.Image(channels_first), tv_tensors.Mask(torch.from_numpy(mask.copy()))


def resize(
    image: tv_tensors.Image, mask: tv_tensors.Mask, size: int | tuple[int, int]
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Squashes both to one size, as CANet does; the aspect ratio is not kept.

    The image is resized bilinearly with antialiasing, the mask to the nearest pixel centre.

    Args:
        image: uint8 of shape (3, H, W).
        mask: uint8 of shape (H, W).
        size: (height, width) in pixels, or the side of a square.

    Returns:
        float32 image of shape (3, height, width), 0..255, and uint8 mask of shape (height, width).
    """
    height, width = (size, size) if isinstance(size, int) else size
    # Not F.resize(mask): that takes torch's "nearest", which rounds down and so moves the mask
    # against the image by up to half a pixel of the smaller grid. Pillow's nearest is this one.
    labels = F.resize(
        mask.as_subclass(torch.Tensor)[None],
        [height, width],
        interpolation=InterpolationMode.NEAREST_EXACT,
    )
    # In floating point and not rounded: torch's way with uint8 depends on the processor, and the
    # exported model could not give the same pixels.
    return (
        tv_tensors.Image(F.resize(image.to(torch.float32), [height, width], antialias=True)),
        tv_tensors.Mask(labels[0]),
    )


def normalize(image: torch.Tensor) -> torch.Tensor:
    """What the backbone takes: ``(x / 255 - MEAN) / STD`` per channel.

    Args:
        image: RGB of shape (..., 3, H, W), 0..255.

    Returns:
        float32 of the same shape, about -2.1..2.7.
    """
    scaled = torch.as_tensor(image).to(torch.float32) / 255
    mean = torch.tensor(MEAN).view(3, 1, 1)
    return (scaled - mean) / torch.tensor(STD).view(3, 1, 1)


def augment(
    image: tv_tensors.Image,
    mask: tv_tensors.Mask,
    config: AugmentConfig,
    generator: torch.Generator,
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Flips, scales, rotates and recolours; the mask follows every move.

    What comes in from outside the photograph is 255 in the mask, so it is never trained on. A scale
    and rotation that would move a class out of the picture is not applied.

    Args:
        image: uint8 of shape (3, H, W).
        mask: uint8 of shape (H, W): 0, 1 or class indices, 255 ignore.
        config: probabilities and strengths.
        generator: the only source of chance; one seed gives one result.

    Returns:
        image and mask of the shapes and types that came in.
    """
    # All numbers are drawn whether used or not, so that changing one probability does not change
    # the draws of the others.
    chance = torch.rand(12, generator=generator, dtype=torch.float64).tolist()
    if chance[0] < config.flip:
        image, mask = F.horizontal_flip(image), F.horizontal_flip(mask)
    scale = _between(*config.scale_range, chance[2]) if chance[1] < config.scale else 1.0
    angle = config.degrees * (2 * chance[4] - 1) if chance[3] < config.rotate else 0.0
    if scale != 1 or angle != 0:
        image, mask = _move(image, mask, scale, angle, chance[5], chance[6])
    if chance[7] < config.color:
        image = _recolour(image, config, chance[8:])
    return tv_tensors.Image(image), tv_tensors.Mask(mask)


def prepare(
    image: np.ndarray,
    mask: np.ndarray,
    size: int,
    config: AugmentConfig | None = None,
    generator: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """A photograph and its mask as the model takes them.

    Args:
        image: uint8 RGB of shape (H, W, 3).
        mask: uint8 of shape (H, W): 0, 1 or class indices, 255 ignore.
        size: side of the square, in pixels.
        config: augmentation, applied at the original size; None for none.
        generator: needed with ``config``.

    Returns:
        normalised float32 image of shape (3, size, size) and uint8 mask of shape (size, size).
    """
    pixels, labels = to_tensors(image, mask)
    if config is not None:
        if generator is None:
            raise ConfigError("an augmentation needs a generator", "pass torch.Generator()")
        pixels, labels = augment(pixels, labels, config, generator)
    pixels, labels = resize(pixels, labels, size)
    return normalize(pixels), labels.as_subclass(torch.Tensor)


def _between(low: float, high: float, chance: float) -> float:
    return low + (high - low) * chance


def _move(
    image: tv_tensors.Image,
    mask: tv_tensors.Mask,
    scale: float,
    angle: float,
    chance_x: float,
    chance_y: float,
) -> tuple[tv_tensors.Image, tv_tensors.Mask]:
    """Scale and rotation in one resampling; the place of the crop or of the padding is random."""
    height, width = mask.shape[-2:]
    slack = abs(scale - 1)
    shift = [
        math.floor(slack * width * (chance_x - 0.5)),
        math.floor(slack * height * (chance_y - 0.5)),
    ]
    motion = {"angle": angle, "translate": shift, "scale": scale, "shear": [0.0, 0.0]}
    moved = F.affine(mask, **motion, interpolation=InterpolationMode.NEAREST, fill=[IGNORE])
    if not _classes_in(mask) <= _classes_in(moved):
        return image, mask
    return (
        F.affine(image, **motion, interpolation=InterpolationMode.BILINEAR, fill=_FILL),
        moved,
    )


def _classes_in(mask: torch.Tensor) -> set[int]:
    return set(mask.unique().tolist()) - {0, IGNORE}


def _recolour(
    image: tv_tensors.Image, config: AugmentConfig, chance: list[float]
) -> tv_tensors.Image:
    signed = [2 * value - 1 for value in chance]
    image = F.adjust_brightness(image, 1 + config.brightness * signed[0])
    image = F.adjust_contrast(image, 1 + config.contrast * signed[1])
    image = F.adjust_saturation(image, 1 + config.saturation * signed[2])
    return F.adjust_hue(image, config.hue * signed[3])
