"""The small operations that a fused kernel does best, each defined once, in torch.

``custom`` decides what the exporter writes: a node of the domain "arnet" (a kernel in TensorRT,
its own definition inlined in ONNX Runtime), or the operations themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arnet.export.resampling import Averaging
from arnet.export.terms import Places
from arnet.modeling.layers import AREA_EPSILON

DOMAIN = "arnet"


class Operator(nn.Module):
    """One operation: its definition, and how it stands in a graph.

    Attributes:
        name: op_type of the node.
        custom: whether the exporter writes a node of the domain "arnet".
    """

    name: str

    def __init__(self) -> None:
        super().__init__()
        self.custom = False

    def define(self, *tensors: Tensor) -> Tensor:
        """What the operation computes."""
        raise NotImplementedError

    def shape(self, *tensors: Tensor) -> Sequence[int | torch.SymInt]:
        """Shape of the result."""
        raise NotImplementedError

    def attributes(self) -> dict[str, list[int]]:
        """Attributes of the node. Lists: TensorRT up to 11.1 fails on numbers (NumPy 2.4)."""
        return {}

    def forward(self, *tensors: Tensor) -> Tensor:
        """The result, of the type of the first tensor."""
        if self.custom and torch.onnx.is_in_onnx_export():
            result: Tensor = torch.onnx.ops.symbolic(
                f"{DOMAIN}::{self.name}",
                tensors,
                {
                    **self.attributes(),
                    "plugin_namespace": DOMAIN,
                    "plugin_version": "1",
                    "aot": 1,
                },
                dtype=tensors[0].dtype,
                shape=self.shape(*tensors),
                version=1,
            )
            return result
        return self.define(*tensors)


class MaskedPool(Operator):
    """Eq. 3, f_p(M ⊗ F), for T masks over one map: one small matrix product.

    (1, C, h, w) features and (T, 1, h, w) masks, 0..1, to (T, C); sums in float32.
    """

    name = "MaskedPool"

    def __init__(self, pooling: str) -> None:
        super().__init__()
        self.pooling = pooling

    def define(self, *tensors: Tensor) -> Tensor:
        """Sum of the features under each mask, divided by its area or by the map's."""
        features, masks = tensors
        return _pooled(features, masks, self.pooling)

    def shape(self, *tensors: Tensor) -> Sequence[int | torch.SymInt]:
        """(T, C)."""
        return tensors[1].shape[0], tensors[0].shape[1]

    def attributes(self) -> dict[str, list[int]]:
        """``area``: divided by the mask's area (1) or by the map's size (0)."""
        return {"area": [int(self.pooling == "area")]}


class MaskedPoolResized(Operator):
    """The same for masks (T, 1, S, S) of the size of the image, averaged to (h, w) first.

    For where nothing else wants the small masks: they are never written.
    """

    name = "MaskedPoolResized"

    def __init__(self, pooling: str, size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.pooling = pooling
        self.average = Averaging(size, grid)

    def define(self, *tensors: Tensor) -> Tensor:
        """Two products for each mask, then as ``MaskedPool``."""
        features, masks = tensors
        return _pooled(features, self.average(masks[:, 0].float()), self.pooling)

    def shape(self, *tensors: Tensor) -> Sequence[int | torch.SymInt]:
        """(T, C)."""
        return tensors[1].shape[0], tensors[0].shape[1]

    def attributes(self) -> dict[str, list[int]]:
        """As of ``MaskedPool``."""
        return {"area": [int(self.pooling == "area")]}


class MaskedShiftSum(Operator):
    """The first convolution of MPM2, for T masks over one query.

    relu(sum over t of mask(p + t) · taps_t(p + t) + own + border)

    Taps (1, 9 * D, h, w), masks (T, 1, h, w), own (T, D, h, w) and border (T, 9, D), the nine
    values of a tiled vector's convolution, to (T, D, h, w).
    """

    name = "MaskedShiftSum"

    def __init__(self, places: Places) -> None:
        super().__init__()
        self.places = places

    def define(self, *tensors: Tensor) -> Tensor:
        """As T small matrices times a (9, D) matrix at each of the h * w places."""
        taps, masks, own, border = tensors
        depth, height, width = own.shape[1:]
        shifts = [(y, x) for y in range(3) for x in range(3)]
        maps = F.pad(taps, (1, 1, 1, 1)).view(9, depth, height + 2, width + 2)
        products = torch.stack(
            [maps[t, :, y : y + height, x : x + width] for t, (y, x) in enumerate(shifts)]
        )
        padded = F.pad(masks[:, 0].to(taps.dtype), (1, 1, 1, 1))
        weights = torch.stack([padded[:, y : y + height, x : x + width] for y, x in shifts], dim=1)
        places = height * width
        total = weights.reshape(-1, places).T.reshape(places, -1, 9) @ (
            products.reshape(9 * depth, places).T.reshape(places, 9, depth)
        )
        total = total.reshape(places, -1).T.reshape(-1, depth, height, width)
        return (total + own + self.places(border)).relu()

    def shape(self, *tensors: Tensor) -> Sequence[int | torch.SymInt]:
        """That of ``own``."""
        return tensors[2].shape


class ForgetEnhance(Operator):
    """Eq. 8, the stack of forget-and-enhance blocks over k vectors.

    Vectors (k, C), weights (B, 3 * C, C, kernel) and biases (B, 3 * C) of the B blocks, forget,
    update and enhance one after the other; to (k, C).
    """

    name = "ForgetEnhance"

    def __init__(self, dilations: Sequence[int]) -> None:
        super().__init__()
        self.dilations = list(dilations)

    def define(self, *tensors: Tensor) -> Tensor:
        """X' = x ⊗ σ(forget) ⊕ tanh(update) ⊗ σ(enhance), causal convolutions along the shots."""
        vectors, weights, biases = (tensor.float() for tensor in tensors)
        x = vectors.T[None]
        for dilation, weight, bias in zip(self.dilations, weights, biases, strict=True):
            past = F.pad(x, ((weight.shape[-1] - 1) * dilation, 0))
            gates = F.conv1d(past, weight, bias, dilation=dilation)
            forget, update, enhance = gates.chunk(3, dim=1)
            x = x * forget.sigmoid() + update.tanh() * enhance.sigmoid()
        return x[0].T.to(tensors[0].dtype)

    def shape(self, *tensors: Tensor) -> Sequence[int | torch.SymInt]:
        """(k, C)."""
        return tensors[0].shape

    def attributes(self) -> dict[str, list[int]]:
        """``dilations`` of the blocks."""
        return {"dilations": self.dilations}


def _pooled(features: Tensor, masks: Tensor, pooling: str) -> Tensor:
    flat = masks.float().flatten(1)
    total = flat @ features[0].float().flatten(1).T
    if pooling == "map":
        total = total / (features.shape[-2] * features.shape[-1])
    else:
        total = total / (flat.sum(dim=1, keepdim=True) + AREA_EPSILON)
    return total.to(features.dtype)


def operators_of(module: nn.Module) -> list[Operator]:
    """The operations that a stage uses."""
    return [child for child in module.modules() if isinstance(child, Operator)]
