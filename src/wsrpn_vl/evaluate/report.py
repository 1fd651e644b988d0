"""One self-contained HTML page about a run: what was trained, how well it does, where it fails, where it came from.

Everything is read from files; nothing is predicted or measured anew except what figures need (curves, blind rows per
class). All text goes through the template's escaping.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wsrpn_vl.boxes import Letterbox
from wsrpn_vl.evaluate import blind, detect, figures
from wsrpn_vl.evaluate.examples import MAPS, Example, choose_examples, choose_retrieval, example_panel
from wsrpn_vl.evaluate.layout import match_classes, replace_file
from wsrpn_vl.evaluate.predictions import read_heatmaps
from wsrpn_vl.evaluate.run_files import RunFiles, read_run
from wsrpn_vl.labels import colour
from wsrpn_vl.overlay import score_text
from wsrpn_vl.page import picture, template, thumbnail

IOU = "0.3"  # the threshold of the short version; the tables have all
SAME = 0.8  # share of near-equal top boxes from which a class is said to have one box
_CALLED = {
    "class_median_constant": "the same box on every image, constant scores",
    "class_median_own_scores": "the same box on every image, this model's image scores",
}


def write_report(run: Path | str, *, split: str = "test", out: Path | str | None = None, examples: int = 6) -> Path:
    """Write the page of a run's split, default ``run/report.html``; returns its path.

    Raises: ConfigError, PredictionsError or DataError naming the file that is missing or damaged and what makes it.
    """
    files = read_run(Path(run), split)
    page = _template().render(_context(files, examples))
    return replace_file(Path(out) if out else files.run / "report.html", lambda tmp: tmp.write_text(page, "utf-8"))


def _template():
    return template("wsrpn_vl.evaluate", "report.html.jinja", num=_num, ci=_ci, pct=_pct, score=score_text)


def _num(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _ci(value: Sequence[float | None] | None, digits: int = 3) -> str:
    return "" if value is None or None in value else f"{_num(value[0], digits)} to {_num(value[1], digits)}"


def _pct(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"


def _context(files: RunFiles, examples: int) -> dict[str, Any]:
    detection = files.results["detection"]
    return {
        "files": files,
        "results": files.results,
        "detection": detection,
        "iou": IOU,
        "called": _CALLED,
        "run_name": files.run.resolve().name,
        "trained": _trained(files),
        "words": _words(files),
        "threshold_source": _threshold_source(files.results),
        "verdict": _verdict(files.results),
        "spread": _spread(detection),
        "rows": _class_rows(files),
        "figures": _figures(files),
        "retrieval": _retrieval(files),
        "examples": [_example(files, e) for e in choose_examples(files.case.predictions, files.case.truth, examples)],
        "config_text": json.dumps(files.config, indent=1),
        "provenance": _provenance(files),
    }


def _trained(files: RunFiles) -> str:
    """What was trained on what, in one sentence."""
    known = files.environment
    images = f"{known['train_images']} images" if "train_images" in known else "images"
    recipe, seed, commit = files.config.get("name", "unknown"), known.get("seed"), known.get("git_commit") or "unknown"
    return (
        f"Trained on {images} of {known.get('dataset', 'an unnamed data set')} from image-level labels, never from a "
        f"box: recipe {recipe}, seed {seed}, commit {commit}."
    )


def _threshold_source(results: Mapping[str, Any]) -> str | None:
    return next((t["source"] for t in (results["thresholds"] or {}).values()), None)


def _words(files: RunFiles) -> str:
    """What the texts were, in one sentence."""
    kind = files.caption_source
    if kind == "labels" or (kind == "report" and files.environment.get("text_origin") == "labels"):
        return (
            "There are no reports: the texts were made from the image labels. They add no knowledge to the labels, and "
            "retrieval shows how well labels are told apart, not an understanding of language."
        )
    if kind.startswith("triples"):
        return "The texts are captions made from the findings, places and degrees that the reports state."
    if kind == "findings":
        return "The texts are the sentences of the reports that state a finding, without comparisons to earlier films."
    if kind == "report":
        return "The texts are the data set's own reports."
    return "No text was used in training."


def _verdict(results: Mapping[str, Any]) -> str | None:
    """Whether the boxes beat the same box on every image, in one sentence; None without reference boxes."""
    if not results["detection"]:
        return None
    gain = results["blind"]["class_median_own_scores"].get("gain", {}).get(IOU)
    if not gain or gain["difference"] is None or None in gain["ci"]:
        return None
    low, high = gain["ci"]
    text = f"difference in mAP at IoU {IOU}: {gain['difference']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}"
    if low > 0:
        return f"The boxes are better than one fixed box per class with the same image scores ({text})."
    if high < 0:
        return f"The boxes are worse than one fixed box per class with the same image scores ({text})."
    return f"The boxes cannot be told apart from one fixed box per class with the same image scores ({text})."


def _spread(detection: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Classes whose top box hardly moves, and the mean share of near-equal top boxes."""
    known = {c: v["same"] for c, v in (detection or {}).get("spread", {}).items() if v["images"] > 1}
    if not known:
        return None
    fixed = [c for c, share in known.items() if share >= SAME]
    return {"fixed": fixed, "classes": len(known), "mean": float(np.mean(list(known.values()))), "limit": SAME}


