"""Open-I's MeSH codes, ``Opacity/lung/base/left/mild``, made into labels and triples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wsrpn_vl.data import mapping
from wsrpn_vl.data.mesh import NORMAL, NOT_INDEXED, rows_of
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.text.triples import Triple

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
    """Index classes that a code labels (:func:`wsrpn_vl.data.mesh.rows_of`).

    place: file and report for the message. Raises: DataError for a heading that the table does not know.
    """
    rows = rows_of(code, place)
    held = (row.cls for row in rows if row.cls and (approximate or row.fit != "off"))
    return tuple(dict.fromkeys(cls for cls in held if cls != NO_FINDING))


def labels_of(
    codes: Sequence[str], place: str, *, approximate: bool = False
) -> tuple[frozenset[str] | None, int | None]:
    """(positive classes, no finding) of a report; None where its codes say nothing.

    Raises: DataError for an unknown heading, or a report that is normal and has a finding.
    """
    held = {code: classes_of(code, place, approximate=approximate) for code in codes}
    told = [code for code in codes if code.strip() not in NOT_INDEXED]
    if not told:
        return None, None
    normal = [code for code in told if code.strip() == NORMAL]
    positive = frozenset(c for code in told for c in held[code])
    if normal and positive:
        raise DataError(f"{place}: coded as normal and as {min(positive)}; correct the codes")
    return positive, int(len(normal) == len(told))


def doubtful_of(codes: Sequence[str], place: str, *, approximate: bool = False) -> set[str]:
    """Classes that approximate codes alone speak of (a blunted costophrenic angle): neither 1 nor 0 is right."""
    if approximate:
        return set()
    said, suggested = ({c for code in codes for c in classes_of(code, place, approximate=a)} for a in (False, True))
    return suggested - said


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
