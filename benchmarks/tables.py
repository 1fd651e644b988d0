"""Make the pages in docs/ from the JSON files in benchmarks/results/: no number is typed by hand.

python benchmarks/tables.py
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from _data_page import data_page
from _phantom_page import phantom_page
from _rows import IOUS, auroc, blind, interval, load, ours, place
from wsrpn_vl.files import write_text

HERE = Path(__file__).parent

PAGE = """\
# NIH ChestX-ray14 subset: what was measured

Made by `python benchmarks/tables.py` from `benchmarks/results/nih_subset/*.json`; do not edit.
To repeat the first row: `python benchmarks/nih_subset.py ROOT --name fresh_ --seeds {{ seeds | join(" ") }}`.

- **Data.** {{ run.train_images }} training and {{ run.val_images }} validation images of `train_val_list.txt`
  (patients apart), {{ truth.images }} test images of `test_list.txt` with {{ truth.boxes }} boxes
  (index `{{ run.index_hash[:12] }}`). NIH's boxes are incomplete: {{ truth.ignored_pairs }} (image, class) pairs that
  are labelled but not boxed are ignored.
- **Words.** NIH publishes no reports. Captions are made from the **{{ run.caption_source }}**, so the alignment branch
  learns nothing that the labels do not say.
- **Budget.** Recipe `{{ meta.recipe }}`, {{ epochs }} epochs; {{ machine.cpu }}, {{ machine.cores }} cores, torch {{ machine.torch }}.
- **Choices.** The recipe (augmentation, contrastive weight, dropout, averaging) was chosen on validation AUROC and on the
  boxes of `train_val_list.txt`, with seed 0. Thresholds come from validation labels alone. Training opens no box.
- **Order of events.** Seeds 0 to 2 kept the epoch of best validation AUROC. Their box score, `odds_x_image`, had been the
  better one on the training list but was adopted after one seed's test scores with `roi` were known; their last epochs
  were looked at after their chosen ones. So the recipe was then fixed (`odds_x_image`, last epoch) and **fresh seeds
  {{ seeds | join(", ") }} were run and read once**: the first row is the result, the others are how it
  was found.

## Against boxes that never looked

Mean ± standard deviation over the seeds (commits {{ commits | join(", ") }}). The blind rows put the test set's
*own* class-median box on every image: they know the answers' shape, so they are the most favourable blind rows there are.

| row | mAP@0.1 | mAP@0.3 | mAP@0.5 | mean AUROC | loc. accuracy @0.3 |
|---|---|---|---|---|---|
{% for row in rows -%}
| {{ row | join(" | ") }} |
{% endfor %}
Each seed with the 95 % bootstrap interval over patients, and the paired gain over the blind box with the
same image scores (fresh seeds):

| seed | mAP@0.1 | mAP@0.3 | mAP@0.5 | gain @0.1 | gain @0.3 | gain @0.5 |
|---|---|---|---|---|---|---|
{% for row in by_seed -%}
| {{ row | join(" | ") }} |
{% endfor %}
## By class

Mean over the fresh seeds. *Same box*: share of images whose top box of the class has IoU ≥ 0.9 with that class's median top
box; a model that puts one box everywhere has 1. *Centre sd*: of the top box, as fractions of width and height.

| class | boxes | AP@0.1 | AP@0.3 | AP@0.5 | AUROC | loc. accuracy @0.3 | same box | centre sd x, y |
|---|---|---|---|---|---|---|---|---|
{% for row in by_class -%}
| {{ row | join(" | ") }} |
{% endfor %}"""


SPEED = """\
# Training speed of the full model against its backbone alone

Made by `python benchmarks/tables.py` from `benchmarks/results/speed_*.json`; do not edit. Measured in one process, blocks
of both alternating (`python benchmarks/speed.py`). Images per second: median (minimum to maximum) of the blocks; ratio:
median of the blocks' ratios.

