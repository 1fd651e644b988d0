"""The page docs/phantom.md: what the phantom is, and what was measured on it. Sections without a result are left out."""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from _rows import IOUS, auroc, blind, interval, load, ours, place
from wsrpn_vl.files import replacing, write_text
from wsrpn_vl.plotting import BLUE, GREEN, GREY, ORANGE, WIDTH, encode, styled

OWN = "class_median_own_scores"
QUARTILES = ("least visible", "second", "third", "most visible")

# What a reader of the contact sheets sees, class by class; written by hand.
LOOKS = """\
Contact sheets beside real NIH radiographs of the same label (`phantom sheet --beside`), seen class by class.

Mended while building, the worst three first: lungs with straight side walls and pointed apices (now two leaning ovals
cut by the cage); shoulders, breasts and pectoral muscles as discs with hard rims (now traced apart and soft-edged); a
mediastinum as a hard-edged bar as bright as the spine through the heart (narrower and rounded, heart as deep as in life).
Then: a filled lower lobe that erased the heart's border as only the middle lobe should (oblique fissure moved back); severe
edema as thickened spikes (vessels now blur); vessels that stayed behind when a lung collapsed (they move and crowd).

| class | what a radiologist would still object to |
|---|---|
| all | ribs too regular; scapulae and shoulder joints simplified; spine and mediastinum a rather even column; lungs \
less mottled than on real films; arms and neck simple; films vary less in framing than real ones |
| Cardiomegaly | one pattern, all chambers together; no left-atrial or right-heart configuration |
| Enlarged Cardiomediastinum | symmetric widening; no aneurysm or mass contour |
| Lung Opacity | faint by design, evenly hazy; real infiltrates are coarser |
| Lung Lesion | round forms prevail; spicules thin; no hilar or pleural-based growth |
| Edema | haze even and rather faint; no alveolar clouds that run together |
| Consolidation | borders at fissures right, but density within a lobe too even between the bronchograms |
| Pneumonia | clouds of like size; cavities and small nodules are missing |
| Atelectasis | plates good; lobar collapse has too sharp an edge |
| Pneumothorax | the medial top of a collapsed lung is flat |
| Pleural Effusion | meniscus too smooth; supine layering is boxed only where a paravertebral band is seen |
| Pleural Other | thickening of even width; plaques few |
| Fracture | step or gap only, no fragments; many are hardly visible at 256 px, as in life |
| Support Devices | courses plausible; tubes have no printed markings, pacemakers no inner structure |
"""

