"""Reading the reports of an index: what is filled in, what is kept, and what it says of each text."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from fixtures.scored import make_index
from wsrpn_vl.data.index import boxes_path, read_index, rewrite_index
from wsrpn_vl.data.phantom.traps import Traps
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.data.words import label_index, triples_of_labels
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.classify import auroc
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.triples import flat_caption, from_json

EFFUSION = "FINDINGS: There is a small left pleural effusion. No pneumothorax."
NORMAL = "IMPRESSION: No pneumothorax or pleural effusion."


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two reports, a text that says nothing, an image without text; labels of Pneumothorax alone; one box."""
    rows = [
        {"image_id": "a", "split": "train", "labels": {"Pneumothorax": 1}, "text": EFFUSION},
        {"image_id": "b", "split": "train", "text": NORMAL},
        {"image_id": "c", "split": "train", "text": "Thank you for the referral."},
        {"image_id": "d", "split": "train"},
    ]
    return make_index(tmp_path / "index.parquet", rows, [("a", "Pneumothorax", 0, 0, 5, 5)], ("Pneumothorax",))


def column(path: Path, name: str) -> list:
    return read_index(path).frame[name].to_list()


def test_missing_labels_are_filled_and_given_ones_kept(plain: Path) -> None:
    done = label_index(plain, workers=1)
    assert (done.reports, done.images, done.silent) == (3, 3, 1)
    assert column(plain, "y_pneumothorax") == [1, None, None, None]  # as given, although the text says there is none
    assert column(plain, "y_pleural_effusion") == [1, 0, None, None]
    index = read_index(plain)
    assert set(index.classes) == set(OBSERVATIONS)
    assert set(index.text_labels) == set(OBSERVATIONS) - {"Pneumothorax"}
    assert "words read by the labeler" in index.notes[-1]


def test_labels_can_be_replaced_or_kept(plain: Path) -> None:
    before = plain.read_bytes()
    label_index(plain, labels="keep", workers=1)
    assert read_index(plain).classes == ("Pneumothorax",) and column(plain, "y_pneumothorax")[0] == 1
    plain.write_bytes(before)
    label_index(plain, labels="replace", workers=1)
    assert column(plain, "y_pneumothorax") == [0, 0, None, None]


def test_triples_say_what_the_text_says(plain: Path) -> None:
    label_index(plain, workers=1)
    told = [None if cell is None else from_json(cell) for cell in column(plain, "triples")]
    assert [(t.finding, t.location, t.polarity) for t in told[0]] == [
        ("Pleural Effusion", "left", "positive"),
        ("Pneumothorax", "", "negative"),
    ]
    assert told[2] == () and told[3] is None


def test_given_triples_stay_unless_replaced(plain: Path) -> None:
    label_index(plain, workers=1)
    first = column(plain, "triples")
    frame = read_index(plain).frame.with_columns(triples=pl.lit("[]"))
    rewrite_index(read_index(plain), frame)
    label_index(plain, workers=1)
    assert column(plain, "triples") == ["[]"] * 4
    label_index(plain, triples="replace", workers=1)
    assert column(plain, "triples") == first


def test_confidence_is_null_without_text_and_low_without_statement(plain: Path) -> None:
    label_index(plain, workers=1)
    a, b, c, d = column(plain, "text_confidence")
    assert d is None and c == 0 and a > 0.5 and b > 0.5


def test_the_boxes_are_not_touched(plain: Path) -> None:
    before = boxes_path(plain).read_bytes()
    label_index(plain, workers=1)
    assert boxes_path(plain).read_bytes() == before


def test_labels_read_from_the_text_are_no_witness_for_it(plain: Path) -> None:
    """A second reading gives the same confidence: the labels that the first one wrote do not count."""
    label_index(plain, workers=1)
    first = column(plain, "text_confidence")
    label_index(plain, workers=1)
    assert column(plain, "text_confidence") == first


def test_wrong_reports_of_the_phantom_are_found(tmp_path: Path) -> None:
    path = write_phantom(tmp_path, images=300, size=64, seed=3, traps=Traps(wrong_report=0.2), progress=False)
    done = label_index(path, labels="keep", triples="keep", workers=1)
    frame = read_index(path).frame
    wrong = (frame["report_kind"] == "wrong").to_numpy()
    confidence = frame["text_confidence"].to_numpy()
    assert auroc(-confidence[:, None], wrong[:, None])[0] > 0.93
    assert 0 < done.wrong_share < 2 * wrong.mean()  # of 300 texts, a rough estimate


def test_an_index_without_text_or_a_wrong_word_is_refused_and_left_alone(tmp_path: Path, plain: Path) -> None:
    path = make_index(tmp_path / "no.parquet", [{"image_id": "a", "split": "train"}], None, ("Edema",))
    before = path.read_bytes()
    with pytest.raises(DataError, match="no image has text"):
        label_index(path)
    with pytest.raises(DataError, match="labels='all'; use fill, replace or keep"):
        label_index(plain, labels="all")
    assert path.read_bytes() == before


def test_the_verb_says_what_was_read(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from wsrpn_vl.cli import app

    result = CliRunner().invoke(app, ["label", str(plain), "--json", "--workers", "1"])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["reports"] == 3 and said["positives"]["Pleural Effusion"] == 1


def test_labels_become_triples_where_there_are_none(tmp_path: Path) -> None:
    rows = [{"image_id": "a", "split": "train", "labels": {"Edema": 1, "Fracture": 0, "Pneumonia": -1}}]
    path = make_index(tmp_path / "i.parquet", rows, None, ("Edema", "Fracture", "Pneumonia", "Pneumothorax"))
    assert triples_of_labels(path) == 1
    told = from_json(column(path, "triples")[0])
    assert {(t.finding, t.location, t.polarity) for t in told} == {
        ("Edema", "", "positive"),
        ("Fracture", "", "negative"),
        ("Pneumonia", "", "uncertain"),
    }
    assert flat_caption(told) == "Pulmonary edema. Possible pneumonia."
    assert triples_of_labels(path) == 0  # what is there stays
