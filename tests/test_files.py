"""Files are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsrpn_vl.files import replacing, write_text


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = write_text(tmp_path / "deep" / "a.txt", "old")

    def killed() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        killed()
    assert path.read_text() == "old" and list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", "old")
    with replacing(path) as temporary:
        temporary.write_text("new ü")
        assert path.read_text() == "old"
    assert path.read_text(encoding="utf-8") == "new ü"


def test_an_error_names_the_wanted_path_not_the_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder") as caught:
        write_text(tmp_path / "folder", "x")
    assert caught.value.filename == str(tmp_path / "folder") and "tmp'" not in str(caught.value)
