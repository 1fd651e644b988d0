"""Age and sex from a DICOM header, the two facts about a person that an index may hold."""

from __future__ import annotations

from pathlib import Path

from wsrpn_vl.data.people import sex_of, years
from wsrpn_vl.dicom.header import quiet, read_elements, text_of


@quiet()
def dicom_person(path: Path | str) -> tuple[int | None, str | None]:
    """(age in whole years, sex ``M`` or ``F``), None where absent or impossible. Raises: DataError if broken."""
    ds = read_elements(Path(path), ("PatientAge", "PatientSex"))
    return years(text_of(ds, "PatientAge")), sex_of(text_of(ds, "PatientSex"))
