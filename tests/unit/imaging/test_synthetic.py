"""The painted lesions of demo and tests."""

import numpy as np
import pytest

from dermabatch.imaging.inspection import inspect
from dermabatch.imaging.lesion_painting import KINDS, Kind
from dermabatch.imaging.preprocess import preprocess
from dermabatch.imaging.quality import measure
from dermabatch.imaging.synthetic import lesion_image, lesion_jpeg, lesion_png
from dermabatch.imaging.synthetic_dicom import lesion_dicom


def test_a_seed_always_paints_the_same_picture() -> None:
    assert lesion_jpeg(7) == lesion_jpeg(7)
    assert lesion_dicom(7) == lesion_dicom(7)


def test_every_seed_paints_another_picture() -> None:
    assert len({lesion_png(seed, width=80, height=64) for seed in range(20)}) == 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("width", "height"), [(600, 450), (225, 300), (64, 64)])
def test_every_kind_can_be_painted_at_any_size(kind: Kind, width: int, height: int) -> None:
    picture = lesion_image(3, width=width, height=height, kind=kind)
    assert (picture.shape, picture.dtype) == ((height, width, 3), np.uint8)


def test_a_lesion_is_darker_than_the_skin_around_it() -> None:
    picture = lesion_image(1, kind="melanoma")
    assert picture[200:250, 275:325].mean() < picture[40:90, 60:110].mean()


def test_skin_comes_in_many_tones() -> None:
    brightness = [lesion_image(seed, width=96, height=72)[:, 12:20].mean() for seed in range(40)]
    assert max(brightness) > 1.7 * min(brightness)


@pytest.mark.parametrize("kind", KINDS)
def test_a_painted_lesion_is_a_good_picture(kind: Kind) -> None:
    for seed in range(4):
        assert measure(preprocess(lesion_image(seed, kind=kind), 224), 600, 450).flags == ()


def test_a_lesion_looks_about_the_same_at_any_size() -> None:
    small, large = lesion_image(11, width=300, height=225), lesion_image(11, width=1200, height=900)
    assert np.abs(preprocess(small, 32).astype(int) - preprocess(large, 32)).mean() < 3


def test_painted_lesions_pass_the_inspection_unchanged() -> None:
    assert inspect(lesion_jpeg(1), "a.jpg").stripped == lesion_jpeg(1)
    assert inspect(lesion_png(1), "a.png").stripped == lesion_png(1)
