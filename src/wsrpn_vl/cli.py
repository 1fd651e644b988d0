"""Command line: one verb per job, no logic. Every error is one line; the last line of output is the path written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wsrpn_vl import __version__
from wsrpn_vl.errors import WsrpnVlError

app = typer.Typer(
    name="wsrpn-vl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find and box pathologies in chest radiographs, trained without a single box.

The usual order: **index** (or **phantom write**) → **doctor** → **train** → **predict** → **evaluate** → **report**.

Try it without any data:

- `wsrpn-vl phantom write data/phantom`
- `wsrpn-vl train phantom --index data/phantom/index.parquet --out runs/first`
- `wsrpn-vl report runs/first`

Research use only; not a medical device.""",
)
phantom_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""The embedded simulator of chest radiographs: images, labels, reports and boxes of all 13 observations.

No data of patients is used. **write** makes a data set in one of several layouts.""",
)
app.add_typer(phantom_app, name="phantom")

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines instead of text.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="`key=value` overrides, e.g. `train.epochs=4 data.image_size=128`.")
]


class _Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


def _verb(function: Callable[..., dict[str, Any]]) -> Callable[..., None]:
    """Run a verb; print what it returns: text lines and the path, or one JSON object. Errors become one line."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            result = function(*args, **kwargs)
        except (WsrpnVlError, OSError) as error:
            line = " ".join((str(error) if isinstance(error, WsrpnVlError) else _file_error(error)).split())
            print(
                json.dumps({"error": line}) if as_json else f"error: {line}", file=sys.stdout if as_json else sys.stderr
            )
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("error: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None
        shown, code = result.pop("show", None), result.pop("code", 0)
        if as_json:
            print(json.dumps(result, default=str))
            raise typer.Exit(code)
        if shown is not None:
            Console(width=None if sys.stdout.isatty() else 160).print(shown)
        if "path" in result:
            print(result["path"])
        raise typer.Exit(code)

    return run


@app.command()
@_verb
def index(
    source: Annotated[str, typer.Argument(help="`nih`, `folder` (any images, with an optional CSV) or `phantom`.")],
    root: Annotated[Path, typer.Argument(help="The data set as downloaded.")],
    out: Annotated[Path, typer.Option(help="Table to write.")] = Path("index.parquet"),
    val_share: Annotated[float, typer.Option(help="Share of training patients held out for validation.")] = 0.15,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Read a data set's own files into one validated table (Parquet): images, splits, labels, words.

    Boxes go to a second table beside it that only **evaluate** opens.
    """
    from wsrpn_vl.data.index import read_index
    from wsrpn_vl.data.sources import build_index

    options = {} if source == "phantom" else {"val_share": val_share}
    path = build_index(source, root, out, **options)
    table = read_index(path)
    counts = dict(sorted(table.frame["split"].value_counts().iter_rows()))
    return {
        "path": str(path),
        "images": table.frame.height,
        "splits": counts,
        "notes": table.notes,
        "show": _index_table(table),
    }


@app.command()
@_verb
def doctor(
    index: Annotated[Path, typer.Argument(help="Table written by `index` or `phantom write`.")],
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Check that images can be read, splits do not leak, labels and words make sense, and what this machine has.

    Exit code 1 when a check fails.
    """
    from wsrpn_vl.data.doctor import diagnose

    checks = diagnose(index)
    table = Table("", "check", "what was found", "mend", title=str(index))
    for c in checks:
        table.add_row(
            "[green]ok[/]" if c.ok else "[red]!![/]", c.name, escape(c.detail), "" if c.ok else escape(c.mend)
        )
    failed = sum(not c.ok for c in checks)
    rows = [{"name": c.name, "ok": c.ok, "detail": c.detail, "mend": c.mend} for c in checks]
    return {"path": str(index), "failed": failed, "checks": rows, "show": table, "code": int(failed > 0)}


@phantom_app.command("write")
@_verb
def phantom_write(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    layout: Annotated[
        str,
        typer.Option(
            help="`native` (this program's own index), or as a public data set is downloaded: `mimic-cxr-jpg`, "
            "`chest-imagenome`, `chexpert`, `nih`, `vindr`; or `dicom`, a bare folder of files."
        ),
    ] = "native",
    images: Annotated[int, typer.Option(min=1, help="How many radiographs.")] = 600,
    size: Annotated[int, typer.Option(help="Pixels per side.")] = 256,
    seed: Annotated[int, typer.Option(help="Another seed, other patients.")] = 0,
    site: Annotated[str, typer.Option(help="Hospital, A or B.")] = "A",
    workers: Annotated[int, typer.Option(min=1, help="Processes; the files do not depend on it.")] = 2,
    spurious: Annotated[
        str, typer.Option(help="Observation that a burnt-in mark goes with in training, not in test; empty: no mark.")
    ] = "",
    spurious_rate: Annotated[float, typer.Option(help="Share of that observation's images with the mark.")] = 0.9,
    wrong_report: Annotated[float, typer.Option(help="Share of studies with the words of another study.")] = 0.0,
    vague_report: Annotated[float, typer.Option(help="Share of reports that name no finding.")] = 0.0,
    duplicate_report: Annotated[float, typer.Option(help="Share of stock reports, word for word the same.")] = 0.0,
    poor_quality: Annotated[
        float, typer.Option(help="Share of under-exposed, moved, rotated or clipped images.")
    ] = 0.0,
    label_noise: Annotated[
        float, typer.Option(help="Share of positive labels lost in train and val; as many are added.")
    ] = 0.0,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Write simulated chest radiographs with labels, reports and (for evaluation) boxes of all 13 observations.

    Every layout holds the same patients. A run that was cut off goes on where it stopped.
    """
    from wsrpn_vl.data.phantom.traps import Traps
    from wsrpn_vl.data.phantom.writer import write_phantom

    traps = Traps(
        spurious=spurious,
        spurious_rate=spurious_rate,
        wrong_report=wrong_report,
        vague_report=vague_report,
        duplicate_report=duplicate_report,
        poor_quality=poor_quality,
        label_noise=label_noise,
    )
    path = write_phantom(
        out, images=images, size=size, seed=seed, site=site, workers=workers, layout=layout, traps=traps
    )
    result: dict[str, Any] = {"path": str(path), "images": images, "layout": layout}
    if layout == "native":
        from wsrpn_vl.data.index import read_index

        result["show"] = _index_table(read_index(path))
    return result


@phantom_app.command("sheet")
@_verb
def phantom_sheet(
    out: Annotated[Path, typer.Argument(help="PNG to write.")],
    seed: Annotated[int, typer.Option(help="Another seed, other patients.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels per picture.")] = 256,
    finding: Annotated[
        list[str] | None, typer.Option(help="Observation or `No Finding`; repeatable. Default: all 14.")
    ] = None,
    columns: Annotated[int, typer.Option(help="Pictures side by side.")] = 6,
    rows: Annotated[int, typer.Option(help="Rows of each finding.")] = 1,
    site: Annotated[str, typer.Option(help="Hospital.")] = "A",
    beside: Annotated[
        Path | None, typer.Option(help="NIH folder, or one with an index: real images of the label follow.")
    ] = None,
    boxes: Annotated[bool, typer.Option("--boxes", help="Draw the phantom's boxes.")] = False,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Draw a contact sheet: each finding alone on several patients, and real radiographs of the same label."""
    from wsrpn_vl.data.phantom.sheets import contact_sheet

    path = contact_sheet(
        out,
        seed=seed,
        size=size,
        findings=finding or (),
        columns=columns,
        rows=rows,
        site=site,
        beside=beside,
        boxes=boxes,
    )
    return {"path": str(path)}


@phantom_app.command("calibration")
@_verb
def phantom_calibration(
    folder: Annotated[Path, typer.Argument(help="Phantom of the native layout.")],
    out: Annotated[Path | None, typer.Option(help="Figure (PNG); the numbers go beside it as JSON.")] = None,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Compare a written phantom with published statistics: prevalence, co-occurrence, box position and size.

    Exit code 1 when a row is out of tolerance.
    """
    from wsrpn_vl.data.phantom.calibration import calibrate, calibration_table, write_calibration

    found = calibrate(folder)
    path = write_calibration(found, out or folder / "calibration.png")
    failed = sum(row.ok is False for row in found.rows)
    return {
        "path": str(path),
        "failed": failed,
        "rows": [row.record() for row in found.rows],
        "show": calibration_table(found),
        "code": int(failed > 0),
    }


@app.command()
@_verb
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe name (see `wsrpn-vl config`) or a YAML file.")],
    overrides: Overrides = None,
    index: Annotated[str, typer.Option(help="Table to train on; the same as `data.index=…`.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("runs/run"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out from its last saved state.")
    ] = False,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Train through the curriculum: detection alone, then detection + alignment + consistency. No box is read.

    Writes metrics, TensorBoard, and the best and last checkpoints. Ctrl-C saves the state; `--resume` goes on exactly.
    """
    from wsrpn_vl.config import load_config

    extra = [f"data.index={json.dumps(index)}"] if index else []  # quoted: an override's value is YAML
    chosen = load_config(recipe, [*(overrides or []), *extra])
    from wsrpn_vl.train.loop import fit  # a wrong key is told before torch is loaded

    path = fit(chosen, out, resume)
    return {"path": str(path), "run": str(out)}


@app.command()
@_verb
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="Run or checkpoint folder.")],
    inputs: Annotated[list[str] | None, typer.Argument(help="PNG, JPEG or DICOM files, folders or globs.")] = None,
    index: Annotated[str, typer.Option(help="Predict a split of this table instead of files.")] = "",
    split: Annotated[_Split, typer.Option(help="Which split of the table.")] = _Split.test,
    out: Annotated[Path | None, typer.Option(help="Folder to write; default `predictions` in the run.")] = None,
    overlays: Annotated[
        int, typer.Option(help="Overlay PNGs to draw; -1 = all. Default: all files, none of a table.")
    ] = -2,
    heatmaps: Annotated[int, typer.Option(help="Images of which heatmaps are kept; -1 = all.")] = 0,
    min_score: Annotated[float, typer.Option(help="Draw boxes from this score on.")] = 0.2,
    decode: Annotated[
        list[str] | None, typer.Option(help="`key=value` of the recipe's decode section, e.g. `merge=wbf`; repeatable.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Boxes, class probabilities and heatmaps: COCO JSON, CSV, Parquet and overlay PNGs, in original pixels."""
    from wsrpn_vl.errors import ConfigError

    if bool(inputs) == bool(index):
        raise ConfigError("give either files (PNG, JPEG, DICOM) or --index, not both")
    from wsrpn_vl.serve.batch import PredictOptions, predict_inputs, predict_split

    drawn = overlays if overlays != -2 else 0 if index else -1
    options = PredictOptions(out, drawn, heatmaps, min_score, device, tuple(decode or ()))
    if index:
        path = predict_split(checkpoint, Path(index), split.value, options)
    else:
        path = predict_inputs(checkpoint, inputs or [], options)
    return {"path": str(path)}


@app.command()
@_verb
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="predictions.parquet, or anybody's detections as COCO JSON.")],
    index: Annotated[Path, typer.Option(help="Table with the truth beside it.")],
    split: Annotated[_Split, typer.Option(help="Split to judge on.")] = _Split.test,
    validation: Annotated[
        Path | None, typer.Option(help="Predictions of the validation split; thresholds come from it alone.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON to write; default beside the predictions.")] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples of the images for 95 % intervals.")] = 1000,
    allow_missing: Annotated[bool, typer.Option(help="Count images without predictions as empty.")] = False,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Judge a predictions file: AP@IoU, F1, AUROC, retrieval, localisation, box spread, with blind reference rows."""
    from wsrpn_vl.evaluate.score import evaluate_predictions, render_table, write_results

    target = out or predictions.parent / "results.json"
    results = evaluate_predictions(
        predictions,
        index,
        split.value,
        validation=validation,
        resamples=resamples,
        allow_missing=allow_missing,
        provenance={"command": " ".join(["wsrpn-vl", *sys.argv[1:]])},
    )
    write_results(target, results)
    return {"path": str(target), "results": results, "show": render_table(results)}


@app.command()
@_verb
def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    split: Annotated[_Split, typer.Option(help="Split to report.")] = _Split.test,
    out: Annotated[Path | None, typer.Option(help="HTML to write; default `report.html` in the run.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """One self-contained HTML page: curves, ROC, AP, boxes, heatmaps, retrieval, provenance.

    Predicts and evaluates what the run does not have yet.
    """
    from wsrpn_vl.evaluate.report import write_report
    from wsrpn_vl.serve.batch import complete_run

    complete_run(run, split.value, device)
    return {"path": str(write_report(run, split=split.value, out=out))}


@app.command()
@_verb
def config(
    recipe: Annotated[str, typer.Argument(help="Recipe name or YAML file; empty: the defaults.")] = "",
    overrides: Overrides = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="List every knob with its type, default and help.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Only what differs from the defaults.")] = False,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Show what a recipe with overrides amounts to, or explain every knob."""
    from wsrpn_vl.config import config_yaml, describe, load_config, recipe_names

    if explain:
        table = Table("key", "type", "default", "what it does")
        for key, kind, default, text in describe():
            table.add_row(key, kind, str(default), text)
        return {
            "knobs": [dict(zip(("key", "type", "default", "help"), row, strict=True)) for row in describe()],
            "show": table,
        }
    chosen = load_config(recipe, overrides or [])
    names = "" if recipe else f"# recipes: {', '.join(recipe_names())}\n"
    return {"config": chosen.model_dump(mode="json"), "show": names + config_yaml(chosen, full=not diff).rstrip()}


def _file_error(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or str(error) or type(error).__name__
    return f"{place}{reason}; check that the place exists, may be written and has free space, or choose another"


def _index_table(index: Any) -> Table:
    from wsrpn_vl.labels import label_column

    frame = index.frame
    splits = sorted(
        frame["split"].unique().to_list(),
        key=lambda s: ("train", "val", "test").index(s) if s in ("train", "val", "test") else 9,
    )
    table = Table("class", *(f"{s or '(none)'}" for s in splits), title=f"{index.dataset}: positives per split")
    table.add_row("[bold]images", *(str(frame.filter(frame["split"] == s).height) for s in splits))
    for name in index.classes:
        if label_column(name) in frame.columns:
            table.add_row(
                name, *(str(int((frame.filter(frame["split"] == s)[label_column(name)] == 1).sum())) for s in splits)
            )
    return table


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