PAGE = """\
# The phantom: what it is, and what was measured on it

Made by `python benchmarks/tables.py` from `benchmarks/results/phantom_*/`; do not edit.

The phantom is a chest-radiograph simulator in the package: a parametric three-dimensional thorax, projected along a
diverging beam, with 13 observations as changes of tissue, and words, labels, boxes and known faults to go with each image.

```
wsrpn-vl phantom write data/phantom                          # images, index, boxes
wsrpn-vl phantom sheet sheet.png --beside NIH_FOLDER --boxes # look at it, beside real images of the same labels
wsrpn-vl phantom calibration data/phantom                    # compare it with published statistics
```
{% if looks %}
## What still looks wrong

{{ looks }}{% endif %}{% if calibration %}
## Calibration

{{ calibration.source }}, commit {{ calibration.git_commit }}; {{ judged }} rows are judged, **{{ failed | length }}** out of tolerance. Prevalences: within
3 points of CheXpert's (191,027 frontal images); box medians: within 0.06 of the side of NIH's; area quartiles: within a
factor 1.5. The rest is shown without a verdict. Lung Opacity is the parent of five observations here and always comes
with them; CheXpert labels it apart, so their co-occurrence cannot be the same.

![published against measured](phantom-calibration.png)

| class | boxes | centre x | centre y | width | height | area quartiles |
|---|---|---|---|---|---|---|
{% for row in box_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
Measured / published medians; **bold** is out of tolerance.

| observation | published | measured |
|---|---|---|
{% for row in prevalence_rows -%}
| {{ row | join(" | ") }} |
{% endfor %}{% endif %}{% if speeds %}
## Speed, memory, determinism

| layout | images | side | workers | images/s | peak memory | same bytes with 1 and 2 workers | machine |
|---|---|---|---|---|---|---|---|
{% for s in speeds -%}
| {{ s.layout }} | {{ s.images }} | {{ s.size }} | {{ s.workers }} | {{ "%.1f" | format(s.images_per_s) }} | \
{{ "%.2f" | format(s.peak_tree_gib) }} GiB | {{ "yes" if s.determinism.same else "**no**" }} \
({{ s.determinism.images }} images) | {{ s.machine.cpu }}, {{ s.machine.cores }} cores |
{% endfor %}
End to end, start of the program included (`python benchmarks/phantom_speed.py`).
{% endif %}{% if transfer %}
## Does it mean anything for real radiographs?

{{ transfer.budget.images }} phantom images in NIH's own layout, recipe `{{ transfer.budget.recipe }}`, \
{{ transfer.budget.epochs }} epochs on the phantom; then NIH's test list ({{ transfer.truth.images }} images,
{{ transfer.truth.boxes }} boxes, index `{{ transfer.truth.index_hash[:12] }}`) untouched, or the recipe's full training on NIH's training list from
those weights. Seeds {{ transfer.seeds | join(", ") }}, mean ± standard deviation; nothing was chosen on test images.
Measured at commit {{ transfer.commits }}; of later ones, the phantom's pictures differ a little.
*Not having seen the phantom* is the same recipe, seeds and epochs from ImageNet weights
([nih-subset.md](nih-subset.md)); fine-tuning has had the phantom's epochs more. The blind rows put the test set's own
class-median box on every image. (`python benchmarks/phantom_transfer.py ROOT`)

| row | mAP@0.1 | mAP@0.3 | mAP@0.5 | mean AUROC | loc. accuracy @0.3 |
|---|---|---|---|---|---|
{% for row in transfer.rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
Fine-tuned minus not having seen the phantom, seed by seed:

| seed | mAP@0.1 | mAP@0.3 | mAP@0.5 | mean AUROC |
|---|---|---|---|---|
{% for row in transfer.gains -%}
| {{ row | join(" | ") }} |
{% endfor %}
By class, AUROC and AP@0.3 (mean over the seeds):

| class | boxes | AUROC: phantom alone | fine-tuned | not seen | AP@0.3: phantom alone | fine-tuned | not seen |
|---|---|---|---|---|---|---|---|
{% for row in transfer.classes -%}
| {{ row | join(" | ") }} |
{% endfor %}{% endif %}{% if difficulty %}
## How hard is it?

Recipe `{{ difficulty.budget.recipe }}`, {{ difficulty.budget.pixels }} px, nested training sets, equal \
{{ difficulty.budget.budget }}, {{ difficulty.seeds }} seed(s), one test set of {{ difficulty.truth.images }} images with {{ difficulty.truth.boxes }} boxes
(`python benchmarks/phantom_difficulty.py`). The blind row puts the test set's own class-median box on every image, with
the image scores of the largest training set. Measured at commit {{ difficulty.commits }}.

![AP and AUROC against training-set size and visibility](phantom-difficulty.png)

| training images | mAP@0.1 | mAP@0.3 | mAP@0.5 | mean AUROC | loc. accuracy @0.3 |
|---|---|---|---|---|---|
{% for row in difficulty.rows -%}
| {{ row | join(" | ") }} |
{% endfor %}{% if difficulty.parts %}
Largest training set, first seed: findings cut per class at the quartiles of their visibility (contrast-to-noise ratio);
the images without the finding are the same in all four. 95 % intervals over patients.

| visibility | mAP@0.1 | mAP@0.3 | recall @0.1 | recall @0.3 | mean AUROC |
|---|---|---|---|---|---|
{% for row in difficulty.parts -%}
| {{ row | join(" | ") }} |
{% endfor %}{% endif %}{% endif %}"""


