"""``arnet bench``: a table, a file, a picture, and no traceback for bad input."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Fails = Callable[..., str]
QUICK = ("--duration", "0", "--min-samples", "2", "--engine", "onnx")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of hand-made graphs."""
    pytest.importorskip("onnx")
    path = Path(__file__).parents[1] / "runtime" / "tiny_bundle.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def bench(run, bundle: Path, support: Path, query: Path):
    """Runs ``arnet bench`` on a bundle and two photographs."""

    def bench(*options: object):
        arguments = (bundle, "--support", support, "--query", query, *QUICK)
        finished = run("bench", *arguments, *options)
        assert finished.code == 0, finished.err
        return finished

    return bench


def test_the_table_has_all_scenarios_and_the_last_line_is_the_next_command(
    bench, tmp_path: Path
) -> None:
    finished = bench("--json", tmp_path / "bench.json", "--classes", "1,2")
    for shots in ("1 shot", "5 shots"):
        for classes in ("1 class", "2 classes"):
            for scenario in ("support", "query", "episode"):
                assert f"{scenario}, {shots}, {classes}" in finished.out
    assert "n/a (n=2)" in finished.out
    assert "encode_image" in finished.out
    assert "note: 5 shots, but 1 annotated photograph: supports repeat" in finished.out
    assert "note: 2 classes, but 1 in the support folder" in finished.out
    assert "warning: 2 samples are too few for p90: --min-samples 64" in finished.out
    assert "GPU          " in finished.out
    last = finished.out.splitlines()[-1]
    assert last == f"Next: arnet bench --plot {tmp_path}/bench.json --out {tmp_path}/bench.png"


