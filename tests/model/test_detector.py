"""The whole detector: shapes at any input, gradients everywhere, branches that stay asleep, half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wsrpn_vl.config import load_config
from wsrpn_vl.errors import ConfigError
from wsrpn_vl.model.base import Detector
from wsrpn_vl.model.detector import WSRPNVL
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.objectives.agree import CONSISTENCY, roi_class_maps
from wsrpn_vl.objectives.classify import box_overflow, detection_loss, masked_bce
from wsrpn_vl.objectives.contrast import contrastive_loss, contrastive_targets
from wsrpn_vl.types import Outputs

CLASSES = ["Cardiomegaly", "Pleural Effusion", "Pneumothorax", "Edema"]
SMALL = (
    "data.classes=[Cardiomegaly, Pleural Effusion, Pneumothorax, Edema]",
    "model.backbone.name=test_resnet",
    "model.backbone.weights=none",
    "model.roi.queries=5",
    "model.roi.hidden=16",
    "model.roi.heads=4",
    "model.align.dim=8",
)
ROI_FIELDS = {"roi_attention", "roi_anchors", "roi_boxes", "pooling_weights", "roi_logits", "roi_image_logits"}


def build(*overrides: str, recipe: str = "") -> WSRPNVL:
    torch.manual_seed(0)
    model = build_detector(load_config(recipe, [*SMALL, *overrides]), text_dim=12)
    assert isinstance(model, WSRPNVL)
    return model.eval()


def fitted(*overrides: str) -> WSRPNVL:
    """With a registration template, so that frames differ between images."""
    model = build(*overrides)
    assert model.registration is not None
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    model.registration.fit((torch.exp(-3 * (x**2 + y**2)) + 0.3 * torch.exp(-9 * (x - 0.4) ** 2))[None])
    return model


def images_of(b: int = 4, size: tuple[int, int] = (64, 64), channels: int = 3) -> Tensor:
    return torch.rand(b, channels, *size, generator=torch.Generator().manual_seed(1))


def filled(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def losses(outputs: Outputs, labels: Tensor, text_ids: Tensor) -> dict[str, Tensor]:
    """Every term there is."""
    known = ~labels.isnan()
    patch = masked_bce(filled(outputs.patch_image_logits), labels)
    roi = masked_bce(filled(outputs.roi_image_logits), labels) + box_overflow(filled(outputs.roi_boxes))
    maps = roi_class_maps(filled(outputs.roi_logits), filled(outputs.pooling_weights))
    pair = (filled(outputs.roi_image_logits), filled(outputs.patch_image_logits))
    return {
        "detection": detection_loss(patch, roi),
        "contrastive": contrastive_loss(
            filled(outputs.image_embeddings), filled(outputs.text_embeddings), filled(outputs.logit_scale),
            contrastive_targets("same_text", text_ids),
        ),
        "softmax": CONSISTENCY["softmax"](*pair, known),
        "bernoulli": CONSISTENCY["bernoulli"](*pair, known),
        "per_patch": CONSISTENCY["per_patch"](maps, filled(outputs.patch_logits), known),
    }  # fmt: skip


LABELS = torch.tensor([[1, 0, float("nan"), 0], [0, 1, 0, 1], [1, 1, 0, 0.6], [float("nan")] * 4])
TEXT_IDS = torch.tensor([0, 1, 1, 2])


@pytest.mark.parametrize(
    ("size", "grid"),
    [((96, 96), (3, 3)), ((160, 224), (5, 7)), ((224, 160), (7, 5)), ((32, 32), (1, 1)), ((100, 70), (4, 3))],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_any_image_size_and_channel_count_gives_the_documented_shapes(
    size: tuple[int, int], grid: tuple[int, int], channels: int
) -> None:
    model = build(f"data.channels={channels}")
    with torch.no_grad():
        outputs = model(images_of(2, size, channels), torch.rand(2, 12))
    n = grid[0] * grid[1]
    assert outputs.grid == grid
    assert {name: tuple(t.shape) for name, t in outputs.tensors().items()} == {
        "patch_logits": (2, n, 4),
        "patch_image_logits": (2, 4),
        "roi_attention": (2, 5, n),
        "roi_anchors": (2, 5, 4),
        "roi_boxes": (2, 5, 4),
        "pooling_weights": (2, 5, n),
        "roi_logits": (2, 5, 4),
        "roi_image_logits": (2, 4),
        "image_embeddings": (2, 8),
        "text_embeddings": (2, 8),
        "logit_scale": (),
    }
    assert all(t.isfinite().all() for t in outputs.tensors().values())
    assert filled(outputs.roi_boxes).min() >= 0 and filled(outputs.roi_boxes).max() <= 1


@pytest.mark.parametrize(
    "overrides", [(), ("model.roi.centre=absolute",), ("model.roi.attention_prior=0", "model.roi.register=false")]
)
def test_every_parameter_gets_a_gradient_when_all_terms_are_on(overrides: tuple[str, ...]) -> None:
    """After one step, as the box head's last layer starts at 0. A key's bias shifts all scores of a query alike."""
    model = build("model.align.learn_temperature=true", *overrides).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        sum(losses(model(images_of(), torch.rand(4, 12)), LABELS, TEXT_IDS).values(), torch.zeros(())).backward()
        optimiser.step()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None] == []
    assert [name for name, g in gradients.items() if g is not None and not g.isfinite().all()] == []
    silent = [name for name, g in gradients.items() if g is not None and g.abs().max() == 0]
    assert set(silent) <= {"roi.to_key.bias"}


def test_a_detector_without_rois_is_the_patch_branch_alone() -> None:
    model = build("model.roi.enabled=false")
    outputs = model(images_of())
    assert not ROI_FIELDS & set(outputs.tensors())
    assert model.roi is None and model.registration is None
    with_rois = build()
    with_rois.load_state_dict(model.state_dict(), strict=False)
    assert torch.allclose(filled(with_rois(images_of()).patch_logits), filled(outputs.patch_logits), atol=1e-6)
    model.set_class_prior(torch.full((4,), 0.2))


def test_the_text_branch_sleeps_without_text_and_the_image_projection_when_told() -> None:
    model, ran = build(), []
    model.align.text_projection.register_forward_hook(lambda *_: ran.append("text"))
    model.align.image_projection.register_forward_hook(lambda *_: ran.append("image"))
    outputs = model(images_of())
    assert ran == ["image"] and outputs.text_embeddings is None and outputs.image_embeddings is not None
    ran.clear()
    outputs = model(images_of(), embed_images=False)
    assert ran == [] and outputs.image_embeddings is None and outputs.logit_scale is None
    outputs = model(images_of(), torch.rand(4, 12), embed_images=False)
    assert sorted(ran) == ["image", "text"] and outputs.text_embeddings is not None


def test_text_does_not_touch_what_is_said_of_the_image() -> None:
    model = build()
    with torch.no_grad():
        alone, together = model(images_of()).tensors(), model(images_of(), torch.rand(4, 12)).tensors()
    assert set(together) - set(alone) == {"text_embeddings"}
    assert all(torch.equal(alone[name], together[name]) for name in alone)


def test_permuting_a_batch_permutes_the_outputs() -> None:
    model, images, order = fitted(), images_of(size=(64, 96)), torch.tensor([2, 0, 3, 1])
    text = torch.rand(4, 12)
    with torch.no_grad():
        one, other = model(images, text).tensors(), model(images[order], text[order]).tensors()
        first = model(images[:1], text[:1]).tensors()
    for name in set(one) - {"logit_scale"}:
        assert torch.allclose(one[name][order], other[name], atol=1e-5), name
        assert torch.allclose(one[name][:1], first[name], atol=1e-5), name


def test_a_state_dict_carries_all_that_prediction_needs() -> None:
    model = fitted()
    model.set_class_prior(torch.tensor([0.3, 0.1, 0.05, 0.2]))
    torch.manual_seed(99)
    other = build_detector(load_config("", SMALL), text_dim=12, pretrained=False).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        one, two = model(images_of(), torch.rand(4, 12)), other(images_of())
    for name, value in two.tensors().items():
        assert torch.equal(value, one.tensors()[name]), name


def test_text_alone_is_embedded_as_in_training() -> None:
    model, text = build(), torch.rand(4, 12)
    with torch.no_grad():
        alone, together = model.embed_text(text), model(images_of(), text).text_embeddings
    assert torch.equal(filled(alone), filled(together))


def test_registration_is_learned_only_where_it_is_used() -> None:
    images = torch.rand(5, 64, 64)
    model, plain = build(), build("model.roi.register=false")
    model.fit_registration(images)
    before = {k: v.clone() for k, v in plain.state_dict().items()}
    plain.fit_registration(images)
    assert model.registration is not None and model.registration.template.any()
    assert all(torch.equal(v, before[k]) for k, v in plain.state_dict().items())


def test_the_base_of_detectors_promises_little() -> None:
    base = Detector()
    base.set_class_prior(torch.zeros(3))
    base.fit_registration(torch.rand(1, 8, 8))
    assert base.embed_text(torch.rand(1, 3)) is None
    with pytest.raises(TypeError, match="Detector has no forward"):
        base(torch.rand(1, 3, 8, 8))


def test_an_untrained_detector_says_the_class_frequencies() -> None:
    """Features barely move classifiers whose weights start at 0.01: both branches begin near the prior."""
    model, prior = build(), torch.tensor([0.3, 0.1, 0.02, 0.5])
    model.set_class_prior(prior)
    with torch.no_grad():
        outputs = model(images_of())
    for logits in (outputs.patch_image_logits, outputs.roi_image_logits):
        assert torch.allclose(filled(logits), torch.logit(prior).expand(4, 4), atol=0.5)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_blank_images_are_answered(value: float) -> None:
    with torch.no_grad():
        outputs = fitted()(torch.full((2, 3, 64, 64), value))
    assert all(t.isfinite().all() for t in outputs.tensors().values())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("overrides", [(), ("model.roi.centre=absolute", "model.roi.detach_features=true")])
def test_autocast_is_finite_and_near_float32(dtype: torch.dtype, overrides: tuple[str, ...]) -> None:
    model, images, text = fitted(*overrides), images_of(size=(64, 96)), torch.rand(4, 12)
    plain = model(images, text)
    plain_losses = losses(plain, LABELS, TEXT_IDS)
    with torch.autocast("cpu", dtype=dtype):
        mixed = model(images, text)
        mixed_losses = losses(mixed, LABELS, TEXT_IDS)
        sum(mixed_losses.values(), torch.zeros(())).backward()
    for name, value in plain.tensors().items():
        assert torch.allclose(mixed.tensors()[name].float(), value, atol=0.02, rtol=0.02), name
    for name, value in plain_losses.items():
        assert mixed_losses[name].dtype == torch.float32, name
        assert mixed_losses[name].item() == pytest.approx(value.item(), rel=0.02, abs=1e-3), name
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_a_few_steps_learn_a_bright_corner() -> None:
    """Weak labels alone: images with a bright right half are positive; both branches end up telling them apart."""
    model = build("data.channels=1", "model.roi.register=false").train()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(8, 1, 64, 64, generator=generator) * 0.3
    images[:4, :, :, 32:] += 0.6
    labels = torch.full((8, 4), float("nan"))
    labels[:, 0] = torch.tensor([1.0] * 4 + [0.0] * 4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(8):
        outputs = model(images, embed_images=False)
        patch, roi = (masked_bce(filled(z), labels) for z in (outputs.patch_image_logits, outputs.roi_image_logits))
        optimiser.zero_grad()
        detection_loss(patch, roi).backward()
        optimiser.step()
    for logits in (outputs.patch_image_logits, outputs.roi_image_logits):
        assert filled(logits)[:4, 0].min() > filled(logits)[4:, 0].max() + 0.2


def test_the_specification_recipe_builds_the_stated_model() -> None:
    """DenseNet121, 7 x 7 patches of 1024 at 224², ten queries of width 256 with 8 heads, no prior knowledge."""
    config = load_config("specification", ["model.backbone.weights=none"])
    model = build_detector(config, text_dim=768)
    assert isinstance(model, WSRPNVL) and model.roi is not None and model.registration is None
    assert (model.backbone.channels, model.backbone.stride) == (1024, 32)
    assert model.roi.queries.shape == (10, 256) and model.roi.config.heads == 8
    assert model.align.text_projection.weight.shape == (128, 768)
    assert model.roi.location_bias.eq(0).all()
    with torch.no_grad():
        outputs = model.eval()(images_of(1, (224, 224)))
    assert outputs.grid == (7, 7) and filled(outputs.roi_logits).shape == (1, 10, 13)


def test_an_unknown_detector_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector 'wsrpnvl'; did you mean 'wsrpn_vl'\?"):
        build_detector(load_config("", [*SMALL, "model.name=wsrpnvl"]), text_dim=12)
