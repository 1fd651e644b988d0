"""The report labeler against the codes of the 3,955 Indiana reports.

    python benchmarks/labeler_indiana.py [NLMCXR_reports.tgz]

Without an argument the archive of the installed ``torchxrayvision`` is read. Findings and impression are read; truth
are the ``major`` codes, by ``mappings/openi.csv``. Rules were tuned on reports of odd number; those of even number were
held out (``results/labeler_indiana_heldout.json``) until their disagreements were read. Writes
``results/labeler_indiana.json``; verdicts on disagreements are in ``results/labeler_indiana_read.csv``.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _runs import RESULTS
from wsrpn_vl.data.mesh import NORMAL, NOT_INDEXED, rows_of
from wsrpn_vl.data.sources.openi_reports import Report, read_reports
from wsrpn_vl.files import write_text
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.provenance import git_commit, machine, sha256_file
from wsrpn_vl.text.labeler import Reading, read_report
from wsrpn_vl.text.labeler.reading import read_sentence
from wsrpn_vl.text.sentences import plain

CLASSES = (*OBSERVATIONS, NO_FINDING)
READ = RESULTS / "labeler_indiana_read.csv"
VERDICTS = ("ours wrong", "code incomplete", "unclear")


def passage(report: Report) -> str:
    """Findings and impression under their headers."""
    told = report.sections
    return "\n\n".join(f"{name}: {told[name]}" for name in ("FINDINGS", "IMPRESSION") if told.get(name))


def number(report: Report) -> int:
    return int(report.study_id.removeprefix("CXR"))


def truth(codes: Sequence[str]) -> dict[str, bool | None]:
    """Class -> whether it is coded; None where the codes cannot tell (fit ``off``, or nobody coded the report)."""
    told = [code for code in codes if code not in NOT_INDEXED]
    rows = [row for code in told for row in rows_of(code) if row.observation]
    sure = {row.observation for row in rows if row.fit != "off"}
    loose = {row.observation for row in rows} - sure
    if _only_calcified(told):
        loose, sure = loose | {"Lung Lesion"}, sure - {"Lung Lesion"}
    out = {name: None if not told or name in loose else name in sure for name in OBSERVATIONS}
    beside = [
        code for code in told if code != NORMAL and not all(r.observation == "Support Devices" for r in rows_of(code))
    ]
    device_like = "Support Devices" in loose and not beside
    return {**out, NO_FINDING: None if not told or device_like else not beside}


def _only_calcified(codes: Iterable[str]) -> bool:
    """Whether each nodule has the place of a calcification: CheXpert's rules leave calcified nodules out."""
    placed = [(heading, frozenset(place)) for heading, *place in (code.split("/") for code in codes)]
    calcified = {place for heading, place in placed if heading == "Calcinosis"}
    nodules = [p for h, p in placed if h == "Nodule" or (h in ("Opacity", "Density") and "round" in p)]
    return bool(nodules) and all(place in calcified for place in nodules)


def counts(said: Sequence[int | None], coded: Sequence[bool | None], kind: str) -> dict[str, float]:
    """Precision, recall, F1. kind: ``sure`` leaves out readings that are uncertain, ``positive`` takes them as absent,
    ``mentioned`` as present.
    """
    pairs = [(s == 1 or (s == -1 and kind == "mentioned"), c) for s, c in zip(said, coded, strict=True)
             if c is not None and not (kind == "sure" and s == -1)]  # fmt: skip
    return rates(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True))), n=len(pairs))


def rates(hits: int, extra: int, missed: int, n: int) -> dict[str, float]:
    return {
        "precision": round(hits / max(hits + extra, 1), 4),
        "recall": round(hits / max(hits + missed, 1), 4),
        "f1": round(2 * hits / max(2 * hits + extra + missed, 1), 4),
        "both": hits,
        "ours_only": extra,
        "code_only": missed,
        "n": n,
    }


def disagreements(read: Sequence[Report], said: Sequence[Reading]) -> dict[str, dict[str, list[str]]]:
    """Class -> direction -> report ids, uncertain readings apart."""
    out: dict[str, dict[str, list[str]]] = {name: {"ours_only": [], "code_only": []} for name in CLASSES}
    for report, reading in zip(read, said, strict=True):
        for name, coded in truth(report.terms).items():
            label = reading.labels[name]
            if coded is not None and label != -1 and (label == 1) != coded:
                out[name]["code_only" if coded else "ours_only"].append(report.study_id)
    return out


