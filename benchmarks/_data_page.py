"""The page on data sets and words: what was read, matched, found and timed. Only what is measured is shown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from _rows import IOUS, load, spread
from wsrpn_vl.data import mapping
from wsrpn_vl.files import write_text
from wsrpn_vl.labels import OBSERVATIONS

SHOWN = (
    "nih",
    "vindr",
    "chestx_det",
    "chexlocalize",
    "ms_cxr",
    "tam",
    "rsna",
    "siim",
    "padchest",
    "openi",
    "imagenome",
)
NOTE = {
    "Enlarged Cardiomediastinum": "codes have no such heading; an enlarged silhouette is coded as an enlarged heart",
    "Lung Opacity": "a parent: codes name the child, or the opacity, or both",
}
PAGE = """\
# Data sets and words: what was read and measured

Made by `python benchmarks/tables.py` from `benchmarks/results/` and `src/wsrpn_vl/data/mappings/`; do not edit.
[formats.md](formats.md) says what the tables of this program hold; `wsrpn-vl sources NAME` what a reader reads.

## Readers on real annotation files

The annotation files that come with the package torchxrayvision, without their images. *Equal*: counts of images,
patients, studies, views and labels that are exactly the published ones. `python benchmarks/readers.py`, commit
{{ readers.git_commit }}, {{ readers.machine.cpu }}, one process, index written.

| reader | images | boxes | classes | equal | not equal | seconds |
|---|---|---|---|---|---|---|
{% for name, r in readers.real.items() -%}
| `{{ name }}` | {{ "{:,}".format(r.images) }} | {{ "{:,}".format(r.boxes) }} | {{ r.classes }} | {{ r.equal }} of {{ r.counts }} | \
{{ r.differing | join("; ") or "–" }} | {{ r.seconds }} |
{% endfor %}
What is not equal was not to be had: CheXpert's file is its training table alone, and NIH's split lists are not in the
package (the index's split is then by whether a patient has boxes). VinDr's boxes are those of three readers and the fused
ones.

## Readers on the phantom in the layout of each data set

The same simulated patients, written as that data set is downloaded and read back. The tests compare labels, words and
boxes with the phantom's own index; data sets that neither can be had nor are a layout of the phantom (MS-CXR,
CheXlocalize, CheXpert Plus, ChestX-Det, PadChest-GR) are read from fixtures in the tests.

| layout | reader | images | texts | triples | boxes | seconds |
|---|---|---|---|---|---|---|
{% for name, r in readers.phantom.items() -%}
| `{{ name }}` | `{{ r.source }}` | {{ r.images }} of {{ r.of }} | {{ r.texts }} | {{ r.triples }} | {{ r.boxes }} | {{ r.seconds }} |
{% endfor %}
## The index of all of MIMIC-CXR

{{ "{:,}".format(mimic.images) }} images, {{ "{:,}".format(mimic.studies) }} studies, {{ "{:,}".format(mimic.patients) }} patients: tables and reports
of the published size with made-up content (`python benchmarks/mimic_index.py`, commit {{ mimic.git_commit }}, load average
{{ mimic.load_average }} on {{ mimic.machine.cores }} cores). A fresh process each; the disk's cache was warm.

| what | seconds | CPU seconds | peak GiB |
|---|---|---|---|
{% for name, m in mimic.measured.items() -%}
| {{ name.replace("_", " ") }} | {{ m.seconds }} | {{ m.cpu_seconds }} | {{ m.peak_rss_gib }} |
{% endfor %}
{% if prepare %}
## Preparing images

Grey JPEGs of the size of MIMIC-CXR-JPG's and of NIH's, side {{ prepare.config.size }} (`python benchmarks/prepare_speed.py`, commit
{{ prepare.git_commit }}). *Plain*: Pillow decodes every pixel and nothing else is done.

| files | MB each | processes | plain decoding, images/s | prepare, images/s | of plain |
|---|---|---|---|---|---|
{% for kind, k in prepare.kinds.items() -%}
{% for n, done in k.prepare.items() -%}
| {{ kind }} | {{ k.megabytes_per_file }} | {{ n }} | {{ k.plain_decoding[n].images_per_s }} | {{ done.images_per_s }} | {{ done.of_plain_decoding }} |
{% endfor %}
{%- endfor %}
What bounds it: {{ prepare.bound }}
{% endif %}
## The report labeler on real reports

