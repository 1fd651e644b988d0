"""Codes of the Open-I (Indiana) reports, a MeSH heading and its qualifiers: ``Opacity/lung/base/left``.

``mappings/openi.csv`` has a row per heading, and rows ``heading/qualifier`` where a qualifier changes what is meant
(``Thickening/pleura``): these count instead of the heading's own. Codes name what is there; nothing is coded as absent,
and a finding told as a possibility is coded or not as the indexer saw fit.
"""

from __future__ import annotations

from functools import cache

from wsrpn_vl.data.mapping import Name, table
from wsrpn_vl.errors import DataError, nearest

DATASET = "openi"
NORMAL = "normal"
NOT_INDEXED = ("No Indexing", "Technical Quality of Image Unsatisfactory")  # say nothing of findings


def rows_of(code: str, place: str = "MeSH") -> tuple[Name, ...]:
    """Rows of the table that hold for one code; letters' case and spaces do not matter.

    place: file for the message. Raises: DataError for a heading that the table does not have.
    """
    heading, *qualifiers = (_key(part) for part in code.split("/"))
    known = _known()
    if heading not in known:
        raise DataError(f"{place}: MeSH heading {code.split('/')[0]!r} is unknown{nearest(heading, known)}")
    special = [row for qualifier in qualifiers for row in known.get(f"{heading}/{qualifier}", ())]
    return tuple(dict.fromkeys(special)) or known[heading]


@cache
def _known() -> dict[str, tuple[Name, ...]]:
    out: dict[str, tuple[Name, ...]] = {}
    for row in table(DATASET):
        key = _key(row.native)
        out[key] = (*out.get(key, ()), row)
    return out


def _key(words: str) -> str:
    return " ".join(words.casefold().split())
