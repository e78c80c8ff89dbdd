"""How a synthetic lesion is painted: pigments swallow light, then come hairs and the instrument's traces.

How light skin is, what each pigment swallows, and how coarse and fine contrasts share follow measurements on HAM10000,
so that a network takes a painted lesion for a lesion. Lengths are in units of the picture's shorter edge.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from dermabatch.imaging.brushes import Brushes, Field, Stroke, step

Kind = Literal["nevus", "melanoma", "keratosis", "carcinoma", "vascular", "dermatofibroma"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

Range = tuple[float, float]
Pigment = tuple[float, float, float]
"""How much a density of 1 swallows of red, green and blue: exp(-density * this) is left (Beer and Lambert)."""

_SKIN: Final = np.array((228, 188, 200), np.float32)
"""RGB of skin without pigment, under a dermatoscope."""

_TAN: Final = (0.45, 0.72, 0.95)
_BROWN: Final = (0.42, 0.88, 1.0)
_YELLOW: Final = (0.2, 0.5, 1.0)
_RED: Final = (0.25, 1.0, 0.5)
_PINK: Final = (0.12, 0.55, 0.5)
_BLUE: Final = (1.0, 0.72, 0.5)
_NONE: Final = (0.0, 0.0)

_HAIR: Final = Stroke(steps=20, stride=0.03, turning=0.05, thickness=2)
_SCALE: Final = Stroke(steps=5, stride=0.012, turning=0.3)
_VESSEL: Final = Stroke(steps=12, stride=0.014, turning=0.14)


@dataclass(frozen=True, slots=True)
class _Dots:
    """Up to `number` spots with half axes of `sizes`, at distances `within` from the middle (0) to the outline (1)."""

    pigment: Pigment
    density: float
    number: int
    sizes: Range
    within: Range = (0.0, 0.95)


_GLOBULES: Final = _Dots(_BROWN, 0.9, 180, (0.003, 0.009), (0.1, 1.0))
_PLUGS: Final = _Dots(_BROWN, 0.8, 96, (0.004, 0.012))
_CYSTS: Final = _Dots(_YELLOW, -0.6, 120, (0.003, 0.01))
_LACUNAE: Final = _Dots(_RED, 0.7, 330, (0.012, 0.045))
_NESTS: Final = _Dots(_BLUE, 0.5, 66, (0.01, 0.03))


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells one kind from another.

    Attributes:
        size: its longer half axis.
        irregular: how far the outline leaves an ellipse.
        soft: width of the border.
        mottled: how unevenly the pigments are spread.
        middle: how much denser than the border the middle may be.
        brown, yellow, red: density of each pigment.
        blue: density of pigment that lies deep, in patches.
        network: density of the pigment network.
        dots: spots within the outline.
        vessels: number of trees of vessels.
        scar: how much of its pigment the middle lacks, 0 to 1.
    """

    size: Range
    irregular: float
    soft: float
    mottled: float
    middle: float = 0.0
    brown: Range = _NONE
    yellow: Range = _NONE
    red: Range = _NONE
    blue: Range = _NONE
    network: float = 0.0
    dots: tuple[_Dots, ...] = ()
    vessels: int = 0
    scar: float = 0.0


