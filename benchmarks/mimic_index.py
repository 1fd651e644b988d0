"""How long the index of all of MIMIC-CXR takes, and how much memory, from generated tables of its size.

    python benchmarks/mimic_index.py --work runs/mimic_index
    python benchmarks/mimic_index.py --work runs/mimic_index --files

Writes metadata, split, both labellers' tables and the archive of reports with the published numbers of images, studies,
patients, views and labels (data format reference §1.2 to §1.7; 377,110 rows, 227,835 reports of made-up sentences), and
with ``--files`` an empty file in place of each image. Then indexes them in a fresh process, with and without
reports: seconds, processor seconds, and the peak of the resident set (Linux). The result goes to
``benchmarks/results/mimic_index.json``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from _runs import RESULTS
from wsrpn_vl.data.sources.mimic_files import image_path
from wsrpn_vl.data.sources.mimic_reports import ARCHIVE
from wsrpn_vl.data.sources.mimic_tables import LABELS, METADATA, SPLIT
from wsrpn_vl.files import write_text
from wsrpn_vl.labels import NO_FINDING
from wsrpn_vl.provenance import git_commit, machine

# split word -> images, studies, subjects
SPLITS = {"train": (368_960, 222_758, 64_586), "validate": (2_991, 1_808, 500), "test": (5_159, 3_269, 293)}
VIEWS = {"AP": 147_173, "PA": 96_161, "LATERAL": 82_853, "LL": 35_133, "": 15_769, "LAO": 11, "SWIMMERS": 10}
CODES = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral", "LL": "left lateral"}
EXAMS = ("CHEST (PORTABLE AP)", "CHEST (PA AND LAT)", "CHEST (SINGLE VIEW)", "")
# per cent of 1, 0, -1
RATES = {
    "Atelectasis": (19.8, 0.4, 4.3),
    "Cardiomegaly": (17.1, 7.0, 2.6),
    "Consolidation": (4.6, 3.5, 1.3),
    "Edema": (11.5, 11.1, 5.1),
    "Enlarged Cardiomediastinum": (3.1, 2.3, 4.0),
    "Fracture": (1.6, 0.4, 0.1),
    "Lung Lesion": (2.7, 0.4, 0.4),
    "Lung Opacity": (22.2, 1.3, 0.9),
    NO_FINDING: (33.2, 0.0, 0.0),
    "Pleural Effusion": (23.2, 11.9, 2.3),
    "Pleural Other": (0.8, 0.1, 0.3),
    "Pneumonia": (6.9, 10.7, 7.8),
    "Pneumothorax": (4.1, 18.5, 0.4),
    "Support Devices": (28.7, 1.4, 0.0),
}
SENTENCES = (
    "The heart is mildly enlarged and the aorta is tortuous, as on the earlier film.",
    "There is blunting of the left costophrenic angle, which suggests a small effusion.",
    "No pneumothorax is seen on this upright view.",
    "Bands at the right base are most in keeping with atelectasis.",
    "Perihilar haze and thickened septa point to mild interstitial edema.",
    "A catheter from the right neck ends where the superior vena cava meets the atrium.",
    "The lungs are well expanded and free of focal consolidation.",
    "An ill defined density behind the heart could be infection in the proper setting.",
    "Healed fractures of the posterior left sixth and seventh ribs are noted.",
    "The mediastinal and hilar contours have not changed.",
    "Degenerative change is present throughout the thoracic spine.",
    "The feeding tube passes below the diaphragm and out of the picture.",
)
WORK = """
import json, os, sys, time
from wsrpn_vl.data.sources import build_index
began = time.perf_counter()
build_index("mimic", sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))
seconds = time.perf_counter() - began
times = os.times()
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps({"seconds": round(seconds, 1), "cpu_seconds": round(times.user + times.system, 1),
                  "peak_rss_gib": round(peak / 2**20, 2)}))
