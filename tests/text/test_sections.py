"""Sections of reports by the rules of MIMIC-CXR's parser, and other reports' looks; cleaning."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsrpn_vl.text.section_names import ODD_SECTION, SPANS, UNUSABLE
from wsrpn_vl.text.sections import (
    PRIORITY,
    describing_text,
    labelling_text,
    split_sections,
    wet_read,
    without_titles,
)
from wsrpn_vl.text.sentences import LONGEST, clean, sentences, split_sentences

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PORTABLE AP)
 
 INDICATION:  ___ year old woman with cough  // ? pneumonia
 
 COMPARISON:  Radiograph from ___.
 
 FINDINGS: 
 
 Blunting of the left costophrenic angle is compatible with a small
 effusion.
 
 IMPRESSION: 
 
 1.  Small left pleural effusion.
"""


def test_sections_of_a_usual_report() -> None:
    assert split_sections(REPORT) == {
        "preamble": "FINAL REPORT",
        "examination": "CHEST (PORTABLE AP)",
        "indication": "___ year old woman with cough // ? pneumonia",
        "comparison": "Radiograph from ___.",
        "findings": "Blunting of the left costophrenic angle is compatible with a small effusion.",
        "impression": "1. Small left pleural effusion.",
    }
    assert labelling_text(REPORT) == "1. Small left pleural effusion."


def test_only_what_describes_the_image_is_kept() -> None:
    text = describing_text(REPORT)
    assert text == (
        "Blunting of the left costophrenic angle is compatible with a small effusion. 1. Small left pleural effusion."
    )
    assert "pneumonia" not in text and "___" not in text


def mimic(*blocks: str) -> str:
    """A report in MIMIC-CXR's look: every line one space in."""
    lines = "\n \n".join(blocks).split("\n")
    return "\n".join(line if line.startswith(" ") else f" {line}" for line in ["FINAL REPORT", *lines]) + "\n"


@pytest.mark.parametrize(
    ("header", "section"),
    [
        ("CONCLUSION", "impression"),
        ("FINDINGS AND IMPRESSION", "impression"),
        ("FINDINGS/IMPRESSION", "impression"),
        ("IMPRESSOIN", "impression"),
        ("FINIDNGS", "findings"),
        ("COMPARISIONS", "comparison"),
        ("PFI", "history"),
        ("REASON FOR EXAM", "indication"),
        ("RECOMMENDATION(S)", "recommendations"),
        ("FINAL IMPRESSION", "impression"),  # contains a name
        ("PERTINENT HISTORY", "history"),
        ("CHEST, PA AND LATERAL", "findings"),  # names the films
        ("PORTABLE UPRIGHT", "findings"),
        ("RIBS", "findings"),
        ("CALCULATION", "calculation"),  # of no kind
    ],
)
def test_headers_stand_for_sections(header: str, section: str) -> None:
    assert split_sections(mimic("TECHNIQUE:  AP.", f"{header}:  words here."))[section] == "words here."


@pytest.mark.parametrize("header", ["CHEST PA 2 VIEWS", "Findings", "IMPRESSION_", "SEEN; IN"])
def test_digits_small_letters_and_other_marks_make_no_header(header: str) -> None:
    sections = split_sections(mimic("TECHNIQUE:  AP.", f"{header}:  words here."))
    assert set(sections) == {"preamble", "technique", "last_paragraph"}


def test_a_header_on_the_very_first_line_is_not_found() -> None:
    assert set(split_sections(" FINDINGS:  one.\n IMPRESSION:  two.\n")) == {"preamble", "impression"}


def test_a_second_header_on_one_line_is_text() -> None:
    assert split_sections(mimic("FINDINGS:  AP:  one."))["findings"] == "AP: one."
    sections = split_sections(" FINAL REPORT\n FINDINGS: \n IMPRESSION:  two.\n")
    assert sections == {"preamble": "FINAL REPORT", "impression": "two."}  # findings without words are dropped


