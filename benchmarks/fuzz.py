"""Fuzz every file that a reader opens: damaged tables, JSON, XML, DICOM, archives, pictures, recipes, reports.

    python benchmarks/fuzz.py --cases 10000 --workers 2 [--entries NAME ...]

What a case is and how it is judged is said in ``tests/fixtures/fuzz.py``, which files there are in
``fuzz_entries.py``. Each entry runs in a process of its own with 6 GiB of address space, in chunks of 500 cases, each
chunk with its own seed; finished chunks are kept in the work folder, so a run that was stopped goes on where it was,
and one of more cases begins with those that are done. A chunk whose process dies (a decoder's crash, a hang in compiled
code) counts as a failure, and the file it died of is kept. ``--replay`` runs the recorded failures again and keeps
their files. Results: ``benchmarks/results/fuzz.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # tables of ten rows: more threads only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from fixtures.fuzz import LIMIT, Bench, run_cases  # noqa: E402
from fixtures.fuzz_damage import damaged  # noqa: E402
from fixtures.fuzz_entries import ENTRIES, entry_file  # noqa: E402
from fixtures.fuzz_templates import TEMPLATES  # noqa: E402
from wsrpn_vl.files import write_text  # noqa: E402

CHUNK = 500
MEMORY = 6 * 2**30
RESULT = ROOT / "benchmarks" / "results" / "fuzz.json"
BY_NAME = {entry.name: entry for entry in ENTRIES}


def bench_of(name: str, place: Path) -> Bench:
    entry = BY_NAME[name]
    write, secrets = TEMPLATES[entry.template]
    root = place / entry.template
    root.mkdir(parents=True)
    write(root)
    return Bench(replace(entry, file=entry_file(entry, root)), root, place / "out", secrets)


def work(name: str, cases: int, seed: int, done: list[int], folder: Path, place: Path, beat: Any) -> None:
    """The chunks of an entry that are not ``done``, one result file each; the data set lies in ``place``."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    bench = bench_of(name, place)

    def each() -> None:
        beat[1] = time.time()

    for chunk in range(-(-cases // CHUNK)):
        if chunk in done:
            continue
        beat[0], beat[1] = chunk, time.time()
        number = int.from_bytes(hashlib.sha256(f"{seed}/{name}/{chunk}".encode()).digest()[:6], "big")
        bench.tally = type(bench.tally)()
        run_cases(bench, min(CHUNK, cases - chunk * CHUNK), number, each)
        write_text(folder / f"{chunk}.json", json.dumps(vars(bench.tally) | {"number": number}))


def scratch() -> str | None:
    """Memory, where there is some: a case writes a few small files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Runner:
    """One entry in its process, started again after a death until every chunk has a result."""

    def __init__(self, name: str, cases: int, seed: int, folder: Path) -> None:
        self.name, self.cases, self.seed = name, cases, seed
        self.folder = folder / f"{seed}-{name.replace(' ', '_')}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.chunks = -(-cases // CHUNK)
        self.process: Any = None
        self.start()

    def done(self) -> list[int]:
        return [n for n in range(self.chunks) if (self.folder / f"{n}.json").exists()]

    def start(self) -> None:
        context = multiprocessing.get_context("fork")  # with everything imported: an import takes as long as 500 cases
        self.beat = context.Array("d", [-1.0, time.time()])
        self.place = Path(tempfile.mkdtemp(prefix="fuzz-", dir=scratch()))
        arguments = (self.name, self.cases, self.seed, self.done(), self.folder, self.place, self.beat)
        self.process = context.Process(target=work, args=arguments)
        self.process.start()

    def finished(self) -> bool:
        """Look after the process. A dead one, or one that has not moved for three limits, costs its chunk."""
        if self.process.is_alive() and time.time() - self.beat[1] < 3 * LIMIT:
            return False
        stuck = self.process.is_alive()
        if stuck:
            self.process.kill()
        self.process.join()
        chunk = int(self.beat[0])
        if complete := len(self.done()) == self.chunks:
            shutil.rmtree(self.place)
            return complete
        self._keep_file(chunk)
        shutil.rmtree(self.place)
        how = "hang in compiled code" if stuck else f"the process died (exit code {self.process.exitcode})"
        if chunk < 0:
            raise SystemExit(f"{self.name}: {how} before its first case")
        lost = {"cases": 0, "accepted": 0, "refused": 0, "slowest": 0.0, "messages": {}}
        write_text(self.folder / f"{chunk}.json", json.dumps({**lost, "failures": [{"fault": how, "chunk": chunk}]}))
        if len(self.done()) == self.chunks:
            return True
        self.start()
        return False

    def _keep_file(self, chunk: int) -> None:
        """The file on which the process died."""
        entry = BY_NAME[self.name]
        root = self.place / entry.template
        path = root / entry_file(entry, root)
        if path.is_file():
            target = self.folder.parent / "failed" / f"{self.name.replace(' ', '_')}-died-{chunk}-{path.name}"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)

    def result(self) -> dict[str, Any]:
        parts = [json.loads((self.folder / f"{n}.json").read_text()) for n in self.done()]
        messages = sum((Counter(part["messages"]) for part in parts), Counter())
        failures = [failure for part in parts for failure in part["failures"]]
        entry = BY_NAME[self.name]
        return {
            "file": entry.file,
            "kind": entry.kind,
            **{key: sum(part[key] for part in parts) for key in ("cases", "accepted", "refused")},
            "failures": len(failures),
            "distinct_messages": len(messages),
            "slowest_seconds": round(max((part["slowest"] for part in parts), default=0.0), 2),
            "faults": [failure["fault"][:300] for failure in failures[:5]],
        }


def commit() -> str:
    def git(*arguments: str) -> str:
        command = ("git", "--no-optional-locks", *arguments)
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" and changes" if git("status", "--porcelain", "src") else "")


def save(results: dict[str, Any], seed: int, path: Path) -> None:
    """Results of these entries beside what the file holds of others."""
    old = json.loads(path.read_text())["entries"] if path.exists() else {}
    entries = {name: {**old, **results}[name] for name in BY_NAME if name in old or name in results}
    whole = {
        "seed": seed,
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "limits": {"seconds": LIMIT, "address_space_bytes": MEMORY},
        "cases": sum(e["cases"] for e in entries.values()),
        "failures": sum(e["failures"] for e in entries.values()),
        "entries": entries,
    }
    write_text(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")


def run_all(names: list[str], cases: int, seed: int, workers: int, folder: Path, out: Path | None) -> int:
    waiting, running, results = list(names), [], {}
    start = time.time()
    while waiting or running:
        while waiting and len(running) < workers:
            running.append(Runner(waiting.pop(0), cases, seed, folder))
        time.sleep(0.2)
        for runner in [r for r in running if r.finished()]:
            running.remove(runner)
            results[runner.name] = found = runner.result()
            said = f"{found['cases']:,} cases, {found['accepted']:,} accepted, {found['refused']:,} refused"
            slow = f"slowest {found['slowest_seconds']} s, {found['distinct_messages']} messages"
            count = f"[{len(results)}/{len(names)}, {time.time() - start:,.0f} s]"
            print(f"{count} {runner.name}: {said}, {found['failures']} FAILURES, {slow}", flush=True)
            for fault in dict.fromkeys(found["faults"]):
                print(f"    {fault}", flush=True)
            if out:
                save(results, seed, out)
    return sum(found["failures"] for found in results.values())


def replay(names: list[str], seed: int, folder: Path) -> int:
    """The recorded failures again, with what comes of them now; the damaged files stay in the work folder."""
    left = 0
    for name in names:
        place = folder / f"{seed}-{name.replace(' ', '_')}"
        parts = [json.loads(path.read_text()) for path in sorted(place.glob("*.json"))]
        failures = [failure for part in parts for failure in part["failures"] if "steps" in failure]
        if not failures:
            continue
        with tempfile.TemporaryDirectory(prefix="fuzz-", dir=scratch()) as temporary:
            bench = bench_of(name, Path(temporary))
            for number, failure in enumerate(failures):
                steps = [(kind, int(value)) for kind, value in failure["steps"]]
                bench.run(steps, failure["whole"], failure["rebuild"])
                target = folder / "failed" / f"{name.replace(' ', '_')}-{number}-{bench.path.name}"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(damaged(bench.entry.kind, bench.good, steps))
            print(f"{name}: {len(failures)} failures recorded, {len(bench.tally.failures)} left")
            for fault in {failure["fault"][:300] for failure in bench.tally.failures}:
                print(f"    {fault}")
            left += len(bench.tally.failures)
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="per entry")
    parser.add_argument("--entries", nargs="+", default=None, metavar="NAME", help="names, or beginnings of them")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "wsrpn-vl-fuzz")
    parser.add_argument("--out", type=Path, default=RESULT, help="results file")
    parser.add_argument("--fresh", action="store_true", help="forget what the work folder holds of these entries")
    parser.add_argument("--trial", action="store_true", help="do not write the results file")
    parser.add_argument("--replay", action="store_true", help="run the recorded failures again")
    given = parser.parse_args()
    wanted = given.entries or [""]
    names = [name for name in BY_NAME if any(name.startswith(start) for start in wanted)]
    if given.replay:
        return int(replay(names, given.seed, given.work) > 0)
    if given.fresh:
        for name in names:
            shutil.rmtree(given.work / f"{given.seed}-{name.replace(' ', '_')}", ignore_errors=True)
    failures = run_all(names, given.cases, given.seed, given.workers, given.work, None if given.trial else given.out)
    print(f"{len(names)} entries, {failures} failures")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