def _class_rows(files: RunFiles) -> list[dict[str, Any]]:
    """One row of the per-class table for each class; None where a value is not defined."""
    results, detection = files.results, files.results["detection"] or {}
    image = results["classification"]
    image_f1 = (image["f1"] or {}).get("classes", {})
    box_f1 = (detection.get("f1") or {}).get("classes", {})
    blind_ap = _blind_ap(files) if detection else {}
    out = []
    for name in results["classes"]:
        threshold = (results["thresholds"] or {}).get(name, {})
        row = {
            "name": name,
            "colour": colour(name),
            "positives": image["positives"][name],
            "known": image["positives"][name] + image["negatives"][name],
            "references": detection.get("references", {}).get(name, 0),
            "ap": {t: detection.get("ap", {}).get(name, {}).get(t) for t in ("0.1", "0.3", "0.5")},
            "ap_ci": detection.get("ci", {}).get("ap", {}).get(name, {}).get(IOU),
            "blind": blind_ap.get(name, {}).get(IOU),
            "loc_acc": detection.get("loc_acc", {}).get("classes", {}).get(name, {}).get(IOU),
            "box_f1": box_f1.get(name, {}).get(IOU, {}).get("f1"),
            "box_threshold": threshold.get("box"),
            "same": detection.get("spread", {}).get(name, {}).get("same"),
            "auroc": image["auroc"][name],
            "auroc_ci": image["ci"]["auroc"][name],
            "f1": image_f1.get(name, {}).get("f1"),
            "threshold": threshold.get("image"),
        }
        out.append(row)
    return out


def _blind_ap(files: RunFiles) -> dict[str, dict[str, float | None]]:
    """AP per class and IoU threshold of the class-median box with the model's own image scores."""
    truth = files.case.truth
    tables = detect.match(blind.class_median_predictions(truth, files.case.predictions.probs), truth)
    out = {}
    for table in tables:
        values = detect.average_precision(table)
        out[table.name] = {str(t): None if np.isnan(v) else float(v) for t, v in zip(table.ious, values, strict=True)}
    return out


def _figures(files: RunFiles) -> dict[str, dict[str, str]]:
    """The figures that there is something for, by name."""
    truth, predictions = files.case.truth, files.case.predictions
    detection, out = files.results["detection"], {}
    phases = [_phase_name(i, p) for i, p in enumerate(files.config.get("curriculum", []))]
    if any(r.get("kind") == "step" for r in files.records):
        out["loss"] = picture(figures.loss_curves(files.records, phases), "Loss terms over optimiser steps")
    if files.records:
        alt = "Validation AUROC over epochs and learning rate over steps"
        out["progress"] = picture(figures.progress_curves(files.records, phases), alt)
    if any(v is not None for v in files.results["classification"]["auroc"].values()):
        out["roc"] = picture(
            figures.roc_curves(predictions.probs, truth.labels, truth.classes), "ROC curve of each class"
        )
    if np.isin(truth.labels, (0, 1)).any():
        drawn = figures.reliability(predictions.probs, truth.labels, predictions.calibrated)
        out["reliability"] = picture(drawn, "Observed frequency against predicted probability")
    if detection:
        rows = files.results["blind"]
        lines = {str(_CALLED.get(key, key)).split(", ")[-1]: row["map"] for key, row in rows.items()}
        drawn = figures.ap_by_iou(detection["map"], detection["ci"]["map"], lines)
        out["ap_by_iou"] = picture(drawn, "Mean average precision over the IoU threshold, with blind rows")
        drawn = figures.ap_bars(detection["ap"], _blind_ap(files))
        out["ap_bars"] = picture(drawn, "Average precision of each class beside the blind row")
        out["centres"] = picture(figures.box_centres(predictions, truth), "Centres of top boxes and of annotated boxes")
    return out


def _phase_name(number: int, phase: Mapping[str, Any]) -> str:
    parts = [(phase.get(term, 0), term) for term in ("detection", "contrastive", "consistency")]
    return f"phase {number + 1}: " + " + ".join(t if w == 1 else f"{w:g} × {t}" for w, t in parts if w)