def phantom_page(results: Path, docs: Path) -> Path:
    """Write the page and its figures from what is in ``results``."""
    calibration = load(results / "phantom_calibration", "*.json")
    facts = _calibration(calibration[0]) if calibration else {"calibration": None}
    if calibration:
        picture = next((results / "phantom_calibration").glob("*.png"))
        shutil.copyfile(picture, docs / "phantom-calibration.png")
    difficulty = _difficulty(results / "phantom_difficulty")
    if difficulty:
        with replacing(docs / "phantom-difficulty.png") as temporary:
            temporary.write_bytes(encode(difficulty_figure(difficulty["runs"])))
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(PAGE)
    text = page.render(
        looks=LOOKS.strip(),
        **facts,
        speeds=sorted(load(results / "phantom_speed", "*.json"), key=lambda s: (s["layout"], s["images"])),
        transfer=_transfer(results),
        difficulty=difficulty,
    )
    return write_text(docs / "phantom.md", text.rstrip() + "\n")


def _calibration(found: dict[str, Any]) -> dict[str, Any]:
    rows = found["rows"]
    boxes: dict[str, list[str]] = {}
    for row in (r for r in rows if r["group"] == "boxes"):
        cells = boxes.setdefault(row["name"], [row["name"], str(row["n"])])
        measured = "?" if row["measured"] is None else f"{row['measured']:.3f}"
        cells.append(_bold(f"{measured} / {row['published']:.3f}", row["ok"]))
    return {
        "calibration": found,
        "judged": sum(r["ok"] is not None for r in rows),
        "failed": [r for r in rows if r["ok"] is False],
        "box_rows": [[*cells[:6], ", ".join(cells[6:])] for cells in boxes.values()],
        "prevalence_rows": [
            [r["name"], f"{r['published']:.3f}", _bold(f"{r['measured']:.3f}", r["ok"])]
            for r in rows
            if r["group"] == "prevalence"
        ],
    }


def _bold(text: str, ok: bool | None) -> str:
    return f"**{text}**" if ok is False else text


def _transfer(results: Path) -> dict[str, Any] | None:
    folder = results / "phantom_transfer"
    zero, tuned, own = (load(folder, f"{name}_seed*.json") for name in ("zero_shot", "fine_tuned", "phantom"))
    if not zero or not tuned:
        return None
    seeds = [_seed(r) for r in tuned]
    unseen = [r for r in load(results / "nih_subset", "last_seed*.json") if _seed(r) in seeds]
    hashes = {r["truth"]["index_hash"] for r in [*zero, *tuned, *unseen]}
    if len(hashes) > 1:
        raise SystemExit(f"transfer results are of different NIH indexes: {', '.join(sorted(hashes))}")
    rows = [
        ["phantom alone, real test images untouched", *ours(zero)],
        ["phantom, then NIH training list", *ours(tuned)],
        ["not having seen the phantom", *ours(unseen)],
        ["blind box, same score everywhere", *blind(zero, "class_median_constant"), "0.5", place(zero, OWN)],
        ["blind box, image scores of the first row", *blind(zero, OWN), auroc(zero), place(zero, OWN)],
        ["blind box, image scores of the second row", *blind(tuned, OWN), auroc(tuned), place(tuned, OWN)],
        ["blind box, image scores of the third row", *blind(unseen, OWN), auroc(unseen), place(unseen, OWN)],
    ]
    if own:
        rows.append(["phantom alone, its own test list", *ours(own)])
    pairs = [(a, b) for a in tuned for b in unseen if _seed(a) == _seed(b)]
    gains = np.array([_scores(a) - _scores(b) for a, b in pairs])
    cells = [[str(_seed(a)), *(f"{v:+.3f}" for v in row)] for (a, _), row in zip(pairs, gains, strict=True)]
    if len(pairs) > 1:
        cells.append(["mean ± sd", *(f"{v.mean():+.3f} ± {v.std(ddof=1):.3f}" for v in gains.T)])
    return {
        "budget": json.loads((folder / "budget.json").read_text()),
        "commits": _commits([*zero, *tuned]),
        "truth": zero[0]["truth"],
        "seeds": seeds,
        "rows": rows,
        "gains": cells,
        "classes": [_class_row(name, [zero, tuned, unseen]) for name in zero[0]["classes"]],
    }


def _commits(runs: Sequence[dict[str, Any]]) -> str:
    return ", ".join(sorted({r["git_commit"] for r in runs}))


