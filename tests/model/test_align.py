"""Alignment branch: unit vectors, what the pool sees, the temperature."""

from __future__ import annotations

import math

import pytest
import torch

from wsrpn_vl.config import AlignConfig
from wsrpn_vl.model.align import AlignBranch


def branch(**knobs: object) -> AlignBranch:
    torch.manual_seed(0)
    return AlignBranch(AlignConfig.model_validate({"dim": 8} | knobs), channels=6, text_dim=5)


def test_both_embeddings_are_unit_vectors_of_the_shared_size() -> None:
    align = branch()
    image, text = align.embed_image(torch.randn(3, 7, 6)), align.embed_text(torch.randn(4, 5))
    assert image.shape == (3, 8) and text.shape == (4, 8)
    for vectors in (image, text):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(len(vectors)), atol=1e-6)


def test_the_image_vector_is_the_projected_mean_of_patches() -> None:
    align, patches = branch(), torch.randn(2, 7, 6)
    by_hand = align.image_projection(torch.stack([p.sum(0) / 7 for p in patches]))
    assert torch.allclose(align.embed_image(patches), by_hand / by_hand.norm(dim=-1, keepdim=True), atol=1e-6)
    assert torch.allclose(align.embed_image(patches.flip(1)), align.embed_image(patches), atol=1e-6)


def test_a_vanishing_feature_gives_no_nan() -> None:
    align = branch()
    with torch.no_grad():
        align.image_projection.bias.zero_()
    patches = torch.zeros(1, 7, 6, requires_grad=True)
    vector = align.embed_image(patches)
    vector.sum().backward()
    assert vector.eq(0).all() and patches.grad is not None and patches.grad.isfinite().all()


def test_the_temperature_is_fixed_unless_it_is_learned() -> None:
    fixed, learned = branch(temperature=0.07), branch(temperature=0.2, learn_temperature=True)
    assert fixed.logit_scale.item() == pytest.approx(1 / 0.07, rel=1e-6)
    assert "log_scale" in fixed.state_dict() and "log_scale" not in dict(fixed.named_parameters())
    assert learned.logit_scale.item() == pytest.approx(5.0, rel=1e-6)
    learned.logit_scale.backward()
    assert learned.log_scale.grad is not None
    assert learned.log_scale.grad.item() == pytest.approx(5.0, rel=1e-6)  # d e^s / d s = e^s


def test_the_scale_stays_below_one_hundred() -> None:
    align = branch(learn_temperature=True)
    with torch.no_grad():
        align.log_scale.fill_(math.log(1e4))
    assert align.logit_scale.item() == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_embeddings_come_out_in_float32_under_autocast(dtype: torch.dtype) -> None:
    align, patches, text = branch(), torch.randn(3, 7, 6), torch.randn(3, 5)
    with torch.autocast("cpu", dtype=dtype):
        image_vector, text_vector = align.embed_image(patches), align.embed_text(text)
    assert image_vector.dtype == text_vector.dtype == torch.float32
    assert torch.allclose(image_vector.norm(dim=-1), torch.ones(3), atol=1e-6)
    assert torch.allclose(image_vector, align.embed_image(patches), atol=2e-2)
    assert torch.allclose(text_vector, align.embed_text(text), atol=2e-2)
