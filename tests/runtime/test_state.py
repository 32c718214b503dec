"""A support state is a value that is joined, saved and read back; anything else is refused."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from arnet.runtime.errors import OutputError, StateError
from arnet.runtime.state import SupportState

BUNDLE = "a" * 64


def make(shots=2, dtype=np.float32, fused=True, bundle=BUNDLE, start=0.0):
    match = (np.arange(shots * 12).reshape(shots, 3, 2, 2) + start).astype(dtype)
    per_class = {"refine": np.ones((1, 9, 3), dtype)} if fused else None
    return SupportState({"match": match, "prototype": match[:, :, 0, 0]}, per_class, bundle)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("fused", [True, False])
def test_what_is_saved_is_read(dtype, fused, tmp_path) -> None:
    state = make(3, dtype, fused)
    state.save(tmp_path / "horse.npz")
    read = SupportState.load(tmp_path / "horse.npz")
    assert (read.shots, read.bundle) == (3, BUNDLE)
    assert read.per_shot.keys() == {"match", "prototype"}
    for name, array in state.per_shot.items():
        assert read.per_shot[name].dtype == dtype
        np.testing.assert_array_equal(read.per_shot[name], array)
    assert (read.per_class is not None) == fused
    if read.per_class is not None:
        np.testing.assert_array_equal(read.per_class["refine"], np.ones((1, 9, 3)))


def test_a_state_that_fuses_nothing_is_told_from_one_that_is_not_fused(tmp_path) -> None:
    SupportState(make().per_shot, {}, BUNDLE).save(tmp_path / "a")
    assert SupportState.load(tmp_path / "a").per_class == {}


def test_saving_takes_the_name_as_it_is_and_never_leaves_a_half(tmp_path) -> None:
    make().save(tmp_path / "new" / "horse.state")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["horse.state"]
    with pytest.raises(OutputError):
        make().save(tmp_path / "new" / "horse.state" / "x")
    with pytest.raises(OutputError):
        make().save(tmp_path / "new")


def test_a_state_prints_what_it_is_without_its_values() -> None:
    assert repr(make(2)) == f"SupportState(2 shots, fused, bundle {'a' * 12})"
    assert repr(make(1, fused=False)) == f"SupportState(1 shot, not fused, bundle {'a' * 12})"


def test_adding_joins_the_shots_and_drops_what_was_fused() -> None:
    first, second = make(2), make(1, start=100.0)
    joined = first.add(second)
    assert joined.shots == 3
    assert joined.per_class is None
    np.testing.assert_array_equal(joined.per_shot["match"][:2], first.per_shot["match"])
    np.testing.assert_array_equal(joined.per_shot["match"][2:], second.per_shot["match"])
    assert first.shots == 2


def test_states_that_cannot_be_added() -> None:
    with pytest.raises(StateError, match="cannot be added"):
        make().add(make(bundle="b" * 64))
    other = SupportState({"match": np.zeros((1, 3, 2, 2), np.float32)}, None, BUNDLE)
    with pytest.raises(StateError, match="different tensors"):
        make().add(other)
    with pytest.raises(StateError, match="different tensors"):
        other.add(make())
    with pytest.raises(StateError, match="different tensors"):
        make().add(make(dtype=np.float16))


def test_its_arrays_cannot_be_written_to() -> None:
    state = make()
    with pytest.raises(ValueError, match="read-only"):
        state.per_shot["match"][0] = 1
    with pytest.raises(TypeError):
        state.per_shot["match"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("per_shot", "per_class"),
    [
        ({}, None),
        ({"a": np.zeros((0, 2), np.float32)}, None),
        ({"a": np.float32(1)[()] * np.ones((), np.float32)}, None),
        ({"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 2), np.float32)}, None),
        ({"a": np.zeros((2, 2), np.float64)}, None),
        ({"a": np.array([object()])}, None),
        ({"a": np.zeros((2, 2), np.float32)}, {"r": np.zeros((2, 2), np.float32)}),
    ],
    ids=["nothing", "no shots", "scalar", "two numbers", "double", "object", "two classes"],
)
def test_tensors_that_are_no_state(per_shot, per_class) -> None:
    with pytest.raises(StateError):
        SupportState(per_shot, per_class, BUNDLE)


# Files.


def saved(tmp_path):
    path = tmp_path / "horse.npz"
    make().save(path)
    return path


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def write(path, parts, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(name, data)
    return path


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def header(**changes) -> bytes:
    document = {"format": "arnet-state", "schema_version": 1, "bundle": BUNDLE, "fused": True}
    return npy(np.frombuffer(json.dumps(document | changes).encode(), np.uint8))


def test_every_truncation_is_refused(tmp_path) -> None:
    path = saved(tmp_path)
    data = path.read_bytes()
    for length in range(0, len(data), 37):
        path.write_bytes(data[:length])
        with pytest.raises(StateError, match="not a readable support state"):
            SupportState.load(path)


def test_a_flipped_bit_is_found(tmp_path) -> None:
    path = saved(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(5.0).tobytes())] ^= 1
    path.write_bytes(data)
    with pytest.raises(StateError, match="CRC"):
        SupportState.load(path)


def test_what_is_no_state(tmp_path) -> None:
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, a=np.zeros(3))
    (tmp_path / "text.npz").write_text("no")
    for path in (foreign, tmp_path / "text.npz", tmp_path):
        with pytest.raises(StateError, match="not a readable support state") as caught:
            SupportState.load(path)
        assert str(path) in caught.value.message
        assert caught.value.hint


def test_a_state_that_is_missing_is_not_called_damaged(tmp_path) -> None:
    with pytest.raises(StateError) as caught:
        SupportState.load(tmp_path / "hores.npz")
    assert caught.value.message == f"there is no support state {tmp_path / 'hores.npz'}"
    assert "name" in caught.value.hint


def test_a_newer_state_asks_for_an_update(tmp_path) -> None:
    parts = parts_of(saved(tmp_path)) | {"header.npy": header(schema_version=2)}
    with pytest.raises(StateError, match="schema version 2") as caught:
        SupportState.load(write(tmp_path / "newer.npz", parts.items()))
    assert "update arnet" in caught.value.hint


class Bomb:
    def __reduce__(self):
        return (print, ("unpickled",))


@pytest.mark.parametrize("place", ["header.npy", "shot/match.npy", "class/refine.npy"])
def test_nothing_is_unpickled(place, tmp_path, capsys) -> None:
    pickled = npy(np.array([Bomb(), Bomb()]), allow_pickle=True)
    assert pickle.loads(pickled[pickled.index(b"\n") + 1 :]) is not None  # the bomb works
    assert capsys.readouterr().out
    parts = parts_of(saved(tmp_path)) | {place: pickled}
    with pytest.raises(StateError):
        SupportState.load(write(tmp_path / "bomb.npz", parts.items()))
    assert not capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"header.npy": header(format="other")},
        {"header.npy": header(fused=1)},
        {"header.npy": header(fused=False)},
        {"header.npy": header(bundle=None)},
        {"header.npy": header(schema_version=True)},
        {"header.npy": npy(np.frombuffer(b"[]", np.uint8))},
        {"shot/match.npy": npy(np.zeros((2, 3), np.float64))},
        {"shot/match.npy": npy(np.zeros((2, 3), ">f4"))},
        {"shot/match.npy": npy(np.zeros((2, 3), np.float32), version=(2, 0))},
        {"shot/match.npy": npy(np.asfortranarray(np.zeros((2, 3), np.float32)))},
        {"shot/match.npy": npy(np.zeros((3, 3), np.float32))},
        {"shot/match.npy": npy(np.zeros((2, 3), np.float32))[:-4]},
        {"shot/match.npy": npy(np.zeros((2, 3), np.float32)) + b"\0"},
        {"other.npy": npy(np.zeros((2, 3), np.float32))},
    ],
    ids=str,
)
def test_parts_that_do_not_belong_there(change, tmp_path) -> None:
    parts = parts_of(saved(tmp_path)) | change
    with pytest.raises(StateError):
        SupportState.load(write(tmp_path / "changed.npz", parts.items()))


def test_a_shape_that_claims_far_more_than_there_is(tmp_path) -> None:
    honest = npy(np.zeros((2, 3), np.float32))
    claimed = honest.replace(b"(2, 3), }      ", b"(2, 3000000), }")
    assert len(claimed) == len(honest) and claimed != honest
    parts = parts_of(saved(tmp_path)) | {"shot/match.npy": claimed}
    with pytest.raises(StateError, match="the size of a tensor"):
        SupportState.load(write(tmp_path / "claims.npz", parts.items()))


def test_a_compressed_state_is_refused_before_it_is_unpacked(tmp_path, monkeypatch) -> None:
    parts = parts_of(saved(tmp_path)) | {"shot/match.npy": bytes(64 << 20)}
    path = write(tmp_path / "bomb.npz", parts.items(), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(StateError):
        SupportState.load(path)


def test_a_compressed_state_is_refused_even_if_it_is_small(tmp_path) -> None:
    match = np.random.default_rng(0).random((2, 50)).astype(np.float32)
    SupportState({"match": match}, None, BUNDLE).save(tmp_path / "a.npz")
    parts = parts_of(tmp_path / "a.npz").items()
    assert SupportState.load(write(tmp_path / "stored.npz", parts)).shots == 2
    with pytest.raises(StateError, match="compressed"):
        SupportState.load(write(tmp_path / "deflated.npz", parts, zipfile.ZIP_DEFLATED))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_parts_of_one_name(tmp_path) -> None:
    parts = [*parts_of(saved(tmp_path)).items(), ("shot/match.npy", npy(np.zeros((2, 3), "f4")))]
    with pytest.raises(StateError, match="twice"):
        SupportState.load(write(tmp_path / "twice.npz", parts))
