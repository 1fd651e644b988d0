"""Results as a table for a terminal, the blind rows beside the model's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

SHOWN_IOUS = ("0.1", "0.3", "0.5")
_LOC = "0.3"


def render_table(results: Mapping[str, Any]) -> Table:
    """Per class and on average: AP and F1 at IoU 0.1, 0.3, 0.5, localisation accuracy at 0.3, AUROC; then blind rows.

    Intervals stand in brackets; a dash where a value is undefined. The caption holds what the numbers depend on.
    """
    detection, truth = results["detection"], results["truth"]
    title = f"{truth['dataset']} {truth['split']}: {truth['images']} images, {truth['boxes']} boxes"
    table = Table(title=title, caption=_caption(results), caption_justify="left")
    f1 = detection["f1"] if detection else None
    table.add_column("class", no_wrap=True)
    columns = ["boxes", *(f"AP@{t}" for t in SHOWN_IOUS)] if detection else []
    columns += [f"F1@{t}" for t in SHOWN_IOUS] if f1 else []
    columns += [f"loc@{_LOC}"] if detection else []
    for name in (*columns, "AUROC"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in results["classes"]:
        table.add_row(name, *_class_cells(results, name))
    table.add_section()
    table.add_row("[bold]mean", *_mean_cells(results))
    for label, key in (
        ("blind box, same score", "class_median_constant"),
        ("blind box, these scores", "class_median_own_scores"),
    ):
        row = (results["blind"] or {}).get(key)
        if row:
            interval = row.get("ci", {}).get("map", {})
            cells = ["", *(_number(row["map"][t], interval.get(t)) for t in SHOWN_IOUS)]
            cells += [""] * len(SHOWN_IOUS) if f1 else []
            table.add_row(f"[dim]{label}", *cells, _number(row["loc_acc"][_LOC]), "")
    return table


def _class_cells(results: Mapping[str, Any], name: str) -> list[str]:
    detection, cells = results["detection"], []
    if detection:
        cells += [str(detection["references"][name]), *(_number(detection["ap"][name][t]) for t in SHOWN_IOUS)]
        if detection["f1"]:
            cells += [_number(detection["f1"]["classes"][name][t]["f1"]) for t in SHOWN_IOUS]
        cells.append(_number(detection["loc_acc"]["classes"][name][_LOC]))
    return [*cells, _number(results["classification"]["auroc"][name])]


def _mean_cells(results: Mapping[str, Any]) -> list[str]:
    detection, classification, cells = results["detection"], results["classification"], []
    if detection:
        ci = detection["ci"]
        cells += [str(sum(detection["references"].values()))]
        cells += [_number(detection["map"][t], ci["map"][t]) for t in SHOWN_IOUS]
        if detection["f1"]:
            cells += [_number(detection["f1"]["macro"][t]) for t in SHOWN_IOUS]
        cells.append(_number(detection["loc_acc"]["mean"][_LOC], ci["loc_acc"][_LOC]))
    return [*cells, _number(classification["mean_auroc"], classification["ci"]["mean_auroc"])]


def _caption(results: Mapping[str, Any]) -> str:
    predictions, truth = results["predictions"], results["truth"]
    lines = [f"{truth['ignored_pairs']} (image, class) pairs without complete boxes are left out of box metrics"]
    if truth.get("box_kind") == "region":
        lines.append("the boxes are anatomical regions that stand for the findings, not lesions")
    for field, words in (
        ("missing_images", "images without predictions count as nothing found"),
        ("extra_images", "predictions of other images left out"),
        ("rescaled_images", "images had their boxes scaled to the index's size"),
    ):
        if predictions[field]:
            lines.append(f"{predictions[field]} {words}")
    if predictions["left_out_classes"]:
        lines.append(f"not in the index: {', '.join(predictions['left_out_classes'])}")
    if results["thresholds"] is None:
        lines.append("no F1: thresholds need predictions of the validation split")
    for name, words in (("image_to_text", "image → text"), ("text_to_image", "text → image")):
        rows = (results["retrieval"] or {}).get(name)
        if rows:
            values = (
                f"@{k} {_number(row['value'], row['ci'])}, chance {_number(row['chance'])}" for k, row in rows.items()
            )
            lines.append(f"retrieval {words}: {'; '.join(values)}")
    return "\n".join(lines)


def _number(value: float | None, interval: list[float | None] | None = None) -> str:
    if value is None:
        return "-"
    text = f"{value:.3f}"
    if interval and None not in interval:
        text += rf" \[{interval[0]:.3f}, {interval[1]:.3f}]"
    return text