{{ "{:,}".format(labeler.data.with_text) }} of {{ "{:,}".format(labeler.data.reports) }} Indiana University reports have a findings or impression text; their MeSH codes, as
`mappings/openi.csv` reads them, are the truth (`python benchmarks/labeler_indiana.py`, commit {{ labeler.commit }}). Rules were tuned
on reports of odd number. *Held out*: reports of even number, before any of their disagreements had been read. *Sure*:
what the labeler calls uncertain is left out. *After reading*: {{ read }} disagreements were read one by one; those where the
code is incomplete no longer count against the labeler, those that are unclear count for neither
(`labeler_indiana_read.csv`).

| class | coded | precision | recall | F1 | F1 held out | F1 after reading | ours wrong | code incomplete | unclear |
|---|---|---|---|---|---|---|---|---|---|
{% for row in label_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% for name, why in note.items() -%}
- {{ name }}: {{ why }}.
{% endfor -%}
- Speed, reports per second: {% for name, v in labeler.reports_per_second.items() %}{{ name }} {{ "{:,}".format(v["by clock"]) }}{{ ", " if not loop.last }}{% endfor %}.

{% if found %}
## Reports of another study, found and weighed down

The phantom with a share of reports swapped for another patient's; its image labels are right. `found`: AUROC of the
confidence against "is another's", over the training images ({{ found[0].images }} images in all, commit {{ found[0].git_commit }}).

| wrong reports | found | mean confidence, own | mean confidence, wrong |
|---|---|---|---|
{% for f in found -%}
| {{ "{:.0%}".format(f.share) }} | {{ "%.3f" | format(f.train.auroc) if f.train.auroc is not none else "–" }} | \
{{ "%.2f" | format(f.train.mean_confidence_own) }} | {{ "%.2f" | format(f.train.mean_confidence_wrong) if f.train.mean_confidence_wrong is not none else "–" }} |
{% endfor %}
What weighting buys (`python benchmarks/text_quality.py`): trained on the words as they are, or each weighed by its
confidence in the contrastive loss; judged on the test split whose reports are all right. Mean ± standard deviation over
the seeds.

