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
    assert (words, source) == (["big heart.", None], "report")
    words, source = captions(frame([None, None]), ["Cardiomegaly"])
    assert source == "labels" and all("ardiomegaly" in w for w in words if w)


def test_asking_for_reports_that_are_not_there_is_an_error() -> None:
    with pytest.raises(DataError, match="data.text"):
        captions(frame([None]), ["Cardiomegaly"], "report")


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
