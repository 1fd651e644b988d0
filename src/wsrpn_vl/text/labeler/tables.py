"""Tables of phrases (``*.yaml`` beside this file), looked for only where a word of the sentence calls for it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

_MACRO = re.compile(r"~(\w+)~")


def load(name: str) -> dict[str, Any]:
    """A file of tables; ``~name~`` in a phrase stands for an entry of the file's ``macros``."""
    text = resources.files("wsrpn_vl.text.labeler").joinpath(f"{name}.yaml").read_text("utf-8")
    content = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    macros = content.pop("macros", {})
    return _filled(content, macros) if macros else content


def _filled(part: Any, macros: Mapping[str, str]) -> Any:
    if isinstance(part, str):
        return _MACRO.sub(lambda found: macros[found[1]], part)
    if isinstance(part, dict):
        return {key: _filled(value, macros) for key, value in part.items()}
    return [_filled(value, macros) for value in part] if isinstance(part, list) else part


class Table:
    """A regular expression of named alternatives, and the stems that one of its words begins with.

    ``rows``: name -> phrases; a phrase begins and ends at a word's boundary. Earlier rows win.
    """

    def __init__(self, stems: str, rows: Mapping[str, Sequence[str]] | Sequence[str]) -> None:
        self.stems = tuple(stems.split())
        named = rows if isinstance(rows, Mapping) else {"hit": rows}
        self._names = {f"g{i}": name for i, name in enumerate(named)}
        groups = (f"(?P<{g}>{'|'.join(named[name])})" for g, name in self._names.items())
        self._pattern = re.compile(rf"\b(?:{'|'.join(groups)})(?!\w)")

    def find(self, sentence: str) -> list[tuple[str, int, int]]:
        """(row, start, end) of every phrase, from left to right."""
        names = self._names
        return [(names[str(m.lastgroup)], m.start(), m.end()) for m in self._pattern.finditer(sentence)]


class Anchors:
    """Which of several tables have something to look for in a sentence, by a memo of words."""

    _KEPT = 200_000  # words; more are nothing a report would hold

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = tuple(tables)
        self._known: dict[str, int] = {}

    def of(self, sentence: str) -> int:
        """Bit i is set where the sentence has a word of table i."""
        known, found = self._known, 0
        for word in sentence.split(" "):
            bits = known.get(word)
            found |= self._learn(word) if bits is None else bits
        return found

    def _learn(self, word: str) -> int:
        bits = sum(1 << i for i, table in enumerate(self._tables) if word.startswith(table.stems))
        if len(self._known) < self._KEPT:
            self._known[word] = bits
        return bits
