"""The stage that runs for every query: masks q1, s and q2 from the query's and supports' products.

The equations are those of ``arnet.modeling``, from the second convolution of every module on. A
margin is the logit of the object minus that of the background, its sigmoid the probability.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arnet.export import folding
from arnet.export.layout import Layout
from arnet.export.operators import MaskedPool, MaskedShiftSum
from arnet.export.shot_fusion import shot_fusion
from arnet.export.terms import Places, TiledTerm, channels_of, first_convolution
from arnet.modeling import ARNet
from arnet.modeling.layers import bias_of, masked_pool
from arnet.modeling.mpm import MPM
from arnet.modeling.prior import answers, compete, likenesses, nearest


class Decode(nn.Module):
    """Margins of N classes with T shots in all, from the tensors of ``layout.decode``.

    Results are those of ``layout.outputs``, in float32: margins (N, h, w) of q2, first (N, h, w) of
    q1, averaged over the shots of a class, and supports (T, h, w) of s.
    """

    def __init__(self, model: ARNet, layout: Layout, grid: tuple[int, int]) -> None:
        super().__init__()
        self.inputs, self.outputs = layout.decode, layout.outputs
        config = model.config
        self.grid, self.hard = grid, config.mask == "hard"
        self.has_mrm = "mrm" not in config.without
        first = model.mpm[0]
        assert isinstance(first, MPM)
        self.mpm1 = SecondHalf(first) if "mpm1" not in config.without else None
        self.mpm2 = Reverse(model, grid) if "mpm2" not in config.without else None
        self.refinement = Refinement(model, grid)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The tensors of ``layout.outputs``."""
        given = dict(zip(self.inputs, tensors, strict=True))
        results: dict[str, Tensor] = {}
        q1 = s = None
        if self.mpm1 is not None:
            margins = self.mpm1((given["query_match"] + given["match"]).relu())
            q1 = self.mask(margins)
            results["first"] = results["margins"] = self.mean(margins, given["shares"])[:, 0]
        if self.mpm2 is not None:
            guide = torch.full_like(given["self"][:, :1], 0.5) if q1 is None else q1
            margins = self.mpm2(given, guide)
            s = self.mask(margins)
            results["supports"] = margins[:, 0]
        if self.has_mrm:
            results["margins"] = self.refinement(given, q1, s)[:, 0]
        return tuple(results[name].float() for name in self.outputs)

    def mask(self, margins: Tensor) -> Tensor:
        """The map (T, 1, h, w) that the next module takes, from 0 to 1, in float32."""
        return (margins > 0).float() if self.hard else margins.float().sigmoid()

    @staticmethod
    def mean(maps: Tensor, shares: Tensor) -> Tensor:
        """(T, *, h, w) maps of shots to the (N, *, h, w) means of their classes, float32."""
        return (shares @ maps.float().flatten(1)).view(-1, *maps.shape[1:])


class SecondHalf(nn.Module):
    """An MPM after its first convolution: (T, D, h, w) to margins (T, 1, h, w).

    The third convolution has a single output. It is computed as nine products that are shifted and
    added, since engines compute outputs by the sixteen or so: nine waste less than one.
    """

    def __init__(self, mpm: MPM) -> None:
        super().__init__()
        self.conv2 = mpm.conv2
        last = folding.margin(mpm.conv3)
        self.products = folding.taps(last)
        self.bias = nn.Parameter(bias_of(last).clone())

    def forward(self, x: Tensor) -> Tensor:
        """The margins, of the type of ``x``."""
        height, width = x.shape[-2:]
        maps = F.pad(self.products(self.conv2(x)), (1, 1, 1, 1))
        margins = self.bias.view(1, 1, 1)
        for tap in range(9):
            row, column = divmod(tap, 3)
            margins = margins + maps[:, tap, row : row + height, column : column + width]
        return margins[:, None]


class Reverse(nn.Module):
    """MPM2: the mask of every support, guided by the query and q1."""

    def __init__(self, model: ARNet, grid: tuple[int, int]) -> None:
        super().__init__()
        mpm = model.mpm[-1]
        assert isinstance(mpm, MPM)
        convolution = first_convolution(mpm.conv1)
        self.pool = MaskedPool(model.config.pooling)
        self.vector = TiledTerm(convolution, convolution.in_channels - channels_of(model))
        self.places = Places(grid)
        self.shift_sum = MaskedShiftSum(self.places)
        self.second = SecondHalf(mpm)

    def forward(self, given: dict[str, Tensor], q1: Tensor) -> Tensor:
        """Margins (T, 1, h, w) of s."""
        term = self.vector(self.pool(given["query_features"], q1))
        if "query_taps" in given:
            x = self.shift_sum(given["query_taps"], q1, given["self"], term)
        else:
            x = (given["self"] + self.places(term)).relu()
        margins: Tensor = self.second(x)
        return margins


