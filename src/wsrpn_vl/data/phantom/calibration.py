"""Is the phantom like the published statistics? Prevalence, co-occurrence, positives per image, boxes.

Published numbers: :func:`wsrpn_vl.data.phantom.prior.published_priors`. Measured ones: the records of a written
phantom, or regions drawn for this alone. Judged are prevalences (within 3 points of CheXpert's), medians of box centre
and size (within 0.06 of the image side of NIH's) and quartiles of box area (within a factor 1.5). Co-occurrence and
positives per image are shown without a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from wsrpn_vl.data.phantom.prior import OPACITY_CHILDREN, no_finding, published_priors
from wsrpn_vl.data.phantom.records import HIDDEN
from wsrpn_vl.data.phantom.study import draw_labels, draw_regions
from wsrpn_vl.errors import DataError
from wsrpn_vl.files import png_path, replacing, write_text
from wsrpn_vl.labels import NO_FINDING, OBSERVATIONS
from wsrpn_vl.provenance import git_commit, machine

PREVALENCE_POINTS = 0.03
MEDIAN_SHIFT = 0.06  # of the image side
AREA_FACTOR = 1.5
FEWEST = 30  # boxes; of fewer, a median says nothing
_RESAMPLES = 300
# NIH's boxed classes: ours, and a word of the region's kind ("" = any)
BOXED: dict[str, tuple[str, str]] = {
    "Atelectasis": ("Atelectasis", ""),
    "Cardiomegaly": ("Cardiomegaly", ""),
    "Effusion": ("Pleural Effusion", ""),
    "Infiltrate": ("Lung Opacity", ""),  # where none of its children is drawn
    "Mass": ("Lung Lesion", "mass"),
    "Nodule": ("Lung Lesion", "nodule"),
    "Pneumonia": ("Pneumonia", ""),
    "Pneumothorax": ("Pneumothorax", ""),
}
QUARTILES = (0.25, 0.5, 0.75)
_PUBLISHED_QUARTILES = slice(1, 4)  # of percentiles 5, 25, 50, 75, 95
AXES = ("cx", "cy", "w", "h", "area")


@dataclass(frozen=True)
class Drawn:
    """One study without its picture. boxes: (observation, kind, xyxy as fractions of the side)."""

    labels: Mapping[str, int]
    boxes: tuple[tuple[str, str, tuple[float, float, float, float]], ...]


@dataclass(frozen=True)
class Row:
    """One comparison. n: studies or boxes it rests on; interval: 95 % of the measured value; ok: None = not judged."""

    group: str
    name: str
    quantity: str
    published: float
    measured: float
    interval: tuple[float, float]
    n: int
    tolerance: str
    ok: bool | None

    def record(self) -> dict[str, Any]:
        """As plain JSON values; null where undefined."""
        interval = None if np.isnan(self.interval[0]) else list(self.interval)
        return asdict(self) | {"interval": interval, "measured": None if np.isnan(self.measured) else self.measured}


@dataclass(frozen=True)
class Calibration:
    """What was compared. quartiles: NIH class -> axis of :data:`AXES` -> (3,) measured quartiles, NaN without boxes;
    conditional: (13, 13) measured P(column | row); source: what was measured."""

    source: str
    studies: int
    rows: tuple[Row, ...]
    quartiles: dict[str, dict[str, np.ndarray]]
    conditional: np.ndarray

    @property
    def ok(self) -> bool:
        """Whether no judged row is out of tolerance."""
        return all(row.ok is not False for row in self.rows)


def calibrate(folder: Path | str) -> Calibration:
    """Compare a written phantom. Raises: DataError if ``folder`` holds none, or its records are broken."""
    studies = list(read_drawn(Path(folder)))
    return compare(studies, boxes_of(studies), f"{len(studies):,} studies of {Path(folder).name}")


def calibrate_drawn(seed: int, studies: int, patients: int, size: int = 96, site: str = "A") -> Calibration:
    """Compare labels of ``studies`` patients, and boxes of each finding drawn alone on ``patients`` others.

    Quicker than writing a phantom of the same weight: rare findings are drawn as often as frequent ones, and no picture
    is made. Raises: DataError as :func:`wsrpn_vl.data.phantom.study.simulate`.
    """
    sampled = [Drawn(draw_labels(seed, patient, 0, site), ()) for patient in range(studies)]
    alone = []
    for wanted in dict.fromkeys(ours for ours, _ in BOXED.values()):
        for patient in range(patients):
            regions = draw_regions(seed, patient, size, site, labels={wanted: 1})
            boxes = ((name, r.kind, _shares(r.box, size)) for name, found in regions.items() for r in found)
            alone.append(Drawn({wanted: 1}, tuple(boxes)))
    source = f"labels of {studies:,} patients, boxes of {patients} patients with each finding alone, seed {seed}"
    return compare(sampled, boxes_of(alone), source)


def compare(studies: Sequence[Drawn], boxes: Mapping[str, np.ndarray], source: str) -> Calibration:
    """Compare labels of ``studies`` and ``boxes`` (:func:`boxes_of`). Raises: DataError without a study."""
    if not studies:
        raise DataError(f"{source}: no studies to compare")
    labels = np.array([[study.labels.get(name, 0) for name in OBSERVATIONS] for study in studies])
    rows = [*_prevalence_rows(studies, labels), *_positive_rows(labels)]
    conditional = _conditional(labels)
    rows += _conditional_rows(labels, conditional)
    quartiles = {}
    for name in BOXED:
        rows += _box_rows(name, boxes[name])
        known = len(boxes[name]) > 0
        quartiles[name] = {
            axis: np.quantile(values, QUARTILES) if known else np.full(3, np.nan)
            for axis, values in zip(AXES, boxes[name].T, strict=True)
        }
    return Calibration(source, len(studies), tuple(rows), quartiles, conditional)


def read_drawn(folder: Path) -> Iterator[Drawn]:
    """The studies of a written phantom, of any layout: what is truly drawn, not what the tables hand out."""
    paths = sorted((folder / HIDDEN / "records").glob("*.json"))
    if not paths:
        raise DataError(f"{folder}: no phantom there; write one first (wsrpn-vl phantom write {folder})")
    try:
        size = json.loads((folder / HIDDEN / "phantom.json").read_text("utf-8"))["size"]
        for path in paths:
            for row in json.loads(path.read_text("utf-8")):
                found = ((f["name"], f["kind"], f["box"]) for f in row["findings"])
                yield Drawn(row["labels"], tuple((name, kind, _shares(box, size)) for name, kind, box in found))
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{folder}: broken records; write the phantom again (wsrpn-vl phantom write)") from None


def boxes_of(studies: Iterable[Drawn]) -> dict[str, np.ndarray]:
    """NIH class -> (n, 5) centre x, centre y, width, height and area of its boxes, as fractions."""
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in BOXED}
    for study in studies:
        has_child = any(study.labels.get(child, 0) for child in OPACITY_CHILDREN)
        for observation, kind, (x1, y1, x2, y2) in study.boxes:
            if observation == "Lung Opacity" and has_child:
                continue
            for name, (ours, word) in BOXED.items():
                if observation == ours and word in kind:
                    w, h = x2 - x1, y2 - y1
                    found[name].append(((x1 + x2) / 2, (y1 + y2) / 2, w, h, w * h))
    return {name: np.array(values, dtype=float).reshape(-1, len(AXES)) for name, values in found.items()}


def _shares(box: Sequence[float], size: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = box
    return x1 / size, y1 / size, x2 / size, y2 / size


def _prevalence_rows(studies: Sequence[Drawn], labels: np.ndarray) -> Iterator[Row]:
    published = published_priors()["chexpert_train_frontal"]["labels"]
    shares = dict(zip(OBSERVATIONS, labels.mean(0).tolist(), strict=True))
    shares[NO_FINDING] = float(np.mean([no_finding(dict(study.labels)) for study in studies]))
    for name, share in shares.items():
        wanted = published[name]["positive"]
        # CheXpert's labeller asks for more than the absence of the thirteen
        ok = None if name == NO_FINDING else abs(share - wanted) <= PREVALENCE_POINTS
        tolerance = "" if ok is None else f"± {PREVALENCE_POINTS}"
        yield _share_row("prevalence", name, wanted, share, len(labels), tolerance, ok)


def _positive_rows(labels: np.ndarray) -> Iterator[Row]:
    published = published_priors()["chexpert_train_frontal"]["positives_per_image"]
    counts = labels.sum(1)
    for k, wanted in published.items():
        yield _share_row("positives per image", k, wanted, float((counts == int(k)).mean()), len(counts), "", None)


def _share_row(group: str, name: str, wanted: float, share: float, n: int, tolerance: str, ok: bool | None) -> Row:
    half = 1.96 * float(np.sqrt(share * (1 - share) / n))
    return Row(group, name, "share of studies", wanted, share, (share - half, share + half), n, tolerance, ok)


def _conditional(labels: np.ndarray) -> np.ndarray:
    """(c, c) P(column | row); NaN in the row of a finding that is never there."""
    labels = labels.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return labels.T @ labels / labels.sum(0)[:, None]


def published_conditional() -> np.ndarray:
    """(13, 13) CheXpert's P(column | row) in the order of the observations."""
    table = published_priors()["chexpert_train_frontal"]["P(column|row)"]
    return np.array([[table[row][column] for column in OBSERVATIONS] for row in OBSERVATIONS])


