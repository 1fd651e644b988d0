"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

# one thread a worker: small tensors gain nothing from more, and workers do not wait for each other's barriers
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real radiographs (``nih-subset``, ``covid-notes``); tests that need it are skipped without it.

    ``WSRPN_VL_REAL_DATA`` names it; else ``../shared/data`` beside the repository is tried.
    """
    given = os.environ.get("WSRPN_VL_REAL_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real radiographs are not here; set WSRPN_VL_REAL_DATA to run this test")
    return folder
