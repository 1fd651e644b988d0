"""What the verbs of the command line share: how they end, and the table of an index."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from wsrpn_vl.errors import ConfigError, WsrpnVlError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines instead of text.")]


def verb(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Run a verb; print what it returns: text lines and the path, or one JSON object. Errors become one line."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            result = function(*args, **kwargs)
        except (WsrpnVlError, OSError) as error:
            line = " ".join((str(error) if isinstance(error, WsrpnVlError) else _file_error(error)).split())
            print(
                json.dumps({"error": line}) if as_json else f"error: {line}", file=sys.stdout if as_json else sys.stderr
            )
            raise typer.Exit(2) from None
        except KeyboardInterrupt as stop:
            print(f"error: {str(stop) or 'interrupted'}", file=sys.stderr)
            raise typer.Exit(130) from None
        shown, code = result.pop("show", None), result.pop("code", 0)
        if as_json:
            print(json.dumps(result, default=str))
            raise typer.Exit(code)
        if shown is not None:
            Console(width=None if sys.stdout.isatty() else 160).print(shown)
        if "path" in result:
            print(result["path"])
        raise typer.Exit(code)

    return run


def pairs(items: list[str] | None) -> dict[str, str]:
    """``key=value`` words as a dictionary. Raises: ConfigError for a word without ``=``, or a key given twice."""
    out: dict[str, str] = {}
    for item in items or []:
        key, equals, value = item.partition("=")
        if not equals or not key or key in out:
            raise ConfigError(f"{item!r}: give each option once, as key=value")
        out[key] = value
    return out


def _file_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{place}{reason}; check that the place exists, may be written and has free space, or choose another"


def index_table(index: Any) -> Table:
    """Images and positives of each class per split."""
    from wsrpn_vl.labels import label_column

    frame = index.frame
    splits = sorted(
        frame["split"].unique().to_list(),
        key=lambda s: ("train", "val", "test").index(s) if s in ("train", "val", "test") else 9,
    )
    table = Table("class", *(f"{s or '(none)'}" for s in splits), title=f"{index.dataset}: positives per split")
    table.add_row("[bold]images", *(str(frame.filter(frame["split"] == s).height) for s in splits))
    for name in index.classes:
        if label_column(name) in frame.columns:
            table.add_row(
                name, *(str(int((frame.filter(frame["split"] == s)[label_column(name)] == 1).sum())) for s in splits)
            )
    return table
