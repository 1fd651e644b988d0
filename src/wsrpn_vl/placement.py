"""Where an image lies in its letterboxed square. Apart from :mod:`wsrpn_vl.boxes`, because it needs no torch: processes
that only decode images start in a fraction of a second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Placement:
    """Extent and position of an image of ``width`` x ``height`` pixels in a square of ``size`` pixels."""

    width: int
    height: int
    size: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.size) < 1:
            raise ValueError(f"Letterbox needs positive extents, got {self.width}x{self.height} -> {self.size}")

    @property
    def resized(self) -> tuple[int, int]:
        """(width, height) of the image content inside the square, in network pixels."""
        ratio = self.size / max(self.width, self.height)
        return max(1, round(self.width * ratio)), max(1, round(self.height * ratio))

    @property
    def offset(self) -> tuple[int, int]:
        """(x, y) of the content's top-left corner in network pixels."""
        w, h = self.resized
        return (self.size - w) // 2, (self.size - h) // 2
