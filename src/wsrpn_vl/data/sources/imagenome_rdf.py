"""``study_level_attribute_rdfgraphs.json`` of Chest ImaGenome: 4.6 GB, read study by study, never as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson

from wsrpn_vl.data.scene_graphs import Tally, Wish, kept
from wsrpn_vl.errors import DataError, first_line, wordless
from wsrpn_vl.progress import progress
from wsrpn_vl.text.graph_phrases import phrases_of_rdf
from wsrpn_vl.text.graphs import words_of

_SHOWN = 1_000  # studies between two reports of progress
_DEEPEST = 1_000  # brackets of one block of the file that stay open; whole files have 4 open at once
RDF = "study_level_attribute_rdfgraphs.json"


class _Shallow:
    """A file that ends with a ValueError where brackets are only opened: ijson's memory grows with depth squared."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        depth = data.count(b"[") + data.count(b"{") - data.count(b"]") - data.count(b"}")
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        return data


def studies(file: IO[bytes]) -> Iterator[tuple[str, Any]]:
    """(study id, its edges) in the file's order; memory holds one study.

    Raises: ValueError where it is no such JSON.
    """
    try:
        yield from ijson.kvitems(_Shallow(file), "")
    except ijson.JSONError as error:
        raise ValueError(wordless(error)) from None


def read_rdf(path: Path, wanted: set[str], wish: Wish) -> Tally:
    """Words of the studies ``wanted``; reading ends when all are found. Studies of another form are listed as broken.

    Raises: DataError if the file is no JSON or ends early, or for an attribute that the mapping does not know.
    """
    tally, vocabulary, left = Tally(), wish.vocabulary(), set(wanted)
    total = path.stat().st_size
    try:
        with path.open("rb") as file, progress("study-level RDF", "bytes") as report:
            for number, (study, edges) in enumerate(studies(file)):
                if number % _SHOWN == 0:
                    report(file.tell() - 1, total)
                if study not in left:
                    continue
                left.discard(study)
                try:
                    words = words_of(phrases_of_rdf(edges), vocabulary, f"{path}: study {study}")
                except ValueError:
                    tally.broken.append(study)
                else:
                    tally.counts.update(words.left_out)
                    tally.counts["hidden"] += words.hidden
                    tally.reads.append(kept(study, words, None))
                if not left:
                    break
            report(total, total)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole JSON file ({first_line(error)}); download it again") from None
    return tally
