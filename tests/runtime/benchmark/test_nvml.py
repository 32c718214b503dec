"""The GPU is watched while it works: its own library is called, here one that is made up."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from arnet.runtime.benchmark.nvml import Nvml, Watch

SOURCE = """
#include <stddef.h>
static unsigned looks;
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** d) { return *d = &looks, GPUS > i ? 0 : 6; }
int nvmlDeviceGetClockInfo(void* d, int kind, unsigned* mhz) {
  return *mhz = ++looks % 2 ? 1980 : 1200, d == &looks && kind == 1 ? 0 : 2;
}
int nvmlDeviceGetTemperature(void* d, int sensor, unsigned* celsius) {
  return *celsius = 61, sensor == 0 ? 0 : 2;
}
int nvmlDeviceGetPowerUsage(void* d, unsigned* milliwatts) { return *milliwatts = 512500, 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void* d, unsigned long long* bits) {
  return *bits = looks % 2 ? 0x4 : 0x1, 0;
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory):
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")

    def make(gpus: int = 1, source: str = SOURCE) -> str:
        folder = tmp_path_factory.mktemp("nvml")
        (folder / "nvml.c").write_text(source)
        command = ["gcc", "-shared", "-fPIC", f"-DGPUS={gpus}", "nvml.c", "-o", "nvml.so"]
        subprocess.run(command, cwd=folder, check=True)
        return str(folder / "nvml.so")

    return make


def test_a_gpu_is_read(library) -> None:
    nvml = Nvml(library())
    first, second = nvml.read(), nvml.read()
    assert (first.clock, first.temperature, first.power, first.reasons) == (1980, 61, 512.5, 1)
    assert (second.clock, second.reasons) == (1200, 4)


def test_what_it_did_meanwhile_is_summed_up(library) -> None:
    with Watch(0.001, library()) as watch:
        time.sleep(0.1)
    seen = watch.summary()
    assert seen is not None and seen["samples"] == len(watch.readings) > 3
    assert seen["sm_clock_mhz"][0] == 1200 and seen["sm_clock_mhz"][2] == 1980
    assert seen["temperature_c"] == 61 and seen["power_w"] == 512.5
    assert list(seen["held_back"]) == ["software power cap"]  # to be idle is none
    assert seen["held_back"]["software power cap"] == pytest.approx(0.5, abs=0.26)
    count = len(watch.readings)
    time.sleep(0.01)
    assert len(watch.readings) == count


def test_without_a_gpu_nothing_is_seen(library, tmp_path: Path) -> None:
    for missing in (str(tmp_path / "none.so"), library(gpus=0), library(source="int x;")):
        with Watch(0.001, missing) as watch:
            time.sleep(0.005)
        assert watch.summary() is None


def test_what_an_older_driver_does_not_tell_is_none(library) -> None:
    source = SOURCE.replace("nvmlDeviceGetPowerUsage", "nvmlSomethingElse")
    reading = Nvml(library(source=source)).read()
    assert reading.power is None and reading.clock == 1980
