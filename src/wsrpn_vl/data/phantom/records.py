"""What is kept of each image once its pixels are written: enough to make any data set's tables from.

Records lie in ``<folder>/.phantom/records``, one JSON file per block of images, hidden so that the folder shows what
the layout's data set shows and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wsrpn_vl.data.phantom.study import PhantomStudy
from wsrpn_vl.data.phantom.traps import Traps

HIDDEN = ".phantom"


@dataclass(frozen=True)
class Settings:
    """Of the whole data set. size: pixels per side; splits: shares of train, val, test."""

    size: int
    seed: int
    site: str
    splits: tuple[float, float, float]
    traps: Traps


@dataclass(frozen=True)
class Case:
    """One image to be made: patient and visit (0-based), split, and how many patients of that split come before."""

    patient: int
    study: int
    split: str
    rank: int
    settings: Settings

    def digest(self, purpose: str, *, of_patient: bool = False) -> bytes:
        """32 bytes that depend on seed, site, patient (and study) and ``purpose`` alone: ids and fixed choices."""
        study = "" if of_patient else self.study
        key = f"{self.settings.seed}/{self.settings.site}/{self.patient}/{study}/{purpose}"
        return hashlib.sha256(key.encode()).digest()

    def share(self, purpose: str, *, of_patient: bool = False) -> float:
        """A number in [0, 1), fixed as :meth:`digest` is."""
        return int.from_bytes(self.digest(purpose, of_patient=of_patient)[:8], "big") / 2**64


@dataclass(frozen=True)
class Finding:
    """A region without its mask. name: observation; box: xyxy pixels; visibility: None where unknown."""

    name: str
    box: tuple[float, float, float, float]
    location: str
    modifiers: tuple[str, ...]
    side: str
    severity: str
    kind: str
    visibility: float | None


@dataclass(frozen=True)
class Record:
    """A study without its pixels. labels: true, given: as handed out; extra: what the layout keeps besides."""

    case: Case
    image_id: str
    patient_id: str
    study_id: str
    view: str
    labels: dict[str, int]
    given: dict[str, int]
    findings: tuple[Finding, ...]
    text: str
    triples: tuple[dict[str, Any], ...]
    attributes: dict[str, Any]
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Pixels per side."""
        return self.case.settings.size


def record_of(study: PhantomStudy, case: Case, extra: Mapping[str, Any]) -> Record:
    """What is kept of a study."""
    findings = tuple(
        Finding(
            name=name,
            box=region.box,
            location=region.location,
            modifiers=tuple(region.modifiers),
            side=region.side,
            severity=region.severity,
            kind=region.kind,
            visibility=_finite(region.visibility),
        )
        for name, found in study.regions.items()
        for region in found
    )
    return Record(
        case=case,
        image_id=study.image_id,
        patient_id=study.patient_id,
        study_id=study.study_id,
        view=study.view,
        labels=study.labels,
        given=study.given_labels,
        findings=findings,
        text=study.report,
        triples=study.triples,
        attributes=study.attributes,
        extra=dict(extra),
    )


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None


def write_rows(records: Sequence[Record], sums: Sequence[Mapping[str, int]]) -> str:
    """JSON of a block: one object per image, with the CRC-32 of each of its files."""
    rows = []
    for record, files in zip(records, sums, strict=True):
        row = asdict(record)
        row["case"] = [record.case.patient, record.case.study, record.case.split, record.case.rank]
        rows.append(row | {"files": dict(files)})
    return json.dumps(rows)


def record_path(folder: Path, number: int) -> Path:
    """Where the records of a block lie."""
    return folder / HIDDEN / "records" / f"{number:06d}.json"


class Records:
    """The records of a written data set in the plan's order; every pass reads them anew, one block at a time."""

    def __init__(self, folder: Path, blocks: int, settings: Settings) -> None:
        self._folder, self._blocks, self._settings = folder, blocks, settings

    def __iter__(self) -> Iterator[Record]:
        for number in range(self._blocks):
            for row in json.loads(record_path(self._folder, number).read_text("utf-8")):
                yield _record(row, self._settings)


def _record(row: dict[str, Any], settings: Settings) -> Record:
    row.pop("files")
    patient, study, split, rank = row.pop("case")
    case = Case(patient, study, split, rank, settings)
    found = tuple(
        Finding(**(f | {"box": tuple(f["box"]), "modifiers": tuple(f["modifiers"])})) for f in row.pop("findings")
    )
    return Record(case=case, findings=found, triples=tuple(row.pop("triples")), **row)
