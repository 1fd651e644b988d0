"""Sentences of Chest ImaGenome and what they state of a region, from its scene graphs and its study-level RDF."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

HISTORY, PRELIMINARY, FINAL = "history", "prelimread", "finalreport"
_CUE = re.compile(r"[^|]+\|(yes|no)\|")
_CUE_LISTS = ("severity_cues", "texture_cues", "temporal_cues")


class Phrase(NamedTuple):
    """One sentence about one region. attributes: (category, affirmed, label); number: the sentence's id."""

    region: str
    attributes: tuple[tuple[str, bool, str], ...]
    section: str = FINAL
    number: str = ""
    text: str = ""


@lru_cache(4096)  # the data set has a few hundred
def attribute(text: str) -> tuple[str, bool, str]:
    """(category, affirmed, label) of ``category|relation|label``; the label may hold anything but a line end.

    Raises: ValueError for another form.
    """
    category, relation, label = text.split("|", 2)
    if relation not in ("yes", "no"):
        raise ValueError(f"relation {relation!r} is neither yes nor no")
    return category.strip(), relation == "yes", label.strip()


def phrases_of_graph(graph: Any) -> list[Phrase]:
    """Phrases of one ``SceneGraph.json``. Raises: ValueError if it has not the form of one."""
    out: list[Phrase] = []
    for entry in objects_in(graph, "attributes"):
        region = entry.get("bbox_name") or next((key for key, value in entry.items() if value is True), None)
        groups = _list(entry.get("attributes"))
        if not isinstance(region, str):
            raise ValueError("an attribute without its region")
        texts, numbers, sections = (_list(entry.get(name)) for name in ("phrases", "phrase_IDs", "sections"))
        for i, group in enumerate(groups):
            said = [*_list(group), *(cue for name in _CUE_LISTS for cue in _cues(entry.get(name), i))]
            if not all(isinstance(text, str) for text in said):
                raise ValueError("an attribute that is no text")
            out.append(
                Phrase(
                    region.strip(),
                    tuple(attribute(text) for text in dict.fromkeys(said)),
                    str(sections[i]) if i < len(sections) else FINAL,
                    str(numbers[i]) if i < len(numbers) else "",
                    str(texts[i]) if i < len(texts) else "",
                )
            )
    return out


def _cues(lists: Any, i: int) -> list[str]:
    """Cues of phrase ``i``. They only modify what is stated, so one of another form does not break the graph."""
    own = lists[i] if isinstance(lists, list) and i < len(lists) else ()
    found = [own] if isinstance(own, str) else own if isinstance(own, list) else []
    return [cue for cue in found if isinstance(cue, str) and _CUE.match(cue)]


def objects_in(graph: Any, name: str) -> list[dict[str, Any]]:
    """The JSON objects of a list of a scene graph, empty if it is null. Raises: ValueError for another form."""
    if not isinstance(graph, dict) or name not in graph:
        raise ValueError(f"no list {name!r}")
    found = _list(graph[name])
    if not all(isinstance(item, dict) for item in found):
        raise ValueError(f"{name!r} is no list of objects")
    return found


def _list(value: Any) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"a list is {type(value).__name__}")
    return value


def phrases_of_rdf(edges: Any) -> list[Phrase]:
    """Phrases of one study of the study-level RDF: ``[[node, type], [node, type], relation]`` edges.

    An edge between a location (or the study) and an annotation states it, or denies it where the relation says NOT;
    edges of the ontology and of the history are left out. There are no sentences: one phrase per region.
    Raises: ValueError if it has not that form.
    """
    said: dict[str, list[tuple[str, bool, str]]] = {}
    for edge in _list(edges):
        if len(_list(edge)) != 3 or len(_list(edge[0])) != 2 or len(_list(edge[1])) != 2:
            raise ValueError("an edge that is not two nodes and a relation")
        (first, kind), (second, other), relation = edge
        if not all(isinstance(text, str) for text in (first, kind, second, other, relation)):
            raise ValueError("an edge that is not made of words")
        if other in ("location", "study_id"):
            first, kind, second, other = second, other, first, kind
        if kind not in ("location", "study_id") or not other.endswith("_annotation"):
            continue
        if "annotation" not in relation.lower() and "NOT" not in relation:
            continue
        region = "" if kind == "study_id" else _node(first)
        label = other.removesuffix("_annotation"), "NOT" not in relation, _node(second)
        said.setdefault(region, []).append(label)
    return [Phrase(region, tuple(dict.fromkeys(labels)), number=region) for region, labels in said.items()]


def _node(text: str) -> str:
    """Name of ``name|CUI;;CUI``."""
    return text.split("|", 1)[0].strip()


def sentences_of(phrases: Iterable[Phrase]) -> str | None:
    """The sentences once each, in the report's order, without the history; None if there are none."""
    found: dict[str, Phrase] = {}
    for phrase in phrases:
        text = " ".join(phrase.text.split())
        if text and phrase.section != HISTORY:
            found.setdefault(text, phrase)
    ordered = sorted(found, key=lambda text: _sentence_number(found[text].number))
    return " ".join(ordered) or None


def _sentence_number(number: str) -> int:
    last = number.rpartition("|")[2]
    return int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0


class Row(NamedTuple):
    """One row of the attribute tables, gold or made by the data set's own tools; None where blank."""

    region: str | None
    relation: str | None
    context: str | None
    category: str | None
    label: str | None
    row_id: str | None
    sentence: str | None


def phrases_of_rows(rows: Iterable[Row]) -> tuple[list[Phrase], int]:
    """Phrases of the rows of one image, and how many rows were left out.

    ``relation`` 1 with ``context`` yes affirms, ``context`` no denies; a yes whose relation is 0 was refused by the
    annotators, and a row without region, label or category says nothing: both are left out. A blank context follows
    the relation.
    """
    said: dict[tuple[str, str], list[tuple[str, bool, str]]] = {}
    texts: dict[str, str] = {}
    left_out = 0
    for row in rows:
        there = row.relation in ("1", "1.0")
        context = (row.context or ("yes" if there else "no")).lower()
        if (
            not (row.region and row.label and row.category)
            or context not in ("yes", "no")
            or (context == "yes") > there
        ):
            left_out += 1
            continue
        number = row.row_id or ""
        said.setdefault((number, row.region), []).append((row.category, context == "yes", row.label))
        texts.setdefault(number, row.sentence or "")
    phrases = [
        Phrase(region, tuple(dict.fromkeys(labels)), number=number, text=texts[number])
        for (number, region), labels in said.items()
    ]
    return phrases, left_out
