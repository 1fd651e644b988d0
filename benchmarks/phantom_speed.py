"""How fast the phantom is written, how much memory that takes, and whether the number of workers changes a byte.

    python benchmarks/phantom_speed.py --work runs/phantom_speed --images 1000
    python benchmarks/phantom_speed.py --work runs/phantom_speed --images 20000

Speed is end to end: start of the program, drawing, encoding, tables. Memory is the largest sum over the program and its
workers of their proportional set size (Linux; a page that several share counts once), sampled five times a second.
The result goes to ``benchmarks/results/phantom_speed/<images>x<size>.json``; ``benchmarks/tables.py`` makes the page.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from _runs import RESULTS
from wsrpn_vl.files import write_text
from wsrpn_vl.provenance import git_commit, machine

EVERY = 0.2  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/phantom_speed"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--check", type=int, default=96, help="images whose bytes are compared over workers 1 and 2")
    parser.add_argument("--layout", default="native")
    parser.add_argument("--keep", action="store_true", help="leave the timed phantom in WORK/speed")
    args = parser.parse_args()
    warm_up(args)
    measured = timed(args.work / "speed", args.images, args)
    hashes = {}
    for workers in (1, 2):
        folder = args.work / f"check{workers}"
        shutil.rmtree(folder, ignore_errors=True)
        finish(write(folder, args.check, workers, args))
        hashes[workers] = tree_hash(folder)
    result: dict[str, Any] = {
        "format": "wsrpn-vl phantom speed",
        "git_commit": git_commit(),
        "machine": machine(),
        "layout": args.layout,
        "images": args.images,
        "size": args.size,
        "workers": args.workers,
        **measured,
        "determinism": {"images": args.check, "sha256": hashes, "same": len(set(hashes.values())) == 1},
    }
    name = f"{args.images}x{args.size}" + ("" if args.layout == "native" else f"_{args.layout}")
    print(write_text(RESULTS / "phantom_speed" / f"{name}.json", json.dumps(result, indent=1) + "\n"))
    if not args.keep:
        shutil.rmtree(args.work / "speed")


def warm_up(args: argparse.Namespace) -> None:
    """Compile what is compiled once per installation, outside the measurement."""
    folder = args.work / "warm"
    shutil.rmtree(folder, ignore_errors=True)
    finish(write(folder, 4, 1, args))
    shutil.rmtree(folder)


def write(folder: Path, images: int, workers: int, args: argparse.Namespace) -> subprocess.Popen[bytes]:
    size = ["--images", str(images), "--size", str(args.size), "--workers", str(workers), "--layout", args.layout]
    return subprocess.Popen([sys.executable, "-m", "wsrpn_vl.cli", "phantom", "write", str(folder), *size])


def finish(process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        raise SystemExit(f"phantom write failed with exit code {code}")


def timed(folder: Path, images: int, args: argparse.Namespace) -> dict[str, Any]:
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    process = write(folder, images, args.workers, args)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(EVERY):
            peak[0] = max(peak[0], sum(map(proportional, tree(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        finish(process)
        seconds = time.perf_counter() - began
    finally:
        done.set()
        watcher.join()
    return {
        "seconds": round(seconds, 2),
        "images_per_s": round(images / seconds, 2),
        "peak_tree_gib": round(peak[0] / 2**20, 3),
        "largest_process_gib": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 3),
        "bytes_on_disk": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
    }


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    out, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        out.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
    return out


def proportional(pid: int) -> int:
    """Proportional set size, KiB; 0 once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def tree_hash(folder: Path) -> str:
    """SHA-256 over names and bytes of all files, hidden ones too."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
