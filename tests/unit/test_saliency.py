"""From class activation maps to grids and heat maps."""

from collections.abc import Iterator

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


def test_a_cell_lies_where_a_symmetrically_padded_network_looked() -> None:
    grid = np.zeros((7, 7), np.uint8)
    grid[3, 5] = 255
    alpha = alpha_of(grid)
    assert np.unravel_index(alpha.argmax(), alpha.shape) == (3 * 32, 5 * 32)


def test_the_evidence_for_a_spot_lies_within_a_cell_of_the_spot(engine: Engine) -> None:
    """Averaged over many places, because one spot also changes what the network sees around it."""
    skin = np.full((224, 224, 3), (220, 160, 150), np.uint8)
    plain = engine.run(skin[None]).cam[0]
    offsets = []
    for x in range(48, 192, 24):
        for y in range(48, 192, 24):
            spotted = cv2.circle(skin.copy(), (x, y), 14, (90, 50, 40), -1)
            change = np.abs(engine.run(spotted[None]).cam[0] - plain).sum(axis=-1, keepdims=True)
            alpha = alpha_of(saliency_grids(change)[..., 0]).astype(float)
            rows, columns = np.nonzero(alpha > 127)
            offsets.append((columns.mean() - x, rows.mean() - y))
    one_cell = 32
    assert np.abs(np.mean(offsets, axis=0)).max() < one_cell
