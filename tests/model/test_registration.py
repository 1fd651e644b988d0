"""Registration: it finds a known zoom and shift, and carries boxes to where the anatomy is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from wsrpn_vl.boxes import cxcywh_to_xyxy, iou_matrix
from wsrpn_vl.model.register import SCALES, SHIFTS, Registration, boxes_to_image

HEART = (0.55, 0.60, 0.30, 0.28)  # cxcywh of the drawn heart in the canonical frame
SCALE_STEP, SHIFT_STEP = 0.08, 0.02


def ellipse(x: Tensor, y: Tensor, cx: float, cy: float, w: float, h: float) -> Tensor:
    """Soft-edged filled ellipse of the given centre and size."""
    radius = (((x - cx) / (w / 2)) ** 2 + ((y - cy) / (h / 2)) ** 2).sqrt()
    return torch.sigmoid((1 - radius) * 20)


def thorax(
    frame: tuple[float, float, float, float] = (1, 1, 0, 0), size: tuple[int, int] = (96, 96), heart: bool = True
) -> Tensor:
    """(h, w) drawn radiograph: dark lungs, bright body and heart. Place u shows canonical (u - ½ - t)/s + ½."""
    sx, sy, tx, ty = frame
    h, w = size
    u, v = (torch.arange(w) + 0.5) / w, ((torch.arange(h) + 0.5) / h)[:, None]
    x, y = ((u - 0.5 - tx) / sx + 0.5).expand(h, w), ((v - 0.5 - ty) / sy + 0.5).expand(h, w)
    image = 0.75 * ellipse(x, y, 0.5, 0.55, 0.95, 1.1)
    image = image - 0.55 * ellipse(x, y, 0.29, 0.47, 0.32, 0.66) - 0.55 * ellipse(x, y, 0.71, 0.47, 0.32, 0.66)
    if heart:
        image = torch.maximum(image, 0.9 * ellipse(x, y, *HEART))
    return image.clamp(0, 1)


@pytest.fixture(scope="module")
def fitted() -> Registration:
    registration = Registration()
    registration.fit(thorax().expand(4, 96, 96))
    return registration


def test_before_fit_every_frame_is_the_identity() -> None:
    frames = Registration()(torch.rand(3, 1, 64, 64))
    assert frames.tolist() == [[1.0, 1.0, 0.0, 0.0]] * 3


def test_the_template_itself_lies_at_the_identity(fitted: Registration) -> None:
    assert fitted(thorax()[None, None]).tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "frame",
    [
        (1.12, 1.12, 0.0, 0.0),
        (0.88, 0.88, 0.0, 0.0),
        (1.0, 1.0, 0.06, -0.04),
        (1.12, 0.96, -0.04, 0.04),
        (0.88, 1.04, 0.02, -0.06),
        (1.2, 1.2, 0.08, 0.08),
        (0.8, 0.88, -0.08, 0.0),
    ],
)
@pytest.mark.parametrize("size", [(96, 96), (160, 224)])
def test_a_known_zoom_and_shift_is_found_within_one_step(
    fitted: Registration, frame: tuple[float, float, float, float], size: tuple[int, int]
) -> None:
    found = fitted(thorax(frame, size)[None, None])[0].tolist()
    assert found[:2] == pytest.approx(frame[:2], abs=SCALE_STEP + 1e-6)
    assert found[2:] == pytest.approx(frame[2:], abs=SHIFT_STEP + 1e-6)


def test_the_search_covers_the_identity_and_steps_no_wider_than_said() -> None:
    assert 1.0 in SCALES and 0.0 in SHIFTS
    assert np.diff(SCALES).max() <= SCALE_STEP + 1e-9 and np.diff(SHIFTS).max() <= SHIFT_STEP + 1e-9


@pytest.mark.parametrize("frame", [(1.12, 1.12, 0.04, -0.04), (0.88, 0.96, -0.06, 0.02)])
def test_boxes_are_carried_to_where_the_anatomy_is(
    fitted: Registration, frame: tuple[float, float, float, float]
) -> None:
    """The heart is the difference to the same chest drawn without one; its box follows the found frame."""
    image = thorax(frame)
    ys, xs = torch.nonzero((image - thorax(frame, heart=False)) > 0.1, as_tuple=True)
    seen = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]]) / 96
    exact = boxes_to_image(torch.tensor([HEART]), torch.tensor([frame]))[0]
    assert iou_matrix(cxcywh_to_xyxy(exact).numpy(), seen).item() > 0.85
    found = boxes_to_image(torch.tensor([HEART]), fitted(image[None, None]))[0]
    still = iou_matrix(cxcywh_to_xyxy(torch.tensor([HEART])).numpy(), seen).item()
    assert iou_matrix(cxcywh_to_xyxy(found).numpy(), seen).item() > max(0.75, still)


def test_the_identity_frame_leaves_boxes_alone_and_shapes_follow_batch_and_boxes() -> None:
    boxes = torch.rand(5, 4)
    frames = torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 3)
    carried = boxes_to_image(boxes, frames)
    assert carried.shape == (3, 5, 4)
    assert torch.allclose(carried, boxes.expand(3, 5, 4), atol=1e-6)
    zoomed = boxes_to_image(torch.tensor([[0.75, 0.5, 0.2, 0.2]]), torch.tensor([[1.2, 0.8, 0.1, 0.0]]))
    assert zoomed[0, 0].tolist() == pytest.approx([0.75 + 0.05 + 0.1, 0.5, 0.24, 0.16], abs=1e-6)


def test_fitting_sharpens_the_mean_of_misplaced_images() -> None:
    """Groupwise registration: the template is more like the chest than the plain mean of shifted chests is."""
    generator = torch.Generator().manual_seed(0)
    jitter = (torch.rand(24, 4, generator=generator) - 0.5) * torch.tensor([0.2, 0.2, 0.12, 0.12])
    images = torch.stack([thorax(tuple((torch.tensor([1.0, 1, 0, 0]) + j).tolist())) for j in jitter])
    registration = Registration()
    registration.fit(images, rounds=0)
    blurred = registration.template.clone()
    registration.fit(images, rounds=3)
    chest = Registration()
    chest.fit(thorax()[None])
    correlation = [(t * chest.template).mean().item() for t in (blurred, registration.template)]
    assert correlation[1] > correlation[0] + 0.005


def test_brightness_and_contrast_do_not_matter(fitted: Registration) -> None:
    image = thorax((1.12, 0.96, -0.04, 0.04))[None, None]
    assert torch.equal(fitted(image * 0.3 + 0.5), fitted(image))
    assert torch.equal(fitted(image.expand(1, 3, 96, 96)), fitted(image))


def test_flat_images_do_no_harm(fitted: Registration) -> None:
    frames = fitted(torch.stack([torch.zeros(1, 64, 64), torch.ones(1, 64, 64)]))
    assert frames.tolist() == [[1.0, 1.0, 0.0, 0.0]] * 2


def test_a_saved_template_brings_the_registration_back(fitted: Registration) -> None:
    other = Registration()
    images = torch.stack([thorax((1.12, 0.96, -0.04, 0.04)), thorax((0.88, 1.04, 0.02, -0.06))])[:, None]
    assert other(images).tolist() == [[1.0, 1.0, 0.0, 0.0]] * 2
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other(images), fitted(images))
    assert set(fitted.state_dict()) == {"template"}


def test_a_new_template_replaces_the_stored_candidates() -> None:
    registration = Registration()
    registration.fit(thorax()[None])
    image = thorax((1.0, 1.0, 0.06, 0.0))[None, None]
    assert registration(image)[0, 2] > 0
    registration.fit(image[0])
    assert registration(image).tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_finds_the_same_frames(fitted: Registration, dtype: torch.dtype) -> None:
    frames = [(1.12, 0.96, -0.04, 0.04), (0.88, 1.04, 0.02, -0.06), (0.96, 0.96, 0.0, 0.02), (1.04, 1.2, 0.06, -0.02)]
    images = torch.stack([thorax(f) for f in frames])[:, None]
    plain = fitted(images)
    with torch.autocast("cpu", dtype=dtype):
        assert torch.equal(fitted(images), plain)


def test_a_permuted_batch_permutes_the_frames(fitted: Registration) -> None:
    images = torch.stack([thorax((s, 1.0, 0.0, t)) for s, t in ((1.12, 0.0), (0.88, 0.04), (1.0, -0.06))])[:, None]
    order = torch.tensor([2, 0, 1])
    assert torch.equal(fitted(images[order]), fitted(images)[order])
