"""Which tensors pass between the stages, for each configuration of the model."""

from __future__ import annotations

from dataclasses import dataclass

from arnet.config import ModelConfig


@dataclass(frozen=True)
class Layout:
    """Names of the tensors that the stages hand on.

    Attributes:
        image: from ``encode_image``, for supports and queries.
        query: from ``encode_query`` to ``decode``.
        per_shot: from ``encode_support``, kept in the support state.
        per_class: from ``fuse_support``, kept in the support state; none: there is no such stage.
        together: whether ``decode`` takes several classes in one call.
        shots: the only number of shots that the model takes; None takes any.
        decode: inputs of ``decode``. ``shares`` (N, T) weighs the shots of each class.
        outputs: of ``decode``.
    """

    image: tuple[str, ...]
    query: tuple[str, ...]
    per_shot: tuple[str, ...]
    per_class: tuple[str, ...]
    together: bool
    shots: int | None
    decode: tuple[str, ...]
    outputs: tuple[str, ...]


def layout_of(config: ModelConfig) -> Layout:
    """The tensors of a configuration.

    The vector that refines depends on the support alone where it is pooled with the annotation and
    fused by the CMM or to the mean: its border term is then a tensor of the class. Attention looks
    at the query, mask fusion refines every shot alone, a predicted mask is known with the query
    only.
    """
    mpm1, mpm2, mrm = (part not in config.without for part in ("mpm1", "mpm2", "mrm"))
    predicted = mrm and config.refine_vector == "predicted"
    attention = mrm and config.fusion == "attention"
    alone = mrm and config.fusion == "mask"
    fused = mrm and config.fusion in ("cmm", "mean") and not predicted
    paired = mrm and config.pairing == "concatenate"
    query = {
        "query_features": mpm2,
        "query_match": mpm1,
        "query_taps": mpm2 and config.masked_features,
        "query_refine": mrm,
        "query_attend": attention,
        "query_deep": bool(config.prior),
    }
    per_shot = {
        "match": mpm1,
        "self": mpm2,
        "attend": attention,
        "prototype": fused or (attention and not predicted),
        "refine": alone and not predicted,
        "support_features": predicted,
        "prior": bool(config.prior),
    }
    outputs = {"margins": True, "first": mpm1, "supports": mpm2}
    shares = mpm1 or (mrm and not alone and not paired)
    decode = {
        **query,
        **per_shot,
        "prototype": per_shot["prototype"] and not fused,  # else its term is in ``refine``
        "refine": per_shot["refine"] or fused,
        "shares": shares,
    }
    return Layout(
        image=("features", "deep") if config.prior else ("features",),
        query=_chosen(query),
        per_shot=_chosen(per_shot),
        per_class=("refine",) if fused else (),
        together=config.together,
        shots=config.pairing_shots if paired else None,
        decode=_chosen(decode),
        outputs=_chosen(outputs),
    )


def _chosen(names: dict[str, bool]) -> tuple[str, ...]:
    return tuple(name for name, wanted in names.items() if wanted)
