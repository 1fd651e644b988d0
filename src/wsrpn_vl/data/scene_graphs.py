"""One process's share of Chest ImaGenome's scene graphs: members of a zip file (or files) as triples, labels and boxes.

Apart from :mod:`wsrpn_vl.data.sources`, because it needs neither torch nor tables: processes start in half a second.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from wsrpn_vl.labels import OBSERVATIONS
from wsrpn_vl.text.graph_phrases import objects_in, phrases_of_graph, sentences_of
from wsrpn_vl.text.graphs import Vocabulary, Words, words_of
from wsrpn_vl.text.triples import to_json

_FAR = 1e9  # pixels; no coordinate
_LARGEST = 2**25  # bytes of a graph; the real ones have up to 500,000
_LOCAL = struct.Struct("<4s5H3L2H")  # a member's own header in a zip file


class Member(NamedTuple):
    """Where a graph lies: offset, size, method and CRC of a zip member; size -1: a file of its own."""

    image_id: str
    name: str
    offset: int = 0
    size: int = -1
    method: int = 0
    crc: int = 0


class Place(NamedTuple):
    """A box as stated: xyxy, in pixels of the original image, or of the 224 pixel frame."""

    original: bool
    x1: float
    y1: float
    x2: float
    y2: float


class Read(NamedTuple):
    """What is kept of an image's graph. triples: JSON; labels: 1, 0 or None in the order of ``OBSERVATIONS``."""

    key: str  # image id, or study id where a study is stated as a whole
    triples: str | None
    labels: tuple[int | None, ...]
    no_finding: int | None
    text: str | None = None
    view: str = ""
    sex: str | None = None
    affirmed: tuple[tuple[str, tuple[str, ...]], ...] = ()  # finding, regions; where boxes are wanted
    places: dict[str, tuple[Place, ...]] | None = None  # region -> its boxes


@dataclass
class Tally:
    """What was read of many graphs: rows, names of broken members, and counts of what was left out."""

    reads: list[Read] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take another part's rows and counts."""
        self.reads += other.reads
        self.broken += other.broken
        self.counts += other.counts


@dataclass(frozen=True)
class Wish:
    """What to make of a graph: the words of its sentences, and the region boxes of these images."""

    approximate: bool = False
    others: bool = False
    unknown: str = "error"
    sentences: bool = False
    boxed: frozenset[str] = frozenset()

    def vocabulary(self) -> Vocabulary:
        """Labels as wished for."""
        return Vocabulary(approximate=self.approximate, others=self.others, unknown=self.unknown)


def read_chunk(job: tuple[Path, tuple[Member, ...], Wish]) -> Tally:
    """One process's share: path of the archive, members, what to make of them."""
    path, members, wish = job
    tally, vocabulary = Tally(), wish.vocabulary()
    whole = path.open("rb") if path.is_file() else None
    try:
        for member in members:
            try:
                data = _bytes(whole, member) if whole else (path / member.name).read_bytes()
                tally.reads.append(_read(json.loads(data), member, wish, vocabulary, tally.counts, path))
            except (OSError, ValueError, zlib.error, RecursionError):  # JSON and Unicode errors are ValueErrors
                tally.broken.append(member.name)
    finally:
        if whole:
            whole.close()
    return tally


def _bytes(file: Any, member: Member) -> bytes:
    """Content of a zip member, its checksum tested. Raises: ValueError, zlib.error.

    What the archive says of a member's size is not believed beyond :data:`_LARGEST`: it would be reserved in memory.
    """
    file.seek(member.offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
        raise ValueError("no member begins here")
    *_, name_length, extra_length = _LOCAL.unpack(head)
    file.seek(name_length + extra_length, 1)
    if member.size > _LARGEST:
        raise ValueError("larger than any scene graph")
    packed = file.read(member.size)
    if member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compression {member.method} is not known")
    data = packed
    if member.method == zipfile.ZIP_DEFLATED:
        stream = zlib.decompressobj(-15)
        data = stream.decompress(packed, _LARGEST)
        if not stream.eof:
            raise ValueError("ends early, or is larger than any scene graph")
    if zlib.crc32(data) != member.crc:
        raise ValueError("the checksum does not fit")
    return data


def _read(graph: Any, member: Member, wish: Wish, vocabulary: Vocabulary, counts: Counter[str], archive: Path) -> Read:
    """What is kept of one graph. Raises: ValueError if it is no scene graph, or another image's."""
    phrases = phrases_of_graph(graph)
    stated = str(graph.get("image_id") or member.image_id).removesuffix(".dcm")
    if stated != member.image_id:
        raise ValueError("the graph of another image")
    words = words_of(phrases, vocabulary, f"{archive}: {member.name}")
    counts.update(words.left_out)
    counts["hidden"] += words.hidden
    read = kept(member.image_id, words, sentences_of(phrases) if wish.sentences else None)
    sex, view = graph.get("gender"), graph.get("viewpoint")
    read = read._replace(sex=sex if sex in ("M", "F") else None, view=str(view or ""))
    if member.image_id not in wish.boxed:
        return read
    return read._replace(affirmed=tuple(words.affirmed.items()), places=_places(graph, words))


def kept(key: str, words: Words, text: str | None) -> Read:
    """Triples and labels of an image's (or study's) words.

    No triples where nothing is stated, or only denials beside an abnormality that no triple tells: a caption made from
    those would call the image normal.
    """
    triples = to_json(words.triples) if words.triples and not words.hidden else None
    return Read(key, triples, tuple(words.labels.get(name) for name in OBSERVATIONS), words.no_finding, text)


def _places(graph: Any, words: Words) -> dict[str, tuple[Place, ...]]:
    """Region -> its boxes, of the regions where something is affirmed; a region named twice has two."""
    wanted = {region for regions in words.affirmed.values() for region in regions}
    out: dict[str, tuple[Place, ...]] = {}
    for item in objects_in(graph, "objects"):
        region, place = str(item.get("bbox_name")).strip(), _place(item)
        if place is not None and region in wanted:
            out[region] = (*out.get(region, ()), place)
    return out


def _place(item: dict[str, Any]) -> Place | None:
    for original, prefix in ((True, "original_"), (False, "")):
        stated = [item.get(f"{prefix}{key}") for key in ("x1", "y1", "x2", "y2")]
        edges = [float(v) for v in stated if isinstance(v, int | float) and abs(v) < _FAR]  # NaN is not smaller either
        if len(edges) == 4:
            return Place(original, *edges)
    return None
