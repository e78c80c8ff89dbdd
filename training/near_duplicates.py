"""Finds one lesion under two names: a picture copied, or taken again; also turned, mirrored, cropped or recoloured.

Names tell which images show one lesion, but a data set's names have gaps, and what they miss would leak from training
into testing. Three steps, each slower and surer than the one before:

1. Each image's nearest on other sides by a perceptual hash, in the best of eight poses.
2. Both are aligned at half size; their fine structure (hairs, dots, the border) correlates.
3. The same at full size, where it must correlate well.

The hash is a thumbnail of 64 grey values, compared by correlation. Cut down to the usual 64 bits, and with a threshold,
it told too little: most lesions are a dark spot in the middle of bare skin, and 260,000 pairs of HAM10000 differ by 12
bits or fewer. Changed copies of 150 of its images passed steps 2 and 3 as follows: saved again at quality 60, 100 %;
cropped by a tenth, 97 %; tilted by ten degrees, 94 %. A lesion taken anew from another distance may still be missed.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from training.data import Pixels

AUDIT_SIZE: Final = 112
"""Pixels of an edge. The audit has its own, so that no split depends on the input size of a network."""

POSES: Final = 8
_INVERSE: Final = np.array((0, 3, 2, 1, 4, 5, 6, 7))
HASH_EDGE: Final = 8  # of 8, 12, 16 and 24 the one that ranks true pairs first
NEAREST: Final = 10
HALF: Final = AUDIT_SIZE // 2
MIN_AT_HALF_SIZE: Final = 0.2  # one pair in 400 passes
MIN_CORRELATION: Final = 0.35
"""In HAM10000 all that was found above shows the same lesion, looked at by eye; the best of others has 0.31."""
MIN_OVERLAP: Final = 0.3  # of the picture
FRAME: Final = 30  # of 255; darker is the frame around a round field of view, or too dark to show structure
MARGIN: Final = 4 / AUDIT_SIZE  # of the edge
FINE_SIGMA: Final = 2 / AUDIT_SIZE  # of the edge: hairs and dots are finer than this, shading is coarser
REACH: Final = 2 / AUDIT_SIZE  # of the edge, by which pictures are blurred to be aligned

_STEPS: Final = (cv2.TERM_CRITERIA_COUNT + cv2.TERM_CRITERIA_EPS, 20, 1e-3)
_ROWS: Final = 512  # of the table of all pairs, held at once

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Twins:
    """Two images, by their positions, that show the same; `correlation` of the fine structure, at most 1."""

    first: int
    second: int
    correlation: float


def near_duplicates(pixels: Pixels, sides: Sequence[str]) -> list[Twins]:
    """Pairs of images on different sides that show the same, the surest first.

    Takes less than two minutes of one core for 10,000 images.

    Args:
        pixels: uint8[N, AUDIT_SIZE, AUDIT_SIZE, 3], RGB.
        sides: what each image is for; pairs on one side, such as images of one lesion, do no harm.
    """
    whole = [cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32) for image in pixels]
    half = [cv2.resize(grey, (HALF, HALF), interpolation=cv2.INTER_AREA) for grey in whole]
    pairs = _nearest(_hashes(whole), np.unique(sides, return_inverse=True)[1]).tolist()

    def correlation(pair: tuple[int, int, int]) -> float:
        first, second, pose = pair
        if _aligned_correlation(half[first], posed(half[second], pose)) < MIN_AT_HALF_SIZE:
            return 0.0
        return _aligned_correlation(whole[first], posed(whole[second], pose))

    with ThreadPoolExecutor() as pool:  # OpenCV computes beside Python
        found = zip(pairs, pool.map(correlation, pairs, chunksize=256), strict=True)
        surest: dict[tuple[int, int], float] = {}
        for (first, second, _), value in found:
            surest[first, second] = max(value, surest.get((first, second), 0.0))
    twins = [Twins(*pair, value) for pair, value in surest.items() if value >= MIN_CORRELATION]
    return sorted(twins, key=lambda pair: -pair.correlation)


def posed(images: npt.NDArray[Any], pose: int) -> npt.NDArray[Any]:
    """Turned by `pose` % 4 quarters, and mirrored from pose 4 on; the last two axes are the picture's."""
    mirrored = images.swapaxes(-1, -2) if pose >= POSES // 2 else images
    return np.ascontiguousarray(np.rot90(mirrored, pose % 4, axes=(-2, -1)))


