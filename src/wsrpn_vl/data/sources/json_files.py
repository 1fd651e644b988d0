"""JSON files of data sets, whole or one object to a line, plain or gzip."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wsrpn_vl.errors import DataError

_BROKEN = (OSError, EOFError, zlib.error, UnicodeDecodeError)


def json_object(path: Path) -> dict[str, Any]:
    """The object that a file holds. Raises: DataError if it cannot be read, or holds something else."""
    content = json_any(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object; download it again")
    return content


def json_list(path: Path) -> list[Any]:
    """The list that a file holds. Raises: DataError if it cannot be read, or holds something else or nothing."""
    content = json_any(path)
    if not isinstance(content, list) or not content:
        raise DataError(f"{path}: not a JSON list, or an empty one; download it again")
    return content


def json_any(path: Path) -> Any:
    """What a file holds. Raises: DataError if it cannot be read."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return json.loads(raw.decode("utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; put it there") from None
    except (*_BROKEN, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file ({_reason(error)}); download it again") from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a file with one object to a line; blank lines are left out.

    Raises: DataError if it cannot be read, or a line holds something else; the line is not quoted.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, _object(line, f"{path}: line {number}")
    except _BROKEN as error:
        raise DataError(f"{path}: cannot be read ({_reason(error)}); download it again") from None


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise DataError(f"{place}: no JSON object (one to a line); download the file again")
    return content


def _reason(error: BaseException) -> str:
    """Where a file is broken, without its words."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}"
    return error.strerror or type(error).__name__ if isinstance(error, OSError) else type(error).__name__
