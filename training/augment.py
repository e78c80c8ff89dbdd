"""Random views of a training image: what a dermatoscope could as well have shown of the same lesion."""

from dataclasses import dataclass
from typing import ClassVar, Final

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from training.data import Pixels

ASPECT: Final = (
    4 / 3
)  # of the pictures before preprocessing squashed them: lesions are turned in their true shape
STRETCH: Final = 0.08  # either way; other cameras have other aspects
HUE: Final = 0.05  # radians around the grey axis: colour is diagnostic, so it hardly turns
BLUR_SHARE: Final = 0.15
BLUR_SIGMA: Final = (0.3, 1.2)  # pixels: a slightly missed focus, not a picture that the quality gate refuses
NOISE_SHARE: Final = 0.2
NOISE_SPREAD: Final = (
    1.0,
    10.0,
)  # grey levels of grain: what small sensors bring in dim light, up to what is refused
JPEG_SHARE: Final = 0.2
JPEG_QUALITY: Final = (40, 95)  # portals and phones compress once more
LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far views may differ from their image."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    smallest_frame: float = 0.5  # share of the edge; below it lesions lose their border
    brightness: float = 0.2  # relative, either way: lamps differ
    contrast: float = 0.2
    saturation: float = 0.2
    tint: float = 0.08  # per channel: white balance differs less than brightness


def random_view(
    image: Pixels, size: int, random: np.random.Generator, strength: Augmentation = Augmentation()
) -> Pixels:
    """A random frame of `image`, uint8[S, S, 3], turned, mirrored, recoloured and degraded, uint8[size, size, 3]."""
    framed = cv2.warpAffine(
        image,
        _random_frame(image.shape[0], size, random, strength),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return _degraded(cv2.transform(framed, _random_colours(random, strength)), random)  # type: ignore[arg-type]


def _random_frame(
    edge: int, size: int, random: np.random.Generator, strength: Augmentation
) -> npt.NDArray[np.float64]:
    """The affine map of a picture to a frame of it. A lesion has no right way up: every angle is as likely.

    Worked out in the plane of the skin, where a picture is `ASPECT` wide and 1 high.
    """
    height = random.uniform(strength.smallest_frame, 1)
    half = np.array([ASPECT * height * np.exp(random.uniform(-STRETCH, STRETCH)), height]) / 2
    room = np.maximum(0, np.array([ASPECT, 1]) / 2 - half)
    centre = np.array([ASPECT, 1]) / 2 + random.uniform(-1, 1, 2) * room
    angle = random.uniform(0, 2 * np.pi)
    mirror = random.choice([-1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = centre + (np.array([(-mirror, -1), (mirror, -1), (mirror, 1)]) * half) @ turn.T
    pixels = corners / [ASPECT, 1] * edge
    target = np.array([(0, 0), (size, 0), (size, size)])
    # Corners are edges of pixels, OpenCV counts from centres: so a full, unturned frame is exactly the image.
    return cv2.getAffineTransform((pixels - 0.5).astype(np.float32), (target - 0.5).astype(np.float32))  # type: ignore[return-value]


def _random_colours(random: np.random.Generator, strength: Augmentation) -> npt.NDArray[np.float32]:
    """Hue, saturation, contrast, brightness and white balance as one matrix for `cv2.transform`, float32[3, 4]."""
    saturation = 1 + random.uniform(-strength.saturation, strength.saturation)
    contrast = 1 + random.uniform(-strength.contrast, strength.contrast)
    gains = (1 + random.uniform(-strength.brightness, strength.brightness)) * (
        1 + random.uniform(-strength.tint, strength.tint, 3)
    )
    grey = np.tile(LUMA, (3, 1))
    hue, _ = cv2.Rodrigues(np.full(3, random.uniform(-HUE, HUE) / np.sqrt(3)))
    matrix = gains[:, None] * contrast * (grey + saturation * (np.eye(3) - grey)) @ hue
    offset = gains * 128 * (1 - contrast)
    return np.column_stack([matrix, offset]).astype(np.float32)


def _degraded(view: Pixels, random: np.random.Generator) -> Pixels:
    """At times blurred, grainy, compressed once more: in the order of a camera."""
    if random.random() < BLUR_SHARE:
        view = cv2.GaussianBlur(view, (0, 0), random.uniform(*BLUR_SIGMA))  # type: ignore[assignment]
    if random.random() < NOISE_SHARE:
        grain = random.standard_normal(view.shape, np.float32) * np.float32(random.uniform(*NOISE_SPREAD))
        view = np.clip(view + grain, 0, 255).round().astype(np.uint8)
    if random.random() < JPEG_SHARE:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(*JPEG_QUALITY))]
        # Channels swapped or not, the codec only takes the first for blue: chroma is treated alike.
        view = cv2.imdecode(cv2.imencode(".jpg", view, quality)[1], cv2.IMREAD_COLOR)  # type: ignore[assignment]
    return view
