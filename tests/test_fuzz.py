"""Damaged files against every reader: a few cases of each entry point. ``benchmarks/fuzz.py`` runs thousands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.fuzz import Bench, Entry, run_cases
from fixtures.fuzz_entries import ENTRIES, entry_file
from fixtures.fuzz_templates import TEMPLATES
from wsrpn_vl.data.sources import SOURCES
from wsrpn_vl.errors import DataError

CASES = 12


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a data set, written when it is first asked for."""
    written: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            TEMPLATES[name][0](written[name])
        return written[name]

    return folder


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_damage_is_refused_in_one_line_or_read(entry: Entry, template: Callable[[str], Path], tmp_path: Path) -> None:
    root = template(entry.template)
    bench = Bench(replace(entry, file=entry_file(entry, root)), root, tmp_path, TEMPLATES[entry.template][1])
    run_cases(bench, CASES, 0)
    assert bench.tally.cases >= CASES and bench.tally.accepted + bench.tally.refused == bench.tally.cases
    assert not bench.tally.failures


def test_every_source_is_fuzzed(template: Callable[[str], Path]) -> None:
    """Each source builds from a template, and its words for a report lie in it (else no message could tell them)."""
    built = {name.split()[0].replace("-", "_") for name in (entry.name for entry in ENTRIES)}
    assert not {s for s in SOURCES if s.split("_")[0] not in {b.split("_")[0] for b in built}} - {"phantom"}
    for name, (_, secrets) in TEMPLATES.items():
        held = b"".join(p.read_bytes() for p in template(name).rglob("*") if p.is_file()).lower()
        if not any(p.suffix in (".zip", ".tgz") for p in template(name).rglob("*")):
            assert all(secret.lower().encode() in held for secret in secrets), name


# --- the judge itself: each kind of fault is seen


def _bench(tmp_path: Path, call: Callable[[Path, Path, Path], object]) -> Bench:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.csv").write_text("id\n1\n")
    state = {"first": True}

    def later(root: Path, file: Path, target: Path) -> object:
        if state.pop("first", False):
            return None  # the undamaged file is read
        return call(root, file, target)

    return Bench(Entry("made", "csv", "", "a.csv", later), root, tmp_path / "out", ("Quittenmus",))


def _raise(error: BaseException) -> Callable[[Path, Path, Path], object]:
    def call(root: Path, file: Path, target: Path) -> object:
        raise error

    return call


def _leave(root: Path, file: Path, target: Path) -> object:
    (target / "index.parquet").write_bytes(b"half")
    raise DataError(f"{file}: broken")


def _warn(root: Path, file: Path, target: Path) -> object:
    import warnings

    warnings.warn("odd value", stacklevel=1)
    return None


def _spoil(root: Path, file: Path, target: Path) -> object:
    (root / "extra.txt").write_text("x")
    return None


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (_raise(KeyError("x")), "KeyError"),
        (_raise(MemoryError()), "MemoryError"),
        (_raise(DataError("broken")), "names no file"),
        (_raise(DataError("a.csv: the words QUITTENMUS are odd")), "tells a secret"),
        (_leave, "target was changed"),
        (_warn, "1 warning"),
        (_spoil, "own folder was changed"),
        (lambda root, file, target: print("Quittenmus"), "output tells a secret"),
    ],
)
def test_the_judge_sees_each_fault(tmp_path: Path, call: Callable[[Path, Path, Path], object], fault: str) -> None:
    bench = _bench(tmp_path, call)
    bench.run([("flip", 1)], "", False)
    assert len(bench.tally.failures) == 1 and fault in bench.tally.failures[0]["fault"]
    assert (tmp_path / "root" / "a.csv").read_text() == "id\n1\n"


def test_the_judge_accepts_a_good_refusal(tmp_path: Path) -> None:
    bench = _bench(tmp_path, _raise(DataError("a.csv: line 2 is no number; correct it")))
    for whole in ("", "gone", "folder", "same"):
        bench.run([("truncate", 1)], whole, False)
    assert not bench.tally.failures and bench.tally.refused == 4
