"""Perceptual fingerprints: copies are near, other radiographs far."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from wsrpn_vl.data.fingerprints import LIMIT, SIDE, WORDS, fingerprint, fingerprints, near_pairs
from wsrpn_vl.data.phantom.study import simulate
from wsrpn_vl.data.pixels import read_image


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return simulate(1, 0, size=256).image


def bits(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.bitwise_count(a ^ b).sum())


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((200, 200), Image.Resampling.BILINEAR),
        lambda image: image.resize((700, 700), Image.Resampling.BICUBIC),
        lambda image: jpeg(image, 40),
        ImageOps.equalize,
        lambda image: image.point([round(255 * (v / 255) ** 0.6) for v in range(256)]),
    ],
    ids=["smaller", "larger", "jpeg", "equalised", "gamma"],
)
def test_a_copy_is_near(picture: np.ndarray, change) -> None:
    copy = np.asarray(change(Image.fromarray(picture)), dtype=np.float32) / 255
    assert bits(fingerprint(picture / 255), fingerprint(copy)) <= LIMIT


def test_another_patient_and_the_mirror_image_are_far(picture: np.ndarray) -> None:
    own = fingerprint(picture / 255)
    assert bits(own, fingerprint(simulate(1, 1, size=256).image / 255)) > LIMIT
    assert bits(own, fingerprint(picture[:, ::-1] / 255)) > LIMIT


def test_the_hash_is_each_cell_against_its_neighbours() -> None:
    """Brightness that rises to the right and falls downwards: all bits of the first half, none of the second."""
    rise = np.tile(np.linspace(0, 0.5, 17 * 16), (17 * 16, 1)) - np.linspace(0, 0.4, 17 * 16)[:, None] + 0.4
    found = fingerprint(rise)
    assert found.shape == (WORDS,) and found.dtype == np.uint64
    assert np.bitwise_count(found).tolist() == [64] * (WORDS // 2) + [0] * (WORDS // 2) and WORDS * 64 == 2 * SIDE**2


def test_pairs_are_all_within_the_limit_and_no_others() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2**63, size=(3000, WORDS), dtype=np.uint64)  # more than one block
    b = a[[2999, 5, 7]].copy()
    b[1, 0] ^= np.uint64(0b111)
    b[2] ^= np.uint64(2**63 - 1)
    assert near_pairs(a, b, limit=3).tolist() == [[5, 1, 3], [2999, 0, 0]]
    assert near_pairs(a, b, limit=2).tolist() == [[2999, 0, 0]]
    assert near_pairs(a[:0], b).shape == (0, 3)


def test_files_that_cannot_be_read_are_told(tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    prints, read = fingerprints([tmp_path / "a.png", tmp_path / "b.png"])
    assert read.tolist() == [True, False] and bits(prints[0], fingerprint(picture / 255)) == 0


def test_real_radiographs_lie_far_apart(real_data: Path) -> None:
    """Of 300 NIH pictures, one patient's only duplicate apart, none is within the limit of another; copies all are."""
    paths = sorted((real_data / "nih-subset").rglob("*.jpg"))[:300]
    prints, read = fingerprints(paths)
    assert read.all()
    pairs = [(i, j) for i, j, _ in near_pairs(prints, prints).tolist() if i < j]
    assert all(paths[i].stem[:8] == paths[j].stem[:8] for i, j in pairs)
    small = [Image.fromarray((read_image(p) * 255).astype(np.uint8)).resize((224, 224)) for p in paths[:40]]
    copies = np.stack([fingerprint(np.asarray(s, dtype=np.float32) / 255) for s in small])
    found = near_pairs(copies, prints).tolist()
    assert {(i, i) for i in range(40)} <= {(i, j) for i, j, _ in found}
