"""Finding the images that somebody's table names, however it writes their paths."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from wsrpn_vl.data.pixels import IMAGE_SUFFIXES
from wsrpn_vl.errors import DataError


class Images:
    """The files of a folder, found by relative path, by file name, or by either with another suffix or none."""

    def __init__(self, root: Path, paths: list[str]) -> None:
        self.root, self.paths, self._known = root.resolve(), paths, set(paths)
        self._loose: dict[str, list[str]] = {}
        for path in paths:
            name = PurePosixPath(path).name
            for key in {bare(path), name, bare(name)}:
                self._loose.setdefault(key, []).append(path)

    def find(self, said: str, place: str) -> str | None:
        """Relative path of what a table says; None if there is no such file. Raises: DataError if several fit."""
        said = said.replace("\\", "/")
        if Path(said).is_absolute():
            if not Path(said).resolve().is_relative_to(self.root):
                raise DataError(f"{place}: {said!r} lies outside {self.root}; give paths relative to the folder")
            said = Path(said).resolve().relative_to(self.root).as_posix()
        said = PurePosixPath(said).as_posix()
        if said in self._known:
            return said
        fits = self._loose.get(said) or self._loose.get(bare(said), [])
        fits = [path for path in fits if bare(path) == bare(said)] or fits
        if len(fits) > 1:
            raise DataError(
                f"{place}: {said!r} may be {fits[0]!r} or {fits[1]!r}; give the path relative to the folder"
            )
        return fits[0] if fits else None


def bare(path: str) -> str:
    """Without the suffix, if it is one of an image; a DICOM file may be called 1.2.840.10."""
    suffix = PurePosixPath(path).suffix
    return path.removesuffix(suffix) if suffix.lower() in IMAGE_SUFFIXES else path
