"""What is shipped: the wheel, its modules, and a command line that starts fast."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "arnet": ROOT / "arnet",
    "arnet.export": ROOT / "export",
    "arnet.kernels": ROOT / "kernels",
    "arnet.runtime": ROOT / "runtime",
    "arnet.weights": ROOT / "weights",
}
HEAVY = ("torch", "torchvision", "onnx", "pydantic", "yaml", "safetensors")


def modules() -> dict[str, Path]:
    """Every module of the product by its import name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join((package, *parts))] = path
    return found


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs this Python in another folder, where the repository's root is not on its path."""
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)


# The distribution.


def test_pyproject_lists_every_folder_with_an_init() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    packages = [name for name, path in modules().items() if path.name == "__init__.py"]
    assert sorted(packages) == listed


def test_every_folder_with_python_files_is_a_package() -> None:
    folders = {path.parent for path in modules().values()}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    # A copy: what an earlier build left in build/ would find its way into the wheel.
    source = tmp_path_factory.mktemp("source") / "arnet"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "runs", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, source, symlinks=True, ignore=left_out)
    out = source.parent / "dist"
    options = ["--no-isolation", "--outdir", str(out)]
    finished = python("-m", "build", *options, str(source), cwd=source.parent)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def shipped() -> set[str]:
    """The files that belong into the distribution, where they lie in the wheel."""
    names = {f"{name.replace('.', '/')}.py" for name in modules()}
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    names -= {f"{name.replace('.', '/')}.py" for name in packages}
    names |= {f"{name.replace('.', '/')}/__init__.py" for name in packages}
    data = {
        f"arnet/kernels/{path.relative_to(ROOT / 'kernels')}"
        for folder in ("sources", "prebuilt")
        for path in (ROOT / "kernels" / folder).iterdir()
    }
    data |= {f"arnet/weights/{path.name}" for path in (ROOT / "weights").glob("[!_]*.*")}
    return names | data | {"arnet/py.typed"}


def test_the_wheel_holds_every_module_and_py_typed_and_nothing_else(distributions) -> None:
    _, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (licence,) = [name for name in archive.namelist() if name.endswith("/LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert names == shipped()


def test_the_sdist_holds_the_sources_and_no_tests_or_photographs(distributions) -> None:
    sdist, _ = distributions
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(path.relative_to(ROOT)) for path in modules().values()} | {"arnet/py.typed"}
    assert wanted | {"LICENSE", "README.md", "pyproject.toml"} <= names
    assert [name for name in names if name.startswith(("tests", "examples", "typings"))] == []


@pytest.fixture(scope="session")
def installed(distributions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; its dependencies are those of this one."""
    _, wheel = distributions
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False, symlinks=True)
    options = ["--python", str(home / "bin" / "python"), "install", "--no-deps", "--no-index"]
    finished = python("-m", "pip", *options, str(wheel), cwd=home)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (site,) = home.glob("lib/python*/site-packages")
    # Behind the wheel's own files, and without the hooks of an editable install beside them.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home


def test_the_installed_wheel_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    from arnet import __version__

    finished = subprocess.run(
        [installed / "bin" / "arnet", "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert finished.stdout == f"arnet {__version__}\n", finished.stderr


def test_the_installed_wheel_has_the_folders_under_one_name(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "import arnet, importlib.util as u;"
        "names = ['arnet.runtime', 'arnet.export', 'arnet.kernels', 'arnet.cli.app'];"
        "print(*[u.find_spec(name).origin for name in names], sep='\\n');"
        "print(*[u.find_spec(name) for name in ('runtime', 'export', 'kernels', 'arnet.tests')])"
    )
    finished = subprocess.run(
        [installed / "bin" / "python", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    *origins, bare = finished.stdout.splitlines()
    assert len(origins) == 4, finished.stderr
    assert all(Path(origin).is_relative_to(installed) for origin in origins)
    assert bare == "None None None None"


# The runtime without torch.


def test_the_runtime_imports_where_torch_and_its_company_are_not_installed(tmp_path: Path) -> None:
    names = [name for name in modules() if name.startswith("arnet.runtime")]
    assert len(names) > 10
    code = (
        "import importlib, sys\n"
        f"for name in {HEAVY}: sys.modules[name] = None\n"  # importing it fails
        f"for name in {names}: importlib.import_module(name)\n"
    )
    finished = python("-c", code, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr


# The command line.


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("train",),
        ("eval",),
        ("infer",),
        ("export",),
        ("parity",),
        ("bench",),
        ("kernels", "build"),
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(command: tuple[str, ...], tmp_path: Path) -> None:
    # Not pydantic: typer itself uses it for the options of a command.
    heavy = [name for name in (*HEAVY, "numpy", "PIL") if name != "pydantic"]
    code = (
        "import sys; from arnet.cli import main\n"
        f"sys.argv = ['arnet', *{command}, '--help']\n"
        "try: main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules])\n"
    )
    finished = python("-c", code, cwd=tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "[]"
    assert "Usage: arnet" in finished.stdout


def test_help_takes_little_longer_than_that_of_the_smallest_program(tmp_path: Path) -> None:
    smallest = "import typer; app = typer.Typer(); app.command()(lambda: None); app()"

    def seconds(*command: str) -> float:
        arguments = [sys.executable, *command, "--help"]
        with subprocess.Popen(arguments, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return used.ru_utime + used.ru_stime  # the processor's time: other work does not count

    found = [(seconds("-m", "arnet"), seconds("-c", smallest)) for _ in range(4)]
    ours, least = (min(times) for times in zip(*found, strict=True))
    assert ours < 1.6 * least  # 1.3 is what it takes, and NumPy would add 0.5


def test_help_names_the_commands_and_how_to_learn_more(tmp_path: Path) -> None:
    finished = python("-m", "arnet", "--help", cwd=tmp_path)
    assert finished.returncode == 0
    assert all(command in finished.stdout for command in ("train", "eval", "infer"))
    assert "arnet COMMAND --help" in finished.stdout
