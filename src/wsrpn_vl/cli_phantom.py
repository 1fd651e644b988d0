"""Command line of the simulator: `wsrpn-vl phantom write`, `sheet` and `calibration`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wsrpn_vl.cli_verb import JsonFlag, index_table, verb

phantom_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""The embedded simulator of chest radiographs: images, labels, reports and boxes of all 13 observations.

No data of patients is used. **write** makes a data set in one of several layouts.""",
)


@phantom_app.command("write")
@verb
def phantom_write(
    out: Annotated[Path, typer.Argument(help="Folder to write.")],
    layout: Annotated[
        str,
        typer.Option(
            help="`native` (this program's own index), or as a public data set is downloaded: `mimic-cxr-jpg`, "
            "`chest-imagenome`, `chexpert`, `nih`, `vindr`; or `dicom`, a bare folder of files."
        ),
    ] = "native",
    images: Annotated[int, typer.Option(help="How many radiographs.")] = 600,
    size: Annotated[int, typer.Option(help="Pixels per side.")] = 256,
    seed: Annotated[int, typer.Option(help="Another seed, other patients.")] = 0,
    site: Annotated[str, typer.Option(help="Hospital, A or B.")] = "A",
    splits: Annotated[
        tuple[float, float, float], typer.Option(metavar="TRAIN VAL TEST", help="Shares of patients; they sum to 1.")
    ] = (0.7, 0.15, 0.15),
    workers: Annotated[int, typer.Option(help="Processes; the files do not depend on it.")] = 2,
    spurious: Annotated[
        str, typer.Option(help="Observation that a burnt-in mark goes with in training, not in test; empty: no mark.")
    ] = "",
    spurious_rate: Annotated[float, typer.Option(help="Share of that observation's images with the mark.")] = 0.9,
    spurious_base: Annotated[float, typer.Option(help="Share of the other images with the mark.")] = 0.05,
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

    Every layout holds the same patients. A run that was cut off goes on where it stopped; the same folder with a larger
    `--images` gets more.
    """
    from wsrpn_vl.data.phantom.traps import Traps
    from wsrpn_vl.data.phantom.writer import write_phantom

    traps = Traps(
        spurious=spurious,
        spurious_rate=spurious_rate,
        spurious_base=spurious_base,
        wrong_report=wrong_report,
        vague_report=vague_report,
        duplicate_report=duplicate_report,
        poor_quality=poor_quality,
        label_noise=label_noise,
    )
    path = write_phantom(
        out,
        images=images,
        size=size,
        seed=seed,
        site=site,
        splits=splits,
        workers=workers,
        layout=layout,
        traps=traps,
    )
    result: dict[str, Any] = {"path": str(path), "images": images, "layout": layout}
    if layout == "native":
        from wsrpn_vl.data.index import read_index

        result["show"] = index_table(read_index(path))
    return result


@phantom_app.command("sheet")
@verb
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
@verb
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
