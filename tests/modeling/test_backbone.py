import copy
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from arnet.checkpoint import load_checkpoint
from arnet.config import BackboneConfig
from arnet.config_file import load_config
from arnet.modeling import Backbone, load_backbone_weights
from arnet.runtime import shipped
from arnet.runtime.errors import CheckpointError, ConfigError

SMALL = BackboneConfig(name="resnet18")
IMAGES = torch.randn(1, 3, 65, 65, generator=torch.Generator().manual_seed(0))


def up_to_layer3(resnet, images):
    with torch.no_grad():
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(images))))
        second = resnet.layer2(resnet.layer1(x))
        return torch.cat([second, resnet.layer3(second)], dim=1)


def resnet(name):
    """torchvision's, dilated its own way, with statistics that are not 0 and 1."""
    torch.manual_seed(0)
    resnet = torchvision.models.get_model(
        name, weights=None, replace_stride_with_dilation=[False, True, False]
    )
    for module in resnet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return resnet.eval()


@pytest.fixture(scope="module")
def resnet50():
    return resnet("resnet50")


def filled(config, weights):
    backbone = Backbone(config)
    backbone.load_state_dict(weights, strict=False)
    return backbone


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_output_stride_8_is_torchvisions_dilation(name):
    network = resnet(name)
    backbone = filled(BackboneConfig(name), network.state_dict())
    features = backbone(IMAGES)
    assert features.shape == (1, 1536, 9, 9)
    torch.testing.assert_close(features, up_to_layer3(network, IMAGES))
    # Negative control: the same weights without the dilation.
    for module in backbone.layer3.modules():
        if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation, module.padding = (1, 1), (1, 1)
    assert not torch.allclose(backbone(IMAGES), features, atol=1e-2)


def test_stride_in_1x1_moves_the_stride(resnet50):
    backbone = filled(BackboneConfig(stride_in_1x1=True), resnet50.state_dict())
    block, usual = backbone.layer2[0], Backbone(BackboneConfig()).layer2[0]
    assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
    assert (usual.conv1.stride, usual.conv2.stride) == ((1, 1), (2, 2))
    features = backbone(IMAGES)
    assert features.shape == (1, 1536, 9, 9)
    usually = up_to_layer3(resnet50, IMAGES)
    assert not torch.allclose(features, usually, atol=1e-2)
    moved = copy.deepcopy(resnet50)
    moved.layer2[0].conv1.stride, moved.layer2[0].conv2.stride = (2, 2), (1, 1)
    torch.testing.assert_close(features, up_to_layer3(moved, IMAGES))


def test_stride_in_1x1_also_at_output_stride_16():
    third = Backbone(BackboneConfig(stride_in_1x1=True, output_stride=16)).layer3[0]
    assert (third.conv1.stride, third.conv2.stride) == ((2, 2), (1, 1))


def test_stride_in_1x1_needs_bottlenecks():
    with pytest.raises(ConfigError, match="bottlenecks"):
        Backbone(BackboneConfig(name="resnet18", stride_in_1x1=True))


@pytest.mark.parametrize(
    ("layers", "channels"), [(("layer2", "layer3"), 384), (("layer2",), 128), (("layer3",), 256)]
)
@pytest.mark.parametrize(("stride", "size"), [(8, 9), (16, 9)])
def test_shapes(layers, channels, stride, size):
    backbone = Backbone(BackboneConfig("resnet18", stride, layers=layers))
    assert backbone.channels == channels
    if layers != ("layer2",) and stride == 16:
        size = 5
    assert backbone(IMAGES).shape == (1, channels, size, size)


def test_running_statistics_do_not_move_in_training():
    backbone = Backbone(SMALL).train()
    assert not any(module.training for module in backbone.modules())
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone(IMAGES + 3)
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    # Negative control: torchvision's do move.
    resnet = torchvision.models.resnet18(weights=None).train()
    resnet(IMAGES.repeat(2, 1, 1, 1) + 3)
    assert not torch.equal(resnet.bn1.running_mean, torch.zeros(64))


def test_weights_are_frozen():
    backbone = Backbone(SMALL)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not backbone(IMAGES.clone().requires_grad_()).requires_grad


@pytest.fixture
def weights(tmp_path):
    """A file of ResNet-18 weights; a function of its metadata."""

    def write(metadata=None):
        torch.manual_seed(3)
        path = tmp_path / "weights.safetensors"
        state = torchvision.models.resnet18(weights=None).state_dict()
        save_file(state, path, metadata)
        return path, state

    return write


