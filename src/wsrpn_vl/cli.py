"""Command line: one verb per job, no logic. Every error is one line; the last line of output is the path written."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from wsrpn_vl import __version__
from wsrpn_vl.cli_data import label, prepare
from wsrpn_vl.cli_phantom import phantom_app
from wsrpn_vl.cli_verb import JsonFlag, index_table, pairs, verb

app = typer.Typer(
    name="wsrpn-vl",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find and box pathologies in chest radiographs, trained without a single box.

The usual order: **index** (or **phantom write**) → **doctor** → **train** → **predict** → **evaluate** → **report**.
Where there are reports, **label** reads them before training; **prepare** decodes large data sets once, in parallel.

Try it without any data:

- `wsrpn-vl phantom write data/phantom`
- `wsrpn-vl train phantom --index data/phantom/index.parquet --out runs/first`
- `wsrpn-vl report runs/first`

Research use only; not a medical device.""",
)
app.add_typer(phantom_app, name="phantom")

Overrides = Annotated[
    list[str] | None, typer.Argument(help="`key=value` overrides, e.g. `train.epochs=4 data.image_size=128`.")
]


class _Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


@app.command()
@verb
def index(
    source: Annotated[str, typer.Argument(help="Kind of data set: `nih`, `mimic`, `folder` …; see **sources**.")],
    root: Annotated[Path, typer.Argument(help="The data set as downloaded.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="`key=value` options of the source, e.g. `val_share=0.1`.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Table to write.")] = Path("index.parquet"),
    exclude: Annotated[
        list[Path] | None,
        typer.Option(help="Table or index of patients and images that must not be trained on; repeatable."),
    ] = None,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Read a data set's own files into one validated table (Parquet): images, splits, labels, words.

    Boxes go to a second table beside it that only **evaluate** opens.
    """
    from wsrpn_vl.data.index import read_index
    from wsrpn_vl.data.sources import build_index

    path = build_index(source, root, out, exclude=exclude or (), **pairs(options))
    table = read_index(path)
    counts = dict(sorted(table.frame["split"].value_counts().iter_rows()))
    return {
        "path": str(path),
        "images": table.frame.height,
        "splits": counts,
        "notes": table.notes,
        "show": Group(index_table(table), *(escape(note) for note in table.notes)),
    }


@app.command()
@verb
def sources(
    source: Annotated[str, typer.Argument(help="One source, to see its options and what it reads.")] = "",
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """The kinds of data sets that **index** reads; with a name, its options and the files it wants."""
    from wsrpn_vl.data.sources import SOURCES, about, source_options

    names = [source] if source else list(SOURCES)
    rows = [
        {"source": n, "about": about(n), "options": {k: d for k, (_, d) in source_options(n).items()}} for n in names
    ]
    if source:
        table = Table("option", "default")
        for name, default in rows[0]["options"].items():
            table.add_row(name, repr(default))
        return {"sources": rows, "show": Group(escape(rows[0]["about"]), table)}
    table = Table("source", "what it reads")
    for row in rows:
        table.add_row(row["source"], escape(row["about"].splitlines()[0]))
    return {"sources": rows, "show": table}


@app.command()
@verb
def doctor(
    index: Annotated[Path, typer.Argument(help="Table written by `index` or `phantom write`.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another index, or a table of ids, that may hold the same patients or pictures; repeatable."),
    ] = None,
    page: Annotated[Path | None, typer.Option(help="HTML page to write: checks, counts, figures, samples.")] = None,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Audit a data set: readable images, splits without leaks, counts beside the published ones, labels, words.

    Exit code 1 when a check fails.
    """
    from wsrpn_vl.data.doctor import diagnose

    checks = diagnose(index, against=against or ())
    if page:
        from wsrpn_vl.data.audit_page import write_audit

        write_audit(index, checks, page)
    table = Table("", "check", "what was found", "mend", title=str(index))
    for c in checks:
        table.add_row(
            "[green]ok[/]" if c.ok else "[red]!![/]", c.name, escape(c.detail), "" if c.ok else escape(c.mend)
        )
    failed = sum(not c.ok for c in checks)
    rows = [{"name": c.name, "ok": c.ok, "detail": c.detail, "mend": c.mend} for c in checks]
    return {"path": str(page or index), "failed": failed, "checks": rows, "show": table, "code": int(failed > 0)}


app.command()(prepare)
app.command()(label)


@app.command()
@verb
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
@verb
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
@verb
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
@verb
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
@verb
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
