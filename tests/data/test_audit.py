"""Counts beside the published ones, overlap between data sets, and the page."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from fixtures.scored import make_index
from fixtures.small import small_phantom
from wsrpn_vl.data import audit
from wsrpn_vl.data.audit_page import write_audit
from wsrpn_vl.data.doctor import diagnose
from wsrpn_vl.data.index import VIEWS, read_index, rewrite_index, write_index
from wsrpn_vl.data.phantom.study import simulate
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.labels import label_column

NAMES = sorted(f.name.removesuffix(".json") for f in (resources.files("wsrpn_vl.data") / "published").iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_published_counts_are_well_formed_and_say_where_they_are_from(name: str) -> None:
    known = audit.published(name)
    assert known is not None and known["source"]
    for node in (known, *known.get("splits", {}).values()):
        for key in ("images", "studies", "patients", "frontal"):
            assert isinstance(node.get(key, 0), int)
        assert set(node.get("views", {})) <= set(VIEWS)
        for kind in audit.SIGNS:
            values = node.get(kind, {})
            assert all(isinstance(n, int) and n >= 0 for n in values.values())
            assert len({label_column(c) for c in values}) == len(values)
    assert set(known.get("splits", {})) <= {"train", "val", "test"}


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images of two patients of a data set that is published with four images of three."""
    made = {"images": 4, "patients": 3, "views": {"PA": 4}, "positives": {"Edema": 2}, "source": "made up"}
    made["splits"] = {"train": {"images": 2, "negatives": {"Edema": 1}}}
    monkeypatch.setattr(audit, "published", lambda name: made if name == "made" else None)
    images = [
        {"image_id": "a", "split": "train", "labels": {"Edema": 1}, "patient_id": "p"},
        {"image_id": "b", "split": "train", "labels": {"Edema": 0}, "patient_id": "p"},
        {"image_id": "c", "split": "test", "labels": {"Edema": 1}, "patient_id": "q"},
    ]
    return make_index(tmp_path / "index.parquet", images, None, ("Edema",))


def test_counts_stand_beside_the_published_ones(rows: Path) -> None:
    found = [(c.scope, c.what, c.here, c.published) for c in audit.counts(read_index(rows))]
    assert found == [
        ("", "images", 3, 4),
        ("", "patients", 2, 3),
        ("", "view PA", 3, 4),
        ("", "Edema positives", 2, 2),
        ("train", "images", 2, 2),
        ("train", "Edema negatives", 1, 1),
    ]


def test_rates_stand_beside_the_published_ones(rows: Path) -> None:
    (rate,) = audit.rates(read_index(rows))
    assert (rate.name, rate.here, rate.published) == ("Edema", pytest.approx(2 / 3), 0.5)


def test_a_part_passes_and_more_than_there_is_does_not(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(path: Path):
        return next(c for c in diagnose(path, progress=False) if c.name == "published")

    assert check(rows).ok and "75.0% of the images" in check(rows).detail
    monkeypatch.setattr(audit, "published", lambda name: {"images": 2, "source": "made up"})
    assert not check(rows).ok
    monkeypatch.setattr(audit, "published", lambda name: {"images": 3, "patients": 2, "source": "made up"})
    assert "all 2 counts are the published ones" in check(rows).detail
    monkeypatch.setattr(audit, "published", lambda name: None)
    assert check(rows).ok and "no published counts" in check(rows).detail


def test_labels_given_by_study_are_counted_by_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"images": 3, "studies": 2, "positives": {"Edema": 1}, "labels_per": "study", "source": "made up"}
    monkeypatch.setattr(audit, "published", lambda name: known)
    images = [{"image_id": i, "split": "train", "labels": {"Edema": int(i != "c")}} for i in "abc"]
    path = make_index(tmp_path / "index.parquet", images, None, ("Edema",))
    index = read_index(path)
    rewrite_index(index, index.frame.with_columns(pl.Series("study_id", ["s", "s", "t"])))
    assert all(c.here == c.published for c in audit.counts(read_index(path)))
    assert audit.rates(read_index(path))[0].here == 0.5


def other(folder: Path, images: list[dict]) -> Path:
    folder.mkdir()
    return make_index(folder / "index.parquet", images, None, ("Edema",))


