"""Every reader on what of its data set can be had: real annotation files, or the phantom in that layout.

    python benchmarks/readers.py --work runs/readers --images 400

Real annotation files come with the package torchxrayvision (found, never imported); their images are not needed. Of
each, the index is made and its counts are compared with the published ones. The phantom is written in each layout it
knows, read back, and compared with its own native index: views, labels and words of the same images. Times are of one
process, index written. Results go to ``benchmarks/results/readers.json``; ``benchmarks/tables.py`` makes the page.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from _runs import RESULTS
from wsrpn_vl.data import audit
from wsrpn_vl.data.index import boxes_path, read_index
from wsrpn_vl.data.phantom.writer import write_phantom
from wsrpn_vl.data.sources import build_index
from wsrpn_vl.files import write_text
from wsrpn_vl.provenance import git_commit, machine, sha256_file

PADCHEST = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
REAL: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "nih": (("Data_Entry_2017_v2020.csv.gz", "BBox_List_2017.csv.gz"), {}),
    "chexpert": (("chexpert_train.csv.gz",), {}),
    "vindr": (("vinbigdata-train.csv.gz",), {}),
    "rsna": (("kaggle_stage_2_train_labels.csv.zip", "kaggle_stage_2_train_images_dicom_headers.csv.gz"), {}),
    "siim": (("siim-pneumothorax-train-rle.csv.gz",), {}),
    "padchest": ((PADCHEST,), {"views": "all"}),
    "openi": (("NLMCXR_reports.tgz", "nlmcxr_dicom_metadata.csv.gz"), {"view_table": "nlmcxr_dicom_metadata.csv.gz"}),
}
RENAMED = {
    "chexpert_train.csv.gz": "train.csv.gz",
    "vinbigdata-train.csv.gz": "train.csv.gz",
    "siim-pneumothorax-train-rle.csv.gz": "train-rle.csv.gz",
}
LAYOUTS = {
    "mimic-cxr-jpg": "mimic",
    "chest-imagenome": "imagenome",
    "chexpert": "chexpert",
    "nih": "nih",
    "vindr": "vindr",
    "dicom": "dicom",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/readers"))
    parser.add_argument("--images", type=int, default=400, help="of each phantom")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    record: dict[str, Any] = {"git_commit": git_commit(), "machine": machine(), "real": {}, "phantom": {}}
    for source, (files, options) in REAL.items():
        record["real"][source] = real(source, files, options, args.work)
        print(source, json.dumps(record["real"][source])[:160])
    for layout, source in LAYOUTS.items():
        record["phantom"][layout] = phantom(layout, source, args)
        print(layout, json.dumps(record["phantom"][layout])[:160])
    print(write_text(RESULTS / "readers.json", json.dumps(record, indent=1) + "\n"))


def real(source: str, files: tuple[str, ...], options: dict[str, Any], work: Path) -> dict[str, Any]:
    """The index of the real files, and its counts beside the published ones."""
    root = work / f"real_{source}"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name in files:
        place(real_file(name), root)
    if source == "nih":
        split_lists(root)
    path, seconds = timed(lambda: build_index(source, root, work / f"{source}.parquet", check_files=False, **options))
    index = read_index(path)
    counts = audit.counts(index)
    other = audit.differing(counts)
    boxes = boxes_path(path)
    return {
        "files": {name: sha256_file(real_file(name))[:16] for name in files},
        "images": index.frame.height,
        "classes": len(index.classes),
        "boxes": pl.read_parquet(boxes).height if boxes.exists() else 0,
        "counts": len(counts),
        "equal": len(counts) - len(other),
        "differing": [f"{' '.join(filter(None, (c.scope, c.what)))}: {c.here} for {c.published}" for c in other],
        "seconds": round(seconds, 2),
        "notes": index.notes,
    }


def real_file(name: str) -> Path:
    """A data file of torchxrayvision."""
    spec = find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit('torchxrayvision is not installed; pip install "wsrpn-vl[dev]"')
    return Path(spec.submodule_search_locations[0]) / "data" / name


def place(file: Path, root: Path) -> None:
    """The file as it is downloaded, under the name that its data set gives it."""
    if file.suffix == ".zip":
        zipfile.ZipFile(file).extractall(root)
    elif file.name.startswith(("Data_Entry", "BBox")):
        (root / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    else:
        shutil.copy(file, root / RENAMED.get(file.name, file.name))


def split_lists(root: Path) -> None:
    """NIH's split lists are not in the package: all boxed images test, all others training (data sizes apart)."""
    rows = (root / "Data_Entry_2017_v2020.csv").read_text().splitlines()[1:]
    boxed = {row.split(",")[0][:8] for row in (root / "BBox_List_2017.csv").read_text().splitlines()[1:]}
    names = [row.split(",")[0] for row in rows if row]
    (root / "test_list.txt").write_text("".join(f"{n}\n" for n in names if n[:8] in boxed))
    (root / "train_val_list.txt").write_text("".join(f"{n}\n" for n in names if n[:8] not in boxed))


def phantom(layout: str, source: str, args: argparse.Namespace) -> dict[str, Any]:
    """The phantom in a layout, read back as that data set, beside its own index."""
    common = {"images": args.images, "size": 96, "seed": 4, "progress": False, "workers": 2}
    native = read_index(write_phantom(args.work / "phantom_native", **common)).frame
    root = args.work / f"phantom_{layout}"
    write_phantom(root, layout=layout, **common)
    options = {"mimic": str(root)} if source == "imagenome" else {}
    path, seconds = timed(lambda: build_index(source, root, args.work / f"phantom_{layout}.parquet", **options))
    index = read_index(path)
    boxes = boxes_path(path)
    return {
        "source": source,
        "images": index.frame.height,
        "of": native.height,
        "views_equal": sorted(index.frame["view"].to_list()) == sorted(native["view"].to_list()),
        "texts": index.frame["text"].count(),
        "triples": index.frame["triples"].count(),
        "boxes": pl.read_parquet(boxes).height if boxes.exists() else 0,
        "seconds": round(seconds, 2),
        "notes": index.notes,
    }


def timed(call: Callable[[], Path]) -> tuple[Path, float]:
    began = time.perf_counter()
    return call(), time.perf_counter() - began


if __name__ == "__main__":
    main()
