"""VinDr-CXR 1.0.0 from PhysioNet (Nguyen et al., Scientific Data 2022): stripped DICOM files, boxes of several readers.

``train/`` (training and validation patients) is read by three of 17 simulated readers each: a reader overlooks a region
with the odds that give the original's agreement, never all of an image, and draws a box a little off. ``test/`` has the
consensus, without a reader column. Files keep VinDr's few header elements: no patient, no identifier, no view. Some
are MONOCHROME1, some store 14 bits, some are JPEG 2000. Bedside films occur too, which the original has not.
Classes without a counterpart stay empty; an enlarged cardiomediastinum is ``Other diseases`` of the image, a pneumonia
is that of the image and boxed as ``Infiltration``, a parent of named opacities is not boxed again, devices are not
told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsrpn_vl.data.phantom.layouts.base import README, Layout, write_csv, write_lines, write_sums
from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN
from wsrpn_vl.data.phantom.records import Case, Finding, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.labels import OBSERVATIONS

ROOT = "vindr-cxr/1.0.0"
LOCAL = (
    "Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation",
    "Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst",
    "Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax", "Pulmonary fibrosis",
    "Rib fracture", "Other lesion",
)  # fmt: skip
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
_NAMES = {
    "Cardiomegaly": "Cardiomegaly",
    "Lung Opacity": "Lung Opacity",
    "Lung Lesion": "Nodule/Mass",
    "Edema": "Edema",
    "Consolidation": "Consolidation",
    "Pneumonia": "Infiltration",
    "Atelectasis": "Atelectasis",
    "Pneumothorax": "Pneumothorax",
    "Pleural Effusion": "Pleural effusion",
    "Pleural Other": "Pleural thickening",
    "Fracture": "Rib fracture",
}
_SEEN = (483 + 2 * 520 + 3 * 1297) / (3 * 2300)  # share of readers who boxed an image's cardiomegaly
_OFF = 0.04  # sd of a box edge, in widths and heights
_MOST = 0.5  # odds that a seat goes to one of R8, R9, R10, who read most
Marks = list[tuple[str, tuple[float, float, float, float]]]


def image_id(case: Case) -> str:
    """32 hexadecimal digits."""
    return hashlib.md5(case.digest("vindr"), usedforsecurity=False).hexdigest()


def _part(case: Case) -> str:
    return "test" if case.split == "test" else "train"


def _files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    from wsrpn_vl.dicom.write import Header, radiograph_bytes  # here, because pydicom is slow to import

    a = study.attributes
    header = Header(
        uid_key=image_id(case),
        uid=image_id(case),
        bare=True,
        sex=str(a["sex"]),
        age=int(a["age"]),
        spacing=10 * float(a["fov_cm"]) / study.image.shape[0],
        photometric="MONOCHROME1" if case.share("photometric") < 0.2 else "MONOCHROME2",
        bits=14 if case.share("bits") < 0.3 else 12,
        compressed=case.share("compressed") < 0.25,
    )
    return {f"{ROOT}/{_part(case)}/{image_id(case)}.dicom": radiograph_bytes(study.image, header)}


def true_marks(record: Record) -> Marks:
    """(local class, xyxy) of what a perfect reader boxes, biggest first."""
    covered = any(f.name in OPACITY_CHILDREN for f in record.findings)
    kept = [f for f in record.findings if f.name in _NAMES and not (covered and f.name == "Lung Opacity")]
    kept = [f for f in kept if record.given[f.name]]  # what label noise took away, nobody reports
    return sorted(((_local(f), f.box) for f in kept), key=lambda m: -(m[1][2] - m[1][0]) * (m[1][3] - m[1][1]))


def _local(finding: Finding) -> str:
    return "Clavicle fracture" if "clavicle" in f"{finding.kind} {finding.location}" else _NAMES[finding.name]


def readers(case: Case) -> list[str]:
    """Three different readers of 17."""
    rng = _chance(case, "readers")
    chosen: list[str] = []
    while len(chosen) < 3:
        number = int(rng.integers(8, 11)) if rng.random() < _MOST else int(rng.integers(1, 18))
        if f"R{number}" not in chosen:
            chosen.append(f"R{number}")
    return chosen


def read_by(record: Record, reader: str) -> Marks:
    """What one reader boxes: whole pixels, inside the image."""
    rng = _chance(record.case, reader)
    marks = true_marks(record)
    seen = [mark for mark in marks if rng.random() < _SEEN] or marks[:1]
    return [(name, _off(box, record.size, rng)) for name, box in seen]


def _off(box: tuple[float, float, float, float], size: int, rng: np.random.Generator) -> tuple:
    x1, y1, x2, y2 = box
    dx, dy = _OFF * (x2 - x1), _OFF * (y2 - y1)
    moved = np.array(box) + rng.standard_normal(4) * (dx, dy, dx, dy)
    left, top = (int(v) for v in np.clip(np.rint(moved[:2]), 0, size - 1))
    right, bottom = (int(v) for v in np.clip(np.rint(moved[2:]), 0, size))
    return float(left), float(top), float(max(right, left + 1)), float(max(bottom, top + 1))


def _chance(case: Case, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(int.from_bytes(case.digest(purpose)[:8], "big")))


def image_labels(record: Record, marks: Marks) -> list[int]:
    """0 or 1 for the 22 local and 6 global classes."""
    named = {name for name, _ in marks}
    boxed = {f.name for f in record.findings}
    for name in OBSERVATIONS:  # what label noise added has no box
        if record.given[name] and name not in boxed and name in _NAMES:
            named.add(_NAMES[name])
    if record.given["Pneumonia"] and "Infiltration" in named:
        named.add("Pneumonia")
    if record.given["Enlarged Cardiomediastinum"]:
        named.add("Other diseases")
    if not named:
        named.add("No finding")
    return [int(name in named) for name in (*LOCAL, *GLOBAL)]


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    root, tables = folder / ROOT, folder / ROOT / "annotations"
    train = sorted((r for r in _read(records, "train")), key=lambda row: row[0])
    test = sorted((r for r in _read(records, "test")), key=lambda row: row[0])
    corners = ("x_min", "y_min", "x_max", "y_max")
    write_csv(
        tables / "annotations_train.csv",
        ("image_id", "rad_id", "class_name", *corners),
        (row for image, reader, marks, _ in train for row in _rows(marks, image, reader)),
    )
    write_csv(
        tables / "annotations_test.csv",
        ("image_id", "class_name", *corners),
        (row for image, _, marks, _ in test for row in _rows(marks, image)),
    )
    write_csv(
        tables / "image_labels_train.csv",
        ("image_id", "rad_id", *LOCAL, *GLOBAL),
        ((image, reader, *labels) for image, reader, _, labels in train),
    )
    spelled = ["Other disease" if name == "Other diseases" else name for name in (*LOCAL, *GLOBAL)]
    write_csv(
        tables / "image_labels_test.csv",
        ("image_id", *spelled),
        ((image, *labels) for image, _, _, labels in test),
    )
    write_lines(root / "LICENSE.txt", [README.format("VinDr-CXR")])
    write_sums(root)
    return root


def _read(records: Records, part: str) -> Iterator[tuple[str, str, Marks, list[int]]]:
    """(image, reader, boxes, image labels); the consensus has no reader."""
    for record in records:
        if _part(record.case) != part:
            continue
        for reader in readers(record.case) if part == "train" else [""]:
            marks = read_by(record, reader) if reader else true_marks(record)
            yield image_id(record.case), reader, marks, image_labels(record, marks)


def _rows(marks: Marks, *start: str) -> list[tuple]:
    if not marks:
        return [(*start, "No finding", "", "", "", "")]
    return [(*start, name, *box) for name, box in marks]


LAYOUT = Layout(_files, _tables)
