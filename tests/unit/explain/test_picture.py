"""The picture that a doctor looks at."""

import cv2
import numpy as np
import pytest

from dermabatch.explain import Explained, Explanation, Faithfulness, Method
from dermabatch.explain.picture import draw, overlaid

SKIN = np.full((64, 64, 3), (220, 160, 150), np.uint8)
MAP = np.zeros((32, 32))
MAP[8, 24], MAP[24, 8] = 1, -1


def explained(*methods: Method) -> Explained:
    judged = Faithfulness(deletion=0.2, insertion=0.7)
    scores = np.array([0.1, 0.0, 0.0, 0.0, 0.2, 0.7, 0.0])
    explanations = {method: Explanation(MAP, judged, 0.1) for method in methods}
    return Explained(4, scores, explanations, {"random": judged, "centre": judged})


def test_skin_is_untouched_where_nothing_speaks_for_the_class_and_changed_most_where_most_does():
    change = np.abs(overlaid(SKIN, MAP).astype(int) - SKIN).sum(axis=-1)
    assert np.unravel_index(change.argmax(), change.shape) in {(16, 48), (16, 49), (17, 48), (17, 49)}
    assert change[48, 16] == change[40, 40] == 0


def test_a_map_without_evidence_leaves_the_picture_as_it_is():
    assert np.array_equal(overlaid(SKIN, -np.ones((32, 32))), SKIN)


@pytest.mark.parametrize(("methods", "panels"), [([Method.LIME], 2), (list(Method), 5)])
def test_the_page_grows_with_the_methods(methods, panels):
    png = draw(explained(*methods), SKIN, aspect=4 / 3, model_name="toy")
    height, width, _ = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape
    assert width == pytest.approx(160 * (0.66 + panels * 3.14), abs=2)
    assert height < 1400


def test_the_same_explanation_is_the_same_file():
    first, second = (draw(explained(Method.CAM), SKIN, aspect=1, model_name="toy") for _ in range(2))
    assert first == second
