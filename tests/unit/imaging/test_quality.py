"""Which pictures are good enough, shown on lesions spoiled in one way each."""

import dataclasses

import cv2
import numpy as np
import pytest

from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.quality import Quality, QualityFlag, assessable, measure
from dermabatch.imaging.synthetic import lesion_image

SEEDS = range(12)


def lesion(seed: int) -> np.ndarray:
    return preprocess(lesion_image(seed), 224)


def blurred(pixels: np.ndarray, pixels_wide: float) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), pixels_wide)


def lit(pixels: np.ndarray, light: float) -> np.ndarray:
    return np.clip(pixels * float(light), 0, 255).astype(np.uint8)


def quality_of(pixels: np.ndarray) -> Quality:
    return measure(pixels, 600, 450)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_good_picture_has_no_flag_on_any_skin(seed: int) -> None:
    quality = quality_of(lesion(seed))
    assert quality.flags == ()
    assert assessable(quality)


def test_blurred_pictures_are_flagged_and_very_blurred_ones_cannot_be_assessed() -> None:
    assert all(QualityFlag.BLURRED in quality_of(blurred(lesion(seed), 3)).flags for seed in SEEDS)
    assert not any(assessable(quality_of(blurred(lesion(seed), 6))) for seed in SEEDS)


def test_dark_pictures_are_flagged_and_very_dark_ones_cannot_be_assessed() -> None:
    assert all(QualityFlag.TOO_DARK in quality_of(lit(lesion(seed), 0.25)).flags for seed in SEEDS)
    assert not any(assessable(quality_of(lit(lesion(seed), 0.1))) for seed in SEEDS)


def test_burnt_pictures_are_flagged_and_cannot_be_assessed() -> None:
    burnt = [quality_of(lit(lesion(seed), 8)) for seed in SEEDS]
    assert all(QualityFlag.TOO_BRIGHT in quality.flags for quality in burnt)
    assert not any(assessable(quality) for quality in burnt)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_blank_picture_cannot_be_assessed(level: int) -> None:
    quality = quality_of(np.full((224, 224, 3), level, np.uint8))
    assert QualityFlag.BLANK in quality.flags
    assert not assessable(quality)


def test_a_grey_picture_cannot_be_assessed() -> None:
    grey = cv2.cvtColor(cv2.cvtColor(lesion(1), cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    quality = quality_of(grey)
    assert quality.flags == (QualityFlag.COLOURLESS,)
    assert not assessable(quality)


def test_a_small_picture_is_flagged_and_still_assessed() -> None:
    quality = measure(lesion(1), 127, 200)
    assert quality.flags == (QualityFlag.SMALL,)
    assert assessable(quality)


def test_what_cannot_be_assessed_always_says_why() -> None:
    spoiled = [
        blurred(lit(lesion(seed), light), wide)
        for seed in SEEDS
        for light in (0.1, 1, 4)
        for wide in (0.1, 4)
    ]
    assert all(quality.flags for quality in map(quality_of, spoiled) if not assessable(quality))


def test_a_quality_survives_its_way_out_of_the_sandbox() -> None:
    quality = quality_of(blurred(lesion(1), 3))
    assert Quality.from_header(dataclasses.asdict(quality)) == quality


@pytest.mark.parametrize("header", [{}, {"sharpness": "sharp"}, {"flags": ["<script>"]}])
def test_a_quality_that_is_none_is_refused(header: dict[str, object]) -> None:
    whole = dataclasses.asdict(quality_of(lesion(1)))
    with pytest.raises((KeyError, ValueError)):
        Quality.from_header({**whole, **header} if header else {})
