"""Commit and hashes that go beside numbers."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
from pathlib import Path

from wsrpn_vl import provenance


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def commit_seen_from(path: Path) -> str | None:
    spec = importlib.util.spec_from_file_location("copied_provenance", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.git_commit()


def test_the_commit_is_of_the_checkout_that_holds_the_package(tmp_path: Path) -> None:
    """Installed into somebody else's checkout (a virtual environment there) it has no commit; tracked, it has."""
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "-m", "theirs")
    copy = tmp_path / "site-packages" / "provenance.py"
    copy.parent.mkdir()
    shutil.copy(provenance.__file__, copy)
    assert commit_seen_from(copy) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "ours")
    clean = commit_seen_from(copy)
    assert clean is not None and len(clean) == 12
    copy.write_text(copy.read_text() + "\n")
    assert commit_seen_from(copy) == f"{clean}-dirty"


def test_no_commit_outside_a_checkout(tmp_path: Path) -> None:
    shutil.copy(provenance.__file__, tmp_path / "provenance.py")
    assert commit_seen_from(tmp_path / "provenance.py") is None


def test_file_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert provenance.sha256_file(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_machine_names_what_numbers_depend_on() -> None:
    facts = provenance.machine()
    assert facts["cores"] >= 1 and facts["ram_gb"] > 0 and facts["torch"] and facts["cpu"]
