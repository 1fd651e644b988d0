"""Words of simulated studies against what is drawn, and pictures against the machine they are made on."""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fixtures.report_reader import WORDS, polarity_of, sentences
from wsrpn_vl.data.phantom.prior import SITES, state_probabilities
from wsrpn_vl.data.phantom.study import PhantomStudy, simulate
from wsrpn_vl.text.sections import describing_text

SIZE = 64
SHARED = {"Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Opacity", "Support Devices"}  # their words say more


@lru_cache(maxsize=1)
def studies() -> tuple[PhantomStudy, ...]:
    return tuple(simulate(71, p, SIZE, "AB"[p % 2], study=p // 2 % 2) for p in range(90))


def test_no_statement_denies_what_is_drawn_or_claims_what_is_not() -> None:
    for study in studies():
        for triple in study.triples:
            if triple["polarity"] == "negative":
                assert not study.labels[triple["finding"]], study.report
            if triple["polarity"] == "positive":
                assert study.labels[triple["finding"]], study.report
                sides = {side for r in study.regions[triple["finding"]] for side in _sides(r.side)}
                assert _sides(triple["location"]) <= sides or not sides, (triple, study.report)


def _sides(words: str) -> set[str]:
    both = {"right", "left"}
    return both if "bilateral" in words else both & set(words.split())


def test_sentences_are_true_to_an_independent_reader() -> None:
    read = 0
    for study in studies():
        for sentence in sentences(describing_text(study.report)):
            for name in WORDS.keys() - SHARED:
                if not re.search(WORDS[name], sentence, re.I):
                    continue
                read += 1
                polarity = polarity_of(sentence)
                assert polarity == "uncertain" or (polarity == "positive") == bool(study.labels[name]), sentence
    assert read > 300


def test_lungs_are_called_clear_only_without_anything_in_them() -> None:
    within = ("Lung Opacity", "Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis")
    clear = [
        s for s in studies() if re.search(r"lungs are (\w+ )*clear|no focal opacity", " ".join(s.report.split()), re.I)
    ]
    assert len(clear) > 10
    assert not any(study.labels[name] for study in clear for name in within)


def test_words_do_not_give_the_simulator_away() -> None:
    for study in studies():
        text = study.report.lower()
        assert not re.search(r"phantom|simulat|synthetic|p0\d{5}|seed|site [ab]\b", text), study.report


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_number_of_threads_changes_no_bit(threads: int) -> None:
    """Rounding of matrix products follows how they are divided; so they are not divided."""
    prevalence = SITES["A"].prevalence_vector
    with threadpool_limits(threads):
        state_probabilities.cache_clear()
        here = state_probabilities(prevalence)
        study = simulate(71, 5, SIZE)
    with threadpool_limits(1):
        state_probabilities.cache_clear()
        alone = state_probabilities(prevalence)
        again = simulate(71, 5, SIZE)
    assert np.array_equal(here, alone)
    assert np.array_equal(study.image, again.image) and study.report == again.report


def test_what_was_simulated_before_leaves_no_trace() -> None:
    first = simulate(71, 6, SIZE)
    for patient in range(3):
        simulate(72, patient, SIZE, "B")
    again = simulate(71, 6, SIZE)
    assert np.array_equal(first.image, again.image) and (first.report, first.boxes) == (again.report, again.boxes)
