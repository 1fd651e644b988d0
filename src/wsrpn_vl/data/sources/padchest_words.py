"""PadChest's own words: lists written as text, and places, made into classes and triples.

``LabelsLocalizationsBySentence`` has two forms. Physicians' rows hold one list per sentence; the model's rows hold one
flat list, where a name that begins a sentence has no space before it and the further names of that sentence have one.
``loc`` items follow the names of their sentence. Which of several findings in a sentence they belong to is not said,
so places are kept only where a sentence has one finding. A sentence without a label is ``nan``, ``[]`` or ``''``.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from wsrpn_vl.data import mapping
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, phrase
from wsrpn_vl.text.triples import Triple

NORMAL = "normal"
SILENT = ("unchanged", "suboptimal study", "exclude")  # of the study or the sentence, not of a finding
_NAN = re.compile(r"(?<=[\[ ])nan(?=[,\]])")
_SIDED_NAME = re.compile(r"(?P<name>.+?) (?:(?P<side>left|right|both) sides?|(?P<both>bilateral))")

_SIDES = ("left", "right", "bilateral")
_PLACES = {  # loc name -> place that may be on one side
    "basal": "base",
    "apical": "apex",
    "hilar": "hilum",
    "perihilar": "perihilar region",
    "suprahilar": "suprahilar region",
    "infrahilar": "infrahilar region",
    "diaphragm": "hemidiaphragm",
    "supradiaphragm": "supradiaphragmatic region",
    "infradiaphragm": "subdiaphragmatic region",
    "upper lung field": "upper lung zone",
    "middle lung field": "mid lung zone",
    "lower lung field": "lower lung zone",
    "lung field": "lung",
    "rib cartilage": "costal cartilage",
    "axilar": "axilla",
    "pectoral": "pectoral region",
    "paratracheal": "paratracheal region",
    "paracardiac": "paracardiac region",
    "paramediastinum": "paramediastinal region",
    "paravertebral": "paravertebral region",
    "subpleural": "subpleural region",
    "retrocardiac": "retrocardiac region",
    "subcutaneous": "subcutaneous tissue",
} | {
    name: name
    for name in (
        *("hemithorax", "costophrenic angle", "cardiophrenic angle", "upper lobe", "lower lobe", "rib", "anterior rib"),
        *("posterior rib", "clavicle", "humerus", "humeral head", "humeral neck", "scapula", "shoulder", "nipple"),
        *("fissure", "major fissure", "glenohumeral joint", "acromioclavicular joint", "rotator cuff", "hypochondrium"),
        *("subclavian vein", "pulmonary artery", "carotid artery"),
    )
}
_MIDDLE = {  # loc name -> place that has no side, or says it itself
    "cardiac": "heart",
    "aortic": "aorta",
    "aortic button": "aortic knob",
    "supra aortic": "supra-aortic vessels",
    "tracheal": "trachea",
    "superior cave vein": "superior vena cava",
    "dorsal vertebrae": "thoracic spine",
    "lumbar vertebrae": "lumbar spine",
    "cervical vertebrae": "cervical spine",
    "column": "spine",
    "cervical": "neck",
    "esophageal": "esophagus",
    "gastric chamber": "stomach",
    "epigastric": "epigastrium",
    "costoesternal": "costosternal junction",
    "intersomatic space": "disc space",
    "basal bilateral": "bilateral bases",
    "hilar bilateral": "bilateral hila",
    "bilateral costophrenic angle": "bilateral costophrenic angles",
    "diffuse bilateral": "bilateral lungs",
    "supraspisnous": "supraspinatus",
}
_NOWHERE = {  # say no more than the finding does
    *("pleural", "lobar", "central", "bronchi", "bone", "subsegmental", "peribronchi", "extrapleural"),
    *("extrapulmonary", "soft tissue", "airways"),
}
_FULL_NAMES = {"NSG tube": "nasogastric tube", "dai": "implantable cardioverter defibrillator"}
_PLURAL = {"apex": "apices", "hilum": "hila", "hemithorax": "hemithoraces", "axilla": "axillae"}


def read_list(text: str, place: str) -> list[Any]:
    """The list that a cell spells in Python's way; ``nan`` items become None.

    place: file, row and column for the message, which does not repeat the cell. Raises: DataError if it is none.
    """
    try:
        items = _plain_list(text)
        if items is None:
            items = ast.literal_eval(_NAN.sub("None", text))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        items = None
    if not isinstance(items, list):
        raise DataError(f"{place}: not a list such as ['nodule', 'scoliosis']; download the file again")
    return items


def _plain_list(text: str) -> list[Any] | None:
    """As JSON where that is the same, ten times faster; None where it may not be."""
    if '"' in text or "\\" in text:
        return None
    try:
        items = json.loads(_NAN.sub("null", text).replace("'", '"'))
    except ValueError:
        return None
    return items if isinstance(items, list) else None


def names_of(items: Iterable[Any], place: str) -> tuple[str, ...]:
    """Names without the stray spaces, each once; ``""`` stays. Raises: DataError for an item that is no text."""
    names = []
    for item in items:
        if not isinstance(item, str):
            raise DataError(f"{place}: holds a {type(item).__name__} among the names; download the file again")
        names.append(" ".join(item.split()))
    return tuple(dict.fromkeys(names))


def split_side(name: str) -> tuple[str, str]:
    """(name, side) of a name that holds one: ``mastectomy left side`` -> ``mastectomy``, ``left``."""
    found = _SIDED_NAME.fullmatch(name)
    if not found:
        return name, ""
    return found["name"], "bilateral" if found["both"] or found["side"] == "both" else found["side"]


def sentences(items: Iterable[Any]) -> Iterator[tuple[list[str], list[str]]]:
    """(names, loc names without ``loc``) of each sentence, of either form; sentences without a name are left out."""
    groups: list[list[str]] = []
    placed = True  # the open sentence has places, so that a further name opens the next one
    for item in items:
        if isinstance(item, (list, tuple)):
            groups.append([word for word in item if isinstance(word, str)])
            placed = True
        elif isinstance(item, str):
            if not _is_place(item) and (placed or not item.startswith(" ")):
                groups.append([])
            placed = _is_place(item)
            if groups:
                groups[-1].append(item)
    for group in groups:
        names = [" ".join(word.split()) for word in group if not _is_place(word) and word.strip()]
        if names:
            yield names, [" ".join(word.split()[1:]) for word in group if _is_place(word)]


def _is_place(word: str) -> bool:
    return word.split(None, 1)[:1] == ["loc"]


def places(locs: Iterable[str], side: str = "") -> tuple[str, ...]:
    """English places of loc names, each with its side: ``("basal", "left")`` -> ``("left base",)``.

    side: one that is already known, from the finding's name. A side alone is a place; two sides with several places
    cannot be told apart and are left out. Names that the data set is not known to use stay as they are.
    """
    locs = list(dict.fromkeys(locs))
    stated = {loc for loc in locs if loc in _SIDES} | ({side} if side else set())
    which = next(iter(stated)) if len(stated) == 1 else "bilateral" if stated else ""
    free = [_PLACES[loc] for loc in locs if loc in _PLACES]
    fixed = [_MIDDLE.get(loc, loc) for loc in locs if loc not in _PLACES and loc not in _NOWHERE and loc not in _SIDES]
    if len(free) > 1 and "lung" in free:
        free.remove("lung")
    if len(stated) > 1 and len(free) > 1:
        which = ""
    sided = [_on_side(which, word) for word in free]
    found = list(dict.fromkeys([*sided, *fixed]))
    found = [word for word in found if not any(other != word and other.endswith(f" {word}") for other in found)]
    return tuple(found) or ((which,) if which else ())


def _on_side(side: str, word: str) -> str:
    if side == "bilateral":
        word = _PLURAL.get(word, f"{word}s")
    return f"{side} {word}".strip()


def triples_of(names: Sequence[str], locs: Sequence[str], table: str, place: str) -> tuple[Triple, ...]:
    """Triples of one sentence: its findings with a class, and their places where only one finding is named.

    table: whose names they are (:mod:`wsrpn_vl.data.mapping`). Raises: DataError for an unknown name.
    """
    try:
        return _triples(tuple(names), tuple(locs), table)
    except DataError:
        for name in names:
            mapping.classes_of(table, split_side(name)[0], place)  # says where
        raise


@lru_cache(maxsize=65536)  # reports repeat themselves
def _triples(names: tuple[str, ...], locs: tuple[str, ...], table: str) -> tuple[Triple, ...]:
    told = []
    for name in names:
        bare, side = split_side(name)
        classes = mapping.classes_of(table, bare, table)
        own = classes[0] if classes else ""
        told.append((bare, side, next((c for c in classes if c in OBSERVATIONS), own)))
    alone = len({finding or bare for bare, _, finding in told}) == 1
    triples = []
    for bare, side, finding in told:
        if finding:
            where = places(locs if alone else (), side) or ("",)
            triples += [Triple(finding, spot, modifiers=_modifiers(bare, finding)) for spot in where]
    return tuple(dict.fromkeys(triples))


def _modifiers(name: str, finding: str) -> tuple[str, ...]:
    """What a label says beyond its observation: ``laminar atelectasis`` -> ``laminar``; other classes say it all."""
    name = name[0].lower() + name[1:] if name[1:2].islower() else name  # PadChest-GR writes some with a capital
    beyond = _FULL_NAMES.get(name, name).removesuffix(phrase(finding)).strip()
    return (beyond,) if beyond and finding in OBSERVATIONS else ()