def free_pairs() -> np.ndarray:
    """(13, 13) bool: pairs of different observations that the hierarchy does not settle.

    Here a child always brings Lung Opacity; CheXpert labels the parent apart (P(opacity | edema) = 0.53).
    """
    family = np.array([name == "Lung Opacity" or name in OPACITY_CHILDREN for name in OBSERVATIONS])
    parent = np.array([name == "Lung Opacity" for name in OBSERVATIONS])
    settled = (family[:, None] & parent) | (parent[:, None] & family)
    return ~settled & ~np.eye(len(OBSERVATIONS), dtype=bool)


def _conditional_rows(labels: np.ndarray, measured: np.ndarray) -> Iterator[Row]:
    """Per observation, the mean of |P(column | row) − published| over the free pairs of the row."""
    gap, use, n = np.abs(measured - published_conditional()), free_pairs(), labels.sum(0)
    for i, name in enumerate(OBSERVATIONS):
        mean = float(gap[i, use[i]].mean())
        quantity = "mean |P(other | this) − published|"
        yield Row("co-occurrence", name, quantity, 0.0, mean, (np.nan, np.nan), int(n[i]), "", None)


def _box_rows(name: str, boxes: np.ndarray) -> Iterator[Row]:
    published, n = published_priors()["boxes"][name], len(boxes)
    for k, axis in enumerate(AXES):
        values, wanted = boxes[:, k], published[axis][_PUBLISHED_QUARTILES]
        for q, share in enumerate(QUARTILES):
            if axis != "area" and share != 0.5:
                continue
            measured = float(np.quantile(values, share)) if n else np.nan
            if axis == "area":
                quantity, tolerance = f"area, {share:.0%} quantile", f"x or / {AREA_FACTOR}"
                ok = max(measured / wanted[q], wanted[q] / max(measured, 1e-9)) <= AREA_FACTOR
            else:
                quantity, tolerance = f"median {axis}", f"± {MEDIAN_SHIFT}"
                ok = abs(measured - wanted[q]) <= MEDIAN_SHIFT
            verdict = bool(ok) if n >= FEWEST else None
            interval = _bootstrap(values, share)
            yield Row("boxes", name, quantity, wanted[q], measured, interval, n, tolerance, verdict)


