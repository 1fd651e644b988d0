"""The gold set of Chest ImaGenome: 500 patients, attributes of their first study's image, region boxes of two.

``gold_attributes_relations_500pts_500studies1st.txt`` gives labels and triples,
``gold_bbox_coordinate_annotations_1000images.csv`` the regions (its ``original_*`` columns, in the order x1, x2, y1,
y2), ``gold_object_attribute_with_coordinates.txt`` those it lacks. Where only the 224 pixel frame is stated,
``gold_bbox_scaling_factors_original_to_224x224.csv`` or the size of the image leads back. Image ids end in ``.dcm`` in
some files and not in others. ``images_to_avoid.csv`` names these very images, so nothing is taken out here.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.scene_graphs import Place, Wish
from wsrpn_vl.data.sources import imagenome_tables
from wsrpn_vl.data.sources.imagenome_boxes import Padding, affirmed, region_boxes, unboxed
from wsrpn_vl.data.sources.imagenome_tables import Images
from wsrpn_vl.data.sources.tables import SourceTables, boxed_among, count_notes, csv_frame, locate, numbers, refuse_rows
from wsrpn_vl.labels import OBSERVATIONS

ATTRIBUTES = "gold_attributes_relations_500pts_500studies1st.txt"
BOXES = "gold_bbox_coordinate_annotations_1000images.csv"
PLACED = "gold_object_attribute_with_coordinates.txt"
SCALES = "gold_bbox_scaling_factors_original_to_224x224.csv"
DATASET = "imagenome-gold"
_EDGES = ("x1", "y1", "x2", "y2")
Places = dict[str, dict[str, tuple[Place, ...]]]  # image -> region -> its boxes


def patients(root: Path) -> set[str]:
    """Patients of ``images_to_avoid.csv`` and of the gold attributes; empty where neither is there.

    Raises: DataError if one is broken.
    """
    attributes = locate(root, ATTRIBUTES)
    return imagenome_tables.avoided(root) | (set(_who(attributes)["patient_id"]) if attributes else set())


def build(root: Path, images: Images, wish: Wish, *, boxed: bool, nested: str) -> SourceTables:
    """Tables of the gold set; every image in ``test``. ``boxes_read``: images with attributes, the others have none.

    Raises: DataError if a file is missing or broken, or no image is found.
    """
    attributes = locate(root, ATTRIBUTES, required="the gold attributes")
    drawn = locate(root, BOXES, required="the gold region boxes")
    places = _places(drawn, locate(root, PLACED))
    who = _who(attributes)
    named = {*places, *who["image_id"]}
    known = imagenome_tables.identities(root, images, who, imagenome_tables.read_lists(root))
    strangers = len(named - set(known["image_id"]))
    frame, missing = imagenome_tables.present(images, known.filter(pl.col("image_id").is_in(sorted(named))))
    frame = frame.sort("patient_id", "study_id", "image_id")
    frame = imagenome_tables.with_sizes(images, frame, set(frame["image_id"]))
    tally = imagenome_tables.read_attributes(attributes, set(frame["image_id"]), wish)
    table = imagenome_tables.words_frame(tally.reads).rename({"key": "image_id"}).drop("said_view", "sex")
    read = pl.col("image_id").is_in([r.key for r in tally.reads])
    views = [parse_view(view) for view in frame["view"]]
    frame = frame.join(table, on="image_id", how="left", maintain_order="left").with_columns(
        pl.lit(DATASET).alias("dataset"),
        pl.lit("test").alias("split"),
        pl.Series("view", views, dtype=pl.String),
        read.alias("boxes_read"),
    )
    boxes, counts = None, {}
    if boxed:
        stated = (affirmed(r.key, r.affirmed, places.get(r.key, {})) for r in tally.reads)
        paddings = _paddings(locate(root, SCALES))
        boxes, counts = region_boxes(stated, frame, drawn.name, nested=nested, paddings=paddings)
    notes = count_notes(
        (len(missing), "image missing (see the .missing.txt list)"),
        (strangers, "gold image whose patient no table names, left out"),
        (frame.height - len(tally.reads), "gold image without attributes: no label, and nobody looked for findings"),
        *imagenome_tables.reasons(tally.counts),
        *unboxed(counts),
    )
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset=DATASET,
        classes=OBSERVATIONS,
        box_complete=dict.fromkeys(OBSERVATIONS, False),
        boxed_classes=boxed_among(OBSERVATIONS, boxes),
        text_origin="report" if frame["text"].null_count() < frame.height else "none",
        notes=(*images.notes, *_homes(frame, images), *notes),
        missing=missing,
        root=images.folder,
    )


def _homes(frame: pl.DataFrame, images: Images) -> tuple[str, ...]:
    """Where MIMIC-CXR's split has these patients: most of them in train."""
    if images.facts is None:
        return ()
    gold = frame["patient_id"].unique().implode()
    homes = images.facts.filter(pl.col("patient_id").is_in(gold)).group_by("split").agg(pl.col("patient_id").n_unique())
    found = dict(homes.iter_rows())
    where = ", ".join(f"{name} {found[name]:,}" for name in ("train", "val", "test") if name in found)
    return (f"gold patients by MIMIC-CXR's split: {where}; give this index as --exclude to those you train on",)


