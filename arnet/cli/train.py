"""``arnet train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from arnet.cli import console
from arnet.cli.next_steps import export_command
from arnet.cli.pace import Pace
from arnet.runtime import shipped

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def train(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Overrides of the configuration, such as train.batch_size=8 model.fusion=mask.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="YAML configuration; configs/ has some.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Folder of the data set (data.root).", show_default=False),
    ] = None,
    fold: Annotated[
        int | None,
        typer.Option(help="Fold whose classes are held out (data.fold).", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run: checkpoints, log, state.")] = Path(
        "runs/train"
    ),
    init: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint to start from, or the name of one that comes with arnet "
            "(train.init); otherwise the backbone's ImageNet weights. Without --config it is "
            "fine-tuned on a plain folder: images/, masks/ and classes.txt.",
            show_default=False,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the training in --out.")
    ] = False,
) -> None:
    r"""Train on episodes of a data set.

    Writes config.yaml, log.jsonl, tensorboard/, checkpoint.safetensors (the last
    one) and state.safetensors, from which --resume continues: a killed training
    loses at most train.save_every iterations. best.safetensors, the one that
    validated best in the last stage, is there only where train.validate_every is
    not 0; a fine-tuning (--init without --config) does not validate.

    Examples:
      arnet train --config configs/pascal-part.yaml --data .data --fold 2 \
        --out runs/fold2
      arnet train --init arnet-r50 --data my-folder --out runs/mine

    On several GPUs:
      torchrun --nproc-per-node 4 -m arnet train ...
    """
    console.need_torch()
    from arnet.checkpoint import load_checkpoint
    from arnet.config_file import load_config, text_override
    from arnet.inputs import check_fold, open_split
    from arnet.training.distributed import join_processes
    from arnet.training.fine_tuning import fine_tuning, with_shots_for
    from arnet.training.run_folder import CONFIG, LAST, STATE
    from arnet.training.trainer import Trainer

    changes = list(overrides or [])
    if data is not None:
        changes.append(text_override("data.root", data))
    if fold is not None:
        changes.append(f"data.fold={fold}")
    if config is None and resume and (out / CONFIG).is_file():
        config = out / CONFIG
    if resume and not (out / STATE).is_file():
        console.err.print(f"nothing to resume in {out}: this is a new training")
    if init is not None:
        changes.append(text_override("train.init", str(init)))
    if init is None or config is not None:
        settings = load_config(config, changes)
    else:
        trained = load_checkpoint(shipped.find(init, shipped.CHECKPOINT))
        base = fine_tuning(trained.config, out)
        photographs = open_split(load_config(None, changes, base), "train")
        settings = load_config(None, changes, with_shots_for(base, photographs))
    check_fold(settings.data, fold)
    with join_processes(settings.train.device) as process, console.progress_bar("losses") as bar:
        reporter = _Reporter(bar, process.first)
        try:
            trainer = Trainer(settings, out, process, reporter, resume)
            position = trainer.run()
        except KeyboardInterrupt:
            bar.stop()
            if process.first:
                saved = (out / STATE).is_file()
                console.out.print("stopped" + ("" if saved else " before the first checkpoint"))
                again = ("--out", out, "--resume") if saved else ("--help",)
                console.next_command("arnet", "train", *again)
            raise typer.Exit(130) from None
    if process.first:
        took = f"{position.iteration} iterations in {position.seconds / 60:.1f} minutes"
        nothing_left = trainer.start.iteration == position.iteration
        console.out.print(
            f"nothing left to do: {out} is trained to its end, {took}: {out / LAST}"
            if nothing_left
            else f"trained {took}: {out / LAST}"
        )
        measure = ("--data", settings.data.root, "--shots", 1)
        console.next_command(
            *("arnet", "eval", "--checkpoint", out / LAST, *measure)
            if trainer.contents.measurable
            else export_command(out / LAST, Path(settings.data.root), most=0)
        )


class _Reporter:
    """Shows a training as progress bars and lines; as lines alone where there is no terminal."""

    def __init__(self, bar: Progress, shown: bool) -> None:
        self._bar = bar
        self._shown = shown
        self._caching: TaskID | None = None
        self._training: TaskID | None = None
        self._pace = Pace()

    def message(self, text: str) -> None:
        if self._shown:
            self._bar.console.print(text)

    def caching(self, done: int, total: int) -> None:
        if self._shown and total:
            if self._caching is None:
                self._caching = self._bar.add_task("caching features", total=total, losses="")
                self._pace = Pace(done)
            self._bar.update(self._caching, completed=done, total=total)
            if self._bar.disable and self._pace.due(done, total):
                self.message(f"cached {done} of {total} photographs{self._pace.left(done, total)}")
            if done == total:
                self._bar.remove_task(self._caching)
                self._caching = None

    def step(self, iteration: int, total: int, losses: dict[str, float]) -> None:
        if self._shown:
            if self._training is None:
                self._training = self._bar.add_task("training", total=total, losses="")
                # Time left is counted from here, not from iterations of an earlier run.
                self._bar.update(self._training, completed=iteration - 1)
                self._pace = Pace(iteration - 1)
            shown = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
            self._bar.update(self._training, completed=iteration, losses=shown)
            if self._bar.disable and self._pace.due(iteration, total):
                left = self._pace.left(iteration, total)
                self.message(f"iteration {iteration} of {total}: {shown}{left}")
