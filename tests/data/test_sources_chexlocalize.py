"""CheXlocalize: one box per outline, component or task; what is not outlined is not there; sizes are height, width."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from fixtures.chexpert import (
    OUTLINES,
    TASKS,
    A,
    B,
    annotations,
    as_json,
    picture,
    write_chexlocalize,
    write_chexpert,
)
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.rle import encode_coco
from wsrpn_vl.data.sources import build_index, missing_path
from wsrpn_vl.data.sources.chexlocalize import TASKS as TEN
from wsrpn_vl.data.sources.chexlocalize import build
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.truth import load_truth
from wsrpn_vl.labels import OBSERVATIONS

VAL, TEST = "gt_annotations_val.json", "gt_annotations_test.json"
WANTED = [  # image, class, box; extents of the outlines in the fixture
    (A, "Enlarged Cardiomediastinum", 29.5, 10.0, 50.5, 50.0, VAL, "mask"),
    (A, "Cardiomegaly", 30.0, 30.0, 50.0, 50.0, VAL, "mask"),
    (A, "Lung Opacity", 5.0, 5.0, 15.0, 25.0, VAL, "mask"),
    (A, "Lung Opacity", 60.0, 40.0, 72.0, 58.5, VAL, "mask"),
    (A, "Support Devices", 0.0, 0.0, 20.0, 12.0, VAL, "mask"),
    (B, "Lung Opacity", 10.0, 10.0, 20.0, 30.0, TEST, "mask"),
    (B, "Atelectasis", 10.0, 20.0, 20.0, 30.0, TEST, "mask"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_chexlocalize(tmp_path / "data")


def boxes_of(root: Path, **options: str) -> list[tuple]:
    tables = build(root, **options)
    assert tables.boxes is not None
    return tables.boxes.rows()


def drawn(image: str, task: str) -> np.ndarray:
    """(60, 80) mask of all outlines of a task."""
    canvas = Image.new("1", (80, 60))
    for points in OUTLINES[image].get(task, []):
        ImageDraw.Draw(canvas).polygon([tuple(p) for p in points], fill=1, outline=1)
    return np.asarray(canvas)


def segmentations(image: str) -> dict[str, dict]:
    """As the release has them: all ten tasks, empty masks where a task is absent."""
    return {image: {t: {"size": [60, 80], "counts": encode_coco(drawn(image, t))} for t in TASKS}}


def put_segmentations(root: Path) -> None:
    for split, image in (("val", A), ("test", B)):
        as_json(root / f"CheXlocalize/gt_segmentations_{split}.json", segmentations(image))


def test_one_box_per_outline(root: Path, tmp_path: Path) -> None:
    tables = build(root)
    assert tables.boxes is not None and tables.boxes.rows() == WANTED
    frame = tables.frame
    assert frame["split"].to_list() == ["val"] * 3 + ["test"] * 2
    assert frame["image_id"].to_list()[0] == A and frame["path"].to_list()[0].startswith("CheXpert/val/")
    assert set(frame.select("width", "height").rows()) == {(80, 60)}
    assert frame["y_lung_opacity"].to_list() == [1, 0, 0, 1, 0]  # the label tables' name of Airspace Opacity
    assert frame["view"].to_list() == ["AP", "PA", "LAT", "UNK", "UNK"]
    assert tables.classes == OBSERVATIONS
    assert tables.box_complete == {c: c in TEN for c in OBSERVATIONS} and len(TEN) == 10
    assert tables.boxed_classes == tuple(c for c in TEN if c in {row[1] for row in WANTED})
    assert tables.notes == ("boxes: one per contour",)
    path = build_index("chexlocalize", root, tmp_path / "out")
    assert pl.read_parquet(boxes_path(path)).rows() == WANTED


def test_images_that_the_ground_truth_does_not_name_have_no_finding(root: Path, tmp_path: Path) -> None:
    """Such an image was read: its lack of boxes counts against a detector; Pneumonia, not outlined, never does."""
    index = build_index("chexlocalize", root, tmp_path / "out")
    assert read_index(index).frame["boxes_read"].to_list() == [True] * 5
    truth = load_truth(index, "test", ["Lung Opacity", "Atelectasis", "Pneumonia"])
    assert truth.box_counts.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert not truth.ignore[:, :2].any() and truth.boxed.tolist() == [True, True, False]


def test_one_box_per_task(root: Path) -> None:
    both = (A, "Lung Opacity", 5.0, 5.0, 72.0, 58.5, VAL, "mask")
    wanted = [*WANTED[:2], both, *WANTED[4:]]
    assert boxes_of(root, boxes="union") == wanted


def test_one_box_per_component(root: Path) -> None:
    """Boxes of the masks hold the outlines, and end less than two pixels off them; absent tasks have none."""
    put_segmentations(root)
    found = [(*row[:6], row[7]) for row in boxes_of(root, boxes="component")]
    assert len(found) == len(WANTED)
    for mine, outline in zip(sorted(found), sorted(WANTED), strict=True):
        assert mine[:2] == outline[:2] and mine[6] == "mask"
        assert np.abs(np.subtract(mine[2:6], outline[2:6])).max() < 2
    image, task = OUTLINES[A], "Airspace Opacity"
    image[task].append([[15, 20], [20, 20], [20, 30]])  # touches the first outline
    try:
        put_segmentations(root)
        assert sum(row[1] == "Lung Opacity" and row[0] == A for row in boxes_of(root, boxes="component")) == 2
        as_json(root / "CheXlocalize" / VAL, annotations([A]))
        assert sum(row[1] == "Lung Opacity" and row[0] == A for row in boxes_of(root)) == 3
    finally:
        image[task].pop()


def test_boxes_are_scaled_to_resized_images(tmp_path: Path) -> None:
    got = boxes_of(write_chexlocalize(tmp_path / "half", size=(40, 30)))
    assert [row[2:6] for row in got] == [tuple(v / 2 for v in row[2:6]) for row in WANTED]


def test_cropped_or_swapped_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"60 x 80 pixels, but outlined on 80 x 60 \(2 images in all\)"):
        build(write_chexlocalize(tmp_path / "swapped", size=(60, 80)))


def test_without_label_tables_the_masks_label(root: Path) -> None:
    """Ten tasks, present or absent; the other three are not mentioned. Images are those of the split's folder."""
    wanted = build(root)
    for name in ("val_labels.csv", "test_labels.csv"):
        (root / "CheXpert" / name).unlink()
    tables = build(root)
    assert tables.boxes is not None and wanted.boxes is not None and tables.boxes.equals(wanted.boxes)
    assert sorted(tables.frame["path"]) == sorted(wanted.frame["path"])
    frame = tables.frame.sort("image_id")
    assert frame["y_lung_opacity"].to_list() == [1, 0, 0, 1, 0] and frame["y_atelectasis"].to_list() == [0, 0, 0, 1, 0]
    assert frame["y_pneumonia"].null_count() == frame["no_finding"].null_count() == 5
    assert frame["view"].to_list() == ["UNK", "UNK", "LAT", "UNK", "UNK"]