def test_shared_patients_leak_only_across_training_and_testing(rows: Path, tmp_path: Path) -> None:
    index = read_index(rows)
    judged = other(tmp_path / "x", [{"image_id": "z", "split": "test", "patient_id": "p"}])
    found = audit.overlap_with(index, judged)
    assert (found.images, found.leaking, found.how) == (2, 2, "by id")
    learnt = other(tmp_path / "y", [{"image_id": "z", "split": "train", "patient_id": "p"}])
    assert audit.overlap_with(index, learnt).leaking == 0
    strangers = other(tmp_path / "n", [{"image_id": "z", "split": "test", "patient_id": "r"}])
    assert audit.overlap_with(index, strangers).images == 0


def test_doctor_reports_an_overlap_with_its_mend(rows: Path, tmp_path: Path) -> None:
    judged = other(tmp_path / "x", [{"image_id": "z", "split": "test", "patient_id": "p"}])
    check = diagnose(rows, progress=False, against=[judged])
    (found,) = [c for c in check if c.name.startswith("against")]
    assert not found.ok and "2 leak" in found.detail and "--exclude" in found.mend
    (wrong,) = [c for c in diagnose(rows, progress=False, against=[tmp_path / "gone.csv"]) if "against" in c.name]
    assert not wrong.ok and "no such file" in wrong.detail


def test_the_same_pictures_under_other_names_are_found(tmp_path: Path) -> None:
    """A data set of renamed NIH pictures: patients 0 and 1 are in both, 2 only here, 3 only there; 1 leaks."""

    def make(name: str, patients: dict[str, int], side: int, splits: list[str]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for image_id, patient in patients.items():
            image = Image.fromarray(simulate(5, patient, size=128).image)
            image.resize((side, side)).save(folder / f"{image_id}.png")
        images = [{"image_id": i, "split": s} for i, s in zip(patients, splits, strict=True)]
        path = make_index(folder / "index.parquet", images, None, ("Edema",))
        index = read_index(path)
        frame = index.frame.with_columns(dataset=pl.lit(name))
        return write_index(
            frame,
            None,
            path,
            dataset=name,
            root=folder,
            classes=("Edema",),
            box_complete={"Edema": False},
            boxed_classes=(),
            text_origin="report",
        )

    nih = make("nih", {"00000001_000": 0, "00000002_000": 1, "00000003_000": 2}, 128, ["train", "train", "test"])
    rsna = make("rsna", {"u1": 1, "u3": 3, "u0": 0}, 96, ["test", "test", "train"])
    found = audit.overlap_with(read_index(nih), rsna)
    assert (found.how, found.images, found.leaking) == ("by the pictures", 2, 1)
    assert found.examples == ("00000001_000 = u0", "00000002_000 = u1")


def test_the_page_is_whole_and_escapes_what_it_shows(tmp_path: Path) -> None:
    path = small_phantom(tmp_path / "p", images=16)
    index = read_index(path)
    rewrite_index(index, index.frame, notes=("<script>alert(1)</script>",))
    checks = diagnose(path, progress=False)
    out = write_audit(path, checks, tmp_path / "audit.html")
    page = out.read_text("utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert page.count("<img ") >= 2 + 12 and "http" not in page.replace("http-equiv", "")
    for check in checks:
        assert check.name in page
    for text in index.frame["text"].drop_nulls().to_list():
        assert text not in page  # words of patients stay in the data set


def test_the_audit_of_a_real_data_set(real_data: Path, tmp_path: Path) -> None:
    path = build_index("nih", real_data / "nih-subset", tmp_path)
    found = {(c.scope, c.what): c for c in audit.counts(read_index(path))}
    assert found["", "images"].here == 1344 and found["", "images"].published == 112120
    assert json.loads((resources.files("wsrpn_vl.data") / "published" / "nih.json").read_text())["patients"] == 30805
    assert all(c.here <= c.published for c in found.values())


def test_views_taken_from_other_columns_are_not_among_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"images": 3, "frontal": 1, "views": {"PA": 1, "UNK": 2}, "source": "made up"}
    monkeypatch.setattr(audit, "published", lambda name: known)
    images = [{"image_id": i, "split": "train", "labels": {"Edema": 1}} for i in "abc"]
    path = make_index(tmp_path / "index.parquet", images, None, ("Edema",))
    index = read_index(path)
    origin = pl.Series("view_from", ["ViewPosition", "ViewCodeSequence_CodeMeaning", None])
    rewrite_index(index, index.frame.with_columns(pl.Series("view", ["PA", "PA", "UNK"]), origin))
    assert all(c.here == c.published for c in audit.counts(read_index(path)))


def test_published_rates_may_be_stated_as_such(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "published", lambda name: {"rates": {"of": "studies", "Edema": [12.5, 1, 2]}})
    assert audit.rates(read_index(rows))[0].published == 0.125