def _seed(run: dict[str, Any]) -> int:
    return run["predictions"]["meta"]["run"]["seed"]


def _scores(run: dict[str, Any]) -> np.ndarray:
    return np.array([*(run["detection"]["map"][t] for t in IOUS), run["classification"]["mean_auroc"]])


def _class_row(name: str, groups: Sequence[Sequence[dict[str, Any]]]) -> list[str]:
    roc = [f"{statistics.mean(r['classification']['auroc'][name] for r in g):.3f}" for g in groups]
    ap = [f"{statistics.mean(r['detection']['ap'][name]['0.3'] for r in g):.3f}" for g in groups]
    return [name, str(groups[0][0]["detection"]["references"][name]), *roc, *ap]


def _difficulty(folder: Path) -> dict[str, Any] | None:
    found: dict[int, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("n*_seed*.json")):
        found.setdefault(int(path.stem.removeprefix("n").partition("_")[0]), []).append(json.loads(path.read_text()))
    if not found:
        return None
    runs = dict(sorted(found.items()))
    largest = list(runs.values())[-1]
    rows = [[str(size), *ours(group)] for size, group in runs.items()]
    rows.append(["blind box", *blind(largest, OWN), auroc(largest), place(largest, OWN)])
    parts = (largest[0]["visibility"] or {}).get("parts", [])
    return {
        "budget": json.loads((folder / "budget.json").read_text()),
        "commits": _commits([r for group in runs.values() for r in group]),
        "truth": largest[0]["truth"],
        "runs": runs,
        "seeds": min(len(group) for group in runs.values()),
        "rows": rows,
        "parts": [_part_row(name, part) for name, part in zip(QUARTILES, parts, strict=False)],
    }


def _part_row(name: str, part: dict[str, Any]) -> list[str]:
    cells = [interval(part["map"][t], part["ci"]["map"][t]) for t in ("0.1", "0.3")]
    cells += [f"{part['recall'][t]:.3f}" for t in ("0.1", "0.3")]
    return [name, *cells, interval(part["mean_auroc"], part["ci"]["mean_auroc"])]


@styled
def difficulty_figure(runs: dict[int, list[dict[str, Any]]]) -> Figure:
    """Left: mAP and AUROC over training images; right: over the visibility quartiles of the largest training set."""
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = list(runs)
    lines = [
        (f"mAP@{t}", colour, lambda r, t=t: r["detection"]["map"][t]) for t, colour in (("0.1", GREEN), ("0.3", BLUE))
    ]
    lines.append(("mean AUROC", ORANGE, lambda r: r["classification"]["mean_auroc"]))
    for name, colour, value in lines:
        every = [[value(r) for r in group] for group in runs.values()]
        left.plot(sizes, [statistics.mean(v) for v in every], "o-", color=colour, label=name)
        for size, values in zip(sizes, every, strict=True):
            left.plot([size] * len(values), values, ".", color=colour, markersize=4)
    chance = [
        statistics.mean(r["blind"]["class_median_constant"]["map"]["0.1"] for r in group) for group in runs.values()
    ]
    left.plot(sizes, chance, "--", color=GREY, label="blind box, mAP@0.1")
    left.set(xscale="log", xlabel="training images", ylim=(0, 1), title="Training-set size")
    left.set_xticks(sizes, [str(s) for s in sizes])
    left.minorticks_off()
    left.legend()
    parts = (list(runs.values())[-1][0]["visibility"] or {}).get("parts", [])
    at = range(len(parts))
    for name, colour, style, values in (
        ("mAP@0.1", GREEN, "o-", [p["map"]["0.1"] for p in parts]),
        ("mAP@0.3", BLUE, "o-", [p["map"]["0.3"] for p in parts]),
        ("recall @0.3", BLUE, "s:", [p["recall"]["0.3"] for p in parts]),
        ("mean AUROC", ORANGE, "o-", [p["mean_auroc"] for p in parts]),
    ):
        right.plot(at, values, style, color=colour, label=name)
    right.set(xlabel="visibility, quartile of the class", ylim=(0, 1), title=f"Visibility, {sizes[-1]} training images")
    right.set_xticks(list(at), list(QUARTILES[: len(parts)]))
    right.legend()
    return figure
