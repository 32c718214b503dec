import pytest
import torch
from safetensors.torch import load_file

from arnet.devices import choose_device
from arnet.runtime.errors import ConfigError
from arnet.training.distributed import Process, join_processes
from arnet.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_are_all_of_the_batch_and_none_twice(world):
    taken = [n for rank in range(world) for n in range(8)[Process(rank, world, CPU).share(8)]]
    assert taken == list(range(8))


def test_only_one_process_writes():
    assert [Process(rank, 3, CPU).first for rank in range(3)] == [True, False, False]


def test_without_torchrun_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    with join_processes("cpu") as process:
        assert process == Process(0, 1, CPU)
        process.wait()


def test_processes_wait_for_hours_while_the_first_fills_the_cache(monkeypatch):
    given = {}
    monkeypatch.setattr(
        "torch.distributed.init_process_group", lambda *_, **options: given.update(options)
    )
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with join_processes("cpu"):
        assert given["timeout"].total_seconds() >= 12 * 3600


def test_devices(monkeypatch):
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match="no device 'gpu'") as caught:
        choose_device("gpu")
    assert "cuda" in caught.value.hint
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == CPU
    with pytest.raises(ConfigError, match="sees no GPU"):
        choose_device("cuda")


def test_devices_of_a_machine_with_two_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    assert choose_device("auto", local_rank=1) == torch.device("cuda:1")
    assert choose_device("cuda:0", local_rank=1) == torch.device("cuda:0")
    with pytest.raises(ConfigError, match=r"cuda:2.*there are 2 GPUs"):
        choose_device("cuda:2")
    with pytest.raises(ConfigError, match="there are 2 GPUs"):
        choose_device("auto", local_rank=2)


def test_a_batch_that_cannot_be_shared(make_config, tmp_path):
    with pytest.raises(ConfigError, match="cannot be shared by 3 processes"):
        Trainer(make_config(), tmp_path, Process(0, 3, CPU), None)


def weights(out):
    return load_file(out / "checkpoint.safetensors")


def largest_difference(one, other):
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_two_processes_train_as_one(make_trainer, start_training, tmp_path, read_log):
    """The same weights but for the order of additions.

    Each process takes the mean over its own pixels and the gradients are averaged, so it holds
    where every process has as many pixels that are not ignored: here no image is moved, so none is.
    """
    settings = (
        "data.augment.scale=0", "data.augment.rotate=0", "train.validate_every=2",
        "train.validate_episodes=2",
        "train.stages=[{iterations: 3}, {iterations: 3, shots: [1, 2], trainable: fusion}]",
    )  # fmt: skip
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start_training(tmp_path / "two", *settings, launcher=launcher)
    trainer = make_trainer(tmp_path / "one", *settings)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.run()
    make_trainer(tmp_path / "half", *settings, "train.batch_size=2").run()
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    one = weights(tmp_path / "one")
    assert largest_difference(one, before) > 1e-3
    assert largest_difference(one, weights(tmp_path / "two")) < 1e-5
    assert largest_difference(one, weights(tmp_path / "half")) > 1e-4
    assert [line["iteration"] for line in read_log(tmp_path / "two")] == list(range(1, 7))