_LOOKS: Final[dict[Kind, _Look]] = {
    "nevus": _Look(
        size=(0.15, 0.34), irregular=0.12, soft=0.35, mottled=0.22, middle=0.9,
        brown=(0.3, 1.1), yellow=(0.0, 0.3), red=(0.0, 0.2),
        network=0.5, dots=(_GLOBULES,),
    ),
    "melanoma": _Look(
        size=(0.24, 0.4), irregular=0.22, soft=0.3, mottled=0.25, middle=0.5,
        brown=(0.8, 1.5), yellow=(0.0, 0.3), red=(0.0, 0.3), blue=(0.4, 0.8),
        network=0.4, dots=(_GLOBULES,),
    ),
    "keratosis": _Look(
        size=(0.2, 0.4), irregular=0.18, soft=0.2, mottled=0.35,
        brown=(0.1, 0.7), yellow=(0.1, 0.5),
        network=0.1, dots=(_PLUGS, _CYSTS),
    ),
    "carcinoma": _Look(
        size=(0.2, 0.36), irregular=0.15, soft=0.7, mottled=0.18, middle=0.5,
        brown=(0.15, 0.4), yellow=(0.1, 0.3), red=(0.2, 0.5), blue=(0.2, 0.5),
        dots=(_NESTS,), vessels=3, scar=0.6,
    ),
    "vascular": _Look(
        size=(0.12, 0.3), irregular=0.1, soft=0.15, mottled=0.2,
        red=(0.5, 1.2), blue=(0.1, 0.6),
        dots=(_LACUNAE,),
    ),
    "dermatofibroma": _Look(
        size=(0.22, 0.4), irregular=0.15, soft=0.8, mottled=0.3,
        brown=(0.25, 0.6), red=(0.05, 0.2),
        network=0.3, scar=0.9,
    ),
}  # fmt: skip


def paint(rng: np.random.Generator, width: int, height: int, kind: Kind) -> npt.NDArray[np.uint8]:
    """One picture, uint8[height, width, 3], RGB."""
    look, canvas = _LOOKS[kind], _Canvas(rng, width, height)
    canvas.skin()
    radius = canvas.distance(look)
    inside = step((1 - radius) / np.float32(look.soft))
    canvas.pigments(inside, radius, look)
    canvas.structures(inside, radius, look)
    canvas.expose()
    canvas.surface()
    canvas.instrument()
    return canvas.photograph()