def test_one_split_alone_and_beside_the_whole_of_chexpert(root: Path, tmp_path: Path) -> None:
    """CheXpert's own valid.csv and images do as well; a split without ground truth was not read."""
    (root / "CheXlocalize" / TEST).unlink()
    frame = build(root).frame
    assert frame["boxes_read"].to_list() == [True] * 3 + [False] * 2
    whole = write_chexpert(tmp_path / "whole").parent
    as_json(whole / "CheXlocalize" / VAL, annotations([A]))
    tables = build(whole)
    assert tables.frame["split"].to_list() == ["val"] * 3
    assert tables.boxes is not None and tables.boxes.rows() == WANTED[:5]


def test_missing_images_flat_outlines_and_disagreement_are_counted(root: Path, tmp_path: Path) -> None:
    (root / "CheXpert/test/patient64741/study1/view1_frontal.jpg").unlink()
    picture(root / "CheXpert/val/patient64599/study1/view1_frontal.jpg")
    content = annotations([A])
    content[A]["Edema"] = [[[3, 3], [4, 4]], [[5, 5], [9, 5]], [[-9, 90], [-3, 95]]]  # labelled 0; two have no area
    del content[A]["Cardiomegaly"]
    as_json(root / "CheXlocalize" / VAL, content)
    path = build_index("chexlocalize", root, tmp_path / "out")
    assert missing_path(path).read_text() == "test/patient64741/study1/view1_frontal.jpg\n"
    assert read_index(path).notes == (
        "1 x image missing (see the .missing.txt list)",
        "1 x image file not in the tables, left out",
        "2 x box of a missing image, left out",
        "2 x box without area inside its image, left out",
        "1 x finding labelled but not outlined",
        "1 x finding outlined but labelled absent",
        "boxes: one per contour",
    )


