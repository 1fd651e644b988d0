"""Chest ImaGenome 1.0.0 on the images of MIMIC-CXR-JPG: scene graphs of reports, or the gold set (PhysioNet).

ROOT is the folder of Chest ImaGenome or one above it and MIMIC-CXR-JPG; ``mimic=FOLDER`` where that lies elsewhere.
Silver: ``silver_dataset/scene_graph.zip`` (read as it is, or unpacked), ``splits/*.csv``; with ``words=rdf``
``study_level_attribute_rdfgraphs.json``, with ``words=tabular`` the ``scene_tabular/attribute_relations_tabular.txt``
that the data set's own tools make. Gold: ``gold_dataset/`` (500 patients, 1,000 images, all in ``test``).

Triples and labels follow the rules of :mod:`wsrpn_vl.text.graphs`; hedged findings are yes or no by the authors'
rules. The data set has no boxes of lesions: boxes are those of the regions where a finding is affirmed (kind
``region``), in gold for the 500 images with attributes, in silver for ``val`` and ``test`` alone. No class is complete.

One split system: MIMIC-CXR's official one, or Chest ImaGenome's own, whose test patients are mostly in MIMIC-CXR's
train. Gold patients, with all their images, leave ``train`` and ``val`` of the silver set, and so do the patients of
MS-CXR and Tam et al. 2020 where their boxes are found below ROOT or ``mimic``. A listed image without a
scene graph is left out, a broken graph too and listed as missing; many broken ones are an error.
Source: data format reference §2; Wu et al., NeurIPS Datasets and Benchmarks 2021.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data.index import parse_view
from wsrpn_vl.data.scene_graphs import Tally, Wish
from wsrpn_vl.data.sources import imagenome_gold, imagenome_tables
from wsrpn_vl.data.sources.imagenome_boxes import affirmed, region_boxes, unboxed
from wsrpn_vl.data.sources.imagenome_graphs import SUFFIX, find_graphs, read_graphs
from wsrpn_vl.data.sources.imagenome_rdf import RDF, read_rdf
from wsrpn_vl.data.sources.imagenome_tables import Images
from wsrpn_vl.data.sources.tables import OUT, SourceTables, boxed_among, count_notes, locate, out_of_training
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS

CLASSES = OBSERVATIONS
_CHOICES = {
    "part": ("silver", "gold"),
    "splits": ("auto", "mimic", "imagenome"),
    "words": ("triples", "rdf", "tabular"),
    "text": ("none", "phrases"),
    "nested": ("smallest", "all"),
    "unknown": ("error", "count"),
}


def build(
    root: Path | str,
    *,
    mimic: str = "",
    part: str = "silver",
    splits: str = "auto",
    words: str = "triples",
    text: str = "none",
    approximate: bool = False,
    others: bool = False,
    unknown: str = "error",
    region_boxes: bool = True,
    nested: str = "smallest",
    keep_boxed_in_train: bool = False,
    workers: int = 0,
) -> SourceTables:
    """Tables of Chest ImaGenome in ``root``.

    mimic: folder of MIMIC-CXR-JPG; part: ``silver`` or ``gold``; splits: ``mimic``, ``imagenome`` or ``auto`` (MIMIC's
    where its tables are there); words: where triples come from, ``triples`` (scene graphs), ``rdf`` or ``tabular``;
    text: ``phrases`` keeps the reports' sentences; approximate: labels that only nearly belong to a class count;
    others: findings of no class stay in the triples; unknown: a label the mapping lacks is an ``error`` or left out
    (``count``); region_boxes: write them; nested: of regions that contain each other, the ``smallest`` or ``all``;
    keep_boxed_in_train: do without the boxes of MS-CXR and Tam et al., and leave their patients in ``train`` and
    ``val``; workers: processes, 0: one per core.
    Raises: DataError if a file is missing or broken, or no image is found.
    """
    chosen = dict(part=part, splits=splits, words=words, text=text, nested=nested, unknown=unknown)  # noqa: C408
    for name, value in chosen.items():
        lookup(f"choice of {name}:", value, dict.fromkeys(_CHOICES[name]), DataError)
    if text == "phrases" and words == "rdf":
        raise DataError("words=rdf has no sentences; give text=none, or words=triples")
    if workers < 0:
        raise DataError(f"workers={workers}; give 0 (one per core) or more")
    root = Path(root)
    images = imagenome_tables.open_images(root, mimic)
    wish = Wish(approximate=approximate, others=others, unknown=unknown, sentences=text == "phrases")
    imagenome_tables.check_semantics(root, wish)
    if part == "gold":
        return imagenome_gold.build(root, images, wish, boxed=region_boxes, nested=nested)
    return _silver(root, images, wish, chosen, region_boxes, keep_boxed_in_train, workers)


def _silver(
    root: Path, images: Images, wish: Wish, chosen: dict[str, str], boxed: bool, keep: bool, workers: int
) -> SourceTables:
    lists = imagenome_tables.read_lists(root)
    archive = find_graphs(root) if chosen["words"] == "triples" else None
    if chosen["words"] == "triples" and archive is None:
        raise DataError(f"{root}: no scene_graph.zip and no *{SUFFIX} here or below; put the scene graphs there")
    spoken = archive.members.keys() if archive else set(lists["image_id"])
    known = imagenome_tables.identities(root, images, lists)
    frame, missing = imagenome_tables.present(images, known.filter(pl.col("image_id").is_in(sorted(spoken))))
    drawn_on = set() if keep else imagenome_tables.boxed({root, images.place}, known)
    frame, notes = _with_splits(frame, images, lists, root, chosen["splits"], drawn_on)
    frame = frame.sort("patient_id", "study_id", "image_id")
    wanted = set(frame.filter(pl.col("split").is_in(["val", "test"]))["image_id"]) if boxed and archive else set()
    wish = Wish(wish.approximate, wish.others, wish.unknown, wish.sentences, frozenset(wanted))
    if archive:
        tally = read_graphs(archive, frame["image_id"].to_list(), wish, workers)
    else:
        tally = _other_words(root, frame, wish, chosen["words"])
    frame = _with_words(frame, tally, chosen["words"])
    frame = imagenome_tables.with_sizes(images, frame, wanted)
    boxes, counts = _boxes(frame, tally, chosen["nested"]) if wanted else (None, {})
    if wanted:
        frame = frame.with_columns(pl.col("image_id").is_in(sorted(wanted)).alias("boxes_read"))
    unlisted = len(set(lists["image_id"]) - spoken)
    counted = count_notes(
        (len(missing), "image missing (see the .missing.txt list)"),
        (len(spoken - set(known["image_id"])), "scene graph of an image that no table names, left out"),
        (unlisted, "listed image without a scene graph, left out"),
        (len(tally.broken), f"broken {'study' if chosen['words'] == 'rdf' else 'scene graph'}, left out and listed"),
        (tally.counts["wordless"], "image of which the attributes say nothing: no label, no triples"),
        *imagenome_tables.reasons(tally.counts),
        *unboxed(counts),
    )
    return _tables(frame, boxes, images, (*images.notes, *notes, *counted), (*missing, *tally.broken))


def _tables(
    frame: pl.DataFrame, boxes: pl.DataFrame | None, images: Images, notes: tuple[str, ...], missing: tuple[str, ...]
) -> SourceTables:
    return SourceTables(
        frame=frame.with_columns(pl.lit("imagenome").alias("dataset")),
        boxes=boxes,
        dataset="imagenome",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=boxed_among(CLASSES, boxes),
        text_origin="report" if frame["text"].null_count() < frame.height else "none",
        notes=notes,
        missing=missing,
        root=images.folder,
        text_labels=CLASSES if frame["text"].null_count() < frame.height else (),  # both from the same sentences
    )


def _with_splits(
    frame: pl.DataFrame, images: Images, lists: pl.DataFrame, root: Path, splits: str, boxed: set[str]
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with split, patients of the gold set and those ``boxed`` in neither train nor val, and notes."""
    if splits == "mimic" and images.facts is None:
        raise DataError(f"splits=mimic: {images.notes[0]}; put the tables there, or give splits=imagenome")
    own = lists.select("image_id", pl.col("own").replace("avoid", ""))
    notes: tuple[str, ...] = ()
    if images.facts is None or splits == "imagenome":
        table = own.rename({"own": "split"})
        notes = ("splits of Chest ImaGenome, not of MIMIC-CXR: mix this index with no other of MIMIC-CXR",)
    else:
        table = images.facts.select("image_id", "split")
    frame = frame.join(table, on="image_id", how="left", maintain_order="left")
    frame = frame.with_columns(pl.col("split").fill_null(""))
    if images.facts is not None:
        both = images.facts.join(own, on="image_id")
        crossed = both.filter((pl.col("own") == "test") & (pl.col("split") == "train"))["patient_id"].n_unique()
        notes += count_notes((crossed, "patient in Chest ImaGenome's test list and in MIMIC-CXR's train"))
    held = {"of the gold set": imagenome_gold.patients(root), "with boxes of MS-CXR or Tam et al.": boxed}
    for what, patients in held.items():
        if patients:
            frame, found = out_of_training(frame, pl.col("patient_id").is_in(sorted(patients)))
            notes += (f"{found} {what} {OUT}",)
    return frame, notes