| wrong reports | weight | seeds | mAP@0.1 | mAP@0.3 | mAP@0.5 | AUROC | Retrieval@1 image → text | text → image |
|---|---|---|---|---|---|---|---|---|
{% for row in quality_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
Differences of the same seed, weighed minus not:

| wrong reports | mAP@0.1 | mAP@0.3 | AUROC | Retrieval@1 image → text |
|---|---|---|---|---|
{% for row in gain_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% endif %}
## Perceptual fingerprints

How far radiographs lie apart in the 512 bits that `doctor --against` compares (`python benchmarks/fingerprints.py`):
{{ "{:,}".format(prints.images) }} real radiographs, {{ "{:,}".format(prints.pairs) }} pairs. {{ prints.pairs_within_limit }} pair lies within the limit of {{ prints.limit }} bits (one patient's
picture, stored twice by NIH); the next nearest are {{ prints.next_nearest | join(", ") }} bits apart, the median pair {{ prints.median }}.

| copy | median bits | farthest of {{ (prints.copies.values() | list)[0].of }} |
|---|---|---|
{% for name, c in prints.copies.items() -%}
| {{ name }} | {{ c.median }} | {{ c.farthest }} |
{% endfor %}
{% if fuzz %}
## Damaged files

Every file of every reader, damaged at random (`python benchmarks/fuzz.py`, commit {{ fuzz.commit }}). A case passes if the file is
read, or refused in one line, in time, with nothing half-written and no planted secret in the message. Full runs of
10,000 cases a file take hours; this is what was run.

| reader | files | fewest cases of a file | cases | read | refused | slowest, s | failures |
|---|---|---|---|---|---|---|---|
{% for row in fuzz_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
{% endif %}
## What each data set calls the 13 observations

Names in italics only roughly say the same and are used; those in brackets are used when asked for (`approximate=true`).
CheXpert, CheXpert Plus and MIMIC-CXR use the observations' own names.

| observation | {{ shown | join(" | ") }} |
|---|{{ "---|" * (shown | length) }}
{% for row in names -%}
| {{ row | join(" | ") }} |
{% endfor %}"""


def data_page(results: Path, docs: Path) -> Path:
    """Write ``docs/data.md``."""
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(PAGE)
    labeler = _one(results / "labeler_indiana.json")
    held_out = _one(results / "labeler_indiana_heldout.json")
    runs = load(results / "text_quality", "wrong*.json")
    text = page.render(
        readers=_one(results / "readers.json"),
        mimic=_one(results / "mimic_index.json"),
        prepare=_one(results / "prepare_speed.json"),
        labeler=labeler,
        label_rows=[_label_row(name, labeler, held_out) for name in labeler["all"]],
        read=len((results / "labeler_indiana_read.csv").read_text("utf-8").splitlines()) - 1,
        note=NOTE,
        found=sorted(load(results / "text_quality", "found*.json"), key=lambda f: f["share"]),
        quality_rows=_quality(runs),
        gain_rows=_gains(runs),
        prints=_one(results / "fingerprints.json"),
        fuzz=_one(results / "fuzz.json"),
        fuzz_rows=_fuzz(_one(results / "fuzz.json")),
        shown=SHOWN,
        names=_names(),
    )
    return write_text(docs / "data.md", text)


def _one(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _label_row(name: str, labeler: dict[str, Any], held_out: dict[str, Any]) -> list[str]:
    whole, after = labeler["all"][name]["sure"], labeler["all"][name]["after_reading"]
    verdicts = after["verdicts"]

    def count(verdict: str) -> str:
        return str(sum(side[verdict] for side in verdicts.values()))

    cells = [whole["precision"], whole["recall"], whole["f1"], held_out["even, held out"][name]["sure"]["f1"]]
    shown = ["–" if value is None else f"{value:.3f}" for value in [*cells, after["f1"]]]
    if after["unread"]:
        shown[-1] += f" ({after['unread']} not read)"
    coded = f"{whole['both'] + whole['code_only']:,}"
    return [name, coded, *shown, count("ours wrong"), count("code incomplete"), count("unclear")]


def _key(run: dict[str, Any]) -> tuple[float, str, int]:
    """Share of wrong reports, weight and seed of a run, by the name of its results file."""
    share, weight, seed = Path(run["_name"]).stem.removeprefix("wrong").split("_")
    return float(share), weight, int(seed.removeprefix("seed"))


def _quality(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for run in runs:
        share, weight, _ = _key(run)
        groups.setdefault((share, weight), []).append(run)
    rows = []
    for (share, weight), group in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] != "none")):
        cells = [spread([r["detection"]["map"][t] for r in group]) for t in IOUS]
        cells.append(spread([r["classification"]["mean_auroc"] for r in group]))
        cells += [
            spread([r["retrieval"][way]["1"]["value"] for r in group]) for way in ("image_to_text", "text_to_image")
        ]
        rows.append([f"{share:.0%}", weight, str(len(group)), *cells])
    return rows


def _gains(runs: Sequence[dict[str, Any]]) -> list[list[str]]:
    by_key = {_key(run): run for run in runs}
    measures = [
        lambda r: r["detection"]["map"]["0.1"],
        lambda r: r["detection"]["map"]["0.3"],
        lambda r: r["classification"]["mean_auroc"],
        lambda r: r["retrieval"]["image_to_text"]["1"]["value"],
    ]
    rows = []
    for share in sorted({key[0] for key in by_key}):
        seeds = [s for s0, w, s in by_key if s0 == share and w == "confidence" and (share, "none", s) in by_key]
        cells = []
        for measure in measures:
            each = [measure(by_key[share, "confidence", s]) - measure(by_key[share, "none", s]) for s in sorted(seeds)]
            cells.append(f"{statistics.mean(each):+.3f} ({', '.join(f'{e:+.3f}' for e in each)})" if each else "–")
        rows.append([f"{share:.0%}", *cells])
    return rows


def _fuzz(record: dict[str, Any] | None) -> list[list[str]]:
    """One row per reader, over its files."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, entry in (record or {"entries": {}})["entries"].items():
        groups.setdefault(name.split()[0], []).append(entry)
    rows = []
    for name, entries in groups.items():
        sums = [f"{sum(e[key] for e in entries):,}" for key in ("cases", "accepted", "refused")]
        fewest, slowest = f"{min(e['cases'] for e in entries):,}", max(e["slowest_seconds"] for e in entries)
        rows.append([name, str(len(entries)), fewest, *sums, str(slowest), str(sum(e["failures"] for e in entries))])
    return rows


def _names() -> list[list[str]]:
    """For each observation, what each data set calls it."""
    rows = []
    for observation in OBSERVATIONS:
        cells = []
        for dataset in SHOWN:
            own = [n for n in mapping.table(dataset) if n.observation == observation]
            form = {"exact": "{}", "near": "*{}*", "off": "({})"}
            names = list(dict.fromkeys(form[n.fit].format(n.native) for n in own))
            more = f" … {len(names) - 6} more" if len(names) > 6 else ""
            cells.append(", ".join(names[:6]) + more)
        rows.append([observation, *cells])
    return rows
