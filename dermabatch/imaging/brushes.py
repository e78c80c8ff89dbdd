"""What synthetic pictures are painted with: smooth chance, and drawn dots and lines.

A field is float32[H, W]. Lengths are in units of the picture's shorter edge, so that the same chances give about the
same picture at any size.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

Field = npt.NDArray[np.float32]
Point = npt.NDArray[np.float64]
"""x and y in pixels."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line that keeps its heading more or less.

    Attributes:
        steps: straight parts of it.
        stride: length of each.
        turning: how far the heading changes from one to the next, in radians.
        thickness: in pixels at 600 x 450.
    """

    steps: int
    stride: float
    turning: float
    thickness: int = 1


class Brushes:
    """Brushes for a picture of one size; they take their chances from one generator, in the order of their use."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.width, self.height = width, height
        self.edge = min(width, height)

    def grid(self, every: int = 1) -> tuple[Field, Field]:
        """x and y from the middle, at every `every`th pixel."""
        columns = (np.arange(0, self.width, every, dtype=np.float32) - self.width / 2) / self.edge
        rows = (np.arange(0, self.height, every, dtype=np.float32) - self.height / 2) / self.edge
        x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        return x, y

    def clouds(self, coarse: int, fine: int, spread: float, fade: float = 0.8, every: int = 1) -> Field:
        """Smooth chance around 0, at every `every`th pixel.

        Args:
            coarse, fine: its octaves reach from so many hills along the shorter edge to so many.
            spread: height of the hills of the coarsest octave.
            fade: height of the hills of an octave, as a share of those of the one before.
        """
        field = np.zeros((1, 1), np.float32)
        while coarse <= fine:
            rows, columns = (round(coarse * side / self.edge) + 3 for side in (self.height, self.width))
            hills = self.rng.standard_normal((rows, columns), np.float32) * np.float32(spread)
            field = cv2.resize(field, (columns, rows), interpolation=cv2.INTER_CUBIC) + hills
            coarse, spread = 2 * coarse, fade * spread
        return cv2.resize(field, (-(-self.width // every), -(-self.height // every)))  # type: ignore[return-value]

    def furrows(self, spread: float) -> Field:
        """Chance around 0 that is drawn out along one direction, as the lines of skin are."""
        turn, length, width = self.rng.uniform(0, np.pi), self.edge / 30, self.edge / 120
        hills = self.rng.standard_normal((240, 60), np.float32) * np.float32(spread)
        cosine, sine = np.cos(turn), np.sin(turn)
        turned = np.array([[cosine * length, -sine * width], [sine * length, cosine * width]])
        shift = np.array([self.width / 2, self.height / 2]) - turned @ (30, 120)
        size = (self.width, self.height)
        return cv2.warpAffine(  # type: ignore[return-value]
            hills, np.column_stack([turned, shift]), size, borderMode=cv2.BORDER_REFLECT
        )

    def net(self) -> Field:
        """Lines around holes, 1 on a line: three waves at 60 degrees to each other, bent and faded by chance."""
        x, y = self.grid(2)
        x, y = x + self.clouds(7, 28, 0.009, every=2), y + self.clouds(7, 28, 0.009, every=2)
        frequency, turn = 2 * np.pi * self.rng.uniform(28, 48), self.rng.uniform(0, np.pi)
        total = np.zeros_like(x)
        for angle in (turn, turn + np.pi / 3, turn + 2 * np.pi / 3):
            along, across = np.float32(frequency * np.cos(angle)), np.float32(frequency * np.sin(angle))
            total += np.cos(x * along + y * across)
        lines = step(-0.2 - total * 0.9) * np.clip(0.4 + self.clouds(3, 60, 0.4, every=2), 0, 1)
        return np.asarray(cv2.resize(lines, (self.width, self.height)))

    def dots(self, places: npt.NDArray[np.bool_], number: int, sizes: tuple[float, float]) -> Field:
        """Soft ellipses, 1 on the densest: as many as fall on `places`, bool[H, W], out of `number` in all.

        `sizes` are the least and the greatest half axis.
        """
        drawn = self._blank()
        rows = self.rng.integers(self.height, size=number)
        columns = self.rng.integers(self.width, size=number)
        axes = np.maximum(1, self.rng.uniform(*sizes, size=(2, number)) * self.edge).astype(int)
        turns, strengths = self.rng.integers(180, size=number), self.rng.integers(70, 255, size=number)
        chosen = np.stack([columns, rows, *axes, turns, strengths], axis=1)[places[rows, columns]]
        for column, row, long, short, turn, strength in chosen.tolist():
            cv2.ellipse(drawn, (column, row), (long, short), turn, 0, 360, strength, -1, cv2.LINE_AA)
        return _unit(cv2.GaussianBlur(drawn, (0, 0), max(0.5, 0.005 * self.edge)))

    def strokes(self, number: int, stroke: Stroke, spread: float = np.pi) -> Field:
        """Lines anywhere, 1 on a line, whose headings differ by about `spread` radians."""
        drawn = self._blank()
        way = self.rng.uniform(0, 2 * np.pi)
        for _ in range(number):
            start, heading = self._anywhere(), way + self.rng.normal(0, spread)
            self._draw(drawn, stroke, start, heading, int(self.rng.integers(1, stroke.thickness + 1)))
        return _unit(drawn)

    def trees(self, number: int, stroke: Stroke) -> Field:
        """Branching lines around the middle, 1 on a line, that become thinner from branch to branch."""
        drawn = self._blank()
        for _ in range(number):
            start = np.array([self.width, self.height]) / 2 + self.rng.normal(0, 0.12, 2) * self.edge
            heading = self.rng.uniform(0, 2 * np.pi)
            for thickness in (2, 2, 1, 1, 1, 1):
                path = self._draw(drawn, stroke, start, heading, thickness)
                start = path[self.rng.integers(len(path) // 4, len(path))].astype(np.float64)
                heading += self.rng.choice([-0.7, 0.7])
        return _unit(cv2.GaussianBlur(drawn, (5, 5), 1.2))

    def ruler(self) -> Field:
        """Millimetre marks along the lower edge, 1 on a mark."""
        drawn = self._blank()
        gap, bottom = 0.045 * self.edge, self.height - 1
        for index in range(int(self.width / gap) + 1):
            top = round(bottom - (0.07 if index % 5 == 0 else 0.04) * self.edge)
            x = round(index * gap)
            cv2.line(drawn, (x, bottom), (x, top), 255, self._pen(2), cv2.LINE_AA)
        return _unit(drawn)

    def bubbles(self, number: int) -> Field:
        """Rings, 1 on a ring."""
        drawn = self._blank()
        for _ in range(number):
            x, y = self._anywhere().astype(int).tolist()
            cv2.circle(drawn, (x, y), self._pen(int(self.rng.integers(3, 12))), 255, 1, cv2.LINE_AA)
        return _unit(cv2.GaussianBlur(drawn, (3, 3), 0.8))

    def _draw(self, drawn: MatLike, stroke: Stroke, start: Point, heading: float, thickness: int) -> MatLike:
        """Draw one line; return the points of its path, int32[steps, 2]."""
        turns = self.rng.normal(self.rng.normal(0, stroke.turning), stroke.turning, stroke.steps)
        headings = heading + np.cumsum(turns)
        moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * stroke.stride * self.edge
        path = (start + np.cumsum(moves, axis=0)).astype(np.int32)
        cv2.polylines(drawn, [path], False, 255, self._pen(thickness), cv2.LINE_AA)
        return path

    def _anywhere(self) -> Point:
        return self.rng.uniform(0, 1, 2) * (self.width, self.height)

    def _blank(self) -> npt.NDArray[np.uint8]:
        return np.zeros((self.height, self.width), np.uint8)

    def _pen(self, thickness: int) -> int:
        """A thickness in pixels that is given for 600 x 450."""
        return max(1, round(thickness * self.edge / 450))


def step(field: Field) -> Field:
    """From 0 to 1 where the field goes from below -1 to above 1, smoothly."""
    rising = np.clip(field * np.float32(0.5) + np.float32(0.5), 0, 1)
    return rising * rising * (3 - 2 * rising)  # type: ignore[no-any-return]


def _unit(drawn: MatLike) -> Field:
    return drawn.astype(np.float32) / np.float32(255)
