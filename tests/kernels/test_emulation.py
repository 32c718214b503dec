"""The emulation finds the faults that it is there for; the kernels have none of them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from cases import CASES
from emulator import FAULTS, Sanitized, bfloat16, guarded

from arnet.kernels.catalogue import KERNELS
from arnet.kernels.compile import FOLDER


def launch(emulator, entry: str, seed: int = 0) -> tuple[str | None, np.ndarray]:
    values, result = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
    error = emulator("faults").launch(entry, (1, 1, 1), (64, 1, 1), [values, result], seed)
    return error, result


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_a_correct_kernel_passes_in_every_order(seed: int, emulator) -> None:
    error, result = launch(emulator, "correct", seed)
    assert error is None
    np.testing.assert_array_equal(result, np.arange(64)[::-1])


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_shared_memory_that_was_not_written_reads_as_nan(seed: int, emulator) -> None:
    launch(emulator, "correct")  # would leave the right values behind
    error, result = launch(emulator, "no_barrier", seed)
    assert error is None
    assert np.isnan(result).any()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("divergent_barrier", "not all threads reach"),
        ("divergent_shuffle", "has returned"),
        ("two_barriers", "different barriers"),
    ],
)
def test_a_barrier_that_threads_miss_is_found(entry: str, message: str, emulator) -> None:
    error, _ = launch(emulator, entry)
    assert error is not None and message in error


def test_the_order_of_the_threads_follows_the_seed(emulator) -> None:
    first, again, other = (launch(emulator, "no_barrier", seed)[1] for seed in (1, 1, 7))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(np.isnan(first), np.isnan(other))


# Races.


@pytest.fixture(scope="session")
def sanitizer(gcc: str, tmp_path_factory: pytest.TempPathFactory):
    if shutil.which("setarch") is None:
        pytest.skip("setarch is not installed")
    folder = tmp_path_factory.mktemp("sanitized")
    sane = Sanitized(FAULTS, "correct", folder)
    values = np.arange(64, dtype=np.float32)
    if sane.run((1, 1, 1), (64, 1, 1), [values, values]).returncode != 0:
        pytest.skip("ThreadSanitizer does not run here")
    return folder


def test_a_planted_race_is_found(sanitizer) -> None:
    values = np.arange(64, dtype=np.float32)
    racing = Sanitized(FAULTS, "no_barrier", sanitizer)
    finished = racing.run((1, 1, 1), (64, 1, 1), [values, values])
    assert finished.returncode != 0
    assert "data race" in finished.stderr and "faults.cu" in finished.stderr


# Those with shared memory, and enough work for every warp, every path and a second round of its
# use.
SHARING = [
    ("masked_pool", "23x"),
    ("masked_pool_resized", "11x"),
    ("masked_pool_nhwc", "23x"),
    ("forget_enhance", "25x"),
    ("forget_enhance", "7x16"),
    ("preprocess", "3x1100"),
    ("preprocess", "200x620"),
]


@pytest.mark.parametrize(("name", "label"), SHARING)
def test_a_kernel_has_no_races(name: str, label: str, sanitizer) -> None:
    spec = KERNELS[name]
    case = next(c for c in CASES if c.kernel == name and c.label.startswith(label))
    plan = spec.plan("bfloat16", [array.shape for array in case.inputs], **case.parameters)
    inputs = [
        bfloat16(array) if spec.dtype(tensor, "bfloat16") == "bfloat16" else array
        for array, tensor in zip(case.inputs, spec.inputs, strict=True)
    ]
    program = Sanitized(FOLDER / f"{spec.source}.cu", plan.entry, sanitizer)
    finished = program.run(plan.grid, plan.block, [*inputs, *plan.extras, guarded(plan)[0]])
    assert (finished.returncode, finished.stderr) == (0, "")


def test_every_kernel_with_shared_memory_is_checked_for_races() -> None:
    sharing = {
        spec.name
        for spec in KERNELS.values()
        if "__shared__" in (FOLDER / f"{spec.source}.cu").read_text()
    }
    assert sharing == {name for name, _ in SHARING}