def test_of_several_sections_of_a_name_the_last_counts() -> None:
    sections = split_sections(mimic("FINDINGS:  one.", "IMPRESSION:  two.", "FINDINGS:  three."))
    assert (sections["findings"], sections["impression"]) == ("three.", "two.")
    assert split_sections("FINDINGS: one.\nIMPRESSION: two.\nFINDINGS: three.")["findings"] == "three."


def test_an_empty_title_section_does_not_hide_the_findings() -> None:
    report = mimic("CHEST PA AND LATERAL: ", "INDICATION:  Cough.", "FINDINGS:  Clear lungs.", "FINDINGS: ")
    assert labelling_text(report) == "Clear lungs."


def test_without_findings_and_impression_the_last_paragraph_counts() -> None:
    report = mimic("INDICATION:  Rule out pneumonia.", "COMPARISON:  ___.", "Lungs are\nclear.", "No effusion.")
    assert split_sections(report)["comparison"] == "___."
    assert split_sections(report)["last_paragraph"] == "Lungs are clear. No effusion."
    assert describing_text(report) == labelling_text(report) == "Lungs are clear. No effusion."


def test_priority_for_labels() -> None:
    words = {"impression": "i.", "findings": "f.", "comparison": "c."}
    for count, wanted in ((3, "i."), (2, "f."), (1, "c.")):
        kept = list(words.items())[3 - count :]
        assert labelling_text(mimic("TECHNIQUE:  t.", *(f"{n.upper()}:  {t}" for n, t in kept))) == wanted
    assert PRIORITY == ("impression", "findings", "last_paragraph", "comparison")


def test_words_of_the_indication_never_describe_the_image() -> None:
    for report in (
        mimic("INDICATION:  Cough, rule out pneumonia."),
        " INDICATION:  Cough, rule out pneumonia.\n \n",
        "INDICATION: cough, rule out pneumonia\nCOMPARISON: none",
    ):
        assert describing_text(report) == ""


def test_54_studies_are_treated_by_hand() -> None:
    assert (len(ODD_SECTION), len(SPANS), len(UNUSABLE)) == (23, 23, 8)
    assert labelling_text(REPORT, "s58235663") == labelling_text(REPORT, 52035334) == ""
    assert labelling_text(REPORT, "s59279892") == ""  # its section is the technique
    assert labelling_text(REPORT, "s57936451") == "___ year old woman with cough // ? pneumonia"
    assert labelling_text("x" * 60 + "Clear lungs." + "y" * 600, "50196495").startswith("xClear lungs.y")
    assert labelling_text(REPORT, "s50000001") == labelling_text(REPORT, None) == "1. Small left pleural effusion."


ADDENDUM = (
    f"{' ' * 33}FINAL ADDENDUM\n ADDENDUM:  Dr. ___ was told.\n {'_' * 78}\n"
    f"{' ' * 33}FINAL REPORT\n IMPRESSION:  No effusion.\n"
)
WET_READ = (
    f" WET READ: ___ ___ 10:15 AM\n  Small\n effusion.\n {'_' * 78}\n{' ' * 33}FINAL REPORT\n FINDINGS:  Clear.\n"
)


def test_addenda_and_preliminary_readings_are_apart() -> None:
    assert describing_text(ADDENDUM) == "No effusion." and split_sections(ADDENDUM)["addendum"].startswith("Dr.")
    assert wet_read(WET_READ) == "Small effusion." and describing_text(WET_READ) == "Clear."
    assert wet_read(REPORT) == ""
    assert "effusion" not in without_titles(WET_READ) and "FINAL" not in without_titles(WET_READ)


def test_other_looks_are_read() -> None:
    plus = (
        r"NARRATIVE:\nCHEST, 2 VIEWS\n\nFINDINGS: \nTHE HEART IS LARGE.\n\nIMPRESSION:\n\n1. CARDIOMEGALY.\n\nSUMMARY:2"
    )
    assert describing_text(plus) == "THE HEART IS LARGE. 1. CARDIOMEGALY."
    assert labelling_text(plus) == "1. CARDIOMEGALY."
    one_line = "INDICATION: rule out edema. FINDINGS: Lungs are clear. IMPRESSION: Normal chest."
    assert split_sections(one_line) == {
        "indication": "rule out edema.",
        "findings": "Lungs are clear.",
        "impression": "Normal chest.",
    }
    small = "Indication: pain\r\nFindings: heart is large.\r\nImpression: Cardiomegaly."
    assert describing_text(small) == "heart is large. Cardiomegaly."


