"""A tiny model with random statistics, its stages, its graphs and its bundle: each made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from arnet.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from arnet.config_file import load_config
from arnet.export.episodes import RealEpisode, from_folders
from arnet.export.exporter import Exported, export_bundle
from arnet.export.graphs import export_stages
from arnet.export.precision import halve
from arnet.export.stages import Stages, factorise
from arnet.modeling import ARNet
from arnet.segmenter import TorchSegmenter

SIZE = 65
TINY = (
    "model.backbone.name=resnet18",
    "model.channels=12",
    "model.cbam_reduction=2",
    "model.aspp_rates=[1, 2]",
    "data.kind=folder",
    "data.fold=null",
    f"data.image_size={SIZE}",
    "train.backbone_weights=random",
)
Models = Mapping[str, onnx.ModelProto]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the repository, with the trained weights and the example photographs."""
    return Path(__file__).parents[2]


@pytest.fixture(scope="session")
def random_model() -> Callable[..., ARNet]:
    """Makes a model whose normalisations and biases are random; arguments are overrides."""

    def make(*overrides: str, seed: int = 0) -> ARNet:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = ARNet(load_config(None, [*TINY, *overrides]).model).eval()
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.normal_(module.running_mean, std=0.1)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
                    nn.init.uniform_(module.weight, 0.5, 1.0)
                    nn.init.normal_(module.bias, std=0.1)
                elif isinstance(module, nn.Conv1d | nn.Conv2d):
                    if module.bias is not None:
                        nn.init.normal_(module.bias, std=0.1)
                    if module.out_channels == 2:  # margins of all sizes, as after a training
                        module.weight.data *= 50
        return model

    return make


@dataclass(frozen=True)
class Task:
    """What a model is asked: a query (1, 3, S, S), and for each class k pixels and masks."""

    query: Tensor
    images: Sequence[Tensor]
    masks: Sequence[Tensor]


@pytest.fixture(scope="session")
def make_task() -> Callable[..., Task]:
    """Makes a task of noise; ``shots`` are those of each class."""

    def make(shots: Sequence[int] = (2,), size: int = SIZE, seed: int = 0) -> Task:
        generator = torch.Generator().manual_seed(seed)

        def noise(count: int) -> Tensor:  # of a colour of its own, so that shots differ
            images = torch.randn(count, 3, size, size, generator=generator)
            return images + 2 * torch.randn(count, 3, 1, 1, generator=generator)

        images = [noise(k) for k in shots]
        masks = [(torch.rand(k, size, size, generator=generator) > 0.7).float() for k in shots]
        return Task(noise(1), images, masks)

    return make


@pytest.fixture(scope="session")
def drive() -> Callable[[Stages, Task], dict[str, Tensor]]:
    """Runs the stages one after the other, as the runtime does."""

    def drive(stages: Stages, task: Task) -> dict[str, Tensor]:
        layout = stages.layout

        def run(stage: str, *inputs: Tensor) -> dict[str, Tensor]:
            results = stages.modules[stage](*inputs)
            results = results if isinstance(results, tuple) else (results,)
            return dict(zip(stages.outputs(stage), results, strict=True))

        def encode(pixels: Tensor) -> tuple[Tensor, ...]:
            return tuple(run("encode_image", pixels).values())

        def support(pixels: Tensor, mask: Tensor) -> dict[str, Tensor]:
            features, *deep = encode(pixels)
            return run("encode_support", features, mask, *deep)

        def learn(images: Tensor, masks: Tensor) -> dict[str, Tensor]:
            shots = [
                support(image[None], mask[None]) for image, mask in zip(images, masks, strict=True)
            ]
            state = {name: torch.cat([shot[name] for shot in shots]) for name in layout.per_shot}
            return state | (run("fuse_support", state["prototype"]) if layout.per_class else {})

        with torch.no_grad():
            query = run("encode_query", *encode(task.query))
            states = [learn(*pair) for pair in zip(task.images, task.masks, strict=True)]
            shots = [len(images) for images in task.images]
            groups = [range(len(states))] if layout.together else [[i] for i in range(len(states))]
            decoded = []
            for group in groups:
                feeds = query | {
                    name: torch.cat([states[i][name] for i in group])
                    for name in (*layout.per_shot, *layout.per_class)
                }
                feeds["shares"] = torch.block_diag(
                    *(torch.full((1, shots[i]), 1 / shots[i]) for i in group)
                )
                decoded.append(run("decode", *(feeds[name] for name in stages.inputs("decode"))))
        return {name: torch.cat([one[name] for one in decoded]) for name in layout.outputs}

    return drive


