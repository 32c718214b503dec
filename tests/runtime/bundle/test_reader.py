"""A bundle is opened only if every file is the one its manifest describes."""

import hashlib
import os
import shutil
import stat
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from arnet.runtime.bundle import Bundle
from arnet.runtime.errors import BundleError


def test_a_folder_and_its_zip_are_the_same_bundle(shared_bundle, make_zip) -> None:
    folder, zipped = Bundle.open(shared_bundle), Bundle.open(make_zip(shared_bundle))
    assert folder.manifest == zipped.manifest
    assert folder.sha256 == zipped.sha256
    assert (
        folder.sha256 == hashlib.sha256((shared_bundle / "manifest.json").read_bytes()).hexdigest()
    )
    for name in folder.manifest.files:
        assert folder.read(name) == zipped.read(name) == (shared_bundle / name).read_bytes()


def test_a_compressed_zip_is_read_too(shared_bundle, tmp_path) -> None:
    path = shutil.make_archive(str(tmp_path / "deflated"), "zip", shared_bundle)
    assert Bundle.open(path).sha256 == Bundle.open(shared_bundle).sha256


def test_a_file_that_is_not_listed_is_not_read(shared_bundle) -> None:
    with pytest.raises(BundleError, match=r"holds no manifest\.json"):
        Bundle.open(shared_bundle).read("manifest.json")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "bytes; the manifest says"),
        (lambda data: b"", "bytes; the manifest says"),
        (lambda data: data + b"\0", "bytes; the manifest says"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "is not the file"),
    ],
    ids=["truncated", "empty", "longer", "edited"],
)
def test_a_file_that_was_changed(damage, message, zipped, bundle_folder, make_zip) -> None:
    path = bundle_folder / "decode.onnx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BundleError, match=f"decode.onnx .*{message}") as caught:
        Bundle.open(make_zip(bundle_folder) if zipped else bundle_folder)
    assert "again" in caught.value.hint


def test_a_file_that_is_changed_after_the_bundle_was_opened(bundle_folder) -> None:
    bundle = Bundle.open(bundle_folder)
    path = bundle_folder / "decode.onnx"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BundleError, match="is not the file"):
        bundle.read("decode.onnx")
    assert bundle.read("preprocess.onnx")


@pytest.mark.parametrize("zipped", [False, True])
def test_a_missing_file(zipped, bundle_folder, make_zip) -> None:
    (bundle_folder / "MODEL_CARD.md").unlink()
    with pytest.raises(BundleError, match=r"has no MODEL_CARD\.md, which the manifest lists"):
        Bundle.open(make_zip(bundle_folder) if zipped else bundle_folder)


def test_the_schema_is_checked_before_the_files(bundle_folder, edit_manifest) -> None:
    (bundle_folder / "decode.onnx").unlink()
    edit_manifest(bundle_folder, lambda document: document.update(schema_version=2, new=1))
    with pytest.raises(BundleError, match="schema version 2") as caught:
        Bundle.open(bundle_folder)
    assert "update arnet" in caught.value.hint


def test_what_is_no_bundle(tmp_path) -> None:
    (tmp_path / "file.onnx").write_bytes(b"onnx")
    (tmp_path / "folder").mkdir()
    zipfile.ZipFile(tmp_path / "empty.zip", "w").close()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("file.onnx", "neither the folder nor the zip"),
        ("folder", r"no manifest\.json"),
        ("empty.zip", r"no manifest\.json"),
        ("absent", "there is no bundle"),
        ("pipe", "there is no bundle"),
    ):
        with pytest.raises(BundleError, match=message) as caught:
            Bundle.open(tmp_path / name)
        assert caught.value.hint


def test_what_an_interrupted_export_left_behind_is_no_bundle(bundle_folder, tmp_path) -> None:
    temporary = bundle_folder.rename(tmp_path / ".tiny.tmp")
    with pytest.raises(BundleError, match="interrupted export"):
        Bundle.open(temporary)
    (temporary / "manifest.json").unlink()
    with pytest.raises(BundleError, match="interrupted"):
        Bundle.open(temporary.rename(tmp_path / "tiny"))


def test_a_manifest_that_is_a_folder_or_far_too_large(bundle_folder) -> None:
    path = bundle_folder / "manifest.json"
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # no bytes on the disk: it must not be read to its end
    with pytest.raises(BundleError, match="has more than"):
        Bundle.open(bundle_folder)
    path.unlink()
    path.mkdir()
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        Bundle.open(bundle_folder)


