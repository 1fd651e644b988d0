"""Sentences of findings without what they say of earlier films: what goes, what stays, and that nothing turns over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.reading import labels
from wsrpn_vl.text.comparisons import finding_sentences, without_comparison


@pytest.mark.parametrize(
    ("sentence", "left"),
    [
        ("As compared to the previous radiograph, the left effusion has slightly increased in extent.",
         "The left effusion."),
        ("In comparison with the study of ___, there is little change in the bibasilar opacifications.",
         "Bibasilar opacifications."),
        ("Again seen is a left effusion.", "A left effusion."),
        ("A left apical nodule is again seen.", "A left apical nodule."),
        ("No significant interval change in the left pleural effusion.", "Left pleural effusion."),
        ("Bibasilar atelectasis has worsened, right greater than left.",
         "Bibasilar atelectasis, right greater than left."),
        ("There is a new opacity in the right upper lobe compared with the prior exam.",
         "There is an opacity in the right upper lobe."),
        ("Moderate right effusion is new from ___.", "Moderate right effusion."),
        ("Stable small right pleural effusion with persistent adjacent atelectasis; no left effusion.",
         "Small right pleural effusion with adjacent atelectasis; no left effusion."),
        ("Right effusion is small and unchanged.", "Right effusion is small."),
        ("Left lower lobe opacity, unchanged since the prior study, may represent atelectasis.",
         "Left lower lobe opacity, may represent atelectasis."),
        # nothing that one image shows
        ("The heart is stable.", ""),
        ("Cardiomediastinal silhouette is unchanged.", ""),
        # no comparison, or one that the statement hangs on
        ("The lungs are clear.", "The lungs are clear."),
        ("No new consolidation.", "No new consolidation."),
        ("The edema has resolved.", "The edema has resolved."),
        ("The right-sided pneumothorax is no longer visible.", "The right-sided pneumothorax is no longer visible."),
        ("Increased interstitial markings.", "Increased interstitial markings."),
    ],
)  # fmt: skip
def test_comparisons_go_and_statements_stay(sentence: str, left: str) -> None:
    assert without_comparison(sentence) == left


def test_only_sentences_of_findings_are_kept_once_each() -> None:
    text = (
        "Comparison is made to the prior film. Stable small left effusion. The patient is rotated. No pneumothorax. "
        "Small left effusion. Emphysema. No acute cardiopulmonary process. Follow-up is advised."
    )
    assert finding_sentences(text) == (
        "Small left effusion. No pneumothorax. Emphysema. No acute cardiopulmonary process."
    )
    assert finding_sentences("As above. The patient is rotated.") == finding_sentences("") == ""


WORDS = (
    "compared to the prior film , stable unchanged has increased again seen interval new no change in resolved "
    "effusion left small nodule and with the heart is may represent pneumonia since persistent not removal of tube now"
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split()), min_size=1, max_size=16).map(" ".join))
def test_no_statement_turns_over(sentence: str) -> None:
    """The labels stay as they are, or go together with the sentence."""
    left = without_comparison(f"{sentence}.")
    assert labels(left) == labels(f"{sentence}.") or not left
