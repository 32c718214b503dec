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

from arnet.config_file import config_to_dict, load_config
from arnet.data.pascal import CLASS_NAMES
from arnet.runtime.errors import ArnetError, ConfigError
from arnet.runtime.results import sha256_of
from arnet.training.state import differences
from arnet.training.trainer import CONFIG, LAST

CONFIGS = Path(__file__).parents[1] / "configs" / "ablation"
FULL = "full"


@dataclass(frozen=True)
class Study:
    """A table: its variants, what they start from and how many shots they are tried with.

    Attributes:
        variants: names of files in ``configs/ablation``.
        shots: k of the evaluations.
        init: the variant whose checkpoint the others start from; None starts from ImageNet.
    """

    variants: tuple[str, ...]
    shots: tuple[int, ...] = (1,)
    init: str | None = None


STUDIES = {
    "parts": Study((FULL, "without-mpm1", "without-mpm2", "without-mrm")),
    "fusion": Study(("fusion-cmm", "fusion-attention", "fusion-mask"), (1, 5), FULL),
    "blocks": Study(("fusion-one-block", "fusion-two-blocks", "fusion-cmm"), (5,), FULL),
    "recipe": Study(
        (
            FULL,
            *("another-seed", "sgd", "rate-1e-3", "rate-1e-4", "more-batches"),
            *("loss-of-q2-mostly", "pooling-map", "mask-hard", "gradient-flows", "without-f1"),
            *("shared-mpm", "vector-predicted", "cbam-residual", "cbam-none", "dropout", "wide"),
            *("prior", "prior-strong", "weak-guides", "pseudo-classes", "no-augmentation"),
            *("novel-as-background", "size-321"),
        )
    ),
}
FOLDS = (1, 2, 3)


def held_out(fold: int) -> str:
    """Override that holds out a fold of PASCAL, and both other data sets."""
    names = [f"voc/{CLASS_NAMES[5 * fold + n]}" for n in range(1, 6)]
    return f"data.held_out={json.dumps([*names, 'ccp/*', 'davis/*'])}"


def check(name: str, fold: int, out: Path, init: str | None) -> None:
    """Check that a training that is done, if it is, is the one that there would be now.

    Raises:
        ConfigError: its configuration, or the weights it started from, are others.
    """
    folder = out / f"{name}-fold{fold}"
    if not (folder / "done").is_file():
        return  # arnet train --resume compares by itself
    wanted = load_config(CONFIGS / f"{name}.yaml", [held_out(fold)])
    changed = differences(config_to_dict(load_config(folder / CONFIG)), config_to_dict(wanted))
    if init is not None and (start := out / f"{init}-fold{fold}" / LAST).is_file():
        # The file says what was started from; one of an older version is empty.
        known = (folder / "done").read_text(encoding="utf-8") == sha256_of(start)
        changed += [] if known else [f"the weights of {start}"]
    if changed:
        raise ConfigError(
            f"{folder} was trained with another configuration: {', '.join(changed[:5])} differ",
            f"delete {folder} to train it again, or choose another --out",
        )


def train(name: str, fold: int, data: str, out: Path, init: str | None) -> Path:
    """Train a variant, unless it is done, and give its checkpoint."""
    check(name, fold, out, init)
    folder = out / f"{name}-fold{fold}"
    done = folder / "done"
    if not done.is_file():
        origin = None if init is None else out / f"{init}-fold{fold}" / LAST
        start = [] if origin is None else ["--init", origin]
        _arnet(
            *("train", "--config", CONFIGS / f"{name}.yaml", "--data", data, "--out", folder),
            *start,
            "--resume",
            held_out(fold),
            f"data.cache={data}/cache",
            f"train.backbone_weights={data}/weights/resnet50_caffe_imagenet_to_layer3.safetensors",
        )
        done.write_text("" if origin is None else sha256_of(origin), encoding="utf-8")
    return folder / LAST


def result_of(checkpoint: Path, shots: int, episodes: int, seeds: int) -> Path:
    """Where the scores of a checkpoint are kept."""
    return checkpoint.parent / f"{shots}-shot-{episodes}x{seeds}.json"


def known(checkpoint: Path, shots: int, episodes: int, seeds: int) -> dict[str, Any] | None:
    """The scores of a checkpoint, if those that are kept are of this very one."""
    result = result_of(checkpoint, shots, episodes, seeds)
    if not result.is_file() or not checkpoint.is_file():
        return None
    scores: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return scores if scores.get("checkpoint_sha256") == sha256_of(checkpoint) else None


def evaluate(
    checkpoint: Path, fold: int, data: str, shots: int, episodes: int, seeds: int
) -> dict[str, Any]:
    """The scores of a checkpoint on the fold's classes, measured unless they are known."""
    found = known(checkpoint, shots, episodes, seeds)
    if found is not None:
        return found
    result = result_of(checkpoint, shots, episodes, seeds)
    _arnet(
        *("eval", "--checkpoint", checkpoint, "--kind", "pascal", "--fold", fold),
        *("--data", data, "--cache", f"{data}/cache", "--shots", shots),
        *("--episodes", episodes, "--seeds", seeds, "--precision", "bf16", "--json", result),
    )
    scores: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return scores


def table(rows: dict[str, dict[tuple[int, int], dict[str, Any]]]) -> str:
    """Markdown: q2 of each fold, and the means of q1, s and q2, in percent.

    Args:
        rows: by variant, then by shots and fold, what ``arnet eval --json`` wrote.
    """
    columns = sorted({key for found in rows.values() for key in found})
    shots = sorted({k for k, _ in columns})
    head = ["variant"]
    for k in shots:
        head += [f"{k}-shot, fold {fold}" for each, fold in columns if each == k]
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
    parser.add_argument("--fold", type=int, choices=FOLDS, action="append", help="by default all")
    parser.add_argument("--variant", action="append", help="by default all of the study")
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only-table", action="store_true", help="of what has been measured")
    given = parser.parse_args(arguments)
    study = STUDIES[given.study]
    if unknown := set(given.variant or ()) - set(study.variants):
        parser.error(f"{given.study} has no {', '.join(unknown)}: {', '.join(study.variants)}")
    try:
        rows = _rows(study, given)
    except ArnetError as error:
        parser.exit(2, f"error: {error.message}\nhint: {error.hint}\n")
    sys.stdout.write(table(rows) + "\n")


def _rows(
    study: Study, given: argparse.Namespace
) -> dict[str, dict[tuple[int, int], dict[str, Any]]]:
    folds, names = given.fold or FOLDS, given.variant or study.variants
    runs = given.episodes, given.seeds
    for fold in folds:  # all of it before the first training
        for name in names:
            if study.init is not None:
                check(study.init, fold, given.out, None)
            check(name, fold, given.out, study.init)
    rows: dict[str, dict[tuple[int, int], dict[str, Any]]] = {}
    for fold in folds:
        for name in names:
            for shots in study.shots:
                checkpoint = given.out / f"{name}-fold{fold}" / LAST
                found: dict[str, Any] | None
                if given.only_table:
                    found = known(checkpoint, shots, *runs)
                else:
                    if study.init is not None:
                        train(study.init, fold, given.data, given.out, None)
                    train(name, fold, given.data, given.out, study.init)
                    found = evaluate(checkpoint, fold, given.data, shots, *runs)
                if found is not None:
                    rows.setdefault(name, {})[shots, fold] = found
    return rows


if __name__ == "__main__":
    main()