def _retrieval(files: RunFiles) -> list[dict[str, Any]]:
    """Examples of image-to-text retrieval as plain words."""
    predictions = files.case.predictions
    texts = [text or "(no text)" for text in files.words]
    out = []
    for one in choose_retrieval(predictions):
        found = [{"text": texts[f.text_of], "similarity": f.similarity, "hit": f.hit} for f in one.found]
        facts = {"image_id": predictions.image_ids[one.image], "rank": one.rank, "distinct": one.distinct}
        out.append(facts | {"own": texts[one.image], "found": found, "picture": thumbnail(files.image(one.image))})
    return out


def _example(files: RunFiles, example: Example) -> dict[str, Any]:
    """One example with its picture and what is to be seen."""
    case, i = files.case, example.image
    truth, one = case.truth, case.predictions.predictions[i]
    name, image = truth.classes[example.label], files.image(i)
    maps = read_heatmaps(case.path, [one.image_id]).get(one.image_id, {})
    have = tuple(one_class for one_class in case.predictions.meta.get("classes", truth.classes))
    column = {wanted: have.index(own) for own, wanted in match_classes(have, truth.classes, str(case.path)).items()}
    boxes = [(c, box) for c, found in zip(truth.classes, truth.boxes[i], strict=True) for box in found]
    height, width = image.shape
    letterbox = Letterbox(width, height, int(files.config.get("data", {}).get("image_size", 224)))
    shown = one.detections[_worth_showing(files, i, example.label)]
    panel = example_panel(image, shown, boxes, {k: v[column[name]] for k, v in maps.items()}, letterbox, name)
    return {
        "example": example,
        "name": name,
        "image_id": one.image_id,
        "missing": [what for key, what in MAPS.items() if key not in maps],
        "boxed": bool(len(truth.boxes[i][example.label])),
        "prob": float(one.probs[example.label]),
        "labels": [c for c, y in zip(truth.classes, truth.labels[i], strict=True) if y == 1],
        "text": files.words[i],
        "figure": picture(panel, f"Image {one.image_id} with boxes, patch and ROI heat maps of {name}", "jpeg", 100),
    }


def _worth_showing(files: RunFiles, i: int, label: int) -> np.ndarray:
    """Positions of the top box of class ``label``, then of up to three other classes' above their threshold."""
    found = files.case.predictions.predictions[i].detections
    chosen = np.flatnonzero(found.class_ids == label)[:1].tolist()
    limits = files.results["thresholds"] or {}
    seen = {label}
    for j, k in enumerate(found.class_ids.tolist()):
        limit = limits.get(found.classes[k], {}).get("box")
        if k not in seen and limit is not None and found.scores[j] >= limit and len(chosen) < 4:
            chosen.append(j)
            seen.add(k)
    return np.array(chosen, dtype=int)


def _provenance(files: RunFiles) -> list[tuple[str, Any]]:
    environment, results = files.environment, files.results
    truth, predictions = results["truth"], results["predictions"]
    machines = [
        (kind, ", ".join(f"{k} {v}" for k, v in (record.get("machine") or {}).items() if v is not None))
        for kind, record in (("training machine", environment), ("evaluation machine", results))
    ]
    init = environment.get("init")
    started = [("weights started from", f"{init['path']}, SHA-256 {init['sha256']}")] if init else []
    rows = [
        ("run", str(files.run)),
        ("recipe", files.config.get("name")),
        *((key.replace("_", " "), environment.get(key)) for key in ("command", "started", "git_commit", "seed")),
        ("training data", f"{environment.get('dataset')} ({environment.get('index')})"),
        ("training index SHA-256", environment.get("index_hash")),
        *started,
        ("training / validation images", f"{environment.get('train_images')} / {environment.get('val_images')}"),
        ("texts", f"{files.caption_source}, encoder {environment.get('encoder')}"),
        ("judged data", f"{truth['dataset']}, split {truth['split']}, {truth['images']} images ({truth['index']})"),
        ("judged index SHA-256", truth["index_hash"]),
        ("predictions", f"{predictions['path']}, SHA-256 {predictions['sha256']}"),
        ("thresholds from", _threshold_source(results)),
        ("evaluation commit", results["git_commit"]),
        ("evaluation command", results["command"]),
        ("evaluated", results["created"]),
        ("bootstrap", ", ".join(f"{k} {v}" for k, v in results.get("bootstrap", {}).items())),
        *machines,
    ]
    return [(name, "unknown" if value is None or value == "" else value) for name, value in rows]
