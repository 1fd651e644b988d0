"""NIH ChestX-ray14 from NIH Box, unpacked (Wang et al., CVPR 2017): ``images/``, two tables, two lists.

Labels: the 14 native classes where ours have a counterpart; ``Lung Opacity`` becomes ``Infiltration`` (nearest, not a
synonym), ``Lung Lesion`` becomes ``Nodule`` or ``Mass`` after what was drawn. Validation patients are in
``train_val_list.txt``.
Boxes: in the 1024 pixel frame, of test images alone, and incomplete as in the original (984 boxes for 1,705 labels of
the eight boxed classes on 880 images, no image and label twice): one label of an image is boxed, each further one with
the odds that make this share, and a label's largest region stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wsrpn_vl.data import mapping
from wsrpn_vl.data.phantom.layouts.base import Layout, png, write_csv, write_lines
from wsrpn_vl.data.phantom.records import Case, Finding, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.labels import NIH8, NO_FINDING

ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_FRAME = 1024.0
_FURTHER = (984 - 880) / (1705 - 880)  # odds that a boxed image's second, third ... label is boxed too
_SPACING = 0.14300000000000002  # mm of the original film, as the table writes it


def image_name(case: Case) -> str:
    """``00000001_000.png``: patient, follow-up."""
    return f"{case.patient + 1:08d}_{case.study:03d}.png"


def native_labels(record: Record) -> list[str]:
    """NIH's names of the labels handed out, in alphabetical order, as its table joins them."""
    names = []
    for native, observation in mapping.observations("nih").items():
        if record.given[observation] and (observation != "Lung Lesion" or native in _lesions(record)):
            names.append(native)
    return sorted(names)


def _native(finding: Finding) -> str:
    if finding.name == "Lung Lesion":
        return "Mass" if "mass" in finding.kind else "Nodule"
    return next((n for n, observation in mapping.observations("nih").items() if observation == finding.name), "")


def _lesions(record: Record) -> set[str]:
    drawn = {_native(f) for f in record.findings if f.name == "Lung Lesion"}
    return drawn or {"Nodule"}  # a label without a lesion: noise


def boxes(record: Record) -> list[tuple[str, tuple[float, ...]]]:
    """(NIH8 name, x y w h in the 1024 pixel frame) of one image."""
    if record.case.split != "test":
        return []
    largest: dict[str, Finding] = {}
    for finding in sorted(record.findings, key=_area):
        native = _native(finding)
        if native in NIH8 and record.given[finding.name]:
            largest[native] = finding
    order = sorted(largest, key=lambda native: record.case.share(f"box {native}"))
    kept = order[:1] + [n for n in order[1:] if record.case.share(f"further box {n}") < _FURTHER]
    scale = _FRAME / record.size
    return [(native, _xywh(largest[native].box, scale)) for native in kept]


def _area(finding: Finding) -> float:
    x1, y1, x2, y2 = finding.box
    return (x2 - x1) * (y2 - y1)


def _xywh(box: tuple[float, float, float, float], scale: float) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    return x1 * scale, y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale


def _files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    return {f"images/{image_name(case)}": png(study.image)}


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    write_csv(folder / "Data_Entry_2017_v2020.csv", ENTRY_HEADER.split(","), (_entry(r) for r in records))
    found = [(_box_name(native), image_name(r.case), box) for r in records for native, box in boxes(r)]
    rows = ((image, label, *box) for label, image, box in sorted(found))
    write_csv(folder / "BBox_List_2017.csv", BOX_HEADER.split(","), rows)
    write_lines(folder / "train_val_list.txt", _names(records, ("train", "val")))
    write_lines(folder / "test_list.txt", _names(records, ("test",)))
    return folder


def _box_name(native: str) -> str:
    return "Infiltrate" if native == "Infiltration" else native


def _names(records: Records, splits: tuple[str, ...]) -> Iterator[str]:
    return (image_name(r.case) for r in records if r.case.split in splits)


def _entry(record: Record) -> tuple:
    case, side = record.case, round(10 * float(record.attributes["fov_cm"]) / _SPACING)
    return (
        image_name(case),
        "|".join(native_labels(record)) or NO_FINDING,
        case.study,
        case.patient + 1,
        record.attributes["age"],
        record.attributes["sex"],
        record.view,
        side,
        side,
        _SPACING,
        _SPACING,
    )


LAYOUT = Layout(_files, _tables)
