"""Bundles that the tests make themselves, and photographs of coloured squares."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

# The helpers beside this file are imported by their bare names.
sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module ``tiny_bundle``; tests that need it are skipped where onnx is not installed."""
    pytest.importorskip("onnx")
    import tiny_bundle

    return tiny_bundle


@pytest.fixture(scope="session")
def shared_bundle(tiny, tmp_path_factory) -> Path:
    """The folder of a bundle, for tests that only read it."""
    return tiny.make_bundle(tmp_path_factory.mktemp("shared") / "tiny")


@pytest.fixture
def bundle_folder(tiny, tmp_path) -> Path:
    """The folder of a bundle that may be damaged."""
    return tiny.make_bundle(tmp_path / "tiny")


@pytest.fixture
def make_bundle(tiny, tmp_path):
    """Makes a bundle; see ``tiny_bundle.make_bundle``."""
    return lambda name="tiny", **options: tiny.make_bundle(tmp_path / name, name=name, **options)


@pytest.fixture
def make_zip(tmp_path):
    """Zips the files of a bundle, without compression."""

    def make(folder: Path, name: str = "bundle.zip") -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(folder.iterdir()):
                archive.write(file, file.name)
        return path

    return make


@pytest.fixture
def photograph():
    """A grey photograph with a coloured square, and the square's mask."""

    def make(
        colour: tuple[int, int, int], corner: tuple[int, int] = (10, 20), size=(80, 100)
    ) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(corner[0])
        image = rng.integers(120, 136, (*size, 3)).astype(np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[corner[0] : corner[0] + 40, corner[1] : corner[1] + 40] = 1
        image[mask == 1] = colour
        return image, mask

    return make


@pytest.fixture
def edit_manifest():
    """Changes the JSON of a manifest in place; with ``rehash`` the files are listed anew."""

    def edit(folder: Path, change=lambda document: None, rehash: bool = False) -> Path:
        path = folder / "manifest.json"
        document = json.loads(path.read_text())
        change(document)
        if rehash:
            files = sorted(file for file in folder.iterdir() if file != path)
            document["files"] = {
                file.name: {
                    "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                    "bytes": file.stat().st_size,
                }
                for file in files
            }
        path.write_text(json.dumps(document))
        return folder

    return edit


@pytest.fixture(scope="session")
def segmenter(shared_bundle):
    """A segmenter of the shared bundle, for tests that do not close it."""
    pytest.importorskip("onnxruntime")
    from arnet.runtime.segmenter import Segmenter

    return Segmenter.load(shared_bundle, threads=1)


@pytest.fixture
def learn(photograph):
    """Learns a colour from photographs of squares."""

    def learn(segmenter, colour, shots=2):
        pairs = [photograph(colour, (10 + 9 * n, max(30 - 9 * n, 0))) for n in range(shots)]
        return segmenter.learn([image for image, _ in pairs], [mask for _, mask in pairs])

    return learn
