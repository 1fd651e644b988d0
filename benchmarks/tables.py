"""Make the pages in docs/ from the JSON files in benchmarks/results/: no number is typed by hand.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsrpn_vl.provenance import write_text

HERE = Path(__file__).parent
IOUS = ("0.1", "0.3", "0.5")
Get = Callable[[dict[str, Any]], float | None]


def main() -> None:
    seeds = [json.loads(p.read_text()) for p in sorted((HERE / "results" / "nih_subset").glob("seed*.json"))]
    print(write_text(HERE.parent / "docs" / "nih-subset.md", nih_page(seeds)))


def nih_page(runs: list[dict[str, Any]]) -> str:
    """The page of the NIH subset."""
    truth, first = runs[0]["truth"], runs[0]
    environment = first["predictions"]["meta"]["run"]
    lines = [
        "# NIH ChestX-ray14 subset: what was measured",
        "",
        "Made by `python benchmarks/tables.py` from `benchmarks/results/nih_subset/*.json`; do not edit.",
        "",
        f"- **Data.** {environment['train_images']} training and {environment['val_images']} validation images of "
        f"`train_val_list.txt` (patients apart), {truth['images']} test images of `test_list.txt` with {truth['boxes']} "
        f"boxes; index {truth['index_hash'][:12]}. NIH's boxes are incomplete: {truth['ignored_pairs']} (image, class) "
        "pairs that are labelled but not boxed are ignored.",
        f"- **Words.** NIH publishes no reports: captions are made from the *{environment['caption_source']}*, so the "
        "alignment branch learns nothing that the labels do not say.",
        f"- **Budget.** {len(runs)} seeds ({', '.join(str(seed_of(r)) for r in runs)}); "
        f"recipe `{first['predictions']['meta']['recipe']}`; machine: {first['machine']['cpu']}, {first['machine']['cores']} cores; "
        f"commit {environment['git_commit']}.",
        "- **Choices** (epoch, thresholds) were made on the validation part; training opens no box.",
        "",
        "## Against boxes that never looked",
        "",
        "Mean ± standard deviation over the seeds. The blind rows put the test set's *own* class-median box on every "
        "image: they know the answers' shape, so they are the most favourable blind rows there are.",
        "",
        "| row | mAP@0.1 | mAP@0.3 | mAP@0.5 | mean AUROC | loc. acc. @0.3 |",
        "|---|---|---|---|---|---|",
        row(
            "**WSRPN-VL**",
            runs,
            [
                *(at("detection", "map", t) for t in IOUS),
                at("classification", "mean_auroc"),
                at("detection", "loc_acc", "mean", "0.3"),
            ],
        ),
    ]
    for name, key in (
        ("blind box, constant score", "class_median_constant"),
        ("blind box, WSRPN-VL's image scores", "class_median_own_scores"),
    ):
        auroc: Get = (lambda r: 0.5) if key.endswith("constant") else at("classification", "mean_auroc")
        lines.append(
            row(name, runs, [*(at("blind", key, "map", t) for t in IOUS), auroc, at("blind", key, "loc_acc", "0.3")])
        )
    lines += [
        "",
        "Each seed with the 95 % bootstrap interval over patients, and the paired gain over the last blind row:",
        "",
    ]
    lines += [
        "| seed | mAP@0.1 | mAP@0.3 | mAP@0.5 | gain @0.1 | gain @0.3 | gain @0.5 |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in runs:
        gains = r["blind"]["class_median_own_scores"]["gain"]
        cells = [interval(r["detection"]["map"][t], r["detection"]["ci"]["map"][t]) for t in IOUS]
        cells += [gain_cell(gains[t]) for t in IOUS]
        lines.append(f"| {r['predictions']['meta']['run']['seed']} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "## By class (mean over seeds)",
        "",
        "| class | boxes | AP@0.1 | AP@0.3 | AP@0.5 | AUROC | loc. acc. @0.3 | sd of box centre x, y | share at the median box |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in first["classes"]:
        spread = [r["detection"]["spread"][name] for r in runs]
        cells = [
            *(f"{mean(runs, at('detection', 'ap', name, t)):.3f}" for t in IOUS),
            f"{mean(runs, at('classification', 'auroc', name)):.3f}",
            f"{mean(runs, at('detection', 'loc_acc', 'classes', name, '0.3')):.2f}",
        ]
        sd = f"{statistics.mean(s['sd_cx'] for s in spread):.2f}, {statistics.mean(s['sd_cy'] for s in spread):.2f}"
        same = f"{statistics.mean(s[SAME] for s in spread):.2f}"
        lines.append(f"| {name} | {first['detection']['references'][name]} | " + " | ".join([*cells, sd, same]) + " |")
    lines += [
        "",
        "*Share at the median box*: images whose top box of the class has IoU ≥ 0.9 with that class's median top box; a model that puts the same box everywhere has 1.",
        "",
    ]
    return "\n".join(lines)


SAME = "same"


def at(*path: str) -> Get:
    """Reader of one number in a results JSON."""

    def get(results: dict[str, Any]) -> float | None:
        for key in path:
            results = results[key]
        return results  # type: ignore[return-value]

    return get


def mean(runs: list[dict[str, Any]], get: Get) -> float:
    values = [v for v in map(get, runs) if v is not None]
    return statistics.mean(values) if values else float("nan")


def row(name: str, runs: list[dict[str, Any]], gets: list[Get]) -> str:
    cells = []
    for get in gets:
        values = [v for v in map(get, runs) if v is not None]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    return f"| {name} | " + " | ".join(cells) + " |"


def interval(value: float, bounds: list[float]) -> str:
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def gain_cell(gain: dict[str, Any]) -> str:
    return interval(gain["difference"], gain["ci"])


if __name__ == "__main__":
    main()
