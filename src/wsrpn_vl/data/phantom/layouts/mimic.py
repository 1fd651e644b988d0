"""MIMIC-CXR-JPG 2.1.0 and, beside it, the reports of MIMIC-CXR 2.1.0 (Johnson et al., Scientific Data 2019).

``mimic-cxr-jpg/2.1.0/``: equalised JPEG files, metadata, split, the two labellers' tables (made from what the report
states, so both say the same) and the hand-labelled test studies (from what is truly there; that file says
``Airspace Opacity``). ``mimic-cxr/2.1.0/``: the reports in a zip archive and the two lists. A study has one frontal
image. As in the original, some images (4 %) lack ``ViewPosition``; ``ViewCodeSequence_CodeMeaning`` still tells the
view.
"""

from __future__ import annotations

from pathlib import Path

from wsrpn_vl.data.phantom.layouts.base import (
    ALPHABETICAL,
    README,
    Layout,
    equalised,
    jpeg,
    label_text,
    labels_of_words,
    number_id,
    write_csv,
    write_lines,
    write_sums,
    write_zip,
)
from wsrpn_vl.data.phantom.records import Case, Record, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS

IMAGES = "mimic-cxr-jpg/2.1.0"
REPORTS = "mimic-cxr/2.1.0"
SPLIT_WORDS = {"train": "train", "val": "validate", "test": "test"}
VIEW_WORDS = {"PA": "postero-anterior", "AP": "antero-posterior"}
_BLANK_VIEW = 0.042  # 15,769 of 377,110 images
_METADATA = (
    "dicom_id",
    "subject_id",
    "study_id",
    "PerformedProcedureStepDescription",
    "ViewPosition",
    "Rows",
    "Columns",
    "StudyDate",
    "StudyTime",
    "ProcedureCodeSequence_CodeMeaning",
    "ViewCodeSequence_CodeMeaning",
    "PatientOrientationCodeSequence_CodeMeaning",
)


def subject_id(case: Case) -> int:
    """Eight digits, the first is 1."""
    return 10_000_000 + number_id(case.patient, case, "subject")


def study_id(case: Case) -> int:
    """Eight digits, the first is 5."""
    return 50_000_000 + number_id(16 * case.patient + case.study, case, "study")


def dicom_id(case: Case) -> str:
    """Five groups of eight hexadecimal digits."""
    digits = case.digest("dicom").hex()[:40]
    return "-".join(digits[i : i + 8] for i in range(0, 40, 8))


def study_folder(case: Case) -> str:
    """``files/p10/p10000001/s50000001``."""
    subject = subject_id(case)
    return f"files/p{str(subject)[:2]}/p{subject}/s{study_id(case)}"


def study_date(case: Case) -> int:
    """``YYYYMMDD`` of a shifted year; a patient's visits follow each other."""
    first = int.from_bytes(case.digest("date", of_patient=True)[:4], "big")
    days = first % (80 * 336) + case.study * (7 + first % 200)
    year, rest = divmod(days, 336)  # months of 28 days need no calendar
    return (2110 + year) * 10_000 + (1 + rest // 28) * 100 + 1 + rest % 28


def study_time(case: Case) -> float:
    """``HHMMSS.fff`` as a number: its leading zeros are lost."""
    ms = int.from_bytes(case.digest("time")[:4], "big") % 86_400_000
    seconds, thousandths = divmod(ms, 1000)
    return seconds // 3600 * 10_000 + seconds // 60 % 60 * 100 + seconds % 60 + thousandths / 1000


def by_study(records: Records) -> list[Case]:
    """All images in the order of the tables: by subject, then study."""
    return sorted((r.case for r in records), key=lambda c: (subject_id(c), study_id(c)))


def files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    """The JPEG file; the report waits for the archive."""
    return {f"{IMAGES}/{study_folder(case)}/{dicom_id(case)}.jpg": jpeg(equalised(study.image))}


def write_tables(folder: Path, records: Records) -> Path:
    """Both projects' tables; returns the folder of the images."""
    images, reports = folder / IMAGES, folder / REPORTS
    cases = by_study(records)
    metadata = sorted((_metadata(r) for r in records), key=lambda row: row[1:3])
    write_csv(images / "mimic-cxr-2.0.0-metadata.csv.gz", _METADATA, metadata)
    write_csv(
        images / "mimic-cxr-2.0.0-split.csv.gz",
        ("dicom_id", "study_id", "subject_id", "split"),
        ((dicom_id(c), study_id(c), subject_id(c), SPLIT_WORDS[c.split]) for c in cases),
    )
    labels = sorted(_labels(r) for r in records)
    for labeller in ("chexpert", "negbio"):
        header = ("subject_id", "study_id", *ALPHABETICAL)
        write_csv(images / f"mimic-cxr-2.0.0-{labeller}.csv.gz", header, labels)
    names = ["Airspace Opacity" if n == "Lung Opacity" else n for n in ALPHABETICAL]
    judged = sorted(_judged(r) for r in records if r.case.split == "test")
    write_csv(images / "mimic-cxr-2.1.0-test-set-labeled.csv", ("study_id", *names), judged)
    write_lines(images / "IMAGE_FILENAMES", (f"{study_folder(c)}/{dicom_id(c)}.jpg" for c in cases))
    write_csv(
        reports / "cxr-record-list.csv.gz",
        ("subject_id", "study_id", "dicom_id", "path"),
        ((subject_id(c), study_id(c), dicom_id(c), f"{study_folder(c)}/{dicom_id(c)}.dcm") for c in cases),
    )
    write_csv(
        reports / "cxr-study-list.csv.gz",
        ("subject_id", "study_id", "path"),
        ((subject_id(c), study_id(c), f"{study_folder(c)}.txt") for c in cases),
    )
    write_zip(reports / "mimic-cxr-reports.zip", ((f"{study_folder(r.case)}.txt", r.text) for r in records))
    for root, name in ((images, "MIMIC-CXR-JPG"), (reports, "MIMIC-CXR")):
        write_lines(root / "README", [README.format(name)])
        write_lines(root / "LICENSE.txt", [README.format(name)])
        write_sums(root)
    return images


def _metadata(record: Record) -> tuple:
    case, view = record.case, record.view
    exam = "CHEST (PA)" if view == "PA" else "CHEST (PORTABLE AP)"
    return (
        dicom_id(case),
        subject_id(case),
        study_id(case),
        exam,
        "" if case.share("blank view") < _BLANK_VIEW else view,
        record.size,
        record.size,
        study_date(case),
        study_time(case),
        exam,
        VIEW_WORDS[view],
        "Recumbent" if record.attributes.get("position") == "supine" else "Erect",
    )


def _labels(record: Record) -> tuple:
    said = labels_of_words(record)
    return (subject_id(record.case), study_id(record.case), *(label_text(said[name]) for name in ALPHABETICAL))


def _judged(record: Record) -> tuple:
    truth: dict[str, int | None] = {name: record.labels[name] for name in OBSERVATIONS}
    truth[NO_FINDING] = int(record.attributes["no_finding"]) or None
    return (study_id(record.case), *(label_text(truth[name]) for name in ALPHABETICAL))


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    return write_tables(folder, records)


LAYOUT = Layout(files, _tables)