def _who(path: Path) -> pl.DataFrame:
    """image_id, patient_id, study_id, view of an attribute table."""
    frame = csv_frame(path, ("image_id", "patient_id", "study_id"), separator="\t")
    for column in ("image_id", "patient_id", "study_id"):
        refuse_rows(frame, path, column, pl.col(column).is_null(), "give the id; download the file again")
    frame = frame.with_columns(_bare("image_id"), pl.lit(None, dtype=pl.String).alias("view"))
    return frame.unique("image_id", keep="first", maintain_order=True)


def _bare(column: str) -> pl.Expr:
    return pl.col(column).str.strip_suffix(".dcm")


def _places(drawn: Path, placed: Path | None) -> Places:
    original = tuple(f"original_{edge}" for edge in _EDGES)
    frame = csv_frame(drawn, ("image_id", "bbox_name"), (*_EDGES, *original))
    for column in ("image_id", "bbox_name"):
        refuse_rows(frame, drawn, column, pl.col(column).is_null(), "give a value; download the file again")
    frame = numbers(frame, drawn, (*_EDGES, *original)).with_columns(_bare("image_id"))
    out: Places = {}
    for image_id, region, *values in frame.select("image_id", "bbox_name", *original, *_EDGES).iter_rows():
        _add(out, image_id, region, values[:4], values[4:])
    if placed is None:
        return out
    further: Places = {}
    table = csv_frame(placed, ("image_id", "bbox"), ("coord_original", "coord224"), separator="\t")
    for image_id, region, first, second in table.with_columns(_bare("image_id")).iter_rows():
        if image_id and region and region not in out.get(image_id, {}):
            _add(further, image_id, region, _numbers(first), _numbers(second))
    for image_id, regions in further.items():
        out.setdefault(image_id, {}).update(regions)
    return out


def _add(out: Places, image_id: str, region: str, original: list[float | None], frame: list[float | None]) -> None:
    """Add a region's box: that of the original image, else that of the 224 pixel frame; an image may have none."""
    regions = out.setdefault(image_id, {})
    for is_original, values in ((True, original), (False, frame)):
        edges = [v for v in values if v is not None]
        if len(edges) == 4:
            regions[region] = (*regions.get(region, ()), Place(is_original, *edges))
            return


def _numbers(text: str | None) -> list[float | None]:
    """Numbers of ``[1, 2, 3, 4]``."""
    return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text or "")]


def _paddings(path: Path | None) -> dict[str, Padding]:
    if path is None:
        return {}
    frame = csv_frame(path, ("image_id", "ratio", "left", "top"))
    frame = numbers(frame, path, ("ratio", "left", "top")).with_columns(_bare("image_id")).drop_nulls()
    refuse_rows(frame, path, "ratio", pl.col("ratio") <= 0, "expected 224 / longer side; download the file again")
    return {row[0]: Padding(*row[1:]) for row in frame.select("image_id", "ratio", "left", "top").iter_rows()}
