"""Tables of Chest ImaGenome, and the MIMIC-CXR images they speak of: who is who, split lists, attribute tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from wsrpn_vl.data.scene_graphs import Read, Tally, Wish, kept
from wsrpn_vl.data.sources import mimic_boxes, mimic_files, mimic_tables
from wsrpn_vl.data.sources.tables import csv_frame, existing, locate, refuse_rows, sizes
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import OBSERVATIONS, label_column
from wsrpn_vl.text.graph_phrases import Row, attribute, phrases_of_rows, sentences_of
from wsrpn_vl.text.graphs import DEVICES, FINDINGS, words_of

LISTS = {"train": "splits/train.csv", "val": "splits/valid.csv", "test": "splits/test.csv"}
AVOID = "splits/images_to_avoid.csv"
RECORDS = "cxr-record-list_view.csv"
SEMANTICS = "attribute_relations_v1.txt"
TABULAR = "attribute_relations_tabular.txt"
_LIST = "Chest ImaGenome's list"
_IDS = ("dicom_id", "subject_id", "study_id")
_RENAMED = {"dicom_id": "image_id", "subject_id": "patient_id", "ViewPosition": "view"}
_WHO = ("image_id", "patient_id", "study_id", "view")
_ROW = ("bbox", "relation", "context", "categoryID", "label_name", "row_id", "sentence")
_REASONS = {
    "history": "attribute of the history section, which says nothing of the image, left out",
    "preliminary": "attribute of the preliminary reading of which the final report speaks too, left out",
    "beyond": "attribute of a finding that belongs to no class, left out (others=true keeps it in the triples)",
    "unknown": "attribute of a label that is unknown, left out",
    "contradicted": "denied region of a finding that is affirmed there or within, left out",
    "refused": "row of the attribute table that affirms and denies nothing, left out",
    "hidden": "image (study) with an abnormality that none of its triples tells, its triples left out",
}


@dataclass(frozen=True)
class Images:
    """MIMIC-CXR as it lies there: where it was looked for, folder of ``files/``, JPEG or DICOM, its tables if any."""

    place: Path
    folder: Path
    kind: str
    facts: pl.DataFrame | None
    notes: tuple[str, ...]


def open_images(root: Path, mimic: str) -> Images:
    """MIMIC-CXR-JPG in the folder ``mimic``, or below ``root`` where that is empty.

    Raises: DataError if there are no images, or its tables are broken.
    """
    place = Path(mimic) if mimic else root
    tables = locate(place, mimic_tables.METADATA, mimic_tables.SPLIT)
    tree = mimic_files.image_tree(place, "auto", tables.parent if tables else None)
    if tree is None:
        raise DataError(
            f"{place}: no MIMIC-CXR images (files/p10 to p19) here or below, and Chest ImaGenome has none of its own; "
            "give mimic=FOLDER of MIMIC-CXR-JPG"
        )
    kind = next(iter(tree.kinds))
    if tables is None:
        found = f"no {mimic_tables.METADATA} and {mimic_tables.SPLIT} there: official split and sizes are unknown"
        return Images(place, tree.folder, kind, None, (found,))
    facts, _, _ = mimic_tables.read_images(place)
    return Images(place, tree.folder, kind, facts, ())


def read_lists(root: Path) -> pl.DataFrame:
    """Rows of Chest ImaGenome's split lists: image_id, patient_id, study_id, view, own; ``avoid`` for that list's own.

    Raises: DataError if a list is missing or broken, or names an image that another list of a split has.
    """
    parts: dict[str, pl.DataFrame] = {}
    for own, name in (*LISTS.items(), ("avoid", AVOID)):
        path = locate(root, name, required=_LIST)
        part = _who(path).with_columns(pl.lit(own).alias("own"))
        for other, before in parts.items() if own != "avoid" else ():
            both = pl.col("image_id").is_in(before["image_id"].implode())
            refuse_rows(part, path, "image_id", both, f"{LISTS[other]} has it too; use lists of one release")
        parts[own] = part
    return pl.concat(parts.values()).unique("image_id", keep="first", maintain_order=True)


def avoided(root: Path) -> set[str]:
    """Patients of ``images_to_avoid.csv``: those of the gold set; empty where it is not there. Raises: DataError."""
    path = locate(root, AVOID)
    return set(_who(path)["patient_id"]) if path else set()


def boxed(places: Iterable[Path], known: pl.DataFrame) -> set[str]:
    """Patients of ``known`` on whose images MS-CXR or Tam et al. drew boxes, where their files lie in ``places``.

    Raises: DataError if one is broken.
    """
    found: set[str] = set()
    for place in places:
        for dataset in mimic_boxes.FILES:
            if path := mimic_boxes.find_boxes(dataset, place, ""):
                found |= set(mimic_boxes.read_boxes(dataset, path)["image_id"])
    return set(known.filter(pl.col("image_id").is_in(sorted(found)))["patient_id"])


def _who(path: Path) -> pl.DataFrame:
    frame = csv_frame(path, _IDS, ("ViewPosition",))
    for column in _IDS:
        refuse_rows(frame, path, column, pl.col(column).is_null(), "give the id; download the file again")
    return frame.rename(_RENAMED).select(pl.col("image_id").str.strip_suffix(".dcm"), *_WHO[1:])


def identities(root: Path, images: Images, *tables: pl.DataFrame) -> pl.DataFrame:
    """image_id, patient_id, study_id, view of every image that MIMIC-CXR's tables, ``tables`` or the records name."""
    parts = [] if images.facts is None else [images.facts.select(_WHO)]
    parts += [table.select(_WHO) for table in tables]
    if records := locate(root, RECORDS):
        parts.append(_who(records))
    return pl.concat(parts).unique("image_id", keep="first", maintain_order=True)