def after_reading(table: dict[str, float], name: str, listed: dict[str, list[str]], verdicts: dict) -> dict:
    """The scores with disagreements that are the codes' fault counted as right, and unclear ones left out."""
    found = {way: [verdicts.get((i, name, way)) for i in ids] for way, ids in listed.items()}
    tally = {way: {v: told.count(v) for v in (*VERDICTS, None)} for way, told in found.items()}
    extra, missed = tally["ours_only"], tally["code_only"]
    right = extra["code incomplete"]  # what we find and the codes lack; a code without words in the report is left out
    wrong_extra, wrong_missed = extra["ours wrong"] + extra[None], missed["ours wrong"] + missed[None]
    scores = rates(int(table["both"]) + right, wrong_extra, wrong_missed, int(table["n"]))
    unread = extra.pop(None) + missed.pop(None)
    return {**scores, "verdicts": tally, "unread": unread}


def verdicts() -> dict[tuple[str, str, str], str]:
    if not READ.exists():
        return {}
    with READ.open(encoding="utf-8", newline="") as file:
        return {(row["report"], row["class"], row["direction"]): row["verdict"] for row in csv.DictReader(file)}


def scores(read: Sequence[Report], said: Sequence[Reading]) -> dict:
    coded = [truth(report.terms) for report in read]
    listed, told = disagreements(read, said), verdicts()
    out = {}
    for name in CLASSES:
        pair = [r.labels[name] for r in said], [c[name] for c in coded]
        out[name] = {kind: counts(*pair, kind) for kind in ("sure", "positive", "mentioned")}
        out[name]["uncertain"] = {
            "coded": sum(s == -1 and c is True for s, c in zip(*pair, strict=True)),
            "not_coded": sum(s == -1 and c is False for s, c in zip(*pair, strict=True)),
        }
        out[name]["after_reading"] = after_reading(out[name]["sure"], name, listed[name], told)
    return out


def read_block(texts: Sequence[str], remember: bool) -> tuple[int, float]:
    """(process, processor seconds). remember: sentences of earlier reports, as the labeler does."""
    start = time.process_time()
    for text in texts:
        if not remember:
            read_sentence.cache_clear()
            plain.cache_clear()
        read_report(text)
    return os.getpid(), time.process_time() - start


def speed(texts: Sequence[str]) -> dict[str, dict[str, int]]:
    """Reports per second: by the clock, and by the processor time of the busiest process (others may run besides)."""
    out = {}
    blocks = [texts[i : i + 64] for i in range(0, len(texts), 64)]
    for processes in (1, 2):
        for remember in (True, False):
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                pool.starmap(read_block, [(["No effusion."], True)] * 8, chunksize=1)  # imports are done
                start = time.perf_counter()
                used = pool.starmap(read_block, [(block, remember) for block in blocks], chunksize=1)
                clock = time.perf_counter() - start
            busy = max(sum(seconds for who, seconds in used if who == one) for one, _ in used)
            name = f"{processes} process{'es' * (processes > 1)}{'' if remember else ', sentences not remembered'}"
            out[name] = {"by clock": round(len(texts) / clock), "by processor time": round(len(texts) / busy)}
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", nargs="?", type=Path, help="NLMCXR_reports.tgz, or the folder it is in")
    parser.add_argument("--out", type=Path, default=RESULTS / "labeler_indiana.json")
    given = parser.parse_args()
    package = find_spec("torchxrayvision")
    if given.archive is None and package is None:
        parser.error("torchxrayvision is not installed; give the path of NLMCXR_reports.tgz")
    root = given.archive or Path((package and package.origin) or "").parent / "data"
    archive, found = read_reports(root if root.is_dir() else root.parent)
    read = [report for report in found if passage(report)]
    said = [read_report(passage(report)) for report in read]
    halves = {"all": (0, 1), "odd, tuned on": (1,), "even, held out": (0,)}
    data = {"archive": archive.name, "sha256": sha256_file(archive), "reports": len(found), "with_text": len(read)}
    result: dict[str, Any] = {"data": data}
    for name, wanted in halves.items():
        kept = [(r, s) for r, s in zip(read, said, strict=True) if number(r) % 2 in wanted]
        result[name] = scores(*map(list, zip(*kept, strict=True)))
    result["disagreements"] = disagreements(read, said)
    result["reports_per_second"] = speed([passage(report) for report in read])
    result |= {"commit": git_commit(), "machine": machine()}
    write_text(given.out, json.dumps(result, indent=1) + "\n")
    for name in CLASSES:
        row = [result[half][name][kind]["f1"] for half in halves for kind in ("sure", "after_reading")]
        print(f"{name:28s}", *(f"{value:.3f}" for value in row))
    print(result["reports_per_second"])


if __name__ == "__main__":
    main()