def test_a_note_without_headers_is_kept_whole() -> None:
    note = "Bilateral   ground-glass\nopacities: see below\n\nNo effusion."
    assert describing_text(note) == "Bilateral ground-glass opacities: see below No effusion."
    assert split_sections("one line") == {"full report": "one line"} and labelling_text("one line") == "one line"


@given(st.text(alphabet=st.sampled_from("A:aN \n\\nFINDIGS._/(")))
def test_any_text_has_sections(text: str) -> None:
    sections = split_sections(text)
    assert all(value == " ".join(value.split()) for value in sections.values())
    assert labelling_text(text) in {"", *sections.values()}


def test_sentences_end_at_full_stops_and_blank_lines_only() -> None:
    text = (
        "Heart is\nlarge.Lungs clear\n\n1. Nodule of 3.5 cm. 2. "
        "two vs. three (e.g. this)? Dr. ___ said so. Cough // ? edema\n 3) last"
    )
    assert split_sentences(text) == [
        "Heart is large.",
        "Lungs clear",
        "Nodule of 3.5 cm.",
        "two vs. three (e.g. this)?",
        "Dr. ___ said so.",
        "Cough // ? edema",
        "last",
    ]


def test_spelling_of_the_tables() -> None:
    assert sentences("Left-sided ___opacity/air-space disease and/or XXXX Effusion.") == [
        "left sided xxxx opacity or airspace disease or xxxx effusion"
    ]
    assert sentences(" . ,\n\n--") == []


def test_a_text_without_full_stops_is_cut_between_words() -> None:
    parts = split_sentences("effusion " * 1000)
    assert len(parts) > 5 and max(map(len, parts)) <= LONGEST and set(" ".join(parts).split()) == {"effusion"}


def test_captions_are_clean() -> None:
    told = (
        "PORTABLE AP CHEST RADIOGRAPH: 1. Small effusion, unchanged since ___. 2. small effusion, unchanged since ___."
    )
    assert clean(told) == "Small effusion, unchanged."
    assert clean("As compared to ___, XXXX opacity is seen.  No   change.") == "Opacity is seen. No change."
    assert clean("___ XXXX. 1. ") == ""
    for text in (describing_text(REPORT), told):
        assert clean(clean(text)) == clean(text)


def test_a_full_stop_without_a_space_ends_a_sentence_but_no_address() -> None:
    assert split_sentences("No effusion.Small nodule.no edema. See x.org/y.png now.") == [
        "No effusion.",
        "Small nodule.",
        "no edema.",
        "See x.org/y.png now.",
    ]


def test_parts_of_the_findings_under_their_own_headers_are_read() -> None:
    parts = "LUNGS AND PLEURA: Small left effusion.\nHEART: Enlarged.\nTUBES/LINES: None."
    assert describing_text(f"INDICATION: Cough\nFINDINGS:\n{parts}\nIMPRESSION: Effusion.") == (
        "Small left effusion. Enlarged. None. Effusion."
    )
    assert describing_text(f"INDICATION: Cough\n{parts}") == "Small left effusion. Enlarged. None."
    mimic = " FINAL REPORT\n INDICATION:  Cough\n \n FINDINGS: \n \n LUNGS:  Clear.\n \n IMPRESSION:  Normal.\n"
    assert describing_text(mimic) == "Clear. Normal."


@pytest.mark.parametrize("header", ["REASON FOR THIS EXAMINATION", "ADMITTING DIAGNOSIS", "HEART FAILURE HISTORY"])
def test_what_was_asked_for_never_describes(header: str) -> None:
    assert describing_text(f" FINAL REPORT\n {header}:  Pneumonia.\n") == ""
    assert describing_text(f"{header}: Pneumonia.\nFINDINGS: Clear.") == "Clear."
