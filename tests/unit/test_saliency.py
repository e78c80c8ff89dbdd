"""From class activation maps to grids and heat maps."""

import cv2
import numpy as np

from dermabatch.saliency import HEAT_MAP_EDGE, heat_map, saliency_grids


def test_the_strongest_evidence_of_an_image_is_the_brightest_and_evidence_against_a_class_is_dark() -> None:
    cam = np.zeros((7, 7, 7), np.float32)
    cam[1, 2, 4], cam[5, 5, 0], cam[6, 6, 3] = 8.0, 2.0, -8.0
    grids = saliency_grids(cam)
    assert grids.dtype == np.uint8
    assert grids[1, 2, 4] == 255
    assert grids[5, 5, 0] == 64
    assert np.count_nonzero(grids) == 2


def test_every_image_has_its_own_scale() -> None:
    cams = np.stack([np.full((7, 7, 7), 1.0), np.full((7, 7, 7), 100.0)]).astype(np.float32)
    assert (saliency_grids(cams) == 255).all()


def test_an_image_without_evidence_stays_dark() -> None:
    assert not saliency_grids(np.full((7, 7, 7), -1, np.float32)).any()


def test_a_heat_map_is_clear_where_there_is_no_evidence_and_opaque_where_there_is_most() -> None:
    grid = np.zeros((7, 7), np.uint8)
    grid[0, 0] = 255
    picture = cv2.imdecode(np.frombuffer(heat_map(grid), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (HEAT_MAP_EDGE, HEAT_MAP_EDGE, 4)
    assert picture[5, 5, 3] > 250
    assert picture[-5, -5, 3] == 0
