"""Where the images of a table lie, whatever folder and format a copy keeps them in, and how they were stored.

Copies of one data set are flat or nested, DICOM or converted, full-size or resized. Images are found by their id, and
boxes stated in pixels of the original are scaled to the stored file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from wsrpn_vl.data.draws import share_of
from wsrpn_vl.data.pixels import is_dicom
from wsrpn_vl.data.sources.folder_images import bare
from wsrpn_vl.data.sources.tables import UNREADABLE, count_notes, find_images, readable
from wsrpn_vl.errors import DataError


@dataclass(frozen=True)
class Stored:
    """Images of a table that are there.

    frame: image_id, path, width, height (null if unknown) in the table's order; missing: file names of the others, and
    paths of those with a damaged header; strangers: images found that the table does not have; notes: counts of all
    these.
    """

    frame: pl.DataFrame
    missing: tuple[str, ...]
    strangers: tuple[str, ...]
    notes: tuple[str, ...]


def find_stored(
    root: Path,
    expected: pl.DataFrame,
    *,
    check_files: bool,
    size: int | None = None,
    keep: Callable[[str], bool] = lambda stem: True,
    first: Sequence[str] = (),
    mend: str = "unpack the images",
) -> Stored:
    """Find the images of a table below ``root`` by their id.

    expected: image_id and path (relative to ``root``, as the data set is published); check_files: False takes the
    published paths on trust, and ``size`` (pixels a side of every published image) or null as their size; keep: which
    file stems are ids of the data set at all; first: suffixes that win when an image is stored twice, best first; mend:
    what to do when there is no image.
    Raises: DataError if none of the images is there, or none can be read.
    """
    if not check_files:
        extent = pl.lit(size, dtype=pl.Int32)
        frame = expected.select("image_id", "path", width=extent, height=extent)
        return Stored(frame, (), (), ("the images were not looked for (check_files=false)",))
    found: dict[str, str] = {}
    paths = [path for path in find_images(root) if keep(image_stem(path))]
    order = {suffix: n for n, suffix in enumerate(first)}
    for path in sorted(paths, key=lambda p: (order.get(PurePosixPath(p).suffix.lower(), len(order)), p)):
        found.setdefault(image_stem(path), path)
    here = expected.filter(pl.col("image_id").is_in(list(found)))
    if here.is_empty():
        raise DataError(f"{root}: none of the table's {expected.height:,} images is there; {mend}")
    stored = [found[image_id] for image_id in here["image_id"]]
    extents = readable(root, stored)
    sound = [path in extents for path in stored]
    here = here.with_columns(pl.Series("stored", stored, dtype=pl.String)).filter(pl.Series(sound, dtype=pl.Boolean))
    broken = tuple(path for path, good in zip(stored, sound, strict=True) if not good)
    known = set(expected["image_id"])
    strangers = tuple(path for stem, path in found.items() if stem not in known)
    missing = tuple(
        PurePosixPath(path).name for image_id, path in expected["image_id", "path"].rows() if image_id not in found
    )
    frame = pl.DataFrame(
        {
            "image_id": here["image_id"],
            "path": here["stored"],
            "width": [extents[path][0] for path in here["stored"]],
            "height": [extents[path][1] for path in here["stored"]],
        },
        schema={"image_id": pl.String, "path": pl.String, "width": pl.Int32, "height": pl.Int32},
    )
    notes = count_notes(
        (len(missing), "image of the table missing (see the .missing.txt list)"),
        (len(broken), UNREADABLE),
        (len(strangers), "image file not in the table, left out"),
        (len(paths) - len(found), f"image stored twice, the {(*first, 'first')[0]} or the first by path is used"),
    )
    return Stored(frame, missing + broken, strangers, notes)


def image_stem(path: str) -> str:
    """File name without the suffix of an image; ids of DICOM files hold dots themselves (1.2.840.10)."""
    return bare(PurePosixPath(path).name)


def scale_boxes(boxes: pl.DataFrame, frame: pl.DataFrame, original: pl.DataFrame | float) -> pl.DataFrame:
    """Boxes in pixels of the stored files instead of the originals.

    frame: image_id, width, height of the stored files; original: the same of the originals, or pixels a side of all.
    An unknown size, stored or original, leaves the boxes as they are; so do images that ``frame`` has not.
    """
    stored = frame.select("image_id", sw="width", sh="height")
    if isinstance(original, pl.DataFrame):
        stored = stored.join(original.select("image_id", ow="width", oh="height"), on="image_id", how="left")
    else:
        stored = stored.with_columns(ow=pl.lit(original), oh=pl.lit(original))
    joined = boxes.join(stored, on="image_id", how="left", maintain_order="left")
    # a whole factor of 1 must leave the numbers exactly as they are
    x, y = ((pl.col(f"s{e}") / pl.col(f"o{e}")).fill_null(1.0) for e in "wh")
    scaled = joined.with_columns(pl.col("x1") * x, pl.col("x2") * x, pl.col("y1") * y, pl.col("y2") * y)
    return scaled.drop("sw", "sh", "ow", "oh")


def header_facts(root: Path, paths: Sequence[str], *, look: bool = True) -> pl.DataFrame:
    """view, age (years), sex of DICOM files from their headers; UNK and null for pictures, and without ``look``.

    Raises: DataError for a broken file.
    """
    schema = {"view": pl.String, "age": pl.Int32, "sex": pl.String}
    if not look or not paths or not any(is_dicom(root / path) for path in (paths[0], paths[-1])):
        return pl.DataFrame([("UNK", None, None)] * len(paths), schema=schema, orient="row")
    from wsrpn_vl.dicom.person import dicom_person
    from wsrpn_vl.dicom.read import dicom_view

    rows = []
    for path in paths:
        dicom = is_dicom(root / path)
        rows.append((dicom_view(root / path), *dicom_person(root / path)) if dicom else ("UNK", None, None))
    return pl.DataFrame(rows, schema=schema, orient="row")


def with_plain(frame: pl.DataFrame, dataset: str, view: str = "UNK") -> pl.DataFrame:
    """``frame`` with the index's plain columns that it lacks: dataset, view, and null for ids and words."""
    none = pl.lit(None, dtype=pl.String)
    plain = {"dataset": pl.lit(dataset), "view": pl.lit(view)}
    plain |= dict.fromkeys(("patient_id", "study_id", "text", "triples"), none)
    return frame.with_columns(value.alias(name) for name, value in plain.items() if name not in frame.columns)


def split_by_hash(keys: Sequence[str], val_share: float, test_share: float, seed: int) -> pl.Series:
    """(n,) ``test``, ``val`` or ``train`` by a hash of each key and ``seed``."""
    place = [share_of(key, seed) for key in keys]
    drawn = ["test" if p < test_share else "val" if p < test_share + val_share else "train" for p in place]
    return pl.Series("split", drawn, dtype=pl.String)
