"""SIIM-ACR pneumothorax: rows of one image united, gaps counted from the run before, the real table."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.challenges import SIIM, UID, siim_rle, write_siim
from fixtures.txv import txv_file
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.rle import decode_siim
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.data.sources.siim import build
from wsrpn_vl.errors import DataError

CORNERS = ["x1", "y1", "x2", "y2"]
IDS = [image for image, _ in SIIM]
TABLE = "train-rle.csv"


@pytest.fixture
def siim(tmp_path: Path) -> Path:
    return write_siim(tmp_path / "siim")


def boxes(root: Path, **options) -> list[tuple]:
    found = build(root, **options).boxes
    assert found is not None
    return [(IDS.index(i), *box) for i, *box in found.select("image_id", *CORNERS).rows()]


def test_masks_become_boxes_of_the_stored_file(siim: Path) -> None:
    """1 / 16 of the frame. The third image's rows touch at a corner region: 0..160 and 144..176 are one part,
    800..960 another; of the fourth, the part of 2 x 2 pixels is a slip of the pen."""
    assert boxes(siim) == [(1, 32, 16, 33, 17), (2, 0, 0, 11, 30), (2, 50, 1, 60, 21), (3, 63, 63, 64, 64)]
    assert boxes(siim, boxes="union") == [(1, 32, 16, 33, 17), (2, 0, 0, 60, 30), (3, 0, 0, 64, 64)]
    assert boxes(siim, min_area=0)[3:] == [(3, 0, 0, 0.125, 0.125), (3, 63, 63, 64, 64)]
    assert boxes(siim, min_area=1e9) == [(1, 32, 16, 33, 17), (2, 0, 0, 11, 30), (3, 63, 63, 64, 64)]
    tables = build(siim)
    assert tables.boxes is not None and set(tables.boxes["kind"]) == {"mask"}
    assert any(note.startswith("1 x image with several mask rows") for note in tables.notes)
    assert any(note.startswith("1 x part of a mask of less than 100 pixels") for note in tables.notes)


def test_labels_studies_and_views(siim: Path) -> None:
    tables = build(siim)
    assert tables.frame["image_id"].to_list() == IDS and tables.frame["y_pneumothorax"].to_list() == [0, 1, 1, 1]
    assert tables.frame["study_id"].to_list() == [f"{UID}.2.8323329.{n}" for n in (1, 2, 3, 4)]
    assert set(tables.frame["view"]) == {"AP"} and set(tables.frame["age"]) == {30}
    assert tables.box_complete == {"Pneumothorax": True} and tables.boxed_classes == ("Pneumothorax",)
    assert any("NIH ChestX-ray14" in note for note in tables.notes)


@pytest.mark.parametrize("form", [{"flat": True}, {"none": " -1"}])
def test_every_copy_gives_the_same_tables(siim: Path, tmp_path: Path, form: dict) -> None:
    wanted, got = build(siim), build(write_siim(tmp_path / "other", **form))
    assert got.frame.drop("path", "study_id").equals(wanted.frame.drop("path", "study_id"))
    assert got.boxes is not None and wanted.boxes is not None and got.boxes.equals(wanted.boxes)
    if form.get("flat"):
        assert got.frame["study_id"].null_count() == len(IDS)


def test_order_of_rows_line_ends_and_mark_of_order_do_not_matter(siim: Path, tmp_path: Path) -> None:
    wanted = sorted(boxes(siim))
    other = write_siim(tmp_path / "other", order=1)
    lines = (other / TABLE).read_text().splitlines()
    (other / TABLE).write_bytes("\ufeff".encode() + "\r\n".join([lines[0], *lines[:0:-1]]).encode())
    assert sorted(boxes(other)) == wanted
    (other / f"{TABLE}.gz").write_bytes(gzip.compress((other / TABLE).read_bytes()))
    (other / TABLE).unlink()
    assert sorted(boxes(other)) == wanted


def test_a_study_of_two_images_stays_in_one_split(siim: Path, tmp_path: Path) -> None:
    folder = siim / "dicom-images-train" / f"{UID}.2.8323329.1" / f"{UID}.3.8323329.1"
    other = next((siim / "dicom-images-train" / f"{UID}.2.8323329.2").rglob("*.dcm"))
    shutil.move(other, folder / other.name)
    for seed in range(5):
        frame = build(siim, seed=seed, val_share=0.4, test_share=0.3).frame
        assert frame["study_id"][0] == frame["study_id"][1] and frame["split"][0] == frame["split"][1]


def test_the_index_is_written_and_missing_images_listed(siim: Path, tmp_path: Path) -> None:
    next((siim / "dicom-images-train" / f"{UID}.2.8323329.2").rglob("*.dcm")).unlink()
    path = build_index("siim", siim, tmp_path / "out")
    assert read_index(path).frame.height == 3 and pl.read_parquet(boxes_path(path)).height == 3
    assert (tmp_path / "out" / "index.missing.txt").read_text() == f"{IDS[1]}.dcm\n"


FAULTS = [
    (f"{IDS[0]},-1", f"{IDS[1]},-1", "this image has masks and -1"),
    (f"{IDS[0]},-1", f"{IDS[0]},", "EncodedPixels=None: give a value"),
    (f"{IDS[0]},-1", f"{IDS[0]},-2", r"data row 1, EncodedPixels: not -1 and not pairs"),
    (f"{IDS[0]},-1", f"{IDS[0]},1 2 3", r"data row 1, EncodedPixels: not -1 and not pairs"),
    (f"{IDS[0]},-1", f"{IDS[0]},1048570 7", "data row 1, EncodedPixels: the runs leave an image"),
    (" EncodedPixels", " Pixels", "column 'EncodedPixels' is missing"),
]


@pytest.mark.parametrize(("old", "new", "message"), FAULTS)
def test_a_fault_is_named_in_one_line(siim: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (siim / TABLE).read_text()
    assert old in text
    (siim / TABLE).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        build_index("siim", siim, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_unknown_boxes_and_missing_parts_are_named(siim: Path) -> None:
    with pytest.raises(DataError, match="'componen'; did you mean 'component'"):
        build(siim, boxes="componen")
    shutil.rmtree(siim / "dicom-images-train")
    with pytest.raises(DataError, match="none of the table's 4 images is there"):
        build(siim)
    (siim / TABLE).unlink()
    with pytest.raises(DataError, match="no train-rle.csv"):
        build(siim)


def test_the_fixture_codes_what_it_says() -> None:
    mask = decode_siim(siim_rle([(512, 256, 528, 272), (600, 0, 601, 1024)]), 1024, 1024)
    assert mask[256:272, 512:528].all() and mask[:, 600].all() and mask.sum() == 16 * 16 + 1024


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    frame = pl.read_csv(txv_file("siim-pneumothorax-train-rle.csv.gz"), infer_schema=False)
    return frame.rename({" EncodedPixels": "EncodedPixels"})


def test_the_real_table(real: pl.DataFrame, tmp_path: Path) -> None:
    """12,954 rows, 12,047 images, 3,576 masks on 2,669 of them; masks of every tenth positive image are decoded."""
    masked = real.filter(pl.col("EncodedPixels").str.strip_chars() != "-1")
    assert (real.height, real["ImageId"].n_unique()) == (12_954, 12_047)
    assert (masked.height, masked["ImageId"].n_unique()) == (3_576, 2_669)
    assert masked.group_by("ImageId").len()["len"].max() == 10
    some = masked["ImageId"].unique(maintain_order=True).gather_every(10).implode()
    healthy = real.filter(~pl.col("ImageId").is_in(masked["ImageId"].implode()))
    part = pl.concat([healthy, masked.filter(pl.col("ImageId").is_in(some))])
    part.rename({"EncodedPixels": " EncodedPixels"}).write_csv(tmp_path / TABLE)
    tables = build(tmp_path, check_files=False, boxes="union")
    assert tables.frame.height == 9_378 + 267 and tables.frame["y_pneumothorax"].sum() == 267
    assert tables.boxes is not None and tables.boxes.height == 267
    rows = [np.nonzero(decode_siim(text, 1024, 1024))[0].mean() for text in masked["EncodedPixels"].gather_every(24)]
    assert np.mean(np.array(rows) < 512) == pytest.approx(0.78, abs=0.07), "a pneumothorax rises"
    parts = build(tmp_path, check_files=False)
    assert parts.boxes is not None and parts.boxes["image_id"].n_unique() == 267
