"""Evaluation protocols as data: which episodes, at which size, how the border is scored.

`canet` stands beside the paper's figures, `standard` beside most others'. docs/results.md has a
table of both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from arnet.data.episodes import Order
from arnet.evaluation.metrics import Border
from arnet.runtime.errors import ConfigError


@dataclass(frozen=True)
class Protocol:
    """How a model is evaluated.

    Attributes:
        name: what it is called on the command line.
        episodes: number of episodes of one run.
        seeds: one run for each; the result is their mean and standard deviation.
        order: "canet" takes the queries in the order of the list, then shuffled again and again,
            "random" draws them.
        size: "square" resizes every image to the model's input size; "original" gives the query
            at its own size, and its supports resized to that, since MPM joins their features.
        scales: the query's size is multiplied by each, and the logits are summed.
        border: what pixels labelled 255 count as.
    """

    name: str
    episodes: int
    seeds: tuple[int, ...]
    order: Order
    size: Literal["square", "original"]
    scales: tuple[float, ...]
    border: Border


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("canet", 1000, (0,), "canet", "original", (0.7, 1.0, 1.3), "background"),
        Protocol("standard", 1000, (0, 1, 2, 3, 4), "random", "square", (1.0,), "ignore"),
    )
}


def get_protocol(name: str) -> Protocol:
    """A protocol by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise ConfigError(
            f"there is no protocol '{name}'", f"choose one of {', '.join(PROTOCOLS)}"
        ) from None