def test_in_a_narrow_terminal_no_number_is_cut_short(bench, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    finished = bench("--json", tmp_path / "bench.json")
    _, _, tables = finished.out.partition("latency")
    assert "…" not in tables
    assert "(n=2)" in tables


def test_the_file_has_the_exact_command_the_samples_and_the_memory(
    bench, bundle: Path, tmp_path: Path
) -> None:
    finished = bench("--json", tmp_path / "bench.json", "--shots", "2", "--threads", "1")
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["command"].startswith(f"arnet bench {bundle} --support ")
    assert document["command"].endswith(f"--json {tmp_path}/bench.json --shots 2 --threads 1")
    assert f"command      {document['command']}" in finished.out
    assert [len(m["seconds"]) for m in document["measurements"]] == [2, 2, 2]
    (record,) = document["contenders"]
    assert record["name"] == "bundle"
    assert record["description"]["threads"] == 1
    assert record["memory"]["query"] > 2**20


def test_the_next_command_draws_the_picture(bench, run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    last = bench("--json", tmp_path / "bench.json").out.splitlines()[-1]
    finished = run(*last.split()[2:])
    assert finished.code == 0, finished.err
    assert f"Drawn to {tmp_path}/bench.png" in finished.out
    with Image.open(tmp_path / "bench.png") as image:
        assert image.size > (500, 300)


def test_a_result_is_drawn_at_once_when_a_picture_is_asked_for(bench, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    finished = bench("--out", tmp_path / "bench.png", "--shots", "1", "--scenario", "query")
    assert (tmp_path / "bench.png").is_file()
    assert "support, 1 shot" not in finished.out


def test_noise_is_labelled_as_noise(run, bundle: Path) -> None:
    finished = run("bench", bundle, "--synthetic", "--shots", "1", "--scenario", "query", *QUICK)
    assert finished.code == 0, finished.err
    assert finished.out.startswith("note: SYNTHETIC: every photograph is noise.")
    assert "noise, no photographs" in finished.out
    assert "mIoU" not in finished.out


def test_reading_the_files_can_be_timed(bench) -> None:
    options = ("--shots", "1", "--scenario", "query")
    assert " read " not in bench(*options).out
    finished = bench(*options, "--decode")
    assert " read " in finished.out
    assert "from the photograph's file to the mask" in finished.out


def test_leave_one_out_scores_the_bundle(bench, support: Path) -> None:
    for suffix in ("", "_mask"):
        shutil.copy(support / f"a{suffix}.png", support / f"b{suffix}.png")
    finished = bench("--shots", "1", "--scenario", "query")
    assert "each of the 2 annotated photographs left out in turn" in finished.out


def test_the_bundle_is_compared_with_the_model_by_other_means(
    bench, bundle: Path, checkpoint: Path, support: Path, tmp_path: Path
) -> None:
    """The bundle of hand-made graphs is another model: what is compared must show it."""
    for suffix in ("", "_mask"):
        shutil.copy(support / f"a{suffix}.png", support / f"b{suffix}.png")
    against = ("--checkpoint", checkpoint, "--against", "onnx-whole,torch")
    options = ("--shots", "1", "--scenario", "query", "--json", tmp_path / "bench.json")
    finished = bench(*against, *options)
    document = json.loads((tmp_path / "bench.json").read_text())
    records = {record["name"]: record for record in document["contenders"]}
    assert list(records) == ["bundle", "onnx-whole", "torch"]
    assert document["reference"] == "torch"
    assert records["bundle"]["accuracy"]["largest_difference"] > 0.1
    # The model as drawn computes what torch computes, on the bundle's side of the image.
    assert records["onnx-whole"]["accuracy"]["largest_difference"] < 1e-3
    assert records["torch"]["description"]["input_size"] == 33
    assert records["torch"]["memory"]["query"] > records["bundle"]["memory"]["query"]
    assert "onnx-whole *" in finished.out
    assert "times the bundle's" in finished.out
    assert "is not what the bundle was exported from" in finished.out


def test_our_kernels_in_torch_are_taken_apart(
    bench, checkpoint: Path, support: Path, tmp_path: Path
) -> None:
    against = ("--checkpoint", checkpoint, "--against", "torch,torch-kernels", "--ablate")
    options = ("--shots", "1", "--scenario", "query", "--json", tmp_path / "bench.json")
    bench(*against, *options)
    document = json.loads((tmp_path / "bench.json").read_text())
    records = {record["name"]: record for record in document["contenders"]}
    assert list(records)[:4] == ["bundle", "torch", "torch-kernels", "no masked_pool"]
    assert {"no kernels", "no graphs", "a graph per stage"} <= records.keys()
    assert records["no kernels"]["description"]["kernels"] == "none"
    for name in list(records)[2:]:
        assert records[name]["accuracy"]["largest_difference"] < 1e-3, name
    assert records["bundle"]["accuracy"]["largest_difference"] > 0.1  # another model


def test_the_command_names_every_reference() -> None:
    from arnet.cli.bench import AGAINST
    from arnet.export.references import NAMES

    assert AGAINST == NAMES


# Bad input.


@pytest.fixture
def bench_fails(fails: Fails, bundle: Path, support: Path, query: Path) -> Fails:
    def bench_fails(*options: object) -> str:
        return fails("bench", bundle, "--support", support, "--query", query, *QUICK, *options)

    return bench_fails


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shots", "0"), "--shots 0: whole numbers from 1"),
        (("--shots", "1,two"), "--shots 1,two: whole numbers"),
        (("--classes", "1,"), "--classes 1,: whole numbers"),
        (("--scenario", "query,train"), "there is no 'train'"),
        (("--engine", "abacus"), "there is no engine 'abacus'"),
        (("--synthetic",), "in place of --support and --query"),
        (("--ablate",), "--ablate takes torch-kernels apart"),
        (("--against", "torch"), "--against torch needs the checkpoint"),
        (("--against", "torch,tpu", "--checkpoint", "c"), "there is no 'tpu'"),
        (("--json", "."), ". is a folder"),
        (("--out", "bench.docx"), "no picture is written"),
        (("--checkpoint", "none.safetensors"), "there is no checkpoint none.safetensors"),
    ],
)
def test_a_wrong_option_is_told_with_what_would_be_right(
    bench_fails: Fails, options: tuple[str, ...], message: str
) -> None:
    assert message in bench_fails(*options)


def test_a_bundle_or_photographs_that_are_not_there_are_told(
    fails: Fails, bundle: Path, support: Path, query: Path, tmp_path: Path
) -> None:
    photographs = ("--support", support, "--query", query)
    assert "there is no bundle to measure" in fails("bench", *photographs)
    assert str(tmp_path / "none") in fails("bench", tmp_path / "none", *photographs)
    assert "there is no --support" in fails("bench", bundle, "--query", query)
    assert "there is no --query" in fails("bench", bundle, "--support", support)
    empty = tmp_path / "empty"
    empty.mkdir()
    message = fails("bench", bundle, "--support", support, "--query", empty)
    assert "holds no images" in message
    message = fails("bench", bundle, "--synthetic", "--decode")
    assert "noise is in no file" in message


@pytest.mark.parametrize("module", ["torch", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_them_all(
    module: str, bench_fails: Fails, checkpoint: Path, monkeypatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = bench_fails("--against", "torch", "--checkpoint", checkpoint)
    assert f"needs {module}" in message and "pip install '.[export]'" in message


def test_what_is_no_result_is_not_drawn(fails: Fails, bundle: Path, tmp_path: Path) -> None:
    picture = tmp_path / "bench.png"
    message = fails("bench", "--plot", bundle / "manifest.json", "--out", picture)
    assert "its format is 'arnet-bundle'" in message
    assert "cannot be read" in fails("bench", "--plot", tmp_path / "none.json", "--out", picture)
    message = fails("bench", bundle, "--plot", bundle / "manifest.json", "--out", picture)
    assert "a bundle was given to be measured" in message
    assert not picture.exists()


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from arnet.cli import main\n"
        "sys.argv = ['arnet', 'bench', '--help']\n"
        "try: main()\n"
        "finally: print([n for n in ('numpy', 'PIL', 'torch', 'onnxruntime', 'matplotlib') "
        "if n in sys.modules])\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "[]"
    assert "Usage: arnet bench" in finished.stdout
