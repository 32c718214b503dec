import pytest
import torch

from arnet.checkpoint import load_tensors, save_tensors
from arnet.runtime.errors import CheckpointError, ConfigError
from arnet.training.stages import build_optimizer
from arnet.training.state import FORMAT, Position, load_state, save_state

NO_SCALER = torch.amp.GradScaler("cpu", enabled=False)


def step(model, optimizer):
    for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
        parameter.grad = torch.full_like(parameter, 0.1 * (number % 7 - 3))
    optimizer.step()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_restored_optimiser_takes_the_same_next_step(
    make_model, make_config, tmp_path, optimizer
):
    config = make_config(f"train.optimizer={optimizer}")
    model = make_model()
    trained = build_optimizer(config, [p for p in model.parameters() if p.requires_grad], 0.1)
    step(model, trained)
    path = tmp_path / "state.safetensors"
    position = Position(iteration=5, stage=1, best=41.5, seconds=3.25, seen=("disc",))
    save_state(path, model, trained, config, position, NO_SCALER)
    after = {}
    step(model, trained)
    for restore in (True, False):
        other = make_model()
        saved = load_state(path, config)
        assert saved.position == position
        saved.restore_model(other)
        fresh = build_optimizer(config, [p for p in other.parameters() if p.requires_grad], 0.1)
        if restore:
            saved.restore_optimizer(other, fresh, NO_SCALER)
        step(other, fresh)
        after[restore] = other.state_dict()
    expected = model.state_dict()
    assert all(torch.equal(expected[name], after[True][name]) for name in expected)
    assert not all(torch.equal(expected[name], after[False][name]) for name in expected)


@pytest.fixture
def state(make_model, make_config, tmp_path):
    model = make_model()
    optimizer = build_optimizer(make_config(), list(model.mrm.parameters()), 0.1)
    path = tmp_path / "state.safetensors"
    save_state(path, model, optimizer, make_config(), Position(), NO_SCALER)
    return path


def test_the_scale_of_fp16_goes_on_where_it_was(make_model, make_config, tmp_path):
    """From its start it would lose a step for each halving, and end in other weights."""
    model, path = make_model(), tmp_path / "state.safetensors"
    optimizer = build_optimizer(make_config(), list(model.mrm.parameters()), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(torch.ones(1))
    scaler.update(512.0)
    save_state(path, model, optimizer, make_config(), Position(), scaler)
    fresh = torch.amp.GradScaler("cpu")
    load_state(path, make_config()).restore_optimizer(model, optimizer, fresh)
    assert fresh.get_scale() == 512 and fresh.state_dict() == scaler.state_dict()
    tensors, header = load_tensors(path, FORMAT)
    del header["scaler"]  # as states of older versions
    save_tensors(path, tensors, FORMAT, header)
    started = torch.amp.GradScaler("cpu")
    load_state(path, make_config()).restore_optimizer(model, optimizer, started)
    assert started.get_scale() == 65536


@pytest.mark.parametrize(
    "override", ["data.root=elsewhere", "data.cache=elsewhere", "train.device=auto",
                 "train.workers=3", "train.backbone_weights=moved.safetensors"]
)  # fmt: skip
def test_what_a_machine_decides_may_change(state, make_config, override):
    load_state(state, make_config(override))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["train.seed=1"], r"train\.seed"),
        (["train.stages=[{iterations: 5}]"], r"train\.stages"),
        (["model.backbone.output_stride=16"], r"model\.backbone\.output_stride"),
        (["model.dropout=0.1", "train.clip=1"], r"model\.dropout, train\.clip"),
    ],
)
def test_what_the_training_is_may_not(state, make_config, overrides, named):
    with pytest.raises(ConfigError, match=f"{named} differ") as caught:
        load_state(state, make_config(*overrides))
    assert "config.yaml" in caught.value.hint


def test_what_it_started_from_is_compared_where_the_state_says_it(state, make_config, tmp_path):
    config = make_config(f"train.init={tmp_path / 'start.safetensors'}")
    load_state(state, config)  # there is no such file
    (tmp_path / "start.safetensors").write_bytes(b"weights")
    with pytest.raises(ConfigError, match="did not start from"):
        load_state(state, config)  # it started from the backbone's weights
    tensors, header = load_tensors(state, FORMAT)
    del header["position"]["init"]  # as states of older versions
    save_tensors(state, tensors, FORMAT, header)
    assert load_state(state, config).position.init is None


def test_a_checkpoint_is_no_state(make_model, make_config, tmp_path):
    from arnet.checkpoint import save_checkpoint

    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, make_model(), make_config(), {})
    with pytest.raises(CheckpointError, match="arnet-training-state"):
        load_state(path, make_config())


def test_nothing_but_tensors_and_json_is_kept(state):
    from safetensors import safe_open

    with safe_open(state, framework="pt") as file:
        assert set(file.metadata()) == {"format", "version", "producer", "header"}
