"""MIMIC-CXR-JPG 2.0 or 2.1, or MIMIC-CXR (DICOM), with reports, as downloaded from PhysioNet.

ROOT is the folder of either project or any folder above both (``physionet.org/files``). Read there, plain or ``.gz``:
``mimic-cxr-2.0.0-metadata.csv``, ``…-split.csv``, ``…-chexpert.csv`` or ``…-negbio.csv`` (MIMIC-CXR-JPG; with
``test_labels=true`` the radiologist's ``mimic-cxr-2.1.0-test-set-labeled.csv``), images below ``files/p10`` to ``p19``,
reports from ``mimic-cxr-reports.zip``, the folder it was unpacked to, or derived CSV files. Where the tables are not,
``cxr-record-list.csv`` gives the DICOM images alone.

The split is the official one. Labels and report of a study go to each of its images; 8 studies have no labels. A blank
label is "not mentioned". Sizes are those of the metadata: no image is opened, so a broken file shows only in
``wsrpn-vl doctor`` or when it is read. Boxes: MS-CXR and Tam et al. 2020, where their files are found; no class is
complete. Patients with boxes leave ``train``, where most of them are, and ``val``; so do those of Chest ImaGenome's
gold set, where its ``splits/images_to_avoid.csv`` is found. Source: data format reference §1, §2.5, §6.3-4.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from wsrpn_vl.data.sources import imagenome_gold, mimic_boxes, mimic_files, mimic_tables
from wsrpn_vl.data.sources.mimic_reports import read_reports
from wsrpn_vl.data.sources.tables import OUT, SourceTables, boxed_among, count_notes, locate, out_of_training
from wsrpn_vl.errors import DataError, lookup
from wsrpn_vl.labels import OBSERVATIONS

CLASSES = OBSERVATIONS
FRONTAL = ("AP", "PA")
BOXED = {"ms_cxr": "MS-CXR", "tam": "Tam et al."}


def build(
    root: Path | str,
    *,
    images: str = "auto",
    views: str = "frontal",
    labels: str = "chexpert",
    test_labels: bool = False,
    reports: str = "",
    missing: str = "list",
    ms_cxr: str = "",
    tam: str = "",
    keep_boxed_in_train: bool = False,
) -> SourceTables:
    """Tables of MIMIC-CXR in ``root``.

    images: ``jpg``, ``dicom`` or ``auto`` (JPEG where both are there); views: ``frontal`` (AP and PA) or ``all``;
    labels: ``chexpert``, ``negbio``, ``both`` (what they agree on) or ``none``; test_labels: a radiologist's labels for
    the test studies that have them; reports, ms_cxr, tam: file or folder, empty: look for it, ``none``: do without;
    missing: images without a file are left out and listed (``list``), refused (``error``), or nobody looks
    (``unchecked``); keep_boxed_in_train: leave patients with boxes and of the gold set in ``train`` and ``val``.
    Further columns: view_from, view_position, study_datetime, study_order (see mimic_tables), no_finding, boxes_read.
    Raises: DataError if a table is missing or broken, or no image is found.
    """
    root = Path(root)
    lookup("missing", missing, dict.fromkeys(("list", "error", "unchecked")), DataError)
    lookup("views", views, dict.fromkeys(("frontal", "all")), DataError)
    everyone, table, notes = _images(root, labels)
    everyone, listed, more = _with_paths(root, everyone, images, missing, table.parent)
    notes += more
    frame, left_out = _viewed(everyone, views)
    frame, absent, gone = _present(root, frame, listed, missing)
    notes += left_out + gone
    frame, more = _with_labels(root, frame, labels, test_labels)
    notes += more
    boxes, boxed, drawn = _boxes(root, frame, {"ms_cxr": ms_cxr, "tam": tam})
    frame, more = _guarded(frame, boxed, everyone, imagenome_gold.patients(root), keep_boxed_in_train)
    notes += drawn + more
    words = read_reports(root, reports, frame["study_id"].unique())
    frame = frame.join(words.frame, on="study_id", how="left", maintain_order="left")
    frame = frame.with_columns(dataset=pl.lit("mimic"), triples=pl.lit(None, dtype=pl.String))
    return SourceTables(
        frame=frame,
        boxes=boxes,
        dataset="mimic",
        classes=CLASSES,
        box_complete=dict.fromkeys(CLASSES, False),
        boxed_classes=boxed_among(CLASSES, boxes),
        text_origin="report" if frame["text"].null_count() < frame.height else "none",
        notes=notes + words.notes,
        missing=absent,
        text_labels=() if labels == "none" else CLASSES,  # mined from these very reports (Johnson et al., 2019)
    )


def _images(root: Path, labels: str) -> tuple[pl.DataFrame, Path, tuple[str, ...]]:
    """Images of the tables, or of the DICOM project's list where labels are not wanted or there is nothing else."""
    if locate(root, mimic_tables.METADATA) is None and locate(root, mimic_tables.RECORDS) is not None:
        if labels != "none":
            raise DataError(
                f"{root}: no {mimic_tables.METADATA} (or .gz): the DICOM project has neither split, view nor "
                "label; put the tables of MIMIC-CXR-JPG below the root, or give labels=none views=all"
            )
        return mimic_tables.read_records(root)
    return mimic_tables.read_images(root)


