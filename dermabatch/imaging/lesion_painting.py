"""How a synthetic lesion is painted: skin, pigment, structures, then the instrument's traces.

A field is float32[H, W]; a picture is float32[3, H, W], RGB, 0 to 255, painted in place. Lengths are in units of
the picture's shorter edge, so that the same seed gives about the same lesion at any size.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

Kind = Literal["nevus", "melanoma", "keratosis", "carcinoma", "vascular", "dermatofibroma"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Field = npt.NDArray[np.float32]

_SKINS: Final = np.array(
    [(238, 194, 178), (230, 176, 154), (214, 154, 126), (186, 126, 98), (142, 92, 68), (100, 64, 48)],
    np.float32,
)
"""RGB, about Fitzpatrick types I to VI."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells one kind from another.

    Attributes:
        colours: RGB of the pigments that a lesion mixes.
        cover: how much of the skin they hide, 0 to 1.
        irregular: how far the outline leaves an ellipse.
        soft: width of the border.
        network, globules, cysts, vessels, lacunae: how strong each structure is, 0 to 1.
    """

    colours: tuple[tuple[int, int, int], ...]
    cover: float
    irregular: float
    soft: float
    network: float = 0.0
    globules: float = 0.0
    cysts: float = 0.0
    vessels: float = 0.0
    lacunae: float = 0.0


_LOOKS: Final[dict[Kind, _Look]] = {
    "nevus": _Look(((148, 92, 62), (104, 62, 42)), 0.78, 0.12, 0.12, network=0.7, globules=0.5),
    "melanoma": _Look(
        ((118, 70, 50), (46, 30, 30), (98, 96, 104), (172, 98, 90)), 0.9, 0.3, 0.06, network=0.9, globules=1
    ),
    "keratosis": _Look(((172, 130, 92), (124, 86, 58)), 0.75, 0.16, 0.05, cysts=1, network=0.15),
    "carcinoma": _Look(((206, 136, 124), (150, 122, 122)), 0.5, 0.2, 0.12, vessels=1, globules=0.2),
    "vascular": _Look(((178, 52, 58), (120, 26, 48)), 0.75, 0.14, 0.07, lacunae=1),
    "dermatofibroma": _Look(((186, 132, 104), (150, 100, 76)), 0.6, 0.08, 0.2, network=0.45, cysts=0.2),
}


def paint(rng: np.random.Generator, width: int, height: int, kind: Kind) -> npt.NDArray[np.uint8]:
    """One picture, uint8[height, width, 3], RGB."""
    look, canvas = _LOOKS[kind], _Canvas(rng, width, height)
    canvas.skin()
    radius = canvas.distance(look.irregular)
    mask = _step((1 - radius) / np.float32(look.soft))
    canvas.pigment(mask, look)
    canvas.structures(mask, radius, look)
    canvas.hairs()
    canvas.instrument()
    return canvas.photograph()


class _Canvas:
    """A picture and its brushes; they take their chances from one generator, in a fixed order."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.width, self.height = width, height
        self.edge = min(width, height)
        self.x, self.y = self._grid(1)
        self.picture = np.empty((3, height, width), np.float32)

    def skin(self) -> None:
        """Skin of a random tone, a little flushed, with its fine furrows."""
        tone = float(self.rng.beta(1.1, 1.9)) * (len(_SKINS) - 1)
        lower = min(int(tone), len(_SKINS) - 2)
        base = _SKINS[lower] + (_SKINS[lower + 1] - _SKINS[lower]) * np.float32(tone - lower)
        shade = 1 + self._noise(2, 0.022) + self._noise(30, 0.012) + self._noise(80, 0.02)
        np.multiply(base[:, None, None], shade, out=self.picture)
        self.picture[1:] -= self._noise(5, 2.0)

    def distance(self, irregular: float) -> Field:
        """Distance from the lesion's middle, 1 at its outline."""
        turn, stretch = self.rng.uniform(0, np.pi), self.rng.uniform(0.7, 1.0)
        size = self.rng.uniform(0.22, 0.37)
        x, y = self.x - np.float32(self.rng.normal(0, 0.04)), self.y - np.float32(self.rng.normal(0, 0.03))
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        radius = cv2.magnitude(x * cosine + y * sine, (y * cosine - x * sine) / np.float32(stretch))
        wobble = self._noise(2, 0.5 * irregular) + self._noise(6, 0.3 * irregular) + self._noise(22, 0.03)
        return radius * (1 + np.clip(wobble, -0.4, 0.6)) / np.float32(size)  # type: ignore[no-any-return]

    def pigment(self, mask: Field, look: _Look) -> None:
        """The kind's colours over the skin, mixed in clouds."""
        # Pigment filters light: on dark skin the same pigment gives a darker lesion.
        light = 0.4 + 0.6 * float(self.picture[:, ::8, ::8].mean()) / 180
        cover = np.clip(mask * (np.float32(look.cover) + self._noise(16, 0.07)), 0, 1)
        for index, colour in enumerate(look.colours):
            cloud = cover
            if index > 0:
                offset = np.float32(self.rng.uniform(-0.1, 0.8))
                cloud = cover * _step((self._noise(3, 1.0) + self._noise(12, 0.4) - offset) * 1.2)
            tint = np.float32(self.rng.normal(0, 7))
            self._lay((np.array(colour, np.float32) + tint) * np.float32(light), cloud)

    def structures(self, mask: Field, radius: Field, look: _Look) -> None:
        """What a dermatologist looks for inside the outline."""
        if look.network:
            self._lay((58, 34, 24), look.network * 0.6 * self._network() * _between(radius) * mask)
        if look.globules:
            self._lay((42, 26, 22), 0.75 * self._dots(radius, 70 * look.globules, (0.003, 0.009), (0.3, 1.0)))
        if look.lacunae:
            self._lay((118, 18, 38), 0.6 * self._dots(radius, 45 * look.lacunae, (0.012, 0.04), (0.0, 0.9)))
        if look.vessels:
            self._lay((184, 48, 54), 0.75 * self._vessels(radius, round(7 * look.vessels)))
        if look.cysts:
            self._lay((244, 226, 196), 0.7 * self._dots(radius, 28 * look.cysts, (0.004, 0.01), (0.0, 0.85)))

    def hairs(self) -> None:
        """None, a few or many, all growing about the same way."""
        count = int(self.rng.choice([0, 0, 0, 3, 7, 16]))
        drawn = self._blank()
        way = self.rng.uniform(0, 2 * np.pi)
        for _ in range(count):
            start = self.rng.uniform(0, 1, 2) * (self.width, self.height)
            path = self._wander(start, way + self.rng.normal(0, 0.3), steps=14, stride=0.035, turning=0.04)
            cv2.polylines(drawn, [path], False, 230, self._pen(int(self.rng.integers(1, 3))), cv2.LINE_AA)
        if count:
            self._lay((48, 34, 30), 0.8 * _unit(drawn))

    def instrument(self) -> None:
        """Light that falls off, now and then a ruler, bubbles of the immersion fluid, the dark rim of the lens."""
        reach = cv2.magnitude(self.x, self.y)
        self.picture *= 1 - np.float32(self.rng.uniform(0.1, 0.3)) * reach * reach
        rim, ruler, bubbles = self.rng.random(3) < (0.2, 0.15, 0.2)
        if ruler:
            self._lay((30, 28, 30), 0.85 * _unit(self._ruler()))
        if bubbles:
            self._lay((250, 246, 240), 0.5 * _unit(self._bubbles()))
        if rim:
            self._lay((10, 9, 9), 1 - _step((np.float32(self.rng.uniform(0.6, 0.7)) - reach) * 60))

    def photograph(self) -> npt.NDArray[np.uint8]:
        """The picture through a lens, on a sensor: a little soft, a little grainy."""
        # A tile of noise: drawing a chance for each pixel would cost as much as all the painting.
        tile = self.rng.standard_normal((128, 128), np.float32) * np.float32(2)
        grain = np.tile(tile, (self.height // 128 + 1, self.width // 128 + 1))[: self.height, : self.width]
        planes = [cv2.GaussianBlur(plane, (3, 3), 0.6) + grain for plane in self.picture]
        return cv2.merge([cv2.convertScaleAbs(np.maximum(plane, 0)) for plane in planes])  # type: ignore[return-value]

    def _lay(self, colour: npt.ArrayLike, cover: Field) -> None:
        """A colour over the picture; `cover` is 1 where it hides what lies below."""
        for index, value in enumerate(np.asarray(colour, np.float32)):
            self.picture[index] += (value - self.picture[index]) * cover

    def _grid(self, every: int) -> tuple[Field, Field]:
        """x and y from the middle, at every `every`th pixel."""
        columns = (np.arange(0, self.width, every, dtype=np.float32) - self.width / 2) / self.edge
        rows = (np.arange(0, self.height, every, dtype=np.float32) - self.height / 2) / self.edge
        x, y = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))
        return x, y

    def _noise(self, cells: int, spread: float, every: int = 1) -> Field:
        """Smooth chance around 0 with about `cells` hills along the shorter edge."""
        aspect = (self.height / self.edge, self.width / self.edge)
        coarse = self.rng.standard_normal([round(cells * side) + 3 for side in aspect], np.float32)
        width, height = -(-self.width // every), -(-self.height // every)
        # Curves at a quarter of the size and straight lines from there look the same and cost a fifth.
        smooth = cv2.resize(coarse, (width // 4 + 1, height // 4 + 1), interpolation=cv2.INTER_CUBIC)
        return cv2.resize(smooth * np.float32(1.3 * spread), (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]

    def _network(self) -> Field:
        """A net of lines around holes, 1 on a line: three waves at 60 degrees to each other, bent by chance."""
        x, y = self._grid(2)
        x, y = x + self._noise(7, 0.014, every=2), y + self._noise(7, 0.014, every=2)
        frequency, turn = 2 * np.pi * self.rng.uniform(30, 42), self.rng.uniform(0, np.pi)
        total = np.zeros_like(x)
        for angle in (turn, turn + np.pi / 3, turn + 2 * np.pi / 3):
            total += np.cos(
                x * np.float32(frequency * np.cos(angle)) + y * np.float32(frequency * np.sin(angle))
            )
        lines = _step(-0.2 - total * 0.9) * np.clip(0.55 + self._noise(5, 0.5, every=2), 0, 1)
        return np.asarray(cv2.resize(lines, (self.width, self.height), interpolation=cv2.INTER_LINEAR))

    def _dots(
        self, radius: Field, count: float, sizes: tuple[float, float], within: tuple[float, float]
    ) -> Field:
        """About `count` soft discs whose distance from the middle lies `within` two values."""
        drawn = self._blank()
        tries = round(count * 6)
        rows, columns = self.rng.integers(self.height, size=tries), self.rng.integers(self.width, size=tries)
        reaches = np.maximum(1, self.rng.uniform(*sizes, size=tries) * self.edge).astype(int)
        strengths = self.rng.integers(110, 255, size=tries)
        distances = radius[rows, columns]
        fits = (within[0] < distances) & (distances < within[1])
        discs = np.stack([columns, rows, reaches, strengths], axis=1)[fits]
        for column, row, reach, strength in discs.tolist():
            cv2.circle(drawn, (column, row), reach, strength, -1, cv2.LINE_AA)
        return _unit(cv2.GaussianBlur(drawn, (5, 5), max(0.5, 0.003 * self.edge)))

    def _vessels(self, radius: Field, count: int) -> Field:
        """Branching lines inside the outline that become thinner from branch to branch."""
        drawn = self._blank()
        for _ in range(count):
            start = np.array([self.width, self.height]) / 2 + self.rng.normal(0, 0.12, 2) * self.edge
            heading = self.rng.uniform(0, 2 * np.pi)
            for thickness in (2, 2, 1, 1, 1):
                path = self._wander(start, heading, steps=10, stride=0.011, turning=0.22)
                cv2.polylines(drawn, [path], False, 255, self._pen(thickness), cv2.LINE_AA)
                start = path[self.rng.integers(3, 10)].astype(np.float64)
                heading += self.rng.choice([-0.7, 0.7])
        return _unit(cv2.GaussianBlur(drawn, (3, 3), 0.8)) * _step((1.05 - radius) * 8)

    def _ruler(self) -> npt.NDArray[np.uint8]:
        """Millimetre marks along the lower edge."""
        drawn = self._blank()
        step, bottom = 0.045 * self.edge, self.height - 1
        for index in range(int(self.width / step) + 1):
            top = round(bottom - (0.07 if index % 5 == 0 else 0.04) * self.edge)
            x = round(index * step)
            cv2.line(drawn, (x, bottom), (x, top), 220, self._pen(2), cv2.LINE_AA)
        return drawn

    def _bubbles(self) -> npt.NDArray[np.uint8]:
        drawn = self._blank()
        for _ in range(int(self.rng.integers(2, 9))):
            x, y = self.rng.uniform(0, 1, 2) * (self.width, self.height)
            cv2.circle(drawn, (int(x), int(y)), self._pen(int(self.rng.integers(3, 12))), 200, 1, cv2.LINE_AA)
        return cv2.GaussianBlur(drawn, (3, 3), 0.8)  # type: ignore[return-value]

    def _wander(
        self, start: npt.NDArray[np.float64], heading: float, *, steps: int, stride: float, turning: float
    ) -> npt.NDArray[np.int32]:
        """int32[steps, 2], the points of a path that keeps its heading more or less."""
        turns = self.rng.normal(self.rng.normal(0, turning), turning, steps)
        headings = heading + np.cumsum(turns)
        moves = np.stack([np.cos(headings), np.sin(headings)], axis=1) * stride * self.edge
        return (start + np.cumsum(moves, axis=0)).astype(np.int32)

    def _blank(self) -> npt.NDArray[np.uint8]:
        return np.zeros((self.height, self.width), np.uint8)

    def _pen(self, thickness: int) -> int:
        """A thickness in pixels that is given for 600 x 450."""
        return max(1, round(thickness * self.edge / 450))


def _step(field: Field) -> Field:
    """From 0 to 1 where the field goes from below -1 to above 1, smoothly."""
    rising = np.clip(field * np.float32(0.5) + np.float32(0.5), 0, 1)
    return rising * rising * (3 - 2 * rising)  # type: ignore[no-any-return]


def _between(radius: Field) -> Field:
    """Strongest between middle and outline, where a pigment network shows best, and fading out at the outline."""
    return np.clip(1.5 - 2.2 * np.abs(radius - np.float32(0.55)), 0.15, 1)  # type: ignore[no-any-return]


def _unit(drawn: MatLike) -> Field:
    return drawn.astype(np.float32) / np.float32(255)
