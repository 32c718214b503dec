"""Where training and evaluation get an image from: the file, or the frozen backbone's cache.

A frozen backbone says the same of an image every time, so its features can be kept on disk: one
safetensors file per image, with the plain view and some augmented ones. Training on a CPU is then
several times faster.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from arnet.config import AugmentConfig
from arnet.data.dataset import SegmentationDataset
from arnet.data.transforms import prepare
from arnet.modeling import Backbone
from arnet.runtime.errors import DataError
from arnet.runtime.files import atomic_write

PLAIN = -1
"""The seed of the view without augmentation."""

_ENDING = ".safetensors"
_LONGEST = 255
"""Bytes of a file name. A Chinese letter takes nine where it is quoted."""


class InputSource(Protocol):
    """Gives an image as the model's input and its labels."""

    features: bool
    """Whether the input is the backbone's features, or an image for the backbone."""

    def read(self, image_id: str, seed: int = PLAIN) -> tuple[Tensor, NDArray[np.uint8]]:
        """One image.

        Args:
            image_id: an id of the data set.
            seed: chooses the augmented view; ``PLAIN`` is the image as it is.

        Returns:
            The input, an image (3, S, S) or features (C, h, w), and the index mask (S, S).
        """
        ...


class ImageInput:
    """Reads and augments the photographs anew each time."""

    features = False

    def __init__(self, dataset: SegmentationDataset, size: int, augmentation: AugmentConfig):
        self.dataset = dataset
        self.size = size
        self.augmentation = augmentation

    def read(self, image_id: str, seed: int = PLAIN) -> tuple[Tensor, NDArray[np.uint8]]:
        """See ``InputSource.read``.

        Raises:
            DataError: the photograph and its mask differ in size.
        """
        # Unhidden: an episode picks its class out of the mask, and the cache serves every fold.
        image, mask = self.dataset.image(image_id), self.dataset.source.mask(image_id)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"the photograph {image_id} has {image.shape[1]}x{image.shape[0]} pixels, its mask "
                f"{mask.shape[1]}x{mask.shape[0]}",
                "a mask labels its photograph pixel by pixel: export both at one size",
            )
        if seed == PLAIN:
            inputs, labels = prepare(image, mask, self.size)
        else:
            generator = torch.Generator().manual_seed(seed)
            inputs, labels = prepare(image, mask, self.size, self.augmentation, generator)
        return inputs, labels.numpy()


class FeatureCache:
    """Features of the frozen backbone on disk, in bfloat16.

    The folder's name is a digest of all that the features depend on; other settings, other folder.
    """

    features = True

    def __init__(
        self, images: ImageInput, backbone: Backbone, folder: Path, name: str, views: int
    ) -> None:
        self.images = images
        self.backbone = backbone
        self.views = views
        key = json.dumps(
            [
                _digest(backbone),
                name,
                images.size,
                views,
                asdict(images.augmentation) if views > 1 else None,
            ],
            sort_keys=True,
        )
        self.folder = folder / hashlib.sha256(key.encode()).hexdigest()[:16]

    def fill(
        self,
        image_ids: Iterable[str],
        progress: Callable[[int, int], None] = lambda done, total: None,
        batch_size: int = 8,
    ) -> int:
        """Compute what is missing.

        Args:
            image_ids: images that will be read.
            progress: called with the images done and their total.
            batch_size: views the backbone sees at once.

        Returns:
            The number of images computed. A killed run continues where it stopped.
        """
        missing = [name for name in dict.fromkeys(image_ids) if not self._path(name).is_file()]
        self.folder.mkdir(parents=True, exist_ok=True)
        device = next(self.backbone.parameters()).device
        group = max(1, batch_size // self.views)
        for start in range(0, len(missing), group):
            progress(start, len(missing))
            names = missing[start : start + group]
            read = [
                self.images.read(name, seed=_view_seed(name, view))
                for name in names
                for view in range(self.views)
            ]
            batch = torch.stack([image for image, _ in read])
            batch = batch.to(device)
            with torch.autocast(device.type, torch.bfloat16):
                features = self.backbone(batch).to(torch.bfloat16).cpu()
            for index, name in enumerate(names):
                tensors = {}
                for view in range(self.views):
                    row = index * self.views + view
                    tensors[f"features.{view}"] = features[row].contiguous()
                    tensors[f"mask.{view}"] = torch.from_numpy(read[row][1])
                with atomic_write(self._path(name)) as temporary:
                    temporary.write_bytes(save(tensors))
        progress(len(missing), len(missing))
        return len(missing)

    def read(self, image_id: str, seed: int = PLAIN) -> tuple[Tensor, NDArray[np.uint8]]:
        """See ``InputSource.read``; the seed picks one of the stored views."""
        view = 0 if seed == PLAIN else int(np.random.default_rng(seed).integers(self.views))
        path = self._path(image_id)
        try:
            with safe_open(path, framework="pt") as file:
                mask = file.get_tensor(f"mask.{view}").numpy()
                return file.get_tensor(f"features.{view}"), mask
        except (SafetensorError, OSError) as error:
            raise DataError(
                f"the cached features of {image_id} cannot be read: {error}",
                f"delete {path}; it is computed again",
            ) from error

    def _path(self, image_id: str) -> Path:
        name = quote(image_id, safe="")
        if len(name) + len(_ENDING) > _LONGEST:
            name = hashlib.sha256(image_id.encode()).hexdigest()
        return self.folder / f"{name}{_ENDING}"


def _view_seed(image_id: str, view: int) -> int:
    if view == 0:
        return PLAIN
    digest = hashlib.sha256(f"{image_id}/{view}".encode()).digest()
    return int.from_bytes(digest[:4], "little")


def _digest(backbone: Backbone) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(backbone.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().numpy().tobytes())
    for name, module in backbone.named_modules():
        digest.update(f"{name}{getattr(module, 'stride', '')}".encode())
        digest.update(f"{getattr(module, 'dilation', '')}".encode())
    digest.update(str(backbone.layers).encode())
    return digest.hexdigest()
