"""Chest ImaGenome on MIMIC-CXR-JPG: silver, RDF and gold, their quirks, and the phantom read back."""

from __future__ import annotations

import io
import json
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.imagenome import (
    BY_ID,
    CROSSED,
    GOLD1,
    GOLD2,
    IMAGENOME,
    MIMIC,
    NO_AIR,
    TEST,
    TRAIN,
    UNTOLD,
    VAL,
    Form,
    graph,
    graphs,
    labels_of,
    places_of,
    region,
    row,
    said,
    write_imagenome,
)
from wsrpn_vl.data import scene_graphs
from wsrpn_vl.data.index import read_index
from wsrpn_vl.data.scene_graphs import Member, Wish, read_chunk
from wsrpn_vl.data.sources import build_index, imagenome, imagenome_graphs, missing_path
from wsrpn_vl.data.sources.imagenome_graphs import find_graphs
from wsrpn_vl.data.sources.imagenome_rdf import read_rdf, studies
from wsrpn_vl.errors import DataError
from wsrpn_vl.evaluate.truth import load_truth
from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.triples import Triple, from_json

SILVER, SPLITS = f"{IMAGENOME}/silver_dataset", f"{IMAGENOME}/silver_dataset/splits"
ATTRIBUTES = "gold_attributes_relations_500pts_500studies1st.txt"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unspoilt copy that no test changes."""
    return write_imagenome(tmp_path_factory.mktemp("imagenome"))


# ---- silver


def test_silver_images_have_the_words_of_their_scene_graph(whole: Path) -> None:
    tables = imagenome.build(whole)
    assert tables.dataset == "imagenome" and tables.classes == OBSERVATIONS and tables.text_origin == "none"
    assert tables.frame["image_id"].to_list() == [GOLD1, GOLD2, TRAIN, TEST, VAL, CROSSED]  # by patient
    assert tables.root == whole / MIMIC
    assert all((tables.root / path).is_file() for path in tables.frame["path"])
    train = row(tables, TRAIN)
    assert (train["view"], train["width"], train["height"], train["sex"]) == ("PA", 60, 44, "F")
    assert (train["patient_id"], train["study_id"]) == ("10000002", "50000003")
    assert from_json(train["triples"]) == (
        Triple("Edema", "both lungs", ("mild",)),
        Triple("Pneumothorax", "both lungs", polarity="negative"),
        Triple("Support Devices", "neck", ("IJ line",)),
    )
    assert labels_of(tables, TRAIN) == {"Edema": 1, "Pneumothorax": 0, "Support Devices": 1}
    assert labels_of(tables, TEST) == {} and row(tables, TEST)["triples"] is None
    found = {i: row(tables, i)["no_finding"] for i in (GOLD1, TRAIN, TEST, CROSSED)}
    assert found == {GOLD1: 1, TRAIN: 0, TEST: None, CROSSED: 0}


def test_an_image_whose_abnormality_no_triple_tells_gets_no_triples(whole: Path) -> None:
    """Else its caption would call it normal."""
    plain, kept = imagenome.build(whole), imagenome.build(whole, others=True)
    assert row(plain, CROSSED)["triples"] is None and labels_of(plain, CROSSED) == {"Pneumothorax": 0}
    assert any(note.startswith("1 x image (study) with an abnormality that none") for note in plain.notes)
    assert from_json(row(kept, CROSSED)["triples"])[-1] == Triple("scoliosis", "spine")


def test_gold_patients_leave_train_and_val_with_all_their_images(whole: Path) -> None:
    tables = imagenome.build(whole)
    assert dict(tables.frame.select("image_id", "split").iter_rows()) == {
        GOLD1: "", GOLD2: "", TRAIN: "train", TEST: "test", VAL: "val", CROSSED: "train",
    }  # fmt: skip
    assert "1 patients (2 images) of the gold set taken out of train and val, in no split now" in tables.notes
    assert "1 x patient in Chest ImaGenome's test list and in MIMIC-CXR's train" in tables.notes


def test_an_image_in_two_lists_is_refused(tmp_path: Path) -> None:
    root = write_imagenome(tmp_path)
    splits = root / IMAGENOME / "silver_dataset" / "splits"
    listed = (splits / "train.csv").read_text("utf-8").splitlines()[1]
    with (splits / "test.csv").open("a", encoding="utf-8") as file:
        file.write(f"{listed}\n")
    with pytest.raises(DataError, match=r"test\.csv: data row 3, image_id=.*splits/train\.csv has it too"):
        imagenome.build(root, splits="imagenome")


@pytest.mark.parametrize("beside", ["root", "mimic"])
def test_patients_whose_boxes_others_drew_leave_train_and_val(whole: Path, tmp_path: Path, beside: str) -> None:
    """Boxes on an image without a scene graph (its patient is in train), on one of val and on one of test."""
    p, mimic = BY_ID[UNTOLD], whole / MIMIC
    root = shutil.copytree(whole / IMAGENOME, tmp_path / "i")
    place = root if beside == "root" else shutil.copytree(mimic, tmp_path / "m")
    lines = [
        f"{i},Edema,words,files/p10/p{BY_ID[i].patient}/s{p.study}/{i}.jpg,1,2,3,4,60,44" for i in (UNTOLD, VAL, TEST)
    ]
    header = "dicom_id,category_name,label_text,path,x,y,w,h,image_width,image_height"
    boxes = place / "ms-cxr" / "MS_CXR_Local_Alignment_v1.1.0.csv"
    boxes.parent.mkdir()
    boxes.write_text("\n".join([header, *lines]), "utf-8")
    tables = imagenome.build(root, mimic=str(place if beside == "mimic" else mimic))
    assert dict(tables.frame.select("image_id", "split").iter_rows()) == {
        GOLD1: "", GOLD2: "", TRAIN: "", TEST: "test", VAL: "", CROSSED: "train",
    }  # fmt: skip
    assert "2 patients (2 images) with boxes of MS-CXR or Tam et al. taken out of train and val, in no split now" in (
        tables.notes
    )
    boxes.write_text("broken", "utf-8")
    kept = imagenome.build(root, mimic=str(place if beside == "mimic" else mimic), keep_boxed_in_train=True)
    assert row(kept, TRAIN)["split"] == "train"


def test_splits_are_of_one_system(whole: Path, tmp_path: Path) -> None:
    own = imagenome.build(whole, splits="imagenome")
    assert dict(own.frame.select("image_id", "split").iter_rows()) == {
        GOLD1: "", GOLD2: "", TRAIN: "train", TEST: "test", VAL: "val", CROSSED: "test",
    }  # fmt: skip
    bare = write_imagenome(tmp_path, Form(tables=False))
    without = imagenome.build(bare)
    assert without.frame["split"].equals(own.frame["split"])
    assert any("mix this index with no other" in note for note in without.notes)
    assert row(without, TRAIN)["width"] is None and row(without, VAL)["width"] == 40  # opened for its boxes
    assert places_of(without) == places_of(imagenome.build(whole, splits="imagenome"))
    with pytest.raises(DataError, match="splits=mimic: no mimic-cxr-2.0.0-metadata.csv .*splits=imagenome"):
        imagenome.build(bare, splits="mimic")


def test_region_boxes_of_silver_are_clipped_joined_and_smallest(whole: Path) -> None:
    tables = imagenome.build(whole)
    assert places_of(tables) == sorted(
        [
            (VAL, "Lung Lesion", "left lower lung zone", 22.0, 30.0, 40.0, 50.0),
            (VAL, "Edema", "right lung", 0.0, 5.0, 18.0, 50.0),
            (VAL, "Lung Opacity", "right hilar structures", 8.0, 18.0, 16.0, 26.0),  # union of two
        ]
    )
    assert tables.boxes is not None and set(tables.boxes["kind"]) == {"region"}
    assert set(tables.boxes["source"]) == {"scene_graph"}
    assert tables.boxed_classes == ("Lung Opacity", "Lung Lesion", "Edema")
    assert not any(tables.box_complete.values())
    assert {i for i, read in tables.frame.select("image_id", "boxes_read").iter_rows() if read} == {VAL, TEST}
    assert "1 x box without area in its image, left out" in tables.notes  # the effusion's
    assert "1 x region of an affirmed finding without a box" in tables.notes  # the chest wall
    both = imagenome.build(whole, nested="all")
    extra = set(places_of(both)) - set(places_of(tables))
    assert extra == {(VAL, "Lung Lesion", "left lung", 21.0, 5.0, 36.0, 50.0)}
    none = imagenome.build(whole, region_boxes=False)
    assert none.boxes is None and none.boxed_classes == () and "boxes_read" not in none.frame.columns


@pytest.mark.parametrize("form", [Form(junk=True), Form("folder"), Form("nested"), Form(crlf=True, bom=True)])
def test_copies_of_any_form_say_the_same(whole: Path, tmp_path: Path, form: Form) -> None:
    copy, plain = imagenome.build(write_imagenome(tmp_path, form)), imagenome.build(whole)
    assert copy.frame.equals(plain.frame) and places_of(copy) == places_of(plain) and copy.notes == plain.notes


def test_mimic_may_lie_elsewhere(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / IMAGENOME, tmp_path / "graphs")
    tables = imagenome.build(tmp_path / "graphs", mimic=str(whole / MIMIC))
    assert tables.frame.equals(imagenome.build(whole).frame) and tables.root == whole / MIMIC
    with pytest.raises(DataError, match="no MIMIC-CXR images .* give mimic=FOLDER of MIMIC-CXR-JPG"):
        imagenome.build(tmp_path / "graphs")


def test_processes_say_what_one_alone_says(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenome_graphs, "_CHUNK", 2)
    assert imagenome.build(whole, workers=2).frame.equals(imagenome.build(whole, workers=1).frame)


def test_what_is_missing_is_counted_and_listed(tmp_path: Path) -> None:
    root = write_imagenome(tmp_path)
    next((root / MIMIC).rglob(f"{VAL}.jpg")).unlink()
    tables = imagenome.build(root)
    assert "1 x listed image without a scene graph, left out" in tables.notes
    assert UNTOLD not in set(tables.frame["image_id"])
    assert tables.missing == (f"files/p10/p10000004/s50000005/{VAL}.jpg",)
    assert "1 x image missing (see the .missing.txt list)" in tables.notes
    for path in (root / MIMIC).rglob("*.jpg"):
        path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match="none of the 6 images spoken of is there"):
        imagenome.build(root)


@pytest.mark.parametrize(
    "text",
    [
        '{"image_id": "cut', "[]", "{}", '{"attributes": {}}', '{"attributes": [1]}', "\x00", "[" * 100_000,
        '{"attributes": [{"bbox_name": "neck", "attributes": [["hazy"]]}]}', json.dumps(graph(GOLD2, [], [])),
    ],
)  # fmt: skip
def test_one_broken_scene_graph_is_left_out_and_listed(tmp_path: Path, text: str) -> None:
    tables = imagenome.build(write_imagenome(tmp_path, changed={TRAIN: text}))
    assert TRAIN not in set(tables.frame["image_id"]) and tables.frame.height == 5
    assert tables.missing == (f"scene_graph/{TRAIN}_SceneGraph.json",)
    assert "1 x broken scene graph, left out and listed" in tables.notes


def test_a_broken_download_is_an_error(whole: Path, tmp_path: Path) -> None:
    root = write_imagenome(tmp_path, changed=dict.fromkeys(graphs(), "{"))
    with pytest.raises(DataError, match=r"6 of 6 scene graphs cannot be read, the first is scene_graph/0.*_SceneGraph"):
        imagenome.build(root)
    archive = root / SILVER / "scene_graph.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(DataError, match="not a whole zip file .*; download it again"):
        imagenome.build(root)
    archive.unlink()
    with pytest.raises(DataError, match="no scene_graph.zip and no "):
        imagenome.build(root)
    with zipfile.ZipFile(archive, "w") as empty:
        empty.writestr("readme.txt", "")
    with pytest.raises(DataError, match="no member is a scene graph"):
        imagenome.build(root)


def test_a_damaged_member_is_found_by_its_checksum(whole: Path, tmp_path: Path) -> None:
    found = find_graphs(whole)
    assert found is not None
    data = bytearray(found.path.read_bytes())
    member = found.members[GOLD1]  # stored, not compressed
    data[data.index(b"pneumothorax")] ^= 1
    damaged = tmp_path / "scene_graph.zip"
    damaged.write_bytes(data)
    tally = read_chunk((damaged, (member, found.members[TEST]), Wish()))
    assert tally.broken == [member.name] and [r.key for r in tally.reads] == [TEST]


def test_a_size_that_no_graph_has_is_not_believed(whole: Path) -> None:
    """Neither what the archive says of the packed size, nor what a bomb would unpack to."""
    found = find_graphs(whole)
    assert found is not None
    with found.path.open("rb") as file, pytest.raises(ValueError, match="larger than any scene graph"):
        scene_graphs._bytes(file, found.members[TEST]._replace(size=2**32 - 1))
    stream = scene_graphs.zlib.compressobj(9, scene_graphs.zlib.DEFLATED, -15)
    packed = stream.compress(bytes(2**26)) + stream.flush()
    head = scene_graphs._LOCAL.pack(b"PK\3\4", 20, 0, 8, 0, 0, 0, len(packed), 2**26, 0, 0)
    with pytest.raises(ValueError, match="larger than any scene graph"):
        scene_graphs._bytes(io.BytesIO(head + packed), Member("a", "a", 0, len(packed), 8))


def test_a_list_without_rows_is_read(tmp_path: Path) -> None:
    root = write_imagenome(tmp_path)
    path = root / SILVER / "splits" / "train.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    assert set(imagenome.build(root, splits="imagenome").frame["split"]) == {"val", "test", ""}


@given(st.binary(max_size=200), st.integers(0, 80), st.sampled_from([0, 8, 99]))
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_place_of_a_member_are_a_broken_graph(data: bytes, offset: int, method: int) -> None:
    member = Member("a", "a_SceneGraph.json", offset, len(data), method, 0)
    with pytest.raises(Exception) as caught:
        json.loads(scene_graphs._bytes(io.BytesIO(data), member))
    assert isinstance(caught.value, (ValueError, scene_graphs.zlib.error))


def test_unknown_labels_stop_or_are_counted(tmp_path: Path) -> None:
    odd = graph(TRAIN, [], [region("left lung", said(0, "", "disease|yes|pnuemonia", NO_AIR))])
    root = write_imagenome(tmp_path, changed={TRAIN: odd})
    where = rf"scene_graph.zip: scene_graph/{TRAIN}_SceneGraph.json: finding 'pnuemonia' is unknown"
    with pytest.raises(DataError, match=rf"{where}; did you mean 'pneumonia'\?.*unknown=count"):
        imagenome.build(root)
    tables = imagenome.build(root, unknown="count")
    assert "1 x attribute of a label that is unknown, left out" in tables.notes
    assert labels_of(tables, TRAIN) == {"Pneumothorax": 0}


def test_the_release_s_own_vocabulary_is_checked(tmp_path: Path) -> None:
    path = write_imagenome(tmp_path) / IMAGENOME / "semantics" / "attribute_relations_v1.txt"
    path.write_text("anatomicalfinding|yes|lung opacity,\nanatomicalfinding|yes|lung opacitis,\n", "utf-8")
    with pytest.raises(DataError, match="attribute_relations_v1.txt: line 2: finding 'lung opacitis' is unknown"):
        imagenome.build(tmp_path)
    path.write_text("lung opacity\n", "utf-8")
    with pytest.raises(DataError, match="not lines of category.yes.label"):
        imagenome.build(tmp_path)


def test_sentences_become_text_without_the_reason_for_the_examination(whole: Path) -> None:
    tables = imagenome.build(whole, text="phrases")
    assert tables.text_origin == "report"
    assert row(tables, TRAIN)["text"] == "A little haze, nothing loose. Cannula in the neck."
    assert not any(word in (text or "") for text in tables.frame["text"] for word in ("ladder", "lump"))


def test_what_was_left_out_of_the_words_is_counted(whole: Path) -> None:
    notes = imagenome.build(whole).notes
    assert "1 x attribute of the history section, which says nothing of the image, left out" in notes
    assert any(note.startswith("1 x attribute of a finding that belongs to no class") for note in notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "sliver"}, "part: 'sliver'; did you mean 'silver'"),
        ({"splits": "official"}, "splits: 'official'"),
        ({"words": "rdf", "text": "phrases"}, "words=rdf has no sentences"),
        ({"words": "tabular"}, "no attribute_relations_tabular.txt"),
        ({"workers": -1}, "workers=-1"),
        ({"mimic": "/nowhere"}, "/nowhere: no such folder"),
    ],
)
def test_wrong_options_are_one_line(whole: Path, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        imagenome.build(whole, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["train.csv", "images_to_avoid.csv"])
def test_a_missing_list_is_named(tmp_path: Path, name: str) -> None:
    root = write_imagenome(tmp_path)
    (root / SPLITS / name).unlink()
    with pytest.raises(DataError, match=rf"no splits/{name} .* put Chest ImaGenome's list there"):
        imagenome.build(root)


# ---- study-level RDF and tables


def test_rdf_says_what_the_scene_graph_says_but_for_modifiers(whole: Path) -> None:
    tables = imagenome.build(whole, words="rdf")
    graph_words = from_json(row(imagenome.build(whole), TRAIN)["triples"])
    bare = [
        Triple(t.finding, t.location, t.modifiers if t.finding == "Support Devices" else (), t.polarity)
        for t in graph_words
    ]
    assert list(from_json(row(tables, TRAIN)["triples"])) == bare
    assert (
        labels_of(tables, TRAIN) == labels_of(tables, UNTOLD) == {"Edema": 1, "Pneumothorax": 0, "Support Devices": 1}
    )
    assert tables.boxes is None and set(tables.frame["image_id"]) == {GOLD1, GOLD2, TRAIN, UNTOLD, VAL, TEST, CROSSED}
    assert "4 x image of which the attributes say nothing: no label, no triples" in tables.notes


def test_a_table_made_by_the_data_set_s_tools_says_the_same(tmp_path: Path) -> None:
    root = write_imagenome(tmp_path)
    gold = root / IMAGENOME / "gold_dataset" / ATTRIBUTES
    target = root / SILVER / "scene_tabular" / "attribute_relations_tabular.txt"
    target.parent.mkdir()
    target.write_text(gold.read_text("utf-8"), "utf-8")
    tables = imagenome.build(root, words="tabular")
    assert row(tables, GOLD1)["triples"] == row(imagenome.build(root, part="gold"), GOLD1)["triples"]
    assert row(tables, TRAIN)["triples"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"50000003": [[["a|b", "loc', "not a whole JSON file .*; download it again"),
        ("[]", "says nothing of any image that is there"),
        ('{"1": []}', "says nothing of any image that is there"),
        ('{"50000003": ' + '{"a":' * 100_000, "nested too deeply"),
        ("", "not a whole JSON file"),
    ],
)
def test_a_broken_rdf_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    root = write_imagenome(tmp_path)
    (root / SILVER / "study_level_attribute_rdfgraphs.json").write_text(text, "utf-8")
    with pytest.raises(DataError, match=message) as error:
        imagenome.build(root, words="rdf")
    assert "\n" not in str(error.value)


def test_a_study_of_another_form_is_left_out_and_listed(tmp_path: Path) -> None:
    path = tmp_path / "rdf.json"
    path.write_text('{"1": [[1, 2, 3]], "2": [], "3": {"a": 1}}', "utf-8")
    tally = read_rdf(path, {"1", "2", "3"}, Wish())
    assert tally.broken == ["1", "3"] and [r.key for r in tally.reads] == ["2"]


class Endless:
    """A study-level RDF without end, of studies of 20 KB."""

    def __init__(self) -> None:
        node = ["left lung|C0225730", "location"], ["pneumothorax|C1", "anatomicalfinding_annotation"], "NOT annotation"
        self._body = json.dumps([node] * 200)
        self._left, self.given, self._number = b"{", 0, 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "the whole of a 4.6 GB file is asked for"
        while len(self._left) < size:
            self._left += f'"{self._number}": {self._body},'.encode()
            self._number += 1
        data, self._left = self._left[:size], self._left[size:]
        self.given += len(data)
        return data


def test_the_rdf_is_read_study_by_study() -> None:
    file = Endless()
    stream = studies(cast(Any, file))
    next(stream)
    tracemalloc.start()
    try:
        count = sum(len(edges) == 200 for _, (_, edges) in zip(range(300), stream, strict=False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 300 and file.given > 5e6
    assert peak < 1.5e6  # not a third of what was read


# ---- the index


@pytest.mark.parametrize("part", ["silver", "gold"])
def test_the_index_is_written_and_evaluation_reads_its_boxes(whole: Path, tmp_path: Path, part: str) -> None:
    path = build_index("imagenome", whole, tmp_path, part=part)
    index = read_index(path)
    assert index.root == (whole / MIMIC).resolve() and not missing_path(path).exists()
    truth = load_truth(index, "test" if part == "gold" else "val")
    wanted = {
        "gold": {"Lung Opacity": 1, "Pleural Effusion": 1},
        "silver": {"Lung Opacity": 1, "Lung Lesion": 1, "Edema": 1},
    }
    assert dict(zip(truth.classes, truth.box_counts[0], strict=True)) == dict.fromkeys(OBSERVATIONS, 0) | wanted[part]
    fracture = truth.classes.index("Fracture")
    assert truth.ignore[0, fracture]  # affirmed, but its region has no box


@pytest.mark.parametrize(
    "table",
    [
        "",  # the index of the gold set
        "silver_dataset/splits/images_to_avoid.csv",
        "gold_dataset/gold_attributes_relations_500pts_500studies1st.txt",  # sentences with line ends
        "gold_dataset/gold_object_attribute_with_coordinates.txt",
        "gold_dataset/gold_bbox_coordinate_annotations_1000images.csv",
    ],
)
def test_gold_is_taken_out_of_other_indexes(whole: Path, tmp_path: Path, table: str) -> None:
    """MIMIC-CXR's own folder knows nothing of the gold set, two of whose images are in its train."""
    mimic = {"root": whole / MIMIC, "labels": "none"}
    plain = read_index(build_index("mimic", out=tmp_path / "plain", **mimic)).frame
    assert dict(plain.select("image_id", "split").iter_rows())[GOLD1] == "train"
    named = whole / IMAGENOME / table
    if not table:
        named = build_index("imagenome", whole, tmp_path / "gold", part="gold")
    frame = read_index(build_index("mimic", out=tmp_path / "i", exclude=[named], **mimic)).frame
    assert dict(frame.select("image_id", "split").iter_rows()) == {
        GOLD1: "", GOLD2: "", TRAIN: "train", UNTOLD: "train", VAL: "val", TEST: "test", CROSSED: "train",
    }  # fmt: skip


def test_published_counts_are_there_to_compare_with() -> None:
    folder = Path(imagenome.__file__).parents[1] / "published"
    silver, gold = (json.loads((folder / f"imagenome{part}.json").read_text("utf-8")) for part in ("", "-gold"))
    assert silver["images"] == 243_310 and (gold["images"], gold["patients"], gold["studies"]) == (1000, 500, 1000)
