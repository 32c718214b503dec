"""Trains and evaluates the variants of ``configs/ablation`` and writes them as a table.

python -m benchmarks.variants parts --data .data --out runs/variants [--fold 2]

What is done already is kept, so that a stopped run goes on where it was; ``--only-table`` shows
what there is. A training of another configuration, or from other weights, than it would be trained
with now is refused, and scores of another checkpoint are measured again. The variants, the commands
and the tables are those of docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arnet.config_file import config_to_dict, load_config, text_override
from arnet.runtime.errors import ArnetError, ConfigError
from arnet.runtime.files import sha256_of
from arnet.training.run_folder import CONFIG, LAST
from arnet.training.state import differences
from benchmarks.studies import FOLDS, STUDIES, HeldOut, Study

Rows = dict[str, dict[tuple[int, str], dict[str, Any]]]
CONFIGS = Path(__file__).parents[1] / "configs" / "ablation"
WEIGHTS = "resnet50_caffe_imagenet_to_layer3.safetensors"


def overrides(held_out: HeldOut) -> list[str]:
    """What holds the classes out, and what else all trainings have."""
    return [f"data.held_out={json.dumps(held_out.classes)}", *held_out.overrides]


def check(name: str, held_out: HeldOut, out: Path, init: str | None) -> None:
    """Check that a training that is done, if it is, is the one that there would be now.

    Raises:
        ConfigError: its configuration, or the weights it started from, are others.
    """
    folder = out / f"{name}-{held_out.name}"
    if not (folder / "done").is_file():
        return  # arnet train --resume compares by itself
    wanted = load_config(CONFIGS / f"{name}.yaml", overrides(held_out))
    changed = differences(config_to_dict(load_config(folder / CONFIG)), config_to_dict(wanted))
    if init is not None and (start := out / f"{init}-{held_out.name}" / LAST).is_file():
        # The file says what was started from; one of an older version is empty.
        known = (folder / "done").read_text(encoding="utf-8") == sha256_of(start)
        changed += [] if known else [f"the weights of {start}"]
    if changed:
        raise ConfigError(
            f"{folder} was trained with another configuration: {', '.join(changed[:5])} differ",
            f"delete {folder} to train it again, or choose another --out",
        )


def train(
    name: str, held_out: HeldOut, data: str, out: Path, init: str | None, backbone: str
) -> Path:
    """Train a variant on a backbone of these weights, unless done, and give its checkpoint."""
    check(name, held_out, out, init)
    folder = out / f"{name}-{held_out.name}"
    done = folder / "done"
    if not done.is_file():
        origin = None if init is None else out / f"{init}-{held_out.name}" / LAST
        start = [] if origin is None else ["--init", origin]
        _arnet(
            *("train", "--config", CONFIGS / f"{name}.yaml", "--data", data, "--out", folder),
            *start,
            "--resume",
            *overrides(held_out),
            f"data.cache={data}/cache",
            text_override("train.backbone_weights", backbone),
        )
        done.write_text("" if origin is None else sha256_of(origin), encoding="utf-8")
    return folder / LAST


@dataclass(frozen=True)
class Measurement:
    """One run of ``arnet eval``.

    Attributes:
        question: heading of its column.
        options: what ``arnet eval`` is told of the data.
        shots: k.
        episodes: number for each seed.
        seeds: number of runs.
    """

    question: str
    options: tuple[str, ...]
    shots: int
    episodes: int
    seeds: int

    def result(self, checkpoint: Path) -> Path:
        """Where the scores of a checkpoint are kept."""
        question = self.question.replace(" ", "-")
        name = f"{self.shots}-shot-{question}-{self.episodes}x{self.seeds}.json"
        return checkpoint.parent / name

    def known(self, checkpoint: Path) -> dict[str, Any] | None:
        """The scores of a checkpoint, if those that are kept are of this very one."""
        result = self.result(checkpoint)
        if not result.is_file() or not checkpoint.is_file():
            return None
        scores: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return scores if scores.get("checkpoint_sha256") == sha256_of(checkpoint) else None

    def scores(self, checkpoint: Path, data: str) -> dict[str, Any]:
        """The scores of a checkpoint, measured unless they are known."""
        found = self.known(checkpoint)
        if found is not None:
            return found
        result = self.result(checkpoint)
        _arnet(
            *("eval", "--checkpoint", checkpoint, *self.options),
            *("--data", data, "--cache", f"{data}/cache", "--shots", self.shots),
            *("--episodes", self.episodes, "--seeds", self.seeds),
            *("--precision", "bf16", "--json", result),
        )
        scores: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return scores


def table(rows: Rows) -> str:
    """Markdown: q2 of each question, and the means of q1, s and q2, in percent.

    Args:
        rows: by variant, then by shots and question, what ``arnet eval --json`` wrote.

    Raises:
        ConfigError: two variants were evaluated on other images or classes in a column.
    """
    _check_columns(rows)
    columns = list(dict.fromkeys(key for found in rows.values() for key in found))
    shots = sorted({k for k, _ in columns})
    head = ["variant"]
    for k in shots:
        head += [f"{k}-shot, {question}" for each, question in columns if each == k]
        head += ["mean q1", "mean s", "**mean q2**"]
    lines = [head, ["---"] * len(head)]
    for name, found in rows.items():
        line = [name]
        for k in shots:
            results = [found.get(key) for key in columns if key[0] == k]
            line += ["-" if r is None else _spread(r["scores"]["q2"]["mean_iou"]) for r in results]
            whole = [r for r in results if r is not None]
            for mask in ("q1", "s", "q2"):
                means = [r["scores"][mask]["mean_iou"] for r in whole if mask in r["scores"]]
                complete = len(means) == len(results) and all(means)
                mean = sum(m["mean"] for m in means) / len(means) if complete else None
                shown = "-" if mean is None else f"{mean:.1f}"
                line.append(f"**{shown}**" if mask == "q2" else shown)
        lines.append(line)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _check_columns(rows: Rows) -> None:
    """Check that the figures of a column answer the same question; see ``table``."""
    first: dict[tuple[int, str], tuple[str, Any]] = {}
    for name, found in rows.items():
        for (shots, question), result in found.items():
            pairs = result.get("pairs")
            other, expected = first.setdefault((shots, question), (name, pairs))
            if pairs != expected:
                raise ConfigError(
                    f"{other} and {name} were evaluated on other images or classes in the column "
                    f"{shots}-shot, {question}: their figures do not compare",
                    "choose with --variant those that have the same images and classes",
                )


def _spread(value: dict[str, float]) -> str:
    return f"{value['mean']:.1f} ± {value['std']:.1f}"


def _arnet(*arguments: object) -> None:
    command = [sys.executable, "-m", "arnet", *map(str, arguments)]
    sys.stdout.write(" ".join(command[2:]) + "\n")
    sys.stdout.flush()
    subprocess.run(command, check=True)


def main(arguments: list[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=STUDIES, help="the table")
    parser.add_argument("--data", required=True, help="folder with VOCdevkit, ccp, davis, weights")
    parser.add_argument("--out", required=True, type=Path, help="folder of the trainings")
    parser.add_argument(
        "--backbone-weights",
        help="ResNet-50 with the stride in the 1x1, such as arnet-r50, which comes with arnet; by "
        "default the file of docs/results.md in DATA/weights",
    )
    parser.add_argument("--fold", type=int, choices=FOLDS, action="append", help="by default all")
    parser.add_argument("--variant", action="append", help="by default all of the study")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only-table", action="store_true", help="of what has been measured")
    given = parser.parse_args(arguments)
    study = STUDIES[given.study]
    if given.fold and study.held_out != tuple(FOLDS.values()):
        parser.error(f"{given.study} has no folds")
    if unknown := set(given.variant or ()) - set(study.variants):
        parser.error(f"{given.study} has no {', '.join(unknown)}: {', '.join(study.variants)}")
    try:
        shown = table(_rows(study, given))
    except ArnetError as error:
        parser.exit(2, f"error: {error.message}\nhint: {error.hint}\n")
    sys.stdout.write(shown + "\n")


def _rows(study: Study, given: argparse.Namespace) -> Rows:
    chosen = [FOLDS[fold] for fold in given.fold] if given.fold else study.held_out
    names = given.variant or study.variants
    backbone = given.backbone_weights or f"{given.data}/weights/{WEIGHTS}"
    for held_out in chosen:  # all of it before the first training
        for name in names:
            if study.init is not None:
                check(study.init, held_out, given.out, None)
            check(name, held_out, given.out, study.init)
    rows: Rows = {}
    for held_out in chosen:
        for name in names:
            checkpoint = given.out / f"{name}-{held_out.name}" / LAST
            if not given.only_table:
                if study.init is not None:
                    train(study.init, held_out, given.data, given.out, None, backbone)
                train(name, held_out, given.data, given.out, study.init, backbone)
            for shots in study.shots:
                for question, options in held_out.questions.items():
                    one = Measurement(question, options, shots, given.episodes, given.seeds)
                    only = given.only_table
                    found = one.known(checkpoint) if only else one.scores(checkpoint, given.data)
                    if found is not None:
                        rows.setdefault(name, {})[shots, question] = found
    return rows


if __name__ == "__main__":
    main()