@pytest.fixture(scope="session")
def draw() -> Callable[[ARNet, Task], dict[str, Tensor]]:
    """Asks the model itself; margins by the names of the outputs of ``decode``."""

    def margin(logits: Tensor) -> Tensor:
        return logits[..., 1, :, :] - logits[..., 0, :, :]

    def draw(model: ARNet, task: Task) -> dict[str, Tensor]:
        with torch.no_grad():
            pairs = zip(task.images, task.masks, strict=True)
            states = {str(n): model.encode_support(*pair) for n, pair in enumerate(pairs)}
            found = list(model.segment(task.query, states).values())
        answers = {"margins": torch.cat([margin(one.q2) for one in found])}
        if found[0].q1 is not None:
            answers["first"] = torch.cat([margin(one.q1).mean(dim=1) for one in found])
        if found[0].s is not None:
            answers["supports"] = torch.cat([margin(one.s)[0] for one in found])
        return answers

    return draw


@pytest.fixture(scope="session")
def gap() -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], float]:
    """Largest difference of two sets of tensors, relative to the largest value of each."""

    def gap(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
        assert found.keys() == expected.keys()
        for name in found:
            assert found[name].shape == expected[name].shape, name
        return max(
            float((found[name] - expected[name]).abs().max() / expected[name].abs().max())
            for name in found
        )

    return gap


@pytest.fixture(scope="session")
def checkpoint_file(
    random_model: Callable[..., ARNet],
    episodes: list[RealEpisode],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The tiny model as a checkpoint, as sure of its answers as a trained one."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    model, config = random_model(seed=2), load_config(None, list(TINY))
    segmenter = TorchSegmenter(Checkpoint(model, config, {}, ""), "tiny", "cpu")
    state = segmenter.learn(episodes[0].images, episodes[0].masks)
    found = segmenter.segment(episodes[0].query, {"": state}).classes[""].probability
    margins = np.log(found / (1 - found))
    last = model.mrm.aspp.classify
    last.bias.data[1] -= float(np.median(margins))
    for parameter in (last.weight, last.bias):
        parameter.data *= 2 / float(margins.std())
    save_checkpoint(path, model, config, {})
    return path


@pytest.fixture(scope="session")
def checkpoint(checkpoint_file: Path) -> Checkpoint:
    """The same, read."""
    return load_checkpoint(checkpoint_file)


@pytest.fixture(scope="session")
def stages(checkpoint: Checkpoint) -> Stages:
    """Its stages."""
    return factorise(checkpoint.model, SIZE)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of three annotated photographs: noise with a bright square or disc."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for label in ("square", "disc"):
        (root / label).mkdir()
        for number in range(3):
            height, width = rng.integers(60, 90, 2)
            y, x = np.mgrid[:height, :width]
            cy, cx = rng.integers(25, 35, 2)
            mask = (
                (abs(y - cy) < 14) & (abs(x - cx) < 18)
                if label == "square"
                else (y - cy) ** 2 + (x - cx) ** 2 < 250
            )
            image = rng.integers(0, 120, (height, width, 3)).astype(np.uint8)
            image[mask] += 120
            Image.fromarray(image).save(root / label / f"{number}.png")
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / label / f"{number}_mask.png")
    return [root / "square", root / "disc"]


@pytest.fixture(scope="session")
def episodes(photographs: list[Path]) -> list[RealEpisode]:
    """Each of them in turn found by the two others."""
    return from_folders(photographs)


@pytest.fixture(scope="session")
def exported(
    checkpoint: Checkpoint, episodes: list[RealEpisode], tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    """The tiny model as ``arnet export`` writes it."""
    out = tmp_path_factory.mktemp("exported") / "tiny"
    return export_bundle(checkpoint, "tiny.safetensors", out, episodes, "square, disc")


@pytest.fixture(scope="session")
def graphs(exported: Exported) -> Models:
    """The graphs in it, with our own operations."""
    return {path.stem: onnx.load(path) for path in sorted(exported.path.glob("*.onnx"))}


@pytest.fixture(scope="session")
def plain_graphs(stages: Stages) -> Models:
    """The same without our own operations."""
    return export_stages(stages, custom_operators=False)


@pytest.fixture(scope="session")
def half_graphs(stages: Stages) -> Models:
    """The same in half precision."""
    return export_stages(halve(stages))


@pytest.fixture
def exports(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Checkpoint,
    episodes: list[RealEpisode],
) -> Callable[..., Exported]:
    """Exports the tiny model with graphs that exist already, or with those given."""
    from arnet.export import exporter

    def export(
        out: Path, models: Models | None = None, told=lambda *step: None, **options
    ) -> Exported:
        name = "half_graphs" if options.get("precision") == "fp16" else "graphs"
        made = models or request.getfixturevalue(name)
        monkeypatch.setattr(exporter, "export_stages", lambda *_: dict(made))
        return export_bundle(
            checkpoint,
            "tiny.safetensors",
            out,
            episodes,
            "square, disc",
            exporter.ExportOptions(**options),
            told,
        )

    return export
