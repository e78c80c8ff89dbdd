"""The audit of near-duplicates: copies are found however they were changed; lesions that only look alike are not."""

import cv2
import numpy as np
import pytest

from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.synthetic import lesion_image
from training.near_duplicates import AUDIT_SIZE, POSES, near_duplicates, posed

LESIONS = 12


@pytest.fixture(scope="module")
def pictures():
    """uint8[12, 240, 320, 3]: painted lesions, all different."""
    return np.stack([lesion_image(seed, width=320, height=240) for seed in range(20, 20 + LESIONS)])


def audited(pictures, sides=None):
    pixels = np.stack([preprocess(np.ascontiguousarray(picture), AUDIT_SIZE) for picture in pictures])
    return near_duplicates(pixels, sides or [f"side {number}" for number in range(len(pictures))])


def pairs(found):
    return [(twins.first, twins.second) for twins in found]


def recoloured(picture):
    return np.clip(picture * np.array([1.1, 0.9, 0.8]) + 10, 0, 255).astype(np.uint8)


def compressed(picture):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


def cropped(picture):
    return picture[4:-4, 6:-6]


def reduced(picture):
    return cv2.resize(picture, (200, 150), interpolation=cv2.INTER_AREA)


def tilted(picture):
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 3, 1)
    return cv2.warpAffine(picture, turn, (width, height), borderMode=cv2.BORDER_REFLECT)


def in_a_round_frame(picture):
    frame = np.zeros_like(picture)
    height, width = picture.shape[:2]
    cv2.circle(frame, (width // 2, height // 2), height // 2 - 5, (1, 1, 1), -1)
    return picture * frame


def test_different_lesions_are_no_twins(pictures):
    assert audited(pictures) == []


@pytest.mark.parametrize("change", [recoloured, compressed, cropped, reduced, tilted])
def test_a_changed_copy_is_found_with_its_original(pictures, change):
    found = audited([*pictures, change(pictures[3])])

    assert pairs(found) == [(3, LESIONS)]
    assert 0.4 < found[0].correlation <= 1


@pytest.mark.parametrize("pose", range(POSES))
def test_a_copy_is_found_in_every_pose(pictures, pose):
    copy = np.moveaxis(posed(np.moveaxis(pictures[3], -1, 0), pose), 0, -1)

    assert pairs(audited([*pictures, compressed(copy)])) == [(3, LESIONS)]


def test_images_on_one_side_are_no_finding(pictures):
    sides = ["train", "test"] * (LESIONS // 2)

    assert audited([*pictures, compressed(pictures[3])], [*sides, "test"]) == []
    assert pairs(audited([*pictures, compressed(pictures[3])], [*sides, "train"])) == [(3, LESIONS)]


def test_a_round_frame_in_common_makes_no_twins(pictures):
    assert audited([in_a_round_frame(picture) for picture in pictures]) == []


def test_pictures_without_any_structure_are_no_twins():
    assert audited(np.full((3, 60, 80, 3), 128, np.uint8)) == []


def test_the_surest_pair_comes_first(pictures):
    found = audited([*pictures, compressed(pictures[2]), tilted(reduced(pictures[7]))])

    assert pairs(found) == [(2, LESIONS), (7, LESIONS + 1)]
    assert found[0].correlation > found[1].correlation
