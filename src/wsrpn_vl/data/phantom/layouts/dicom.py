"""A bare folder of DICOM files as a hospital exports them: ``<patient>/<study>/<image>.dcm``, the report's text beside.

PA films are Digital X-Ray images, bedside films Computed Radiography. Windows and look-up tables, MONOCHROME1 and
MONOCHROME2, 10, 12 and 14 stored bits all occur. No table comes with it.
"""

from __future__ import annotations

from pathlib import Path

from wsrpn_vl.data.phantom.layouts.base import Layout
from wsrpn_vl.data.phantom.layouts.mimic import study_date, study_time
from wsrpn_vl.data.phantom.records import Case, Records, Settings
from wsrpn_vl.data.phantom.study import PhantomStudy


def _files(study: PhantomStudy, case: Case) -> dict[str, bytes]:
    from wsrpn_vl.dicom.write import Header, radiograph_bytes  # here, because pydicom is slow to import

    a, draw = study.attributes, case.share("bits")
    header = Header(
        uid_key=f"{case.settings.seed}/{case.settings.site}/{study.image_id}",
        study_key=f"{case.settings.seed}/{case.settings.site}/{study.study_id}",
        view=study.view,
        modality="CR" if study.view == "AP" else "DX",
        patient_id=study.patient_id,
        date=str(study_date(case)),
        time=f"{study_time(case):010.3f}",
        sex=str(a["sex"]),
        age=int(a["age"]),
        spacing=10 * float(a["fov_cm"]) / study.image.shape[0],
        photometric="MONOCHROME1" if case.share("photometric") < 0.3 else "MONOCHROME2",
        bits=12 if draw < 0.7 else 14 if draw < 0.85 else 10,
        voi="lut" if case.share("voi") < 0.3 else "window",
    )
    place = f"{study.patient_id}/{study.study_id}"
    return {
        f"{place}/{study.image_id}.dcm": radiograph_bytes(study.image, header),
        f"{place}/{study.study_id}.txt": study.report.encode(),
    }


def _tables(folder: Path, records: Records, settings: Settings) -> Path:
    return folder


LAYOUT = Layout(_files, _tables)
