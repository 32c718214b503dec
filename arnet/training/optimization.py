"""One optimisation step: accumulated parts, mixed precision, clipping, a check of the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from arnet.config import Config
from arnet.devices import PRECISIONS, autocast
from arnet.inputs import InputSource
from arnet.modeling import ARNet, Losses, arnet_loss
from arnet.runtime.errors import TrainingError
from arnet.training.batches import Batch
from arnet.training.distributed import Process
from arnet.training.pseudo import with_pseudo_classes
from arnet.training.stages import Stage, build_optimizer, choose_trainable, train_mode

MOST_SKIPPED = 30
"""Steps in a row that fp16 may lose to numbers it cannot hold: each halves the scale of the loss,
and 30 halvings take it from 65,536 to nearly nothing."""


class Optimization:
    """The optimiser of a stage and its steps."""

    def __init__(
        self, config: Config, model: ARNet, stage: Stage, source: InputSource, process: Process
    ) -> None:
        """Choose the parameters of the stage and their optimiser."""
        self.config, self.model, self.source, self.process = config, model, source, process
        self.precision = PRECISIONS[config.train.precision]
        self.parameters: Sequence[nn.Parameter] = choose_trainable(model, stage.config.trainable)
        self.optimizer = build_optimizer(config, self.parameters, stage.config.learning_rate)
        self.scaler = torch.amp.GradScaler(
            process.device.type, enabled=self.precision == torch.float16
        )
        self._skipped = 0
        self.network: nn.Module = model
        if process.world > 1:
            self.network = DistributedDataParallel(
                model,
                device_ids=[process.device] if process.device.type == "cuda" else None,
                find_unused_parameters=True,  # one-shot batches do not use the CMM
            )

    def step(self, batch: Batch, rate: float) -> dict[str, float]:
        """Train on a batch.

        Args:
            batch: this process's share.
            rate: the learning rate.

        Returns:
            The losses "total", "q1", "s" and "q2" of this share.

        Raises:
            TrainingError: the loss or the gradient is not finite; with fp16, in too many steps in a
                row.
        """
        train, device = self.config.train, self.process.device
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        train_mode(self.model)
        self.optimizer.zero_grad(set_to_none=True)
        size = batch.query.shape[0] // train.accumulate
        sums: dict[str, float] = {}
        for index in range(train.accumulate):
            part = batch.part(slice(index * size, (index + 1) * size)).to(device)
            last = index == train.accumulate - 1
            with self._synchronised(last):
                with autocast(device, self.precision):
                    losses = self._losses(part)
                self.scaler.scale(losses.total / train.accumulate).backward()
            for name, value in vars(losses).items():
                if value is not None:
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / train.accumulate
        self.scaler.unscale_(self.optimizer)
        # The norm of the gradient is the same in every process, so that all of them stop. With
        # fp16 the scaler skips a step that overflowed.
        norm = nn.utils.clip_grad_norm_(self.parameters, train.clip or float("inf"))
        self._skipped = 0 if torch.isfinite(norm) else self._skipped + 1
        if self._skipped > (MOST_SKIPPED if self.scaler.is_enabled() else 0):
            raise TrainingError(
                f"the training diverged: the loss is {sums['total']}, the gradient {norm.item()}",
                "lower the learning_rate of train.stages, or set train.clip=1 and train.warmup=100",
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return sums

    def _synchronised(self, last: bool) -> AbstractContextManager[None]:
        """Gradients of several processes are summed once, after the last part of a batch."""
        if isinstance(self.network, DistributedDataParallel) and not last:
            return self.network.no_sync()
        return nullcontext()

    def _losses(self, batch: Batch) -> Losses:
        query, support = batch.query, batch.support
        if not self.source.features:
            query = self.model.backbone(query)
            support = self.model.backbone(support.flatten(0, 1)).unflatten(0, support.shape[:2])
        batch = with_pseudo_classes(batch, query, support, self.model.backbone.widths[-1])
        prediction = self.network(query.float(), support.float(), batch.guides.float())
        train = self.config.train
        return arnet_loss(
            prediction,
            batch.query_labels,
            batch.support_labels,
            train.alpha,
            train.beta,
            train.gamma,
            train.balance,
        )
