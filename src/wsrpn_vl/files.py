"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsrpn_vl.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it becomes ``path`` when the block ends, and goes if it fails.

    Parent folders are made. Raises: OSError as the file system does, naming ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):  # gone after the rename
            temporary.unlink()


def write_text(path: Path, text: str) -> Path:
    """UTF-8 text, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def png_path(path: Path | str) -> Path:
    """``path``. Raises: DataError unless it ends in ``.png`` and is no folder, before any work is done for it."""
    path = Path(path)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise DataError(f"{path}: a PNG file is written; give a name that ends in .png")
    return path
