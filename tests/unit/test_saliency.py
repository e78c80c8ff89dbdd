"""From class activation maps to grids and heat maps."""

from collections.abc import Iterator
from itertools import product

import cv2
import numpy as np
import pytest

from dermabatch.artifacts import read_artifact
from dermabatch.engines import Engine, load_engine
from dermabatch.saliency import HEAT_MAP_EDGE, heat_map, saliency_grids
from dermabatch.shipped import SHIPPED_MODEL


@pytest.fixture
def engine() -> Iterator[Engine]:
    """The shipped model."""
    pytest.importorskip("openvino")
    artifact = read_artifact(SHIPPED_MODEL.folder, expected_digest=SHIPPED_MODEL.digest, verify_key=None)
    loaded = load_engine(artifact.folder, artifact.manifest, "openvino")
    yield loaded
    loaded.close()


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


def alpha_of(grid: np.ndarray) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(heat_map(grid), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (HEAT_MAP_EDGE, HEAT_MAP_EDGE, 4)
    return picture[..., 3]


def test_a_heat_map_is_clear_where_there_is_no_evidence_and_opaque_where_there_is_most() -> None:
    grid = np.zeros((7, 7), np.uint8)
    grid[0, 0] = 255
    alpha = alpha_of(grid)
    assert alpha[0, 0] == 255
    assert alpha[-5, -5] == 0


def test_a_cell_lies_on_its_own_tile_of_the_picture() -> None:
    grid = np.zeros((7, 7), np.uint8)
    grid[3, 5] = 255
    alpha = alpha_of(grid)
    middle = [3.5 * 32, 5.5 * 32]
    np.testing.assert_allclose(np.unravel_index(alpha.argmax(), alpha.shape), middle, atol=1)


def test_the_evidence_for_a_spot_lies_within_half_a_cell_of_the_spot(engine: Engine) -> None:
    """Averaged over many places, because one spot also changes what the network sees around it."""
    size = engine.input_size
    skin = np.full((size, size, 3), (220, 160, 150), np.uint8)
    plain = engine.run(skin[None]).cam[0]
    offsets = []  # as shares of the edge
    for x, y in product(np.linspace(0.2, 0.8, 6), repeat=2):
        spotted = cv2.circle(skin.copy(), (round(x * size), round(y * size)), size // 16, (90, 50, 40), -1)
        change = np.abs(engine.run(spotted[None]).cam[0] - plain).sum(axis=-1, keepdims=True)
        rows, columns = np.nonzero(alpha_of(saliency_grids(change)[..., 0]) > 127)
        offsets.append((columns.mean() / HEAT_MAP_EDGE - x, rows.mean() / HEAT_MAP_EDGE - y))
    half_a_cell = 0.5 / len(plain)
    assert np.abs(np.mean(offsets, axis=0)).max() < half_a_cell