def test_weights_are_read_and_the_classifier_passed_over(weights):
    backbone = Backbone(SMALL)
    path, state = weights()
    assert not torch.equal(backbone.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    load_backbone_weights(backbone, SMALL, str(path))
    assert torch.equal(backbone.layer3[1].conv2.weight, state["layer3.1.conv2.weight"])
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_random_leaves_the_backbone_as_it_is():
    backbone = Backbone(SMALL)
    before = backbone.conv1.weight.clone()
    load_backbone_weights(backbone, SMALL, "random")
    assert torch.equal(backbone.conv1.weight, before)


def test_metadata_about_the_stride_must_agree(weights):
    load_backbone_weights(Backbone(SMALL), SMALL, str(weights({"stride_in_1x1": "false"})[0]))
    path, _ = weights({"stride_in_1x1": "true"})
    with pytest.raises(ConfigError, match="stride_in_1x1=true") as caught:
        load_backbone_weights(Backbone(SMALL), SMALL, str(path))
    assert caught.value.hint == "set model.backbone.stride_in_1x1=true"


@pytest.mark.parametrize("given", ["arnet-r18", "path"])
def test_the_backbone_of_a_checkpoint_is_taken(given):
    path = shipped.FOLDER / "arnet-r18.safetensors"
    backbone = Backbone(SMALL)
    load_backbone_weights(backbone, SMALL, given if given == "arnet-r18" else str(path))
    expected = load_checkpoint(path).model.backbone.state_dict()
    found = backbone.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert found["conv1.weight"].dtype == torch.float32


def test_the_backbone_of_a_checkpoint_must_be_of_the_same_kind():
    large = BackboneConfig()
    with pytest.raises(ConfigError, match="says stride_in_1x1=true") as caught:
        load_backbone_weights(Backbone(large), large, "arnet-r50")
    assert caught.value.hint == "set model.backbone.stride_in_1x1=true"
    with pytest.raises(ConfigError, match="says name=resnet18, the configuration says resnet50"):
        load_backbone_weights(Backbone(large), large, "arnet-r18")


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet101"])
def test_what_the_hint_for_missing_weights_names_works(name):
    with pytest.raises(CheckpointError, match="no backbone weights at absent") as caught:
        load_backbone_weights(Backbone(SMALL), BackboneConfig(name), "absent")
    named = [word for word in caught.value.hint.split() if "=" in word]
    assert bool(named) == (name != "resnet101"), "none of its size comes with arnet"
    config = load_config(None, [f"model.backbone.name={name}", *named])
    if named:
        backbone = Backbone(config.model.backbone)
        load_backbone_weights(backbone, config.model.backbone, config.train.backbone_weights)


def test_weights_of_another_architecture(weights):
    large = BackboneConfig()
    with pytest.raises(CheckpointError, match="do not fit") as caught:
        load_backbone_weights(Backbone(large), large, str(weights()[0]))
    assert "model.backbone.name" in caught.value.hint
    path, state = weights()
    save_file({**state, "conv1.weight": torch.zeros(64, 1, 7, 7)}, path)
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors .* conv1\.weight"):
        load_backbone_weights(Backbone(SMALL), SMALL, str(path))


def test_weights_of_a_deeper_architecture(tmp_path):
    """A ResNet-101 has every tensor of a ResNet-50 in the same shape, and more blocks."""
    path = tmp_path / "deeper.safetensors"
    deeper = BackboneConfig("resnet101")
    save_file(torchvision.models.resnet101(weights=None).state_dict(), path)
    load_backbone_weights(Backbone(deeper), deeper, str(path))
    with pytest.raises(CheckpointError, match=r"which has layer3\.[0-9]+\.") as caught:
        load_backbone_weights(Backbone(BackboneConfig()), BackboneConfig(), str(path))
    assert "model.backbone.name" in caught.value.hint


def test_damaged_and_missing_weights(weights, tmp_path):
    path, _ = weights()
    with pytest.raises(CheckpointError, match="no backbone weights at"):
        load_backbone_weights(Backbone(SMALL), SMALL, str(tmp_path / "absent.safetensors"))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_backbone_weights(Backbone(SMALL), SMALL, str(path))


def test_imagenet_weights_are_of_the_other_stride():
    config = BackboneConfig(stride_in_1x1=True)
    with pytest.raises(ConfigError, match="3x3"):
        load_backbone_weights(Backbone(config), config, "imagenet")


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("invalid hash value")])
def test_a_download_that_fails_says_what_to_do(monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(CheckpointError, match="could not be downloaded") as caught:
        load_backbone_weights(Backbone(SMALL), SMALL, "imagenet")
    assert "safetensors" in caught.value.hint


def test_downloaded_weights_are_never_unpickled(monkeypatch):
    asked = {}

    def download(url, **options):
        asked.update(options)
        return torchvision.models.resnet18(weights=None).state_dict()

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    load_backbone_weights(Backbone(SMALL), SMALL, "imagenet")
    assert asked["weights_only"] and asked["check_hash"]
