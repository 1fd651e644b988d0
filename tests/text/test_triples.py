"""Triples: validation, the JSON form, and captions at three levels."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, phrase
from wsrpn_vl.text.triples import (
    NORMAL,
    POLARITIES,
    Triple,
    flat_caption,
    from_json,
    hierarchical_captions,
    is_comparison,
    place,
    to_json,
)

TOLD = (
    Triple("Pleural Effusion", "left costophrenic angle", ("small",)),
    Triple("Edema", polarity="uncertain"),
    Triple("Pleural Effusion", "right", ("large", "layering")),
    Triple("Pneumothorax", polarity="negative"),
    Triple("Cardiomegaly", "", ("mild",)),
)
words = st.text("abc d", min_size=0, max_size=8)
triples = st.lists(
    st.builds(
        Triple,
        st.sampled_from([*OBSERVATIONS, "Hernia", "Rare Thing"]),
        words,
        st.lists(words.filter(bool), max_size=3).map(tuple),
        st.sampled_from(POLARITIES),
    ),
    max_size=6,
)


def test_captions_go_from_finding_to_place_to_degree() -> None:
    assert hierarchical_captions(TOLD) == (
        "Cardiomegaly. Possible pulmonary edema. Pleural effusion.",
        "Cardiomegaly. Possible pulmonary edema. Pleural effusion at the left costophrenic angle; on the right.",
        "Cardiomegaly, mild. Possible pulmonary edema. "
        "Pleural effusion at the left costophrenic angle, small; on the right, large, layering.",
    )


def test_the_order_of_statements_does_not_matter() -> None:
    assert {hierarchical_captions(order) for order in itertools.permutations(TOLD)} == {hierarchical_captions(TOLD)}


def test_what_is_certain_outweighs_doubt_and_denial_says_nothing() -> None:
    doubt, sure = Triple("Pneumonia", "lingula", polarity="uncertain"), Triple("Pneumonia", "left lower lobe")
    assert flat_caption([doubt, sure]) == "Pneumonia in the left lower lobe."
    assert flat_caption([doubt]) == "Possible pneumonia in the lingula."
    assert flat_caption([Triple("Pneumonia", polarity="negative")]) == flat_caption([]) == NORMAL


def test_captions_do_not_say_a_place_twice() -> None:
    edema = Triple("Edema", "bilateral perihilar regions", ("moderate", "perihilar"))
    heart = Triple("Cardiomegaly", "cardiac silhouette", ("mild",))
    assert flat_caption([edema]) == "Pulmonary edema in the bilateral perihilar regions, moderate."
    plate = Triple("Pleural Other", "right apex", ("pleural thickening", "smooth"))
    assert flat_caption([heart]) == "Cardiomegaly, mild."
    assert flat_caption([plate]) == "Pleural thickening at the right apex, smooth."


@given(triples)
def test_every_level_names_the_same_findings(told: list[Triple]) -> None:
    levels = hierarchical_captions(told)
    named = {phrase(t.finding) for t in told if t.polarity != "negative"}
    for text in levels:
        assert (text == NORMAL) == (not named)
        assert all(name in text.lower() for name in named)
    assert levels[2] == flat_caption(told)


@given(triples)
def test_json_form_goes_there_and_back(told: list[Triple]) -> None:
    text = to_json(told)
    assert from_json(text) == tuple(told)
    assert all(set(item) == {"finding", "location", "modifiers", "polarity"} for item in json.loads(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON list"),
        ("{}", "not a JSON list"),
        ("[1]", "finding, location, modifiers, polarity"),
        ('[{"finding": "Edema"}]', "finding, location, modifiers, polarity"),
        ('[{"finding": "Edema", "location": "", "modifiers": "mild", "polarity": "positive"}]', "modifiers: a list"),
        ('[{"finding": "Edema", "location": "", "modifiers": [], "polarity": "positiv"}]', "positive"),
        ('[{"finding": "", "location": "", "modifiers": [], "polarity": "positive"}]', "not empty"),
        ('[{"finding": "Edema", "location": null, "modifiers": [], "polarity": "positive"}]', "words"),
        ('[{"finding": "Edema", "location": "", "modifiers": [1], "polarity": "positive"}]', "words"),
    ],
)
def test_what_is_no_triple_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        from_json(text)
    assert "\n" not in str(error.value)


def test_modifiers_are_a_list_of_words() -> None:
    assert Triple("Edema", modifiers=["mild"]).modifiers == ("mild",)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match="list of words"):
        Triple("Edema", modifiers="mild")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("", ""),
        ("right", "on the right"),
        ("bilateral", "on both sides"),
        ("bilateral bases", "at the bilateral bases"),
        ("left lateral chest wall", "along the left lateral chest wall"),
        ("lingula", "in the lingula"),
        ("bilateral lungs", "in both lungs"),
        ("both lungs", "in both lungs"),
        ("bilateral lower lobe", "in the bilateral lower lobes"),
        ("bilateral hemithorax", "in the bilateral hemithoraces"),
        ("left fifth and sixth posterior rib", "of the left fifth and sixth posterior ribs"),
        ("right upper extremity", "in the right upper extremity"),
        ("cavoatrial junction", "at the cavoatrial junction"),
        ("midline sternum", "at the midline sternum"),
        ("upper mediastinum", "of the upper mediastinum"),
    ],
)
def test_places_have_their_preposition(location: str, wanted: str) -> None:
    assert place(location) == wanted


def test_a_finding_told_twice_in_one_place_is_told_once_in_full() -> None:
    told = [
        Triple("Pleural Effusion", "left", ("small",)),
        Triple("Pleural Effusion", "left"),
        Triple("Pleural Effusion"),
        Triple("Lung Lesion", "right upper lobe", ("nodule",)),
        Triple("Lung Lesion", "right upper lobe", ("nodule", "7 mm")),
        Triple("Atelectasis", "left base", ("basilar", "mild")),
    ]
    assert flat_caption(told) == (
        "Lung lesion in the right upper lobe, nodule, 7 mm. Atelectasis at the left base, mild. "
        "Pleural effusion on the left, small."
    )
    assert flat_caption([Triple("Pleural Effusion", "", ("small",)), Triple("Pleural Effusion", "left")]) == (
        "Pleural effusion, small; on the left."
    )


def test_a_heart_that_is_as_it_was_is_no_finding() -> None:
    stable = Triple("Cardiomegaly", "", ("stable",), "uncertain")
    assert is_comparison(stable) and not is_comparison(Triple("Cardiomegaly", "", ("stable",)))
    assert flat_caption([stable, Triple("Edema")]) == "Pulmonary edema."