FAULTS = [
    ("{", r"not a readable JSON file \(.*in line 1\); download it again"),
    ("[]", "not a JSON object"),
    ({"patient1": {}}, r"'patient1' is no image such as patient64541_study1_view1_frontal"),
    ({A: {"img_size": [60, 80], "Airspace Opacities": []}}, r"finding 'Airspace Opacities' is unknown; did you mean"),
    ({A: {"img_size": [60], "Edema": []}}, r"img_size=\[60\]; expected \[height, width\] in pixels"),
    ({A: {"Edema": []}}, "img_size=None; expected"),
    ({A: {"img_size": [60, 80], "Edema": 3}}, "'Edema': not a list of outlines"),
    ({A: {"img_size": [60, 80], "Edema": [[[1, 2], [3]]]}}, r"'Edema': an outline is no list of \[x, y\] points"),
    ({A: {"img_size": [60, 80], "Edema": [[]]}}, "an outline is no list"),
    ({A: {"img_size": [60, 80], "Edema": [[[1, float("nan")]]]}}, "an outline is no list"),
    ({A: {"img_size": [60, 80], "Edema": [[[1, 10**400]]]}}, "an outline is no list"),
    ({B: {"img_size": [60, 80]}}, r"val_labels\.csv: image 'patient64741_.*' of the ground truth is not there"),
]


@pytest.mark.parametrize(("content", "message"), FAULTS)
def test_damaged_outlines_are_named_in_one_line(root: Path, tmp_path: Path, content, message: str) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (root / "CheXlocalize" / VAL).write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        build_index("chexlocalize", root, tmp_path / "out")
    assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (3, "'Edema': not a mask of size and counts"),
        ({"size": [60, 80]}, "the runs do not fill an image of 60 x 80"),
        ({"size": [60, 80], "counts": "!"}, "counts are no compressed run lengths"),
        ({"size": [80, 60], "counts": "P[4"}, r"size \(80, 60\) differs from \(60, 80\) before"),
        ({"size": [60, 0], "counts": ""}, r"size=\[60, 0\]; expected \[height, width\]"),
    ],
)
def test_damaged_masks_are_named_in_one_line(root: Path, mask, message: str) -> None:
    put_segmentations(root)
    path = root / "CheXlocalize/gt_segmentations_val.json"
    content = json.loads(path.read_text())
    content[A]["Edema"] = mask
    as_json(path, content)
    with pytest.raises(DataError, match=message) as caught:
        build(root, boxes="component")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no gt_segmentations_val\.json.*or use boxes=contour"):
        build(root, boxes="component")
    with pytest.raises(DataError, match="unknown boxes 'contours'; did you mean 'contour'"):
        build(root, boxes="contours")
    with pytest.raises(DataError, match="no such folder"):
        build(tmp_path / "nowhere")
    as_json(tmp_path / "bare" / VAL, annotations([A]))
    with pytest.raises(DataError, match="none of the 1 images is there"):
        build(tmp_path / "bare")


odd = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 90) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["img_size", "Edema", "Cardiomegaly", "x\ny"]), odd))
def test_whatever_the_file_holds_there_are_tables_or_one_line(root: Path, entry: dict) -> None:
    as_json(root / "CheXlocalize" / VAL, {A: {"img_size": [60, 80], **entry}})
    try:
        found = str(build(root).frame.height)
    except DataError as error:
        found = str(error)
    assert "\n" not in found
