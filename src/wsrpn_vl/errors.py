"""Every error a user can cause, as one line that names the place and the mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")
LONGEST = 1000  # characters of a message
_LISTED = 400  # characters of a list of what is known


class WsrpnVlError(Exception):
    """Base class. ``str(error)`` is one line: what is wrong, where, and how to mend it.

    Values of files can be of any length and hold any character: what cannot be printed is escaped, and of a message
    longer than ``LONGEST`` the middle is left out, so that it keeps the place and the mend.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_one_line(str(message)))


class ConfigError(WsrpnVlError):
    """A recipe or a ``key=value`` override is wrong."""


class DataError(WsrpnVlError):
    """A data set, index or image cannot be used as it is."""


class TextError(WsrpnVlError):
    """A text encoder or its cache cannot be used."""


class PredictionsError(WsrpnVlError):
    """A predictions file does not follow the documented layout."""


class CheckpointError(WsrpnVlError):
    """A checkpoint folder is missing, incomplete or of another model."""


class TrainingError(WsrpnVlError):
    """Training cannot go on (for example: the loss is not finite)."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the closest of ``known``, else the list of what is known, its beginning if long."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    listed = ", ".join(sorted(known))
    if len(listed) > _LISTED:
        listed = f"{listed[:_LISTED].rpartition(', ')[0]} … ({len(known):,} in all)"
    return f"; known: {listed}"


def lookup(kind: str, name: str, registry: dict[str, T], error: type[WsrpnVlError] = ConfigError) -> T:
    """``registry[name]``, or one clear line naming the nearest entry."""
    try:
        return registry[name]
    except KeyError:
        raise error(f"unknown {kind} {name!r}{nearest(name, registry)}") from None


def first_line(error: BaseException) -> str:
    """First line of an error's message, or the name of its class where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _one_line(text: str) -> str:
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c == "\n" else repr(c)[1:-1] for c in text)
    half = LONGEST // 2 - 2
    return text if len(text) <= LONGEST else f"{text[:half]} … {text[-half:]}"


def wordless(error: BaseException) -> str:
    """First line of an error's message, cut where it quotes something: that may be words of a report."""
    return re.sub(r"[`'\"].*", "…", first_line(error))
