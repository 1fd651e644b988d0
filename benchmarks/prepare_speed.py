"""How fast `wsrpn-vl prepare` is beside mere decoding of the same files, and what its shortcut changes.

    python benchmarks/prepare_speed.py --work runs/prepare_speed

Grey JPEGs as in MIMIC-CXR-JPG (phantom pictures enlarged to 2544 x 3056 and similar, with noise, quality 95) and of the
size of NIH's (1024 x 1024) are written once. Then, the files being in memory, images per second of ``prepare`` with 1
and 2 workers, and of Pillow decoding every pixel and doing nothing else, in 1 and 2 running processes. Each is the best
of ``--repeat`` runs. ``images_per_s_with_start`` counts the start of the processes too, about a second that a large set
does not notice. ``pixels``: grey levels by which
decoding at a fraction of the size departs from full decoding and resizing in float32, and what it gains.
The result goes to ``benchmarks/results/prepare_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from _runs import RESULTS
from wsrpn_vl.data import pixels
from wsrpn_vl.data.index import COLUMNS, read_index, write_index
from wsrpn_vl.data.runners import processes
from wsrpn_vl.data.store import fill, look_up, store_folder
from wsrpn_vl.files import write_text
from wsrpn_vl.placement import Placement
from wsrpn_vl.provenance import git_commit, machine

SHAPES = {"mimic": ((2544, 3056), (3056, 2544), (2539, 3050), (2022, 2022)), "nih": ((1024, 1024),)}
WORKERS = (1, 2)
BASES = 8  # different pictures, each enlarged several times with other noise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/prepare_speed"))
    parser.add_argument("--images", type=int, default=120, help="large ones; of the smaller kind four times as many")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--check", type=int, default=16, help="files whose pixels are compared")
    args = parser.parse_args()
    kinds = {kind: measured(kind, args) for kind in SHAPES}
    result = {
        "format": "wsrpn-vl prepare speed",
        "git_commit": git_commit(),
        "machine": machine(),
        "config": {"images": args.images, "size": args.size, "repeat": args.repeat, "quality": 95},
        "kinds": kinds,
        "bound": bound(kinds["mimic"]),
    }
    print(write_text(RESULTS / "prepare_speed.json", json.dumps(result, indent=1) + "\n"))


def measured(kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """All measurements of one kind of file."""
    count = args.images * (4 if kind == "nih" else 1)
    folder = args.work / f"{kind}{count}"
    names = written(folder, kind, count)
    paths = [folder / name for name in names]
    out: dict[str, Any] = {
        "megabytes_per_file": round(sum(p.stat().st_size for p in paths) / len(paths) / 1e6, 3),
        "plain_decoding": {str(n): plain(paths, n, args.repeat) for n in WORKERS},
        "prepare": {str(n): prepared(folder, names, n, args) for n in WORKERS},
    }
    for n in map(str, WORKERS):
        done = out["prepare"][n]
        done["of_plain_decoding"] = round(done["images_per_s"] / out["plain_decoding"][n]["images_per_s"], 3)
    out["one_image_cpu_ms"] = stages(paths[: args.check], args.size)
    out["pixels"] = differences(paths[: args.check], args.size)
    return out


def written(folder: Path, kind: str, count: int) -> list[str]:
    """Names of the files in ``folder``, written where they are missing."""
    from wsrpn_vl.data.phantom.writer import write_phantom  # not in the workers, which import this file too

    base = folder.parent / "base"
    write_phantom(base, images=BASES, size=512, seed=11, progress=False)
    sources = sorted((base / "images").rglob("*.png"))
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for i in range(count):
        path = folder / f"{i:04d}.jpg"
        names.append(path.name)
        if path.exists():
            continue
        shape = SHAPES[kind][i % len(SHAPES[kind])]
        with Image.open(sources[i % len(sources)]) as image:
            large = np.asarray(image.convert("L").resize(shape, Image.Resampling.BICUBIC), np.float32)
        noise = np.random.default_rng(i).normal(0, 3, large.shape)
        Image.fromarray((large + noise).clip(0, 255).astype(np.uint8)).save(path, quality=95)
    return names


def index_of(folder: Path, names: Sequence[str], path: Path) -> Path:
    """An index without labels over the first files."""
    n = len(names)
    given = {
        "dataset": ["speed"] * n,
        "split": [""] * n,
        "image_id": [Path(name).stem for name in names],
        "view": ["PA"] * n,
        "path": list(names),
    }
    frame = pl.DataFrame({c: given.get(c, [None] * n) for c in COLUMNS}, schema=COLUMNS)
    facts: dict[str, Any] = {"dataset": "speed", "classes": [], "box_complete": {}, "boxed_classes": []}
    return write_index(frame, None, path, root=folder, text_origin="none", **facts)


def prepared(folder: Path, names: Sequence[str], workers: int, args: argparse.Namespace) -> dict[str, float]:
    """What `prepare` does on an empty store: seconds from start to end, and images per second once all workers run.

    The latter is counted from the first finished shard, when every worker has about done its first.
    """
    place = args.work / "store"
    seconds, rates = [], []
    for _ in range(args.repeat):
        shutil.rmtree(place, ignore_errors=True)
        index = read_index(index_of(folder, names, place / "index.parquet"))
        store = store_folder(index, args.size)
        seen: list[tuple[float, int]] = []
        began = time.perf_counter()
        found = look_up(store, index.root, names, args.size)
        fill(store, index.root, found, args.size, processes(workers), "", noted(seen))
        seconds.append(time.perf_counter() - began)
        (_, zero), (first, shard), (last, count) = seen[0], seen[1], seen[-1]
        rates.append((count - workers * (shard - zero)) / (last - first))
    return {
        "seconds": round(min(seconds), 3),
        "images_per_s_with_start": round(len(names) / min(seconds), 1),
        "images_per_s": round(max(rates), 1),
    }


def decode_fully(path: str) -> None:
    """Every pixel, and nothing else."""
    with Image.open(path) as image:
        image.load()


def plain(paths: Sequence[Path], workers: int, repeat: int) -> dict[str, float]:
    """Plain decoding in running processes."""
    texts = [str(path) for path in paths]
    if workers == 1:
        seconds = best(lambda: timed(lambda: [decode_fully(text) for text in texts]), repeat)
    else:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            list(pool.map(decode_fully, texts[: 2 * workers]))
            seconds = best(lambda: timed(lambda: list(pool.map(decode_fully, texts, chunksize=4))), repeat)
    return {"seconds": round(seconds, 3), "images_per_s": round(len(paths) / seconds, 1)}


def stages(paths: Sequence[Path], size: int) -> dict[str, float]:
    """Milliseconds per image in one process: decoding at 1/1 to 1/8 of the size, and the whole of ``load_square``."""

    def decode_at(scale: int) -> Callable[[Path], None]:
        def run(path: Path) -> None:
            with Image.open(path) as image:
                image.draft(None, (image.width // scale, image.height // scale))
                image.load()

        return run

    out = {f"decode_1/{scale}": per_image(decode_at(scale), paths) for scale in (1, 2, 4, 8)}
    return out | {"load_square": per_image(lambda path: pixels.load_square(path, size), paths)}


def differences(paths: Sequence[Path], size: int) -> dict[str, dict[str, float]]:
    """Of each REDUCTION (inf: never): milliseconds, and grey levels off full decoding and float32 resizing."""
    wanted = [full_resolution(path, size) for path in paths]
    kept, out = pixels.REDUCTION, {}
    try:
        for reduction in (math.inf, 4.0, 2.0):
            pixels.REDUCTION = reduction if math.isfinite(reduction) else 1e6
            off = [np.abs(pixels.load_square(p, size)[0] - w) for p, w in zip(paths, wanted, strict=True)]
            out[str(reduction)] = {
                "cpu_ms": per_image(lambda path: pixels.load_square(path, size), paths),
                "largest": float(max(o.max() for o in off)),
                "mean": round(float(np.mean([o.mean() for o in off])), 4),
            }
    finally:
        pixels.REDUCTION = kept
    out["float32"] = {"cpu_ms": per_image(lambda path: full_resolution(path, size), paths), "largest": 0.0, "mean": 0.0}
    return out


def full_resolution(path: Path, size: int) -> np.ndarray:
    """(size, size) float: all pixels decoded, resized in float32, rounded last."""
    image = pixels.read_image(path)
    place = Placement(image.shape[1], image.shape[0], size)
    (w, h), (x, y) = place.resized, place.offset
    square = np.zeros((size, size), np.float32)
    content = np.asarray(Image.fromarray(image).resize((w, h), Image.Resampling.BILINEAR))
    square[y : y + h, x : x + w] = (content.clip(0, 1) * np.float32(255)).round()
    return square


def bound(kind: dict[str, Any]) -> str:
    """What limits the large files, from the numbers."""
    one = kind["one_image_cpu_ms"]
    entropy, full, all_of_it = one["decode_1/8"], one["decode_1/1"], one["load_square"]
    return (
        f"entropy decoding: {entropy:.1f} of the {all_of_it:.1f} ms of one large image are left where an eighth of the "
        f"size is decoded, which spares nearly everything else; decoding every pixel takes {full:.1f} ms"
    )


def noted(seen: list[tuple[float, int]]) -> Callable[[int, int], None]:
    """A report of progress that writes down when it was made."""
    return lambda done, total: seen.append((time.perf_counter(), done))


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def best(seconds: Callable[[], float], repeat: int) -> float:
    return min(seconds() for _ in range(repeat))


def per_image(work: Callable[[Path], object], paths: Sequence[Path]) -> float:
    """Milliseconds of processor time, best of three passes."""

    def once() -> float:
        began = time.process_time()
        for path in paths:
            work(path)
        return time.process_time() - began

    return round(best(once, 3) / len(paths) * 1000, 2)


if __name__ == "__main__":
    main()
