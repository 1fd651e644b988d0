"""Open-I's MeSH codes, ``Opacity/lung/base/left/mild``: a term and its qualifiers, made into classes and triples.

The table ``mappings/openi.csv`` names terms, and terms with one qualifier (``Cardiac Shadow/enlarged``). A code with
such a qualifier anywhere goes by those rows; the others go by the term alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from wsrpn_vl.data import mapping
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.text.triples import Triple

NORMAL = "normal"
SILENT = ("No Indexing", "Technical Quality of Image Unsatisfactory")  # say nothing of a finding
_SIDES = ("left", "right", "bilateral")
_PLACES = {  # qualifier -> place that may be on one side
    "base": "base",
    "apex": "apex",
    "hilum": "hilum",
    "upper lobe": "upper lobe",
    "middle lobe": "middle lobe",
    "lower lobe": "lower lobe",
    "lingula": "lingula",
    "lung": "lung",
    "ribs": "rib",
    "clavicle": "clavicle",
    "humerus": "humerus",
    "shoulder": "shoulder",
    "costophrenic angle": "costophrenic angle",
    "cardiophrenic angle": "cardiophrenic angle",
    "paratracheal": "paratracheal region",
    "retrocardiac": "retrocardiac region",
    "thoracic vertebrae": "thoracic spine",
    "lumbar vertebrae": "lumbar spine",
    "cervical vertebrae": "cervical spine",
    "spine": "spine",
    "sternum": "sternum",
    "mediastinum": "mediastinum",
    "abdomen": "abdomen",
    "neck": "neck",
    "breast": "breast",
    "azygos lobe": "azygos lobe",
}
_UNSIDED = ("lingula", "thoracic spine", "lumbar spine", "cervical spine", "spine", "sternum", "mediastinum", "abdomen")
_PLURAL = {"apex": "apices", "hilum": "hila"}
_MODIFIERS = frozenset(
    {"mild", "moderate", "severe", "small", "large", "multiple", "focal", "diffuse", "patchy", "scattered", "streaky"}
    | {"round", "chronic", "acute", "healed", "borderline", "interstitial", "irregular", "multilobar", "reticular"}
)


def classes(approximate: bool = False) -> tuple[str, ...]:
    """Index classes of the codes; no finding has a column of its own."""
    return tuple(c for c in mapping.index_classes("openi", approximate=approximate) if c != NO_FINDING)


def classes_of(code: str, place: str, *, approximate: bool = False) -> tuple[str, ...]:
    """Index classes that a code labels.

    place: file and report for the message. Raises: DataError for a term that the table does not know.
    """
    term, *qualifiers = (part.strip() for part in code.split("/"))
    rows = [native for q in qualifiers if _key(native := f"{term}/{q}") in _natives()]
    found = [mapping.classes_of("openi", native, place, approximate=approximate) for native in rows or [term]]
    return tuple(dict.fromkeys(c for held in found for c in held if c != NO_FINDING))


@cache
def _natives() -> frozenset[str]:
    return frozenset(_key(name.native) for name in mapping.table("openi"))


def _key(native: str) -> str:
    return " ".join(native.casefold().split())


def labels_of(
    codes: Sequence[str], place: str, *, approximate: bool = False
) -> tuple[frozenset[str] | None, int | None]:
    """(positive classes, no finding) of a report; None where its codes say nothing.

    Raises: DataError for an unknown term, or a report that is normal and has a finding.
    """
    held = {code: classes_of(code, place, approximate=approximate) for code in codes}
    told = [code for code in codes if code.strip() not in SILENT]
    if not told:
        return None, None
    normal = [code for code in told if _key(code) == NORMAL]
    positive = frozenset(c for code in told for c in held[code])
    if normal and positive:
        raise DataError(f"{place}: coded as normal and as {min(positive)}; correct the codes")
    return positive, int(len(normal) == len(told))


def triples_of(codes: Iterable[str], place: str, *, approximate: bool = False) -> tuple[Triple, ...]:
    """Triples of a report's codes, each once; an observation's name where the class has one."""
    triples = []
    for code in codes:
        named = classes_of(code, place, approximate=approximate)
        for finding in [c for c in named if c in OBSERVATIONS] or named:
            qualifiers = [part.strip().lower() for part in code.split("/")[1:]]
            told = tuple(q for q in qualifiers if q in _MODIFIERS)
            triples.append(Triple(finding, _location(qualifiers), told))
    return tuple(dict.fromkeys(triples))


def _location(qualifiers: Sequence[str]) -> str:
    """The most exact place with its side: ``lung``, ``base``, ``left`` -> ``left base``."""
    places = [_PLACES[q] for q in qualifiers if q in _PLACES]
    if len(places) > 1:
        places = [p for p in places if p != "lung"]
    side = next((q for q in qualifiers if q in _SIDES), "")
    if not places:
        return side
    where = places[-1]
    if where in _UNSIDED or not side:
        return where
    return f"{side} {_PLURAL.get(where, where + 's') if side == 'bilateral' else where}"