| recipe | backbone | batch | side | full model | backbone alone | ratio | machine |
|---|---|---|---|---|---|---|---|
{% for s in speeds -%}
| {{ s.recipe }} | {{ s.backbone }} | {{ s.batch_size }} | {{ s.image_size }} | {{ range(s.images_per_s.full) }} | \
{{ range(s.images_per_s.backbone) }} | {{ "%.3f" | format(s.full_over_backbone.median) }} | \
{{ s.machine.cpu }}, {{ s.threads }} threads |
{% endfor %}"""


def main() -> None:
    folder = HERE / "results" / "nih_subset"
    chosen, last, fresh = (load(folder, f"{prefix}seed*.json") for prefix in ("", "last_", "fresh_"))
    print(write_text(HERE.parent / "docs" / "nih-subset.md", nih_page(chosen, last, fresh)))
    speeds = load(HERE / "results", "speed_*.json")
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(SPEED)
    text = page.render(speeds=speeds, range=lambda v: f"{v['median']:.1f} ({v['min']:.1f} to {v['max']:.1f})")
    print(write_text(HERE.parent / "docs" / "speed.md", text))
    print(phantom_page(HERE / "results", HERE.parent / "docs"))
    print(data_page(HERE / "results", HERE.parent / "docs"))


def nih_page(chosen: Sequence[dict[str, Any]], last: Sequence[dict[str, Any]], fresh: Sequence[dict[str, Any]]) -> str:
    """The page of the NIH subset: first seeds at the chosen and the last epoch, fresh seeds of the fixed recipe."""
    meta = fresh[0]["predictions"]["meta"]
    environments = [r["predictions"]["meta"]["run"] for r in fresh]
    seeds = [e["seed"] for e in environments]
    own = "class_median_own_scores"
    rows = [
        [f"**WSRPN-VL**, recipe fixed before seeds {', '.join(map(str, seeds))} were run", *ours(fresh)],
        ["seeds 0 to 2, epoch of best validation AUROC", *ours(chosen)],
        ["seeds 0 to 2, last epoch", *ours(last)],
        ["all seeds, last epoch", *ours([*last, *fresh])],
        ["blind box, same score everywhere", *blind(fresh, "class_median_constant"), "0.5", place(fresh, own)],
        ["blind box, image scores of the first row", *blind(fresh, own), auroc(fresh), place(fresh, own)],
        ["blind box, image scores of the second row", *blind(chosen, own), auroc(chosen), place(chosen, own)],
        ["blind box, image scores of the third row", *blind(last, own), auroc(last), place(last, own)],
    ]
    by_seed = []
    for r in fresh:
        points, bounds, gain = r["detection"]["map"], r["detection"]["ci"]["map"], r["blind"][own]["gain"]
        cells = [interval(points[t], bounds[t]) for t in IOUS]
        cells += [interval(gain[t]["difference"], gain[t]["ci"]) for t in IOUS]
        by_seed.append([r["predictions"]["meta"]["run"]["seed"], *cells])
    page = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(PAGE)
    return page.render(
        run=environments[0],
        meta=meta,
        truth=fresh[0]["truth"],
        machine=fresh[0]["machine"],
        seeds=seeds,
        epochs=meta["run"]["epochs"],
        commits=sorted({r["predictions"]["meta"]["run"]["git_commit"] for r in [*chosen, *fresh]}),
        rows=rows,
        by_seed=by_seed,
        by_class=[class_row(fresh, name) for name in fresh[0]["classes"]],
    )


def class_row(runs: Sequence[dict[str, Any]], name: str) -> list[str]:
    detection = [r["detection"] for r in runs]
    ap = [f"{statistics.mean(d['ap'][name][t] for d in detection):.3f}" for t in IOUS]
    roc = statistics.mean(r["classification"]["auroc"][name] for r in runs)
    hit = statistics.mean(d["loc_acc"]["classes"][name]["0.3"] for d in detection)
    same, sx, sy = (statistics.mean(d["spread"][name][key] for d in detection) for key in ("same", "sd_cx", "sd_cy"))
    boxes = str(detection[0]["references"][name])
    return [name, boxes, *ap, f"{roc:.3f}", f"{hit:.2f}", f"{same:.2f}", f"{sx:.2f}, {sy:.2f}"]


if __name__ == "__main__":
    main()
