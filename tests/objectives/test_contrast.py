"""Contrastive loss: printed values, an oracle by explicit loops, repeated texts, invariances, gradients."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import normalize

from oracles.infonce import infonce, jaccard_targets, normalise, same_text_targets
from wsrpn_vl.objectives.contrast import contrastive_loss, contrastive_targets, identity

TAU = 0.07
IMAGE = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0))
TEXT = ((1.0, 0.1, 0.0), (0.0, 1.0, 0.2), (0.5, 0.5, 0.5))
quick = settings(deadline=None, max_examples=50)


def unit(rows: Any) -> Tensor:
    return normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


def random_pairs(b: int, seed: int = 0, e: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image, text = torch.randn(2, b, e, dtype=torch.float64, generator=generator)
    return normalize(image, dim=-1), normalize(text, dim=-1)


def targets_of(kind: str, b: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (b, 4), generator=generator).float()
    labels[0, 0] = float("nan")
    return contrastive_targets(kind, torch.randint(0, 3, (b,), generator=generator), labels).double()


def exact_golden() -> tuple[float, float]:
    """(L_i2t, L_t2i) in forty digits."""
    with mpmath.workdps(40):
        rows = [[[mpmath.mpf(str(x)) for x in r] for r in m] for m in (IMAGE, TEXT)]
        v, t = ([[x / mpmath.sqrt(mpmath.fsum(y * y for y in r)) for x in r] for r in m] for m in rows)
        s = [[mpmath.fdot(a, b) / mpmath.mpf("0.07") for b in t] for a in v]
        i2t = [mpmath.log(mpmath.fsum(mpmath.exp(x) for x in s[i])) - s[i][i] for i in range(3)]
        t2i = [mpmath.log(mpmath.fsum(mpmath.exp(s[j][i]) for j in range(3))) - s[i][i] for i in range(3)]
        return float(mpmath.fsum(i2t) / 3), float(mpmath.fsum(t2i) / 3)


def test_golden_contrastive() -> None:
    """L_i2t = 0.182064, L_t2i = 0.040536 and their sum 0.222600 (a sum of both directions, not a mean).

    Cosines of image 1: .995037, 0, .577350; over τ, relative to its own text: -14.2148 and -5.9670, so
    -log softmax = log(1 + e^-14.2148 + e^-5.9670) = 0.002559. Image 2: log(1 + e^-12.5868 + e^-5.7604) = 0.003148.
    Image 3: .773957, .693375, .816497: log(1 + e^-0.6077 + e^-1.7589) = 0.540484. Their mean is L_i2t.
    """
    loss = contrastive_loss(unit(IMAGE), unit(TEXT), 1 / TAU, torch.eye(3)).item()
    i2t, t2i = infonce(normalise(IMAGE), normalise(TEXT), TAU, torch.eye(3).tolist())
    assert i2t == pytest.approx(0.182064, abs=5e-7)
    assert t2i == pytest.approx(0.040536, abs=5e-7)
    assert loss == pytest.approx(0.222600, abs=5e-7)
    assert (i2t, t2i) == pytest.approx(exact_golden(), abs=1e-12)
    assert loss == pytest.approx(sum(exact_golden()), abs=1e-12)


def test_golden_contrastive_gradient_has_the_factor_one_over_tau() -> None:
    """∂L_i2t/∂v_i = -(1/τ)(t_i - Σ_j p_ij t_j) / B, here with every text a negative of the rest."""
    image, text = unit(IMAGE).requires_grad_(), unit(TEXT)
    scores = image @ text.T / TAU
    i2t = -scores.log_softmax(1).diagonal().mean()
    (expected,) = torch.autograd.grad(i2t, image)
    p = scores.detach().softmax(1)
    assert torch.allclose(expected, -(text - p @ text) / TAU / 3, atol=1e-12)
    (both,) = torch.autograd.grad(contrastive_loss(image, text, 1 / TAU, torch.eye(3)), image)
    q = scores.detach().softmax(0)  # column j: probability of each image given text j
    assert torch.allclose(both, (-(text - p @ text) - (text - q @ text)) / TAU / 3, atol=1e-12)


@pytest.mark.parametrize("kind", ["identity", "same_text", "label_similarity"])
@pytest.mark.parametrize("b", [1, 2, 7])
def test_loss_agrees_with_explicit_loops(kind: str, b: int) -> None:
    image, text = random_pairs(b, seed=b)
    targets = targets_of(kind, b, seed=b)
    oracle = sum(infonce(image.tolist(), text.tolist(), 0.2, targets.tolist()))
    assert contrastive_loss(image, text, 5.0, targets).item() == pytest.approx(oracle, abs=1e-10)


@quick
@given(st.lists(st.integers(-1, 4), min_size=1, max_size=9))
def test_equal_texts_share_the_mass(ids: list[int]) -> None:
    targets = contrastive_targets("same_text", torch.tensor(ids))
    assert torch.allclose(targets, torch.tensor(same_text_targets(ids)), atol=1e-6)


@quick
@given(st.lists(st.sets(st.integers(0, 3)), min_size=1, max_size=8))
def test_label_similarity_is_the_jaccard_overlap(positives: list[set[int]]) -> None:
    labels = torch.zeros(len(positives), 4)
    for i, row in enumerate(positives):
        labels[i, list(row)] = 1.0
    targets = contrastive_targets("label_similarity", torch.arange(len(positives)), labels)
    assert torch.allclose(targets, torch.tensor(jaccard_targets(positives)), atol=1e-6)
    assert torch.allclose(targets.sum(1), torch.ones(len(positives)), atol=1e-6)


def test_an_unknown_label_counts_as_absent_in_label_similarity() -> None:
    ids = torch.arange(2)
    blank, negative = torch.tensor([[1.0, float("nan")], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert torch.equal(
        contrastive_targets("label_similarity", ids, blank), contrastive_targets("label_similarity", ids, negative)
    )


@quick
@given(st.permutations(range(6)))
def test_distinct_texts_make_same_text_the_identity(ids: list[int]) -> None:
    text_ids = torch.tensor(ids)
    assert torch.equal(contrastive_targets("same_text", text_ids), contrastive_targets("identity", text_ids))


def test_a_repeated_text_is_no_negative_of_itself() -> None:
    """Two images, one text: the shared mass is met when both images lie on it, at its entropy of 2 log 2."""
    image = unit([[1, 0], [1, 0.01]])
    text = unit([[1, 0], [1, 0]])
    shared = contrastive_targets("same_text", torch.tensor([5, 5]))
    assert shared.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    apart = image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(contrastive_loss(apart, text, 1 / TAU, shared), apart)
    tangent = gradient - (gradient * apart).sum(1, keepdim=True) * apart
    assert tangent.abs().max() < 1e-2
    alike = unit([[1, 0], [1, 0]])
    assert contrastive_loss(alike, text, 1 / TAU, shared).item() == pytest.approx(2 * math.log(2), abs=1e-12)


@pytest.mark.parametrize("kind", ["identity", "same_text", "label_similarity"])
def test_permuting_all_pairs_alike_changes_nothing(kind: str) -> None:
    image, text = random_pairs(6)
    targets = targets_of(kind, 6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    moved = contrastive_loss(image[order], text[order], 10.0, targets[order][:, order])
    assert moved.item() == pytest.approx(contrastive_loss(image, text, 10.0, targets).item(), abs=1e-12)


@pytest.mark.parametrize("kind", ["identity", "same_text", "label_similarity"])
def test_image_and_text_play_the_same_part(kind: str) -> None:
    """Both directions use the same shares, so exchanging the modalities changes nothing."""
    image, text = random_pairs(6)
    targets = targets_of(kind, 6)
    swapped = contrastive_loss(text, image, 10.0, targets)
    assert swapped.item() == pytest.approx(contrastive_loss(image, text, 10.0, targets).item(), abs=1e-12)


@pytest.mark.parametrize("kind", ["identity", "same_text", "label_similarity"])
def test_the_loss_is_bounded_below_by_the_entropy_of_its_targets(kind: str) -> None:
    image, text = random_pairs(6)
    targets = targets_of(kind, 6)
    entropy = -(targets * targets.clamp_min(1e-30).log()).sum(1).mean().item()
    assert contrastive_loss(image, text, 10.0, targets).item() >= 2 * entropy - 1e-12


def test_a_batch_of_one_has_nothing_to_tell_apart() -> None:
    image, text = random_pairs(1)
    assert contrastive_loss(image, text, 1 / TAU, torch.eye(1)).item() == pytest.approx(0.0, abs=1e-12)


def test_a_common_rotation_changes_nothing() -> None:
    image, text = random_pairs(5)
    rotation, _ = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))
    turned = contrastive_loss(image @ rotation, text @ rotation, 1 / TAU, torch.eye(5))
    assert turned.item() == pytest.approx(contrastive_loss(image, text, 1 / TAU, torch.eye(5)).item(), abs=1e-10)


def test_weights_are_a_weighted_mean_over_pairs() -> None:
    image, text = random_pairs(4)
    eye, weight = torch.eye(4), torch.tensor([1.0, 0.0, 2.0, 0.5], dtype=torch.float64)
    single = [contrastive_loss(image, text, 5.0, eye, torch.eye(4, dtype=torch.float64)[i]).item() for i in range(4)]
    expected = (single[0] + 2 * single[2] + 0.5 * single[3]) / 3.5
    assert contrastive_loss(image, text, 5.0, eye, weight).item() == pytest.approx(expected, abs=1e-12)
    assert contrastive_loss(image, text, 5.0, eye, torch.ones(4)).item() == pytest.approx(sum(single) / 4, abs=1e-12)
    assert contrastive_loss(image, text, 5.0, eye, torch.zeros(4)).item() == 0.0


def test_extreme_similarities_stay_finite() -> None:
    """Antipodal pairs at 1/τ = 1e4: L_i2t of each is about 1e4, and nothing overflows."""
    image = unit([[1, 0], [-1, 0]]).float().requires_grad_()
    loss = contrastive_loss(image, -image.detach(), 1e4, torch.eye(2))
    (gradient,) = torch.autograd.grad(loss, image)
    assert loss.item() == pytest.approx(4e4, rel=1e-5)
    assert gradient.isfinite().all()


def test_autocast_does_not_round_the_similarities() -> None:
    image, text = (x.float() for x in random_pairs(8))
    plain = contrastive_loss(image, text, 1 / TAU, torch.eye(8))
    for dtype in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", dtype=dtype):
            mixed = contrastive_loss(image, text, 1 / TAU, torch.eye(8))
        assert mixed.item() == pytest.approx(plain.item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["identity", "same_text", "label_similarity"])
def test_gradcheck_contrastive(kind: str) -> None:
    image, text = (x.requires_grad_() for x in random_pairs(4, e=3))
    scale = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
    targets = targets_of(kind, 4)
    assert torch.autograd.gradcheck(lambda v, t, s: contrastive_loss(v, t, s, targets), (image, text, scale))


def test_targets_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(ValueError, match="need labels"):
        contrastive_targets("label_similarity", torch.arange(2))
    with pytest.raises(ValueError, match="unknown contrastive targets 'diagonal'"):
        contrastive_targets("diagonal", torch.arange(2))


def test_one_process_gathers_itself() -> None:
    x = torch.randn(2, 3)
    assert identity(x) is x