def _hashes(greys: Sequence[npt.NDArray[Any]]) -> Plane:
    """float32[N, HASH_EDGE, HASH_EDGE] of mean 0 and norm 1, so that products are correlations."""
    size = (HASH_EDGE, HASH_EDGE)
    small = np.stack([cv2.resize(grey, size, interpolation=cv2.INTER_AREA) for grey in greys])
    small = small - small.mean((1, 2), keepdims=True)
    norms = np.sqrt(np.square(small).sum((1, 2), keepdims=True))
    hashes: Plane = small / np.maximum(norms, np.float32(1e-6))
    return hashes


def _nearest(hashes: Plane, sides: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """int64[M, 3], each row once: first image, a later one, and the pose of the latter that fits best."""
    in_poses = np.stack([posed(hashes, pose).reshape(len(hashes), -1) for pose in range(POSES)])
    found = []
    for start in range(0, len(hashes), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(hashes)))
        correlations = np.max([in_poses[0, rows] @ others.T for others in in_poses], axis=0)
        correlations[sides[rows][:, None] == sides] = -2
        nearest = np.argsort(-correlations, axis=1)[:, :NEAREST]
        row, place = np.nonzero(np.take_along_axis(correlations, nearest, axis=1) > -2)
        first, second = rows[row], nearest[row, place]
        pose = np.einsum("md,pmd->mp", in_poses[0, first], in_poses[:, second]).argmax(1)
        later = np.where(first < second, pose, _INVERSE[pose])
        found.append(np.column_stack([np.minimum(first, second), np.maximum(first, second), later]))
    return np.unique(np.concatenate(found), axis=0)


def _aligned_correlation(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Correlation of the fine structures where both pictures overlap, -1 to 1, under the best affine alignment.

    Alignment by the enhanced correlation coefficient: Evangelidis & Psarakis, IEEE TPAMI 30 (2008) 1858.
    """
    start, blur = np.eye(2, 3, dtype=np.float32), 2 * round(REACH * len(first)) + 1
    try:
        _, warp = cv2.findTransformECC(first, second, start, cv2.MOTION_AFFINE, _STEPS, None, blur)  # type: ignore[call-overload]
    except cv2.error:  # it did not converge: the pictures differ
        return 0.0
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(second, warp, first.shape, flags=flags, borderMode=cv2.BORDER_REFLECT)
    covered = cv2.warpAffine(np.ones_like(second), warp, first.shape, flags=flags) > 0.99
    overlap = covered & _inside(first) & _inside(moved)
    if overlap.mean() < MIN_OVERLAP:
        return 0.0
    return _correlation(_fine_structure(first)[overlap], _fine_structure(moved)[overlap])


def _correlation(one: Plane, other: Plane) -> float:
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-6)


def _inside(grey: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Neither at the border nor at the black frame of a round field of view, which is the same in many pictures."""
    margin = round(MARGIN * len(grey))
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    bright = (grey > FRAME).astype(np.uint8)
    return cv2.erode(bright, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0).astype(bool)


def _fine_structure(grey: npt.NDArray[Any]) -> Plane:
    """What is finer than shading, relative to its strength around, so that no border of a spot outweighs hairs."""
    sigma = FINE_SIGMA * len(grey)
    detail = grey - cv2.GaussianBlur(grey, (0, 0), sigma)
    strength = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), 3 * sigma))
    structure: Plane = detail / (strength + 1)
    return structure
