"""CheXpert v1.0, small (Irvin et al., AAAI 2019), and the test images that came later with CheXlocalize.

``CheXpert-v1.0-small/train.csv`` has the labels that a labeller reads from the report, ``valid.csv`` what is truly
there. Test patients lie in ``CheXpert/test`` with ``CheXpert/test_labels.csv``, which has no columns for sex, age and
view; paths there start at ``test``. Images are equalised JPEG files; no report is part of this data set.
"""

from __future__ import annotations

from pathlib import Path

from wsrpn_vl.data.phantom.layouts.base import Layout, equalised, jpeg, label_text, labels_of_words, write_csv
from wsrpn_vl.data.phantom.records import Case, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.errors import DataError
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS

ROOT = "CheXpert-v1.0-small"
TEST_ROOT = "CheXpert"
CLASSES = (NO_FINDING, *OBSERVATIONS)
HEADER = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CLASSES)
_FOLDERS = {"train": "train", "val": "valid", "test": "test"}
# First patient number of each split; the original's validation patients begin at 64541.
_FIRST = {"train": 1, "val": 64_541, "test": 80_001}
_OLDEST = 90  # every age above is told as this
_LAST = {"train": 64_540, "val": 80_000, "test": 99_999}


def image_path(case: Case) -> str:
    """``train/patient00001/study1/view1_frontal.jpg``. Raises: DataError beyond five digits."""
    number = _FIRST[case.split] + case.rank
    if number > _LAST[case.split]:
        raise DataError(f"phantom: CheXpert's numbers end before so many {case.split} patients; write fewer images")
    return f"{_FOLDERS[case.split]}/patient{number:05d}/study{case.study + 1}/view1_frontal.jpg"


def _files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    root = TEST_ROOT if case.split == "test" else ROOT
    return {f"{root}/{image_path(case)}": jpeg(equalised(study.image))}


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    rows: dict[str, list[tuple]] = {"train": [], "val": [], "test": []}
    for record in records:
        rows[record.case.split].append(_row(record))
    write_csv(folder / ROOT / "train.csv", HEADER, sorted(rows["train"]))
    write_csv(folder / ROOT / "valid.csv", HEADER, sorted(rows["val"]))
    write_csv(folder / TEST_ROOT / "test_labels.csv", ("Path", *CLASSES), sorted(rows["test"]))
    return folder / ROOT


def _row(record: Record) -> tuple:
    split = record.case.split
    labels = labels_of_words(record) if split == "train" else _truth(record)
    values = [label_text(labels[name]) for name in CLASSES]
    path = image_path(record.case)
    if split == "test":
        return (path, *values)
    sex = {"M": "Male", "F": "Female"}.get(str(record.attributes["sex"]), "Unknown")
    age = min(int(record.attributes["age"]), _OLDEST)
    return (f"{ROOT}/{path}", sex, age, "Frontal", record.view, *values)


def _truth(record: Record) -> dict[str, int | None]:
    return {**record.labels, NO_FINDING: int(record.attributes["no_finding"])}


LAYOUT = Layout(_files, _tables)
