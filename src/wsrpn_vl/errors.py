"""Every error a user can cause, as one line that names the place and the mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


class WsrpnVlError(Exception):
    """Base class. ``str(error)`` is one line: what is wrong, where, and how to mend it."""


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
    """``"; did you mean 'x'?"`` for the closest of ``known``, else the list of what is known."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


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