class _Canvas:
    """Skin and what lies in it, then its picture: float32[3, H, W], RGB, 0 to 255."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng = rng
        self.brush = Brushes(rng, width, height)
        self.x, self.y = self.brush.grid()
        self.swallowed = np.zeros((3, height, width), np.float32)
        self.picture = np.empty_like(self.swallowed)

    def skin(self) -> None:
        """Skin of a random tone, mostly light, with its fine furrows, in light of a random colour."""
        darker, redder, bluer = self.rng.normal(0, (0.06, 0.08, 0.05))
        light = np.array((darker, darker + redder, darker + redder + bluer), np.float32)
        self.swallowed += light[:, None, None]
        self._tint(_TAN, np.float32(self.rng.gamma(0.7, 0.2)) + self.brush.clouds(3, 64, 0.03))
        self._tint(_PINK, np.float32(0.12) + self.brush.clouds(4, 64, 0.035))
        relief = self.brush.clouds(2, 32, 0.009, fade=1) + self.brush.clouds(64, 256, 0.012, fade=1)
        self.swallowed += relief + self.brush.furrows(0.014)

    def distance(self, look: _Look) -> Field:
        """Distance from the lesion's middle, 1 at its outline."""
        turn, stretch = self.rng.uniform(0, np.pi), self.rng.uniform(0.65, 1.0)
        size = self.rng.uniform(*look.size)
        x, y = self.x - np.float32(self.rng.normal(0, 0.05)), self.y - np.float32(self.rng.normal(0, 0.04))
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        radius = cv2.magnitude(x * cosine + y * sine, (y * cosine - x * sine) / np.float32(stretch))
        outline = self.brush.clouds(3, 96, 0.6 * look.irregular, fade=0.6)
        return radius / np.float32(size) + outline

    def pigments(self, inside: Field, radius: Field, look: _Look) -> None:
        """The kind's pigments, each in clouds of its own, and a flush around the lesion."""
        if look.scar:
            inside = inside * (1 - look.scar * step(1.4 - 3 * radius + self.brush.clouds(5, 80, 0.3)))
        dense = 1 + np.float32(self.rng.uniform(0, look.middle)) * (0.6 - radius)
        dense += self.brush.clouds(14, 224, 0.5 * look.mottled, fade=0.9)
        if look.blue != _NONE:
            rare = np.float32(self.rng.uniform(0, 0.8))
            deep = step(1.3 * (self.brush.clouds(2, 64, 0.5, fade=0.7) - rare))
            self._tint(_BLUE, self._density(look.blue) * inside * dense * deep)
            inside = inside * (1 - np.float32(0.6) * deep)
        for pigment, densities in ((_BROWN, look.brown), (_YELLOW, look.yellow), (_RED, look.red)):
            if densities != _NONE:
                uneven = np.maximum(0, dense + self.brush.clouds(2, 64, 0.7 * look.mottled, fade=0.7))
                self._tint(pigment, self._density(densities) * inside * uneven)
        self._tint(_PINK, np.float32(0.1) * cv2.exp(-2.5 * np.maximum(radius - 1, 0)))

    def structures(self, inside: Field, radius: Field, look: _Look) -> None:
        """What a dermatologist looks for inside the outline."""
        if look.network:
            density = self._density((0.2 * look.network, 1.3 * look.network))
            self._tint(_BROWN, density * self.brush.net() * inside)
        for dots in look.dots:
            places = (dots.within[0] < radius) & (radius < dots.within[1])
            spots = self.brush.dots(places, dots.number, dots.sizes)
            self._tint(dots.pigment, np.float32(dots.density) * spots)
        if look.vessels:
            trees = self.brush.trees(look.vessels, _VESSEL)
            self._tint(_PINK, np.float32(0.7) * trees * step((1.05 - radius) * 8))

    def expose(self) -> None:
        """The light that the pigments leave makes the picture."""
        np.multiply(cv2.exp(-self.swallowed), _SKIN[:, None, None], out=self.picture)

    def surface(self) -> None:
        """Glints of scales, anywhere; hairs that all grow about the same way; neither, a few or many."""
        scales, hairs = self.rng.choice([0, 6, 20, 50]), self.rng.choice([0, 0, 0, 0, 2, 4, 12])
        self._lay((250, 240, 240), 0.25 * self.brush.strokes(scales, _SCALE))
        self._lay((74, 54, 48), 0.65 * self.brush.strokes(hairs, _HAIR, spread=0.3))

    def instrument(self) -> None:
        """Light that falls off, now and then a ruler, bubbles of the immersion fluid, the dark rim of the lens."""
        reach = cv2.magnitude(self.x, self.y)
        self.picture *= 1 - np.float32(self.rng.uniform(-0.03, 0.16)) * reach * reach
        rim, ruler, bubbles = self.rng.random(3) < (0.15, 0.08, 0.1)
        if ruler:
            self._lay((40, 34, 36), 0.7 * self.brush.ruler())
        if bubbles:
            self._lay((250, 246, 240), 0.4 * self.brush.bubbles(int(self.rng.integers(2, 9))))
        if rim:
            opening, sharp = self.rng.uniform(0.62, 0.78), self.rng.uniform(10, 40)
            self._lay((12, 10, 10), step((reach - np.float32(opening)) * np.float32(sharp)))

    def photograph(self) -> npt.NDArray[np.uint8]:
        """The picture through a lens, on a sensor: a little soft, a little grainy."""
        # A tile of noise: drawing a chance for each pixel would cost as much as all the painting.
        tile = self.rng.standard_normal((128, 128), np.float32) * np.float32(1.5)
        _, height, width = self.picture.shape
        grain = np.tile(tile, (height // 128 + 1, width // 128 + 1))[:height, :width]
        planes = [cv2.GaussianBlur(plane, (3, 3), 0.8) + grain for plane in self.picture]
        return cv2.merge([cv2.convertScaleAbs(np.maximum(plane, 0)) for plane in planes])  # type: ignore[return-value]

    def _density(self, densities: Range) -> np.float32:
        return np.float32(self.rng.uniform(*densities))

    def _tint(self, pigment: Pigment, density: Field | MatLike) -> None:
        for index, value in enumerate(pigment):
            self.swallowed[index] += np.float32(value) * density

    def _lay(self, colour: tuple[int, int, int], cover: Field) -> None:
        """A colour over the picture; `cover` is 1 where it hides what lies below."""
        for index, value in enumerate(colour):
            self.picture[index] += (value - self.picture[index]) * cover
