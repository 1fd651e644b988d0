"""Overlap of boxes against torchvision's, and what works without torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from wsrpn_vl.overlap import iou_matrix, iou_pairs, weighted_fusion

corner = st.floats(-50, 50, allow_subnormal=False)
side = st.floats(0.01, 80)
some = st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=6)


def boxes(rows: list[tuple[float, float, float, float]]) -> np.ndarray:
    return np.array([(x, y, x + w, y + h) for x, y, w, h in rows])


@given(some, some)
def test_as_torchvision_has_it(first: list, second: list) -> None:
    a, b = boxes(first), boxes(second)
    wanted = box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert iou_matrix(a, b) == pytest.approx(wanted, abs=1e-9)
    n = min(len(a), len(b))
    assert iou_pairs(a[:n], b[:n]) == pytest.approx(np.diagonal(wanted)[:n], abs=1e-9)


def test_nothing_to_compare() -> None:
    none = np.zeros((0, 4))
    assert iou_matrix(none, np.ones((3, 4))).shape == (0, 3) and iou_pairs(none, none).shape == (0,)
    clusters, fused = weighted_fusion(none, np.zeros(0), 0.5)
    assert clusters == [] and fused.shape == (0, 4)


def test_indexing_waits_neither_for_torch_nor_for_the_simulator() -> None:
    """The fusion of readers among what is imported."""
    code = "import sys, wsrpn_vl.data.sources; print({'torch', 'numba', 'scipy'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
