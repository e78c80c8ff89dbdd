"""Which networks a test takes: all of them, or first those that build quickly."""

import pytest

from dermabatch.architectures import ARCHITECTURES

QUICK = ("baseline_cnn", "efficientnet_lite0", "ensemble")

every_network = pytest.mark.parametrize("name", ARCHITECTURES)
every_network_in_time = pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in ARCHITECTURES],
)
"""Seconds of computing for each of the larger ones."""
