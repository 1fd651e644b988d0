"""How far apart do perceptual fingerprints lie: copies of a radiograph, and other radiographs?

    python benchmarks/fingerprints.py FOLDER --copies 200

FOLDER: real radiographs, at any depth. Distances are bits of 512; the limit of the package is ``fingerprints.LIMIT``.
Copies: half and double size, JPEG of quality 30, gamma 0.6, histogram equalised. Results go to
``benchmarks/results/fingerprints.json``.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from _runs import RESULTS
from wsrpn_vl.data.fingerprints import LIMIT, fingerprint, fingerprints, near_pairs
from wsrpn_vl.data.pixels import read_image
from wsrpn_vl.data.sources.tables import find_images
from wsrpn_vl.files import write_text
from wsrpn_vl.progress import progress
from wsrpn_vl.provenance import git_commit, machine


def scaled(factor: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)))


def jpeg(image: Image.Image) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=30)
    return Image.open(out)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half size": scaled(0.5),
    "double size": scaled(2.0),
    "JPEG quality 30": jpeg,
    "gamma 0.6": lambda image: image.point([round(255 * (v / 255) ** 0.6) for v in range(256)]),
    "histogram equalised": ImageOps.equalize,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copies", type=int, default=200, help="radiographs that are copied")
    args = parser.parse_args()
    paths = [args.folder / path for path in find_images(args.folder)]
    with progress("fingerprints") as report:
        prints, read = fingerprints(paths, report)
    prints = prints[read]
    pairs = near_pairs(prints, prints, 512)
    distances = np.sort(pairs[pairs[:, 0] < pairs[:, 1], 2])
    chosen = np.random.default_rng(0).choice(np.flatnonzero(read), args.copies, replace=False)
    copies: dict[str, list[int]] = {name: [] for name in COPIES}
    for i in chosen:
        image = Image.fromarray((read_image(paths[i]) * 255).round().astype(np.uint8))
        own = fingerprint(np.asarray(image, dtype=np.float32) / 255)
        for name, change in COPIES.items():
            other = fingerprint(np.asarray(change(image), dtype=np.float32) / 255)
            copies[name].append(int(np.bitwise_count(own ^ other).sum()))
    record = {
        "git_commit": git_commit(),
        "machine": machine(),
        "limit": LIMIT,
        "images": int(read.sum()),
        "pairs": len(distances),
        "pairs_within_limit": int((distances <= LIMIT).sum()),
        "next_nearest": distances[distances > LIMIT][:3].tolist(),
        "median": int(np.median(distances)),
        "copies": {n: {"of": len(d), "median": int(np.median(d)), "farthest": max(d)} for n, d in copies.items()},
    }
    print(write_text(RESULTS / "fingerprints.json", json.dumps(record, indent=1) + "\n"))


if __name__ == "__main__":
    main()