def test_other_files_are_ignored_in_a_folder_and_refused_in_a_zip(bundle_folder, make_zip) -> None:
    (bundle_folder / "note.txt").write_text("mine")
    bundle = Bundle.open(bundle_folder)
    with pytest.raises(BundleError, match="holds no"):
        bundle.read("note.txt")
    with pytest.raises(BundleError, match=r"note\.txt, which the manifest does not list"):
        Bundle.open(make_zip(bundle_folder))


# Zips that were made to do harm.


def rewrite(path, change=lambda entry: None, extra=()):
    """Writes a zip again, its entries changed and others added."""
    with zipfile.ZipFile(path) as archive:
        parts = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in (*parts, *extra):
            entry = zipfile.ZipInfo(name)
            change(entry)
            archive.writestr(entry, data)
    return path


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "a/../../b", "C:\\windows", "C:/windows", "a\\b", "a//b"]
)
def test_a_zip_with_a_name_that_leaves_it(name, shared_bundle, make_zip) -> None:
    path = rewrite(make_zip(shared_bundle), extra=[(name, b"")])
    with pytest.raises(BundleError, match="not the name of a file inside a bundle") as caught:
        Bundle.open(path)
    assert "Do not use" in caught.value.hint


def test_a_zip_with_a_link(shared_bundle, make_zip) -> None:
    def link(entry):
        if entry.filename == "MODEL_CARD.md":
            entry.create_system = 3
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(BundleError, match="link"):
        Bundle.open(rewrite(make_zip(shared_bundle), link))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_zip_with_two_files_of_one_name(shared_bundle, make_zip) -> None:
    path = rewrite(make_zip(shared_bundle), extra=[("MODEL_CARD.md", b"other")])
    with pytest.raises(BundleError, match="twice"):
        Bundle.open(path)


def test_a_zip_of_the_folder_instead_of_its_files(shared_bundle, tmp_path) -> None:
    path = shutil.make_archive(str(tmp_path / "b"), "zip", shared_bundle.parent, shared_bundle.name)
    with pytest.raises(BundleError, match=r"no manifest\.json") as caught:
        Bundle.open(path)
    assert "not of the folder" in caught.value.hint


def test_an_encrypted_zip(shared_bundle, make_zip) -> None:
    path = make_zip(shared_bundle)
    data = bytearray(path.read_bytes())
    start = data.index(b"PK\x01\x02")
    data[start + 8] |= 1  # the flag in the directory's first entry
    path.write_bytes(data)
    with pytest.raises(BundleError, match="encrypted"):
        Bundle.open(path)


def test_a_method_of_compression_that_is_not_known(shared_bundle, make_zip) -> None:
    path = make_zip(shared_bundle)

    def compress(entry):
        entry.compress_type = zipfile.ZIP_LZMA

    with pytest.raises(BundleError, match="another method than deflate"):
        Bundle.open(rewrite(path, compress))


@pytest.mark.parametrize("told", [True, False], ids=["size told", "size lied about"])
def test_a_zip_that_unpacks_to_far_more_than_it_says(
    told, shared_bundle, make_zip, monkeypatch
) -> None:
    path = make_zip(shared_bundle)
    zeros = 256 << 20
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    honest = len(parts["decode.onnx"])
    parts["decode.onnx"] = bytes(zeros)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    assert path.stat().st_size < 1 << 20
    if not told:
        # Both headers claim the size of the manifest.
        data = path.read_bytes().replace(zeros.to_bytes(4, "little"), honest.to_bytes(4, "little"))
        path.write_bytes(data)
    read = []
    original = zipfile.ZipExtFile.read

    def counted(self, n=-1):
        chunk = original(self, n)
        read.append(len(chunk))
        return chunk

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    with pytest.raises(BundleError):
        Bundle.open(path)
    assert sum(read) < 1 << 20


def test_a_damaged_compressed_zip(shared_bundle, tmp_path) -> None:
    path = Path(shutil.make_archive(str(tmp_path / "deflated"), "zip", shared_bundle))
    data = path.read_bytes()
    for start in range(60, len(data), 97):
        path.write_bytes(
            data[:start] + bytes(255 - b for b in data[start : start + 20]) + data[start + 20 :]
        )
        with suppress(BundleError):  # and nothing else; damage to a date does not matter
            Bundle.open(path)


def test_a_damaged_zip(shared_bundle, make_zip) -> None:
    path = make_zip(shared_bundle)
    data = path.read_bytes()
    for damaged in (data[: len(data) // 2], data[:-30], data[100:], b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(BundleError):
            Bundle.open(path)
    assert len(list(path.parent.iterdir())) == 1  # nothing was unpacked
