"""Command line of what is done to a data set before training: `wsrpn-vl prepare`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.markup import escape

from wsrpn_vl.cli_verb import JsonFlag, verb


@verb
def prepare(
    index: Annotated[Path, typer.Argument(help="Table written by `index` or `phantom write`.")],
    size: Annotated[
        int, typer.Option(help="Side of the square network input, pixels; the recipe's `image_size`.")
    ] = 224,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    root: Annotated[str, typer.Option(help="Folder of the images, where it is not the recorded one.")] = "",
    frontal_only: Annotated[
        bool, typer.Option("--frontal-only", help="Leave lateral views out, as training does by default.")
    ] = False,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Decode and resize all images of a table once, in parallel, so that training starts at once.

    Ctrl-C keeps what is done, and the same command goes on. Files that cannot be read are listed beside the table in
    `….broken.txt`; training, prediction and evaluation then leave them out and say how many.
    """
    from wsrpn_vl.data.prepare import prepare as run
    from wsrpn_vl.files import size_text

    done = run(index, size=size, workers=workers, root=root, frontal_only=frontal_only)
    rate = f", {done.decoded / done.seconds:.1f} images/s" if done.decoded and done.seconds else ""
    lines = [f"{done.images - len(done.broken)} of {done.images} images, {size_text(done.bytes)}"]
    lines.append(f"{done.decoded} decoded now in {done.seconds:.0f} s{rate}")
    if done.broken:
        lines.append(f"{len(done.broken)} cannot be read and are left out; they are listed in {done.listed}")
    return {
        "path": str(done.folder),
        "images": done.images,
        "decoded": done.decoded,
        "seconds": round(done.seconds, 2),
        "bytes": done.bytes,
        "broken": done.broken,
        "notes": done.notes,
        "show": Group(*(escape(line) for line in [*lines, *done.notes])),
    }


@verb
def label(
    index: Annotated[Path, typer.Argument(help="Table with reports, written by `index`.")],
    labels: Annotated[
        str, typer.Option(help="`fill`: label the observations that have no labels; `replace` all; `keep`.")
    ] = "fill",
    triples: Annotated[
        str,
        typer.Option(help="`fill` rows without triples, `replace` all, or `keep`; `labels`: make them from labels."),
    ] = "fill",
    workers: Annotated[int, typer.Option(help="Processes; 0: one a core.")] = 0,
    as_json: JsonFlag = False,
) -> dict[str, Any]:
    """Read the reports of a table: labels of the 13 observations, triples, and how far each text can be trusted.

    The table is written anew in its place. `data.text_weight=confidence` then weighs the words in training.
    """
    from wsrpn_vl.data.words import label_index, triples_of_labels

    if triples == "labels":
        made = triples_of_labels(index)
        return {"path": str(index), "triples": made, "show": f"{made:,} images have triples made from their labels"}
    done = label_index(index, labels=labels, triples=triples, workers=workers)
    lines = [
        f"{done.reports:,} texts of {done.images:,} images; {done.silent:,} images' texts state nothing",
        f"estimated to be another image's: {done.wrong_share:.1%}; mean confidence {done.mean_confidence:.2f}",
        "read as present: " + ", ".join(f"{name} {n:,}" for name, n in done.positives.items()),
    ]
    return {"path": str(index), **asdict(done), "show": Group(*(escape(line) for line in lines))}