def _viewed(frame: pl.DataFrame, views: str) -> tuple[pl.DataFrame, tuple[str, ...]]:
    if views == "all":
        return frame, ()
    kept = frame.filter(pl.col("view").is_in(FRONTAL))
    if kept.height == 0:
        raise DataError("no image is known to be a frontal view; give views=all")
    lateral = frame.filter(view="LAT").height
    return kept, count_notes(
        (lateral, "lateral image, left out (views=all keeps it)"),
        (frame.height - kept.height - lateral, "image of unknown or other view, left out (views=all keeps it)"),
    )


def _with_paths(
    root: Path, everyone: pl.DataFrame, images: str, missing: str, beside: Path
) -> tuple[pl.DataFrame, pl.DataFrame | None, tuple[str, ...]]:
    """``everyone`` with path, a column ``path`` of the files that are there (None: nobody looked), and notes."""
    tree = mimic_files.image_tree(root, images, beside)
    if tree is None and missing != "unchecked":
        what = {"jpg": "JPEG", "dicom": "DICOM"}.get(images, "JPEG or DICOM")
        raise DataError(f"{root}: no {what} files below a folder files/p10 to p19; give the folder of the images")
    folder = beside if tree is None else tree.folder
    kind = ("dicom" if images == "dicom" else "jpg") if tree is None else next(iter(tree.kinds))
    at = folder.relative_to(root).as_posix()
    whole = pl.format("{}{}", pl.lit("" if at == "." else f"{at}/"), pl.col("path")).alias("path")
    everyone = everyone.with_columns(mimic_files.image_path(kind)).with_columns(whole)
    if missing == "unchecked":
        return everyone, None, ("missing=unchecked: nobody looked whether the images are there",)
    listed = mimic_files.listing(folder, kind).to_frame().select(whole)
    strangers = listed.join(everyone, on="path", how="anti").height
    return everyone, listed, count_notes((strangers, "image file not in the tables, left out"))


def _present(
    root: Path, frame: pl.DataFrame, listed: pl.DataFrame | None, missing: str
) -> tuple[pl.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """``frame`` without the images that have no file, the paths of these, and notes."""
    if listed is None:
        return frame, (), ()
    here = frame.join(listed, on="path", how="semi", maintain_order="left")
    absent = tuple(frame.join(listed, on="path", how="anti", maintain_order="left")["path"])
    if here.height == 0:
        raise DataError(f"{root}: none of the tables' {frame.height:,} images is there; download the images")
    if absent and missing == "error":
        raise DataError(f"{root}: {len(absent):,} images of the tables are not there, first {absent[0]}; download them")
    return here, absent, count_notes((len(absent), "image of the tables missing (see the .missing.txt list)"))


def _with_labels(
    root: Path, frame: pl.DataFrame, labels: str, test_labels: bool
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    table, notes = mimic_tables.read_labels(root, labels)
    joined = frame.join(table, on="study_id", how="left", maintain_order="left")
    if table.height:
        without = frame.join(table, on="study_id", how="anti")["study_id"].n_unique()
        if table["study_id"].is_in(frame["study_id"].implode()).sum() == 0:
            files = " and ".join(mimic_tables.LABELS[name] for name in mimic_tables.LABELLERS[labels])
            raise DataError(f"{root}: {files} has none of the {without:,} studies that are there; use one release")
        notes += count_notes((without, "study without a row of labels, all of them blank"))
    if not test_labels:
        return joined, notes
    joined, more = mimic_tables.with_test_labels(root, joined)
    return joined, notes + more


def _boxes(
    root: Path, frame: pl.DataFrame, where: dict[str, str]
) -> tuple[pl.DataFrame | None, pl.Series, tuple[str, ...]]:
    """Boxes of the images of ``frame``, the ids of all images in the box files, and notes."""
    parts: list[pl.DataFrame] = []
    boxed = [pl.Series("image_id", [], dtype=pl.String)]
    notes: tuple[str, ...] = ()
    for dataset, name in BOXED.items():
        path = mimic_boxes.find_boxes(dataset, root, where[dataset])
        if path is not None:
            drawn = mimic_boxes.read_boxes(dataset, path)
            placed, more = mimic_boxes.place_boxes(drawn, frame, name)
            parts.append(placed)
            boxed.append(drawn["image_id"])
            notes += (f"{placed.height:,} boxes of {name} on {placed['image_id'].n_unique():,} images", *more)
    return (pl.concat(parts) if parts else None), pl.concat(boxed).unique(), notes


def _guarded(
    frame: pl.DataFrame, boxed: pl.Series, everyone: pl.DataFrame, gold: set[str], keep: bool
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """``frame`` with boxes_read; patients with boxes (be it on an image left out) and ``gold`` are not learnt from."""
    drawn_on = pl.col("image_id").is_in(boxed.implode())
    held = {"with boxes": set(everyone.filter(drawn_on)["patient_id"]), "of Chest ImaGenome's gold set": gold}
    if len(boxed):
        frame = frame.with_columns(drawn_on.alias("boxes_read"))
    notes: tuple[str, ...] = ()
    for what, patients in held.items():
        if patients:
            without, found = out_of_training(frame, pl.col("patient_id").is_in(sorted(patients)))
            said = "stay in train and val, as asked: do not test on them" if keep else OUT
            notes += (f"{found} {what} {said}",)
            frame = frame if keep else without
    return frame, notes