class Refinement(nn.Module):
    """The MRM, and the fusion of the shots where it depends on the query."""

    def __init__(self, model: ARNet, grid: tuple[int, int]) -> None:
        super().__init__()
        config, mrm = model.config, model.mrm
        width = channels_of(model)
        self.fusion, self.pairing = config.fusion, config.pairing
        self.pooling, self.predicted = config.pooling, config.refine_vector == "predicted"
        self.places = Places(grid)
        self.vector = TiledTerm(first_convolution(mrm.conv1), width, bias=True)
        self.fuse = shot_fusion(model)
        if model.shot_attention is not None:
            self.attend_vector = TiledTerm(model.shot_attention.conv1, 2 * width)
            self.attend = model.shot_attention.conv2
        self.conv2, self.attention, self.residual = mrm.conv2, mrm.attention, mrm.residual
        self.aspp = mrm.aspp
        self.aspp.classify = folding.margin(self.aspp.classify)
        self.prior_scale, self.competes = mrm.prior_scale, config.competes
        self.filling = 0  # channels of zeros behind the masks, where an engine wants so many

    def forward(self, given: dict[str, Tensor], q1: Tensor | None, s: Tensor | None) -> Tensor:
        """Margins (N, 1, h, w)."""
        refine = given["refine"] if "refine" in given else self.term(given, s)
        x = (given["query_refine"] + self.places(refine)).relu()
        refined = self.conv2(x)
        maps = [self.masks(given, q1, s)]
        compared = self.compared(given) if self.prior_scale else None
        if compared is not None:
            maps.append(self.prior_scale * self.on_grid(answers(*compared)))
        total = refined.shape[0]
        if self.filling:
            maps.append(maps[0].new_zeros(1, self.filling, *self.places.grid))
        guides = [each.to(refined.dtype).expand(total, -1, -1, -1) for each in maps]
        x = self.attention(torch.cat([*guides, refined], dim=1))
        margins: Tensor = self.aspp(x + self.residual(x))
        if compared is not None:
            margins = margins + guides[1]
            if self.competes:
                margins = compete(margins.float(), self.on_grid(likenesses(*compared)))
        return margins.amax(dim=0, keepdim=True) if self.fusion == "mask" else margins

    def compared(self, given: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What ``arnet.modeling.prior`` compares: cells, global prototypes, nearest; float32."""
        shots, cells = given["prior"], given["query_deep"].flatten(2)
        near = nearest(shots[:, :, 1:], cells).float()  # unit vectors, of any precision
        shots, cells = shots.float(), cells.float()
        if "shares" in given:
            pair = (given["shares"].float() @ shots[:, :, 0].flatten(1)).unflatten(1, (2, -1))
            # (classes, shots, 2, h * w); a shot of another class is 0, the least there is.
            near = (near * (given["shares"] > 0).float()[..., None, None]).amax(dim=1)
        else:
            pair = shots[:, :, 0].mean(dim=0, keepdim=True)
            near = near.amax(dim=0, keepdim=True)
        return cells, pair, near

    def on_grid(self, maps: Tensor) -> Tensor:
        """(N, 1, h * w) as (N, 1, h, w)."""
        return maps.view(-1, 1, *self.places.grid)

    def masks(self, given: dict[str, Tensor], q1: Tensor | None, s: Tensor | None) -> Tensor:
        """The pairs [q1; s], each as background and object, averaged or side by side."""
        half = torch.full((1, 1, *self.places.grid), 0.5, device=given["query_refine"].device)
        if q1 is None and s is None:
            return half.expand(1, 4, -1, -1)
        known = q1 if q1 is not None else s
        assert known is not None
        q1 = half.expand_as(known) if q1 is None else q1
        s = half.expand_as(known) if s is None else s
        pairs = torch.cat([1 - q1, q1, 1 - s, s], dim=1)
        if self.fusion == "mask":
            return pairs
        if self.pairing == "concatenate":
            return pairs.flatten(0, 1)[None]
        return Decode.mean(pairs, given["shares"])

    def term(self, given: dict[str, Tensor], s: Tensor | None) -> Tensor:
        """W_2 * f_u(V) + b of one class where its vector is known with the query only."""
        vectors = given.get("prototype")
        if self.predicted:
            features = given["support_features"]
            s = torch.full_like(features[:, :1], 0.5) if s is None else s
            vectors = masked_pool(features, s, self.pooling)
        assert vectors is not None
        if self.fusion == "attention":
            vectors = self.weighted(given, vectors)
        elif self.fuse is not None:
            vectors = self.fuse(vectors)
        term: Tensor = self.vector(vectors)
        return term

    def weighted(self, given: dict[str, Tensor], vectors: Tensor) -> Tensor:
        """ShotAttention: the vectors weighed by how well each support goes with the query."""
        x = given["query_attend"] + given["attend"]
        if self.predicted:
            x = x + self.places(self.attend_vector(vectors))
        scores = self.attend(F.max_pool2d(x.relu(), 3)).float().mean(dim=(1, 2, 3))
        return scores.softmax(dim=0)[None] @ vectors.float()