"""
READ = WORK.replace(
    'build_index("mimic", sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))', "read_index(sys.argv[2])"
)
READ = READ.replace("data.sources import build_index", "data.index import read_index")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/mimic_index"))
    parser.add_argument("--files", action="store_true", help="377,110 empty image files (as many inodes, and folders)")
    args = parser.parse_args()
    root = args.work / "data"
    if not (root / ARCHIVE).exists():
        generate(root)
    checks = {"unchecked": {"missing": "unchecked"}}
    if args.files:
        make_files(root)
        checks["checked"] = {}
    measured = {}
    for name, check in checks.items():
        for words, further in (("with_reports", {}), ("without_reports", {"reports": "none"})):
            out = args.work / f"{name}_{words}.parquet"
            options = {"views": "all", **check, **further}
            measured[f"{name}_{words}"] = {"options": options, **fresh(WORK, root, out, options)}
            measured[f"{name}_{words}"]["index_bytes"] = out.stat().st_size
            measured[f"{name}_{words}"]["read_again"] = fresh(READ, root, out, {})
    frame = pl.read_parquet(out)
    result: dict[str, Any] = {
        "format": "wsrpn-vl mimic index",
        "git_commit": git_commit(),
        "machine": machine(),
        "load_average": round(os.getloadavg()[0], 1),
        "images": frame.height,
        "studies": frame["study_id"].n_unique(),
        "patients": frame["patient_id"].n_unique(),
        "archive_bytes": (root / ARCHIVE).stat().st_size,
        "image_files": "empty files" if args.files else "none",
        "measured": measured,
    }
    print(write_text(RESULTS / "mimic_index.json", json.dumps(result, indent=1) + "\n"))


def fresh(code: str, root: Path, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-c", code, str(root), str(out), json.dumps(options)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def generate(root: Path) -> None:
    began = time.perf_counter()
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = image_rows(rng)
    metadata = images.select(
        "dicom_id",
        "subject_id",
        "study_id",
        pl.lit(pl.Series(rng.choice(EXAMS, images.height))).alias("PerformedProcedureStepDescription"),
        "ViewPosition",
        pl.lit(3056).alias("Rows"),
        pl.lit(2544).alias("Columns"),
        pl.lit(pl.Series(rng.integers(2110, 2200, images.height) * 10_000 + 506)).alias("StudyDate"),
        pl.lit(pl.Series(rng.integers(0, 23, images.height) * 10_000 + 805.875)).alias("StudyTime"),
        pl.lit("CHEST").alias("ProcedureCodeSequence_CodeMeaning"),
        pl.col("ViewPosition").replace_strict(CODES, default="").alias("ViewCodeSequence_CodeMeaning"),
        pl.lit("Erect").alias("PatientOrientationCodeSequence_CodeMeaning"),
    )
    write_packed(metadata, root / METADATA)
    write_packed(images.select("dicom_id", "study_id", "subject_id", "split"), root / SPLIT)
    studies = images.select("subject_id", "study_id").unique(maintain_order=True)
    for name in LABELS.values():
        write_packed(studies.slice(8).with_columns(label_rows(rng, studies.height - 8)), root / name)
    write_reports(root / ARCHIVE, studies, rng)
    print(f"generated in {time.perf_counter() - began:.0f} s", file=sys.stderr)


def write_packed(frame: pl.DataFrame, path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(frame.write_csv().encode(), compresslevel=5))


def image_rows(rng: np.random.Generator) -> pl.DataFrame:
    """dicom_id, subject_id, study_id, split, ViewPosition: counts per split as published, spread at random."""
    parts, subject, study = [], 10_000_000, 50_000_000
    for word, (images, studies, subjects) in SPLITS.items():
        owner = np.sort(np.concatenate([np.arange(subjects), rng.integers(0, subjects, studies - subjects)]))
        of_study = np.sort(np.concatenate([np.arange(studies), rng.integers(0, studies, images - studies)]))
        parts.append(
            pl.DataFrame({"subject_id": subject + 100 * owner[of_study], "study_id": study + of_study, "split": word})
        )
        subject, study = subject + 100 * subjects, study + studies
    frame = pl.concat(parts)
    digits = [rng.bytes(20).hex() for _ in range(frame.height)]
    ids = ["-".join(d[i : i + 8] for i in range(0, 40, 8)) for d in digits]
    views = rng.permutation(np.repeat(list(VIEWS), list(VIEWS.values())))
    return frame.with_columns(pl.Series("dicom_id", ids), pl.Series("ViewPosition", views))


def label_rows(rng: np.random.Generator, rows: int) -> list[pl.Series]:
    out = []
    for name, rates in RATES.items():
        shares = np.array([*rates, 100 - sum(rates)]) / 100
        out.append(pl.Series(name, rng.choice(["1.0", "0.0", "-1.0", ""], rows, p=shares)))
    return out


def write_reports(path: Path, studies: pl.DataFrame, rng: np.random.Generator) -> None:
    """About as long as the real ones, and as hard to pack: words in any order."""
    head = "                                 FINAL REPORT\n EXAMINATION:  CHEST\n \n INDICATION:  ___ with cough.\n \n"
    words = np.array(" ".join(SENTENCES).split())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for subject, study in studies.iter_rows():
            lines = [" ".join(line) for line in words[rng.integers(0, len(words), (10, 12))]]
            findings, impression = "\n ".join(lines[:7]), "\n ".join(lines[7:])
            text = f"{head} FINDINGS: \n \n {findings}\n \n IMPRESSION: \n \n {impression}\n"
            archive.writestr(f"files/p{str(subject)[:2]}/p{subject}/s{study}.txt", text)


def make_files(root: Path) -> None:
    began = time.perf_counter()
    renamed = {"dicom_id": "image_id", "subject_id": "patient_id"}
    images = pl.read_csv(root / f"{METADATA}.gz", infer_schema=False).rename(renamed)
    folder = ""
    for path in images.select(image_path("jpg"))["path"]:
        if (above := path.rpartition("/")[0]) != folder:
            folder = above
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    print(f"{images.height:,} files in {time.perf_counter() - began:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
