"""The tables behind the notebook, on pictures whose figures are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from training.data import Sample
from training.exploration import describe, image_statistics


def test_a_description_keeps_what_is_known_and_marks_what_is_not():
    known = Sample("I1", "L1", 4, Path(), age=60.0, sex="female", localization="back")
    unknown = Sample("I2", "L1", 4, Path())

    table = describe([known, unknown])

    assert table.iloc[0].tolist() == ["I1", "L1", "mel", 60.0, "female", "back"]
    assert table[["age", "sex", "site"]].isna().all(axis=1).tolist() == [False, True]
    assert isinstance(table["class"].dtype, pd.CategoricalDtype)


def test_statistics_of_pictures_are_read_in_the_colours_of_cielab():
    white, red, checkered = np.full((3, 16, 16, 3), 255, np.uint8)
    red[..., 1:] = 0
    checkered[::2, ::2] = checkered[1::2, 1::2] = 0

    table = image_statistics(np.stack([white, red, checkered]))

    assert table["brightness"].tolist() == pytest.approx([100, 53.2, 50], abs=0.5)
    assert table["redness"].tolist() == pytest.approx([0, 80.1, 0], abs=0.5)
    assert table["yellowness"].tolist() == pytest.approx([0, 67.2, 0], abs=0.5)
    assert table["contrast"].tolist() == pytest.approx([0, 0, 50], abs=0.5)
    assert table["sharpness"][2] > table["sharpness"][0] + 5
    assert table["sharpness"][1] == table["sharpness"][0]