def _bootstrap(values: np.ndarray, share: float) -> tuple[float, float]:
    """95 % interval of a quantile."""
    if not len(values):
        return np.nan, np.nan
    drawn = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values)))
    low, high = np.quantile(np.quantile(drawn, share, axis=1), [0.025, 0.975])
    return float(low), float(high)


def calibration_table(found: Calibration) -> Table:
    """The rows for a terminal."""
    failed = sum(row.ok is False for row in found.rows)
    judged = sum(row.ok is not None for row in found.rows)
    title = f"{found.source}: {judged - failed} of {judged} judged rows within tolerance"
    table = Table("", "what", "of", "published", "measured", "95 %", "n", "tolerance", title=title)
    for row in found.rows:
        mark = {True: "[green]ok[/]", False: "[red]!![/]", None: ""}[row.ok]
        interval = "" if np.isnan(row.interval[0]) else f"{row.interval[0]:.3f} to {row.interval[1]:.3f}"
        numbers = f"{row.published:.3f}", f"{row.measured:.3f}", interval, str(row.n)
        table.add_row(mark, f"{row.group}: {row.quantity}", row.name, *numbers, row.tolerance)
    return table


def write_calibration(found: Calibration, out: Path | str) -> Path:
    """Write the figure to ``out`` (PNG) and the numbers beside it (``.json``); returns ``out``.

    Raises: DataError unless ``out`` ends in ``.png``.
    """
    from wsrpn_vl.data.phantom.calibration_figure import calibration_figure
    from wsrpn_vl.plotting import encode

    out = png_path(out)
    record = {
        "format": "wsrpn-vl phantom calibration",
        "git_commit": git_commit(),
        "machine": machine(),
        "source": found.source,
        "studies": found.studies,
        "ok": found.ok,
        "rows": [row.record() for row in found.rows],
    }
    write_text(out.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    with replacing(out) as temporary:
        temporary.write_bytes(encode(calibration_figure(found)))
    return out
