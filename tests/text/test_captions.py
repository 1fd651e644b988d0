"""Words of an image: captions from reports, triples and labels."""

from __future__ import annotations

import polars as pl
import pytest

from wsrpn_vl.config import load_config
from wsrpn_vl.errors import DataError
from wsrpn_vl.text.captions import caption_from_labels, captions
from wsrpn_vl.text.triples import Triple, to_json


def test_caption_names_every_positive_class_and_no_other() -> None:
    labels = {"Cardiomegaly": 1, "Pleural Effusion": 1, "Pneumothorax": 0, "Edema": None, "Fracture": -1}
    text = caption_from_labels(labels, "a").lower()
    assert "cardiomegaly" in text and "pleural effusion" in text
    assert not any(word in text for word in ("pneumothorax", "edema", "fracture"))


def test_wording_varies_with_the_image_and_repeats_for_the_same() -> None:
    wordings = {caption_from_labels({"Cardiomegaly": 1}, str(i)) for i in range(60)}
    assert len(wordings) == 4
    assert caption_from_labels({"Cardiomegaly": 1}, "7") == caption_from_labels({"Cardiomegaly": 1}, "7")


def frame(texts: list[str | None]) -> pl.DataFrame:
    ids = [str(i) for i in range(len(texts))]
    return pl.DataFrame(
        {"image_id": ids, "text": pl.Series(texts, dtype=pl.String), "y_cardiomegaly": [1] * len(texts)}
    )


def test_auto_takes_reports_where_there_are_any_and_says_so() -> None:
    words, source = captions(frame(["FINDINGS: big heart.", None]), ["Cardiomegaly"])
    assert (words, source) == (["Big heart.", None], "report")
    words, source = captions(frame([None, None]), ["Cardiomegaly"])
    assert source == "labels" and all("ardiomegaly" in w for w in words if w)


@pytest.mark.parametrize("source", ["report", "findings"])
def test_asking_for_reports_that_are_not_there_is_an_error(source: str) -> None:
    with pytest.raises(DataError, match=f"data.text={source}"):
        captions(frame([None]), ["Cardiomegaly"], source)
    assert load_config(overrides=[f"data.text={source}"]).data.text == source


MIMIC = " FINAL REPORT\n INDICATION:  ___ year old, rule out pneumonia.\n \n COMPARISON:  ___, edema.\n \n "
RULE = "_" * 70
LOOKS: list[tuple[str, str, str]] = [  # report, caption, sentences of findings
    (
        MIMIC + "FINDINGS: \n \n Compared to ___, the left\n effusion is smaller.  No pneumothorax.\n \n"
        " ADDENDUM:  Dr. ___ knows.\n",
        "The left effusion is smaller. No pneumothorax.",
        "The left effusion. No pneumothorax.",
    ),
    (
        f"{MIMIC}IMPRESSION:  No change in small effusion.\n {RULE}\n   FINAL ADDENDUM\n \n Right apical nodule.\n",
        "No change in small effusion. Right apical nodule.",
        "Small effusion. Right apical nodule.",
    ),
    (
        f" WET READ: AB ___ 5:30 PM\n  Early words of edema.\n {RULE}\n{MIMIC}IMPRESSION: \n \n 1.  Tiny right\n"
        " pneumothorax, discussed with Dr. ___ by phone.\n 2.  The team was paged at 4 pm.\n",
        "Tiny right pneumothorax.",
        "Tiny right pneumothorax.",
    ),
    (
        MIMIC.replace("COMPARISON", "TECHNIQUE")
        + "AP chest compared to ___ through ___:\n \n The heart is enlarged, as before.\n",
        "The heart is enlarged, as before.",
        "The heart is enlarged.",
    ),
    (
        "INDICATION: Rule out mass\nFINDINGS: The XXXX are clear. XXXX sternotomy. No effusion.\n"
        "IMPRESSION: 1. No effusion. 2. XXXX.",
        "Sternotomy. No effusion.",
        "Sternotomy. No effusion.",
    ),
    (
        r"NARRATIVE:\nCHEST: 1/1/2001\n \nCLINICAL HISTORY: pneumonia?\n \nFINDINGS:\n \nET tube in place.\n \n"
        r"IMPRESSION:\n \n1.ET tube in place.\n2.Small left effusion.\n \nSUMMARY:2-ABNORMAL\n \nEND OF IMPRESSION:\n"
        r" \nSigned By: A, B",
        "ET tube in place. Small left effusion.",
        "ET tube in place. Small left effusion.",
    ),
    (MIMIC.rstrip(), "", ""),
]


@pytest.mark.parametrize(("report", "caption", "findings"), LOOKS)
def test_awkward_reports_become_plain_captions(report: str, caption: str, findings: str) -> None:
    for source, words in (("report", caption), ("findings", findings)):
        assert captions(frame([report]), ["Cardiomegaly"], source) == ([words or None], source)


TRIPLES = to_json([Triple("Pleural Effusion", "left", ("small",)), Triple("Edema", polarity="negative")])


def test_triples_give_captions_at_the_wanted_level() -> None:
    rows = frame(["a", "b", "c"]).with_columns(triples=pl.Series([TRIPLES, "[]", None], dtype=pl.String))
    for source, wanted in (
        ("triples", "Pleural effusion on the left, small."),
        ("triples_location", "Pleural effusion on the left."),
        ("triples_finding", "Pleural effusion."),
    ):
        assert captions(rows, ["Cardiomegaly"], source) == ([wanted, None, None], source)
    assert captions(rows, ["Cardiomegaly"])[1] == "report"


def test_triples_that_only_compare_give_no_caption() -> None:
    stable = to_json([Triple("Cardiomegaly", "", ("stable",), "uncertain")])
    rows = frame(["a", "b"]).with_columns(triples=pl.Series([stable, TRIPLES]))
    assert captions(rows, ["Cardiomegaly"], "triples")[0] == [None, "Pleural effusion on the left, small."]


@pytest.mark.parametrize("source", ["triples", "triples_location", "triples_finding"])
def test_asking_for_triples_that_are_not_there_is_an_error(source: str) -> None:
    for rows in (frame(["x"]), frame(["x"]).with_columns(triples=pl.lit(None, pl.String))):
        with pytest.raises(DataError, match=f"data.text={source}.*no triples"):
            captions(rows, ["Cardiomegaly"], source)
    assert load_config(overrides=[f"data.text={source}"]).data.text == source


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(Exception, match="report"):
        captions(frame(["x"]), ["Cardiomegaly"], "reports")


def test_labels_without_a_column_are_named() -> None:
    with pytest.raises(DataError, match=r"'Mass'.*cardiomegaly.*data\.classes"):
        captions(frame([None]), ["Cardiomegaly", "Mass"], "labels")
