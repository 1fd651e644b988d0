"""Model + objectives: named terms, masks, what is run when."""

from __future__ import annotations

import pytest
import torch

from fixtures.small import SMALL
from wsrpn_vl.config import load_config
from wsrpn_vl.model.registry import build_detector
from wsrpn_vl.train.task import Task, class_prior, positive_weights, weighted_total

DETECTION = {"detection": 1.0, "contrastive": 0.0, "consistency": 0.0}
ALL = {"detection": 1.0, "contrastive": 0.5, "consistency": 0.5}


def task(*overrides: str) -> Task:
    config = load_config("", [*SMALL, *overrides])
    torch.manual_seed(0)
    return Task(build_detector(config, 16), config).eval()


def batch(b: int = 4) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(3)
    labels = (torch.rand(b, 13, generator=g) > 0.6).float()
    return torch.rand(b, 3, 64, 64, generator=g), labels, torch.randn(b, 16, generator=g), torch.arange(b)


def test_switching_a_term_off_rescales_no_other() -> None:
    model = task()
    _, with_all = model(*batch(), ALL)
    total, alone = model(*batch(), DETECTION)
    assert set(alone) < set(with_all)
    for name, value in alone.items():
        assert torch.equal(value, with_all[name])
    assert torch.equal(total, alone["detection"])


def test_the_text_branch_is_not_run_without_contrastive_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    model = task()
    monkeypatch.setattr(model.model.align, "embed_text", lambda *a: pytest.fail("text branch was run"))
    model(*batch(), DETECTION)


def test_images_without_words_do_not_change_the_contrastive_term() -> None:
    model = task()
    images, labels, features, _ = batch()
    ids = torch.tensor([0, -1, 2, -1])
    _, terms = model(images, labels, features, ids, ALL)
    kept = torch.tensor([0, 2])
    _, only = model(images[kept], labels[kept], features[kept], ids[kept], ALL)
    assert terms["contrastive"].item() == pytest.approx(only["contrastive"].item(), rel=1e-5)


def test_one_text_alone_gives_zero_with_a_gradient_path() -> None:
    model = task()
    images, labels, features, _ = batch()
    total, terms = model(images, labels, features, torch.tensor([-1, 3, -1, -1]), ALL)
    assert terms["contrastive"].item() == 0
    total.backward()


def test_unknown_labels_carry_no_detection_gradient() -> None:
    model = task()
    images, labels, features, ids = batch()
    labels[:, 5] = float("nan")
    total, _ = model(images, labels, features, ids, DETECTION)
    total.backward()
    assert torch.count_nonzero(model.model.patch.classifier.weight.grad[5]) == 0
    assert torch.count_nonzero(model.model.patch.classifier.weight.grad[4]) > 0


@pytest.mark.parametrize("kind", ["softmax", "bernoulli", "per_patch"])
def test_each_consistency_leaves_the_patch_teacher_alone(kind: str) -> None:
    model = task(f"objective.consistency={kind}", "model.roi.detach_features=true")
    total, terms = model(*batch(), {"detection": 0.0, "contrastive": 0.0, "consistency": 1.0})
    assert torch.isfinite(terms["consistency"]) and terms["consistency"] >= 0
    total.backward()
    assert model.model.patch.classifier.weight.grad is None
    assert torch.count_nonzero(model.model.roi.classifier.weight.grad) > 0


def test_gather_sees_embeddings_ids_and_labels() -> None:
    """Two half-batches gathered by hand give the loss of the whole batch."""
    model = task()
    images, labels, features, ids = batch(6)
    _, whole = model(images, labels, features, ids, ALL)
    halves = [slice(0, 3), slice(3, 6)]
    recorded: list[list[torch.Tensor]] = []

    def record(t: torch.Tensor) -> torch.Tensor:
        recorded[-1].append(t)
        return t

    for half in halves:
        recorded.append([])
        model(images[half], labels[half], features[half], ids[half], ALL, record)
    queue = [torch.cat(parts) for parts in zip(*recorded, strict=True)]
    _, gathered = model(
        images[halves[0]], labels[halves[0]], features[halves[0]], ids[halves[0]], ALL, lambda t: queue.pop(0)
    )
    assert gathered["contrastive"].item() == pytest.approx(whole["contrastive"].item(), rel=1e-5)


def test_positive_weights_on_paper() -> None:
    """Class 0: 1 of 4 positive: 3, cap 2.5; class 1: 2 of 2: 0, floor 1; class 2: 0 of 3, taken as 1: 3, cap 2.5."""
    targets = torch.tensor([[1, 1, 0], [0, 1, 0], [0, torch.nan, 0], [0, torch.nan, torch.nan]])
    balanced = positive_weights(targets, "balanced", 2.5)
    assert balanced is not None and balanced.tolist() == pytest.approx([2.5, 1.0, 2.5])
    root = positive_weights(targets, "sqrt", 20)
    assert root is not None and root.tolist() == pytest.approx([3**0.5, 1.0, 3**0.5])
    assert positive_weights(targets, "none", 20) is None
    assert class_prior(targets).tolist() == pytest.approx([0.25, 1.0, 0.0])


def test_weighted_total_on_paper() -> None:
    terms = {"detection": torch.tensor(2.0), "contrastive": torch.tensor(3.0), "patch": torch.tensor(9.0)}
    assert weighted_total(terms, {"detection": 1.0, "contrastive": 0.5, "consistency": 0.5}).item() == 3.5


def test_words_count_by_their_weight() -> None:
    """Weight 0 is as good as no words; equal weights change nothing; a weight shifts the mean towards its pairs."""
    model = task()
    images, labels, features, ids = batch()

    def term(weight: list[float] | None) -> float:
        weights = None if weight is None else torch.tensor(weight)
        return model(images, labels, features, ids, ALL, text_weights=weights)[1]["contrastive"].item()

    without = model(images, labels, features, torch.tensor([0, -1, 2, 3]), ALL)[1]["contrastive"].item()
    assert term([1.0, 0.0, 1.0, 1.0]) == pytest.approx(without, rel=1e-6)
    assert term([1.0] * 4) == pytest.approx(term(None), rel=1e-6) == pytest.approx(term([0.5] * 4), rel=1e-5)
    ends = [term([1.0 if i == j else 1e-6 for j in range(4)]) for i in range(4)]
    assert sum(ends) / 4 == pytest.approx(term(None), rel=1e-3)
    assert term([1.0, 1.0, 1.0, 0.5]) != pytest.approx(term(None), rel=1e-4)
