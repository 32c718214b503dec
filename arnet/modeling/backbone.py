"""Backbone: torchvision's ResNet up to layer3, frozen.

"The first four layers" of the paper are the stem, layer1, layer2 and layer3, with layer4 left out
and layer3 dilated (CANet). Weights never change, nor do the running statistics of the batch
normalisation: the backbone stays in evaluation mode whatever the model around it does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from arnet.config import BackboneConfig
from arnet.runtime import shipped
from arnet.runtime.errors import CheckpointError, ConfigError

_WIDTHS = {
    "resnet50": {"layer2": 512, "layer3": 1024},
    "resnet101": {"layer2": 512, "layer3": 1024},
    "resnet18": {"layer2": 128, "layer3": 256},
}
_STRIDE_KEY = "stride_in_1x1"
_SHIPPED = {
    "resnet50": "train.backbone_weights=arnet-r50 model.backbone.stride_in_1x1=true",
    "resnet18": "train.backbone_weights=arnet-r18",
}
"""Checkpoints that come with arnet hold the ImageNet weights of some backbones, in float16."""
_IN_CHECKPOINT = "backbone."


class Backbone(nn.Module):
    """Features of an image: the concatenation of ``config.layers``.

    Attributes:
        channels: number of channels C of the output.
        widths: channels of each of the layers, in their order.
    """

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        resnet = torchvision.models.get_model(config.name, weights=None)
        self.conv1, self.bn1, self.relu = resnet.conv1, resnet.bn1, resnet.relu
        self.maxpool = resnet.maxpool
        self.layer1, self.layer2, self.layer3 = resnet.layer1, resnet.layer2, resnet.layer3
        if config.output_stride == 8:
            _dilate(self.layer3)
        if config.stride_in_1x1:
            for stage in (self.layer2, self.layer3):
                _move_stride(stage[0])
        self.layers = config.layers
        self.widths = tuple(_WIDTHS[config.name][layer] for layer in config.layers)
        self.channels = sum(self.widths)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode: frozen weights with moving statistics would not be frozen."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Features of normalised images.

        Args:
            images: (N, 3, H, W), RGB, (x / 255 - mean) / std with ImageNet's mean and std.

        Returns:
            (N, C, h, w), h = H / output stride (rounded up); h = H / 8 for layer2 alone.
        """
        layer2 = self.layer2(self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(images))))))
        if self.layers == ("layer2",):
            return layer2
        layer3 = self.layer3(layer2)
        if layer2.shape[-2:] != layer3.shape[-2:]:  # at output stride 16
            layer2 = nn.functional.interpolate(
                layer2, size=layer3.shape[-2:], mode="bilinear", align_corners=False
            )
        maps = {"layer2": layer2, "layer3": layer3}
        return torch.cat([maps[name] for name in self.layers], dim=1)


def load_backbone_weights(backbone: Backbone, config: BackboneConfig, source: str) -> None:
    """Fill a backbone with weights.

    Args:
        backbone: the backbone to fill, in place.
        config: its configuration, which the weights must fit.
        source: "imagenet" for torchvision's weights (a download at first use), "random" to leave
            it as it is, or the path of a safetensors file with torchvision's key names, or of a
            checkpoint, or the name of one that comes with arnet, whose backbone is taken.

    Raises:
        CheckpointError: the file cannot be read or holds another architecture.
        ConfigError: the weights are of another ResNet, or of one with the stride elsewhere.
    """
    if source == "random":
        return
    if source == "imagenet":
        if config.stride_in_1x1:
            raise ConfigError(
                "torchvision's ImageNet weights have the stride in the 3x3 convolution",
                "set model.backbone.stride_in_1x1=false",
            )
        weights = torchvision.models.get_model_weights(config.name).IMAGENET1K_V1
        try:
            tensors = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: the hash is another
            raise CheckpointError(
                f"torchvision's {config.name} weights could not be downloaded: {error}",
                _other_weights(config),
            ) from error
    else:
        known = source in shipped.names(shipped.CHECKPOINT)
        path = shipped.find(Path(source), shipped.CHECKPOINT) if known else Path(source)
        tensors = _read_weights(path, config)
    _load(backbone, tensors, source)


def _other_weights(config: BackboneConfig) -> str:
    """Hint that names weights which need no download."""
    other = "name a safetensors file or a checkpoint in train.backbone_weights"
    if config.name not in _SHIPPED:
        return other
    return f"{_SHIPPED[config.name]} takes those of a model that comes with arnet; or {other}"


def _read_weights(path: Path, config: BackboneConfig) -> dict[str, Tensor]:
    if not path.is_file():
        raise CheckpointError(
            f"there are no backbone weights at {path}",
            f"{_other_weights(config)}, 'imagenet' (a download) or 'random'",
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            said: dict[str, object] = {k: v for k, v in metadata.items() if k == _STRIDE_KEY}
            if "header" in metadata:  # a checkpoint
                said = json.loads(metadata["header"])["config"]["model"]["backbone"]
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not a safetensors file: {error}", "it may be damaged; copy it again"
        ) from error
    for key in ("name", _STRIDE_KEY):
        theirs, ours = (str(value).lower() for value in (said.get(key), getattr(config, key)))
        if key in said and theirs != ours:
            raise ConfigError(
                f"{path} says {key}={theirs}, the configuration says {ours}: where the stride is "
                "in another place, accuracy is lost in silence",
                f"set model.backbone.{key}={theirs}",
            )
    own = {key: value for key, value in tensors.items() if key.startswith(_IN_CHECKPOINT)}
    return {key.removeprefix(_IN_CHECKPOINT): value for key, value in (own or tensors).items()}


def _load(backbone: Backbone, tensors: Mapping[str, Tensor], source: str) -> None:
    expected = backbone.state_dict()
    wrong = [
        key
        for key, value in expected.items()
        if key not in tensors or tensors[key].shape != value.shape
    ]
    hint = "model.backbone.name must be the architecture of the file"
    if wrong:
        raise CheckpointError(
            f"the weights of {source} do not fit: {len(wrong)} of {len(expected)} tensors are "
            f"missing or of another shape, the first is {wrong[0]}",
            hint,
        )
    # A ResNet-101 has all that a ResNet-50 has, and more blocks in layer3.
    more = [key for key in tensors if key.startswith("layer3.") and key not in expected]
    if more:
        raise CheckpointError(
            f"the weights of {source} are of a deeper network, which has {more[0]}", hint
        )
    backbone.load_state_dict({key: tensors[key] for key in expected})


def _dilate(stage: nn.Sequential) -> None:
    """Remove the stride of a stage and dilate what follows by 2 (torchvision's own way)."""
    for index, block in enumerate(stage):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
                if index > 0 and module.kernel_size == (3, 3):
                    module.dilation, module.padding = (2, 2), (2, 2)


def _move_stride(block: nn.Module) -> None:
    """Put the stride of a bottleneck on its first 1x1 convolution (ResNet v1)."""
    if not isinstance(block, Bottleneck):
        raise ConfigError(
            "stride_in_1x1 needs bottlenecks, which this ResNet does not have",
            "set model.backbone.stride_in_1x1=false",
        )
    block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
