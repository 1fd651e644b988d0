"""Files that are there whole or not at all."""

from __future__ import annotations

import lzma
import os
import secrets
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wsrpn_vl.errors import DataError

# all that zipfile raises for a broken, encrypted or unknown archive or member
BROKEN_ZIP = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to; it becomes ``path`` when the block ends, and goes if it fails.

    Parent folders are made. Raises: OSError as the file system does, naming ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # process numbers repeat on other machines and in containers that share the folder
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
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


def size_text(count: int) -> str:
    """Bytes as people say them: ``18.9 GB``."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] in ("B", "kB") else f"{value:.1f} {units[0]}"


def png_path(path: Path | str) -> Path:
    """``path``. Raises: DataError unless it ends in ``.png`` and is no folder, before any work is done for it."""
    path = Path(path)
    if path.suffix.lower() != ".png" or path.is_dir():
        raise DataError(f"{path}: a PNG file is written; give a name that ends in .png")
    return path