def _other_words(root: Path, frame: pl.DataFrame, wish: Wish, words: str) -> Tally:
    """Triples and labels from the study-level RDF or from tables that the data set's tools made."""
    if words == "rdf":
        path = locate(root, RDF, required="the study-level RDF")
        tally = read_rdf(path, set(frame["study_id"]), wish)
    else:
        path = locate(root, imagenome_tables.TABULAR, required="what scenegraph_postprocessing.py writes")
        tally = imagenome_tables.read_attributes(path, set(frame["image_id"]), wish)
    if not tally.reads:
        raise DataError(f"{path}: says nothing of any image that is there; use files of one release")
    key = "study_id" if words == "rdf" else "image_id"
    tally.counts["wordless"] = frame.filter(~pl.col(key).is_in([r.key for r in tally.reads])).height
    return tally


def _with_words(frame: pl.DataFrame, tally: Tally, words: str) -> pl.DataFrame:
    """``frame`` with labels, triples and text; an image without a whole scene graph is left out, else it has none."""
    key = "study_id" if words == "rdf" else "image_id"
    table = imagenome_tables.words_frame(tally.reads).rename({"key": key})
    frame = frame.join(table, on=key, how="inner" if words == "triples" else "left", maintain_order="left")
    views = [parse_view(said or view) for said, view in frame.select("said_view", "view").iter_rows()]
    return frame.with_columns(pl.Series("view", views, dtype=pl.String)).drop("said_view")


def _boxes(frame: pl.DataFrame, tally: Tally, nested: str) -> tuple[pl.DataFrame, dict[str, int]]:
    stated = (affirmed(r.key, r.affirmed, r.places) for r in tally.reads if r.places is not None)
    return region_boxes(stated, frame, "scene_graph", nested=nested, paddings={})
