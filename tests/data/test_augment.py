"""Augmentation: bounded, reproducible, and geometrically what it says."""

from __future__ import annotations

import pytest
import torch

from wsrpn_vl.config import AugmentConfig
from wsrpn_vl.data.augment import augment

STILL = AugmentConfig(rotate=0, translate=0, scale=0, brightness=0, contrast=0)


def run(images: torch.Tensor, config: AugmentConfig, seed: int = 0) -> torch.Tensor:
    return augment(images, config, torch.Generator().manual_seed(seed))[0]


def blob(x: int, y: int, size: int = 64) -> torch.Tensor:
    image = torch.zeros(1, 1, size, size)
    image[..., y - 2 : y + 2, x - 2 : x + 2] = 1
    return image


def centre(image: torch.Tensor) -> tuple[float, float]:
    mass = image[0, 0]
    at = torch.arange(mass.shape[0]) + 0.5
    return float((mass.sum(0) * at).sum() / mass.sum()), float((mass.sum(1) * at).sum() / mass.sum())


def test_nothing_asked_nothing_changed() -> None:
    images = torch.rand(3, 3, 20, 30)
    assert torch.equal(run(images, STILL), images)


def test_same_seed_same_batch_and_images_differ_within_it() -> None:
    images = torch.rand(1, 1, 32, 32).repeat(4, 1, 1, 1)
    one, two, other = run(images, AugmentConfig(), 1), run(images, AugmentConfig(), 1), run(images, AugmentConfig(), 2)
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert not torch.equal(one[0], one[1])


def test_range_and_shape_are_kept() -> None:
    config = AugmentConfig(noise=0.2, erase=1.0, flip=0.5)
    out = run(torch.rand(5, 3, 32, 32), config)
    assert out.shape == (5, 3, 32, 32) and out.min() >= 0 and out.max() <= 1


def test_flip_mirrors() -> None:
    image = torch.rand(1, 1, 16, 16)
    flipped = run(image, STILL.model_copy(update={"flip": 1.0}))
    assert torch.allclose(flipped, image.flip(-1), atol=1e-5)


def test_no_flip_by_default() -> None:
    """A mark on the left stays on the left: laterality words stay true."""
    for seed in range(40):
        x, _ = centre(run(blob(12, 32), AugmentConfig(brightness=0, contrast=0), seed))
        assert x < 32


@pytest.mark.parametrize("limit", [0.05, 0.2])
def test_translation_is_a_fraction_of_the_side(limit: float) -> None:
    config = STILL.model_copy(update={"translate": limit})
    moved = [abs(centre(run(blob(32, 32), config, seed))[0] - 32) / 64 for seed in range(60)]
    assert max(moved) <= limit + 0.01 and max(moved) > 0.7 * limit


def test_rotation_keeps_the_distance_from_the_centre() -> None:
    config = STILL.model_copy(update={"rotate": 45.0})
    for seed in range(20):
        x, y = centre(run(blob(48, 32), config, seed))
        assert ((x - 32) ** 2 + (y - 32) ** 2) ** 0.5 == pytest.approx(16, abs=0.6)


def test_erase_greys_a_rectangle() -> None:
    out = run(torch.ones(1, 1, 50, 50), STILL.model_copy(update={"erase": 1.0}))
    share = float((out == 0.5).float().mean())
    assert 0.005 < share < 0.1
