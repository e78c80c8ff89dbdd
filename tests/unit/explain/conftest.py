"""Networks of these tests are untrained: the same weights in every run, or a tolerance holds by chance."""

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    keras.utils.set_random_seed(1)
