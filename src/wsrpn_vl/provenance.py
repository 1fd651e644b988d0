"""Facts that go beside every number: commit, machine, versions, file hashes."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def git_commit() -> str | None:
    """Commit of the source tree the package runs from, with ``-dirty`` when it has changes; None outside a checkout."""
    # an installed copy may lie inside somebody else's checkout, whose commit says nothing about it
    if not _git("ls-files", Path(__file__).name):
        return None
    return _git("describe", "--always", "--abbrev=12", "--dirty", "--exclude", "*")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and the versions that numbers depend on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "ram_gb": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in ("wsrpn-vl", "torch", "torchvision", "timm", "transformers", "numpy")},
    }


def sha256_file(path: Path | str) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git(*arguments: str) -> str | None:
    """Output of git in this file's folder; None where it fails or says nothing."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None if run.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