def present(images: Images, frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with path, of the images that are there, and the paths of the others. Raises: DataError if none is."""
    frame = frame.with_columns(mimic_files.image_path(images.kind))
    found = existing(images.folder, frame["path"])
    here = frame.filter(pl.col("path").is_in(sorted(found)))
    if here.is_empty():
        raise DataError(f"{images.folder}: none of the {frame.height:,} images spoken of is there; download them")
    return here, tuple(path for path in frame["path"] if path not in found)


def with_sizes(images: Images, frame: pl.DataFrame, opened: Collection[str]) -> pl.DataFrame:
    """``frame`` with width and height: of MIMIC-CXR's metadata, else from the files of the images ``opened``."""
    blank = pl.lit(None, dtype=pl.Int32)
    if images.facts is None:
        frame = frame.with_columns(blank.alias("width"), blank.alias("height"))
    else:
        known = images.facts.select("image_id", "width", "height")
        frame = frame.join(known, on="image_id", how="left", maintain_order="left")
    unknown = frame.filter(pl.col("width").is_null() & pl.col("image_id").is_in(sorted(opened)))
    if unknown.is_empty():
        return frame
    widths, heights = sizes(images.folder, unknown["path"])
    read = pl.DataFrame(
        {"image_id": unknown["image_id"], "w": widths, "h": heights}, schema_overrides={"w": pl.Int32, "h": pl.Int32}
    )
    joined = frame.join(read, on="image_id", how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce("width", "w").alias("width"), pl.coalesce("height", "h").alias("height"))


def check_semantics(root: Path, wish: Wish) -> None:
    """Whether every label of the release's own vocabulary is known. Raises: DataError for one that is not."""
    path = locate(root, SEMANTICS)
    if path is None:
        return
    vocabulary = wish.vocabulary()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
        for number, line in enumerate(lines, start=1):
            text = line.strip().removesuffix(",").strip()
            if text:
                category, _, label = attribute(text)
                if category in (*FINDINGS, *DEVICES):
                    vocabulary.findings(label, f"{path}: line {number}")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not lines of category|yes|label, ({error}); download it again") from None


def read_attributes(path: Path, wanted: Collection[str], wish: Wish) -> Tally:
    """Words of the images ``wanted`` in a table of attributes, gold or ``scene_tabular``; regions where boxes are too.

    Raises: DataError if the table is broken, or for an attribute that the mapping does not know.
    """
    columns = ("image_id", *_ROW[:2], *_ROW[3:5])
    # sentences hold line ends and quotation marks, written as pandas writes them
    frame = csv_frame(path, columns, tuple(c for c in _ROW if c not in columns), separator="\t")
    frame = frame.with_columns(pl.col("image_id").str.strip_suffix(".dcm"))
    here = pl.col("image_id").is_in(sorted(wanted))
    _check_labels(frame, path, here, wish)
    frame = frame.filter(here)
    tally, vocabulary = Tally(), wish.vocabulary()
    for (image_id,), rows in frame.group_by("image_id", maintain_order=True):
        phrases, refused = phrases_of_rows(Row(*row) for row in rows.select(_ROW).iter_rows())
        words = words_of(phrases, vocabulary, str(path))
        tally.counts.update(words.left_out)
        tally.counts.update(refused=refused, hidden=words.hidden)
        read = kept(str(image_id), words, sentences_of(phrases) if wish.sentences else None)
        tally.reads.append(read._replace(affirmed=tuple(words.affirmed.items())))
    return tally


def _check_labels(frame: pl.DataFrame, path: Path, here: pl.Expr, wish: Wish) -> None:
    """Raises: DataError for a label that the mapping does not know; it may be words of a shifted row: not quoted."""
    if wish.unknown == "error":
        stated = here & pl.col("categoryID").is_in([*FINDINGS, *DEVICES])
        counting = replace(wish, unknown="count").vocabulary()
        labels = frame.filter(stated)["label_name"].drop_nulls().unique()
        strange = [label for label in labels if counting.findings(label, "") is None]
        bad = stated & pl.col("label_name").is_in(strange)
        mend = "a finding that the mapping does not know. Pass unknown=count to leave such attributes out"
        refuse_rows(frame, path, "label_name", bad, mend, quoted=False)


def words_frame(reads: list[Read]) -> pl.DataFrame:
    """key, triples, text, said_view, sex, no_finding and a label column per observation."""
    labels = {label_column(name): [r.labels[i] for r in reads] for i, name in enumerate(OBSERVATIONS)}
    texts = {
        "key": [r.key for r in reads],
        "triples": [r.triples for r in reads],
        "text": [r.text for r in reads],
        "said_view": [r.view for r in reads],
        "sex": [r.sex for r in reads],
    }
    whole = {**labels, "no_finding": [r.no_finding for r in reads]}
    schema = dict.fromkeys(texts, pl.String) | dict.fromkeys(whole, pl.Int8)
    return pl.DataFrame({**texts, **whole}, schema=schema)


def reasons(counts: Counter[str]) -> tuple[tuple[int, str], ...]:
    """What was left out of the words, for ``count_notes``."""
    return tuple((counts[name], what) for name, what in _REASONS.items())
