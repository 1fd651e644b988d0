"""Chest ImaGenome's attributes as triples and labels: worked by hand, rule by rule."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.imagenome import ABNORMAL, HAZY, NO_AIR, NODULE, NORMAL, region, said
from wsrpn_vl.data import mapping
from wsrpn_vl.data.phantom.layouts.imagenome_vocabulary import VOCABULARY
from wsrpn_vl.data.phantom.layouts.regions import REGIONS
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.graph_phrases import (
    Phrase,
    Row,
    attribute,
    phrases_of_graph,
    phrases_of_rdf,
    phrases_of_rows,
    sentences_of,
)
from wsrpn_vl.text.graphs import Vocabulary, Words, words_of
from wsrpn_vl.text.regions import contains, largest, paired, smallest
from wsrpn_vl.text.triples import Triple, hierarchical_captions

OPAQUE, SOLID = "anatomicalfinding|yes|lung opacity", "anatomicalfinding|yes|consolidation"
WATER, NO_WATER = "anatomicalfinding|yes|pleural effusion", "anatomicalfinding|no|pleural effusion"
BIG_HEART = "anatomicalfinding|yes|enlarged cardiac silhouette"


def words(*regions: dict, **options) -> Words:
    return words_of(phrases_of_graph({"attributes": list(regions)}), Vocabulary(**options), "here")


def told(*regions: dict, **options) -> list[tuple]:
    return [(t.finding, t.location, t.modifiers, t.polarity) for t in words(*regions, **options).triples]


# ---- one attribute


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("anatomicalfinding|yes|lung opacity", ("anatomicalfinding", True, "lung opacity")),
        (NODULE, ("anatomicalfinding", True, "mass/nodule (not otherwise specified)")),
        ("disease|no|copd/emphysema", ("disease", False, "copd/emphysema")),
        ("nlp|yes|a|b", ("nlp", True, "a|b")),
    ],
)
def test_an_attribute_is_category_relation_label(text: str, wanted: tuple) -> None:
    assert attribute(text) == wanted


@pytest.mark.parametrize("text", ["", "lung opacity", "anatomicalfinding|maybe|edema", "a|b"])
def test_what_is_no_attribute_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        attribute(text)


# ---- the mapping


def test_every_label_of_the_vocabulary_is_known_and_all_observations_are_reached() -> None:
    labels = {category: names.split(";") for category, names in VOCABULARY.items()}
    counts = {category: len(names) for category, names in labels.items()}
    assert counts == {
        "anatomicalfinding": 43, "disease": 10, "tubesandlines": 12, "device": 5, "technicalassessment": 5,
        "texture": 5, "severity": 3, "nlp": 2,
    }  # fmt: skip
    ours = ("anatomicalfinding", "disease", "tubesandlines", "device", "technicalassessment", "texture")
    natives = {n.native for n in mapping.table("imagenome")}
    assert natives == {label for category in ours for label in labels[category]}
    assert mapping.index_classes("imagenome") == OBSERVATIONS
    for category in ("tubesandlines", "device"):
        assert {mapping.classes_of("imagenome", name, "") for name in labels[category]} == {("Support Devices",)}


@pytest.mark.parametrize(
    ("label", "usual", "approximate"),
    [
        ("hydropneumothorax", ("Pneumothorax", "Pleural Effusion"), ("Pneumothorax", "Pleural Effusion")),
        ("costophrenic angle blunting", (), ("Pleural Effusion",)),
        ("calcified nodule", (), ()),
        ("vascular congestion", ("Edema",), ("Edema",)),
        ("lobar/segmental collapse", ("Atelectasis",), ("Atelectasis",)),
        ("scoliosis", (), ()),
    ],
)
def test_a_label_belongs_to_its_observations(label: str, usual: tuple, approximate: tuple) -> None:
    assert Vocabulary().findings(label, "") == usual
    assert Vocabulary(approximate=True).findings(label, "") == approximate


def test_an_unknown_label_is_an_error_that_names_the_nearest_or_is_counted() -> None:
    odd = region("left lung", said(0, "", "anatomicalfinding|yes|lung opacty", NO_AIR))
    with pytest.raises(DataError, match=r"here: finding 'lung opacty' is unknown; did you mean 'lung opacity'\? .*"):
        words(odd)
    found = words(odd, unknown="count")
    assert found.labels == {"Pneumothorax": 0} and found.left_out["unknown"] == 1
    with pytest.raises(DataError, match="unknown choice of unknown: 'skip'; known: count, error"):
        Vocabulary(unknown="skip")


# ---- rules


def test_yes_and_no_in_one_phrase_are_two_statements() -> None:
    found = words(region("left lung", said(1, "", HAZY, NO_AIR, ABNORMAL)))
    assert found.labels == {"Edema": 1, "Pneumothorax": 0} and found.no_finding == 0
    assert found.triples == (
        Triple("Edema", "left lung"),
        Triple("Pneumothorax", "left lung", polarity="negative"),
    )


def test_yes_wins_over_no_of_one_finding_and_the_other_side_stays_denied() -> None:
    left = region("left costophrenic angle", said(0, "", NO_WATER), said(1, "", WATER))
    right = region("right costophrenic angle", said(0, "", NO_WATER))
    found = words(left, right)
    assert found.labels == {"Pleural Effusion": 1} and found.left_out["contradicted"] == 1
    assert [(t.location, t.polarity) for t in found.triples] == [
        ("left costophrenic angle", "positive"),
        ("right costophrenic angle", "negative"),
    ]
    assert words(left, right) == words(right, left)


def test_a_denial_of_the_whole_gives_way_to_a_part_but_not_the_other_way_round() -> None:
    whole_no, part_yes = region("left lung", said(0, "", NO_AIR)), "anatomicalfinding|yes|pneumothorax"
    found = words(whole_no, region("left apical zone", said(1, "", part_yes)))
    assert [(t.location, t.polarity) for t in found.triples] == [("left apical zone", "positive")]
    found = words(region("left lung", said(1, "", part_yes)), region("left apical zone", said(0, "", NO_AIR)))
    assert [(t.location, t.polarity) for t in found.triples] == [
        ("left lung", "positive"),
        ("left apical zone", "negative"),
    ]


def test_affirmed_findings_go_to_the_smallest_regions_and_denied_ones_to_the_largest() -> None:
    nested = ("left lung", "left upper lung zone", "left apical zone")
    assert told(*(region(n, said(0, "", NODULE)) for n in nested)) == [
        ("Lung Lesion", "left apical zone", ("mass or nodule",), "positive")
    ]
    assert told(*(region(n, said(0, "", NO_AIR)) for n in nested)) == [("Pneumothorax", "left lung", (), "negative")]


def test_regions_of_one_finding_are_one_sentence_and_sides_become_one_place() -> None:
    names = ("right lower lung zone", "left lower lung zone", "left upper lung zone")
    found = words(*(region(n, said(0, "", SOLID)) for n in names))
    assert [t.location for t in found.triples] == ["bilateral lower lung zone", "left upper lung zone"]
    assert hierarchical_captions(found.triples)[1] == (
        "Consolidation in the bilateral lower lung zones; in the left upper lung zone."
    )
    both = words(*(region(f"{side} lung", said(0, "", HAZY)) for side in ("left", "right")))
    assert hierarchical_captions(both.triples)[1] == "Pulmonary edema in both lungs."


def test_severity_comes_first_and_belongs_to_the_only_finding_of_its_sentence() -> None:
    mild: dict[str, Any] = {
        "severity": ["severity|yes|mild"],
        "texture": ["texture|yes|interstitial", "texture|yes|opacity"],
    }
    alone = said(0, "", HAZY, NO_AIR, ABNORMAL, temporal=["temporal|yes|acute"], **mild)
    assert told(region("left lung", alone))[0] == ("Edema", "left lung", ("mild", "interstitial", "acute"), "positive")
    crowd = said(0, "", HAZY, WATER, **mild)
    assert [t[2] for t in told(region("left lung", crowd))] == [(), ()]
    # the sentence is told again for another region; what it affirms there counts too
    heart = region("cardiac silhouette", said(0, "", BIG_HEART, **mild))
    assert told(region("left lung", said(0, "", HAZY, **mild)), heart)[0] == (
        "Cardiomegaly", "cardiac silhouette", (), "positive",
    )  # fmt: skip
    # the parent is stated beside its kind, and both are the one thing
    assert [t[2][0] for t in told(region("left lung", said(0, "", OPAQUE, SOLID, **mild)))] == ["mild", "mild"]


def test_no_modifier_is_made_of_doubt_denial_comparison_or_two_severities() -> None:
    doubtful: tuple[dict[str, Any], ...] = (
        {"severity": ["severity|yes|hedge"]},
        {"severity": ["severity|yes|mild", "severity|yes|severe"]},
        {"severity": ["severity|no|mild"]},
        {"comparison": ["comparison|yes|worsened"]},
    )
    for cues in doubtful:
        assert told(region("cardiac silhouette", said(0, "", BIG_HEART, **cues)))[0][2] == ()
    no = region("left lung", said(0, "", NO_AIR, severity=["severity|yes|mild"]))
    assert told(no) == [("Pneumothorax", "left lung", (), "negative")]


@pytest.mark.parametrize(
    ("cues", "wanted"),
    [
        ([["severity|yes|mild"]], ("mild",)),
        (["severity|yes|mild"], ("mild",)),  # as text
        ([["severity|yes|mild", "mild", 3, None, "severity|perhaps|severe"]], ("mild",)),
        ([None], ()),
        ([{"severity|yes|mild": 1}], ()),
        ([], ()),
        ("severity|yes|mild", ()),
        (None, ()),
    ],
)
def test_cues_of_any_form_leave_the_finding(cues: Any, wanted: tuple[str, ...]) -> None:
    heart = region("cardiac silhouette", said(0, "", BIG_HEART)) | {"severity_cues": cues}
    assert told(heart) == [("Cardiomegaly", "cardiac silhouette", wanted, "positive")]


def test_the_last_severity_of_a_region_counts() -> None:
    first, last = ([f"severity|yes|{word}"] for word in ("severe", "moderate"))
    heart = region("cardiac silhouette", said(0, "", BIG_HEART, severity=first), said(4, "", BIG_HEART, severity=last))
    assert told(heart)[0][2] == ("moderate",)
    assert hierarchical_captions(words(heart).triples)[2] == "Cardiomegaly, moderate."


def test_devices_are_told_apart_and_named() -> None:
    tubes = region(
        "trachea", said(0, "", "tubesandlines|yes|endotracheal tube", ABNORMAL), said(1, "", "device|no|cabg grafts")
    )
    line = region("svc", said(2, "", "tubesandlines|yes|picc"))
    found = words(tubes, line)
    assert found.labels == {"Support Devices": 1} and found.affirmed == {} and found.no_finding is None
    assert [(t.location, t.modifiers, t.polarity) for t in found.triples] == [
        ("trachea", ("CABG grafts",), "negative"),
        ("svc", ("PICC",), "positive"),
        ("trachea", ("endotracheal tube",), "positive"),
    ]


def test_history_says_nothing_and_the_final_report_overrules_the_preliminary_one() -> None:
    history = region("left lung", said(0, "", NODULE, section="history"))
    assert words(history).triples == () and words(history).left_out["history"] == 1
    early = said(0, "", "anatomicalfinding|yes|pneumothorax", ABNORMAL, section="prelimread")
    late = said(5, "", NO_AIR, NORMAL)
    found = words(region("left lung", early, late))
    assert found.labels == {"Pneumothorax": 0} and found.left_out["preliminary"] == 1
    assert found.no_finding == 1 and not found.hidden
    assert words(region("left lung", early)).labels == {"Pneumothorax": 1}


@pytest.mark.parametrize(
    ("triplets", "wanted"),
    [
        ((NORMAL, NO_AIR), 1),
        ((NO_AIR,), None),
        ((NORMAL, HAZY), 0),
        ((NORMAL, "anatomicalfinding|yes|scoliosis"), 0),  # abnormal, though of no class
        ((NORMAL, ABNORMAL), 0),
        (("tubesandlines|yes|picc", ABNORMAL), None),  # the device is what is abnormal
        ((), None),
    ],
)
def test_no_finding(triplets: tuple[str, ...], wanted: int | None) -> None:
    assert words(region("left lung", said(0, "", *triplets))).no_finding == wanted


def test_findings_of_no_class_are_counted_or_kept_under_their_own_name() -> None:
    bent = region("spine", said(0, "", "anatomicalfinding|yes|scoliosis", ABNORMAL, NO_AIR))
    found = words(bent)
    assert found.left_out["beyond"] == 1 and found.hidden and [t.finding for t in found.triples] == ["Pneumothorax"]
    kept = words(bent, others=True)
    assert hierarchical_captions(kept.triples)[0] == "Scoliosis." and not kept.hidden
    assert kept.labels == found.labels == {"Pneumothorax": 0}


def test_an_unknown_place_is_none_and_yields_to_a_known_one() -> None:
    nowhere = region("unknown", said(0, "", "disease|yes|pneumonia"))
    assert told(nowhere) == [("Pneumonia", "", (), "positive")]
    assert told(nowhere, region("right lung", said(1, "", "disease|yes|pneumonia"))) == [
        ("Pneumonia", "right lung", (), "positive")
    ]
    denied = region("unknown", said(2, "", "disease|no|pneumonia"))
    assert told(nowhere, denied) == [("Pneumonia", "", (), "positive")]


labels = st.sampled_from([OPAQUE, SOLID, WATER, NO_WATER, NO_AIR, HAZY, NODULE, BIG_HEART, NORMAL, ABNORMAL])
phrase_lists = st.lists(
    st.builds(
        lambda where, attributes, section, number: Phrase(
            where, tuple(attribute(a) for a in attributes), section, f"s|{number}"
        ),
        st.sampled_from([*REGIONS, "neck", "unknown"]),
        st.lists(labels, max_size=4, unique=True),
        st.sampled_from(["finalreport", "prelimread", "history"]),
        st.integers(0, 5),
    ),
    max_size=8,
)


@given(phrase_lists)
def test_triples_and_labels_say_the_same_whatever_is_stated(phrases: list[Phrase]) -> None:
    found = words_of(phrases, Vocabulary(), "here")
    polarities = {name: {t.polarity for t in found.triples if t.finding == name} for name in found.labels}
    assert set(polarities) == {t.finding for t in found.triples}
    assert all(("positive" in p) == (found.labels[name] == 1) for name, p in polarities.items())
    assert {name for name, value in found.labels.items() if value == 1} == set(found.affirmed)
    assert not (found.no_finding == 1 and 1 in found.labels.values())
    assert len(set(found.triples)) == len(found.triples)
    again = words_of([*phrases, *phrases], Vocabulary(), "here")
    assert (again.triples, again.labels, again.no_finding) == (found.triples, found.labels, found.no_finding)


# ---- regions


def test_nesting_is_an_order_and_smallest_and_largest_are_its_ends() -> None:
    for a, b in itertools.product(REGIONS, repeat=2):
        assert not (contains(a, b) and contains(b, a))
        assert all(contains(a, c) for c in REGIONS if contains(a, b) and contains(b, c))
    assert smallest(["left lung", "left apical zone", "spine"]) == ["left apical zone", "spine"]
    assert largest(["left apical zone", "left lung", "spine"]) == ["left lung", "spine"]
    assert paired(["left clavicle", "spine", "right clavicle", "right lung"]) == [
        "bilateral clavicle",
        "spine",
        "right lung",
    ]


# ---- other forms of the same


def test_scene_graph_rdf_and_rows_say_the_same() -> None:
    regions = [
        region("left lung", said(0, "", HAZY, NO_AIR, ABNORMAL)),
        region("neck", said(1, "", "disease|no|goiter")),
    ]
    left = ["left lung|C1", "location"]
    edges = [
        [left, ["pulmonary edema/hazy opacity|C2;;C3", "anatomicalfinding_annotation"], "annotation"],
        [["pneumothorax|C4", "anatomicalfinding_annotation"], left, "NOT annotation"],
        [left, ["abnormal|C5", "nlp_annotation"], "annotation"],
        [["neck|C6", "location"], ["goiter|C7", "disease_annotation"], "NOT annotation"],
        [left, ["right lung|C8", "location"], "c2p"],
        [["an old stroke", "history"], ["aspiration|C9", "disease_annotation"], "annotation"],
    ]
    rows = [
        Row("left lung", "1", "yes", "anatomicalfinding", "pulmonary edema/hazy opacity", "5|0", "Haze."),
        Row("left lung", "0", "no", "anatomicalfinding", "pneumothorax", "5|0", "Haze."),
        Row("left lung", "1.0", None, "nlp", "abnormal", "5|0", "Haze."),
        Row("neck", "0", None, "disease", "goiter", "5|1", None),
        Row("neck", "0", "yes", "disease", "goiter", "5|1", None),
        Row(None, "1", "yes", "disease", "goiter", "5|1", None),
    ]
    wanted = words(*regions)
    from_rows, refused = phrases_of_rows(rows)
    assert refused == 2 and words_of(from_rows, Vocabulary(), "") == wanted
    assert words_of(phrases_of_rdf(edges), Vocabulary(), "") == wanted


def test_sentences_come_once_in_the_order_of_the_report_without_the_history() -> None:
    late, early = said(11, "Last\n one."), said(2, "First one.")
    why = said(0, "Why asked.", section="history")
    found = phrases_of_graph({"attributes": [region("spine", late, early, why), region("neck", late, said(3, " "))]})
    assert sentences_of(found) == "First one. Last one."
    assert sentences_of([]) is None
    numbered = [Phrase("x", (), text="B.", number="1|" + "9" * 5000), Phrase("x", (), text="A.", number="1|2")]
    assert sentences_of(numbered) == "B. A.", "a number that no report has stands first"


def test_lists_that_are_short_or_null_and_a_region_without_its_name_are_taken() -> None:
    entry = {"left lung": True, "attributes": [[NO_AIR], None, [HAZY]], "sections": ["history"], "phrases": None}
    assert phrases_of_graph({"attributes": [entry, {"bbox_name": "neck", "attributes": []}]}) == [
        Phrase("left lung", (("anatomicalfinding", False, "pneumothorax"),), "history"),
        Phrase("left lung", ()),
        Phrase("left lung", (("anatomicalfinding", True, "pulmonary edema/hazy opacity"),)),
    ]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | labels,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["attributes", "bbox_name", "phrases", "sections", "severity_cues", "left lung"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_other_json_is_phrases_or_a_value_error(value: object) -> None:
    for read in (phrases_of_graph, phrases_of_rdf):
        with suppress(ValueError):
            assert all(isinstance(phrase, Phrase) for phrase in read(value))
