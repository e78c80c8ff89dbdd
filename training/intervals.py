"""How far a figure would move on other lesions: intervals over lesions, never over images, which come in groups.

A `Statistic` maps weights float[R, N], one row a sample and one column an image, to float[R]. Its value is taken
with every image counted once (or as `weights` say), its interval over resamples of the lesions.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from training.metrics import Floats, Labels

Flags = npt.NDArray[np.bool_]
Statistic = Callable[[Floats], Floats]

RESAMPLES: Final = 2000
AT_ONCE: Final = 250  # rows of weights in memory: 20 MB for 10,000 images
NORMAL_975: Final = 1.959963984540054  # 97.5 % point of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its 95 % interval. All are NaN where the data cannot give it."""

    value: float
    low: float
    high: float

    def named(self, name: str) -> dict[str, Any]:
        """As reports hold it: `NAME` and `NAME_interval`; None where there is no figure."""
        if not np.isfinite(self.value):
            return {name: None, f"{name}_interval": None}
        return {name: self.value, f"{name}_interval": (self.low, self.high)}


class Bootstrap:
    """Resamples of the lesions within each class; all images of a lesion come and go together.

    Source: percentile bootstrap, Efron & Tibshirani, "An Introduction to the Bootstrap" (1993).
    """

    def __init__(
        self, truth: Labels, lesions: npt.NDArray[np.str_], seed: int, resamples: int = RESAMPLES
    ) -> None:
        """Draw the resamples: class indices int64[N] and lesion str[N] of the images; `seed` decides them."""
        random = np.random.default_rng(seed)
        _, lesion = np.unique(lesions, return_inverse=True)
        drawn = np.zeros((resamples, lesion.max() + 1), np.float32)
        for label in np.unique(truth):
            members = np.unique(lesion[truth == label])
            drawn[:, members] += random.multinomial(
                len(members), np.full(len(members), 1 / len(members)), resamples
            )
        self._copies = drawn[:, lesion]

    def within(self, images: Flags) -> Self:
        """The same resamples, seen from some of the images alone."""
        part = copy(self)
        part._copies = self._copies[:, images]
        return part

    def figure(self, statistic: Statistic, weights: Floats | None = None) -> Figure:
        """Value and interval of `statistic`; `weights` float[N] are what an image counts in both."""
        base = np.ones(self._copies.shape[1]) if weights is None else weights
        parts = [self._copies[at : at + AT_ONCE] for at in range(0, len(self._copies), AT_ONCE)]
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(statistic(base[None])[0])
            resampled = np.concatenate([statistic(part * base) for part in parts])
        if not np.isfinite(value):
            return Figure(np.nan, np.nan, np.nan)
        low, high = np.nanpercentile(resampled, (2.5, 97.5))
        return Figure(value, float(low), float(high))


def rate(hit: Flags, among: Flags, weights: Floats, lesions: npt.NDArray[np.str_]) -> Figure:
    """Share of `hit` among the images `among`, with Wilson's interval for as many trials as there are lesions.

    Unlike the bootstrap it sees doubt where every image was hit: 12 of 12 are compatible with 76 %.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    trials = len(np.unique(lesions[among]))
    if not trials:
        return Figure(np.nan, np.nan, np.nan)
    share = float(np.average(hit[among], weights=weights[among]))
    return Figure(share, *wilson(share, trials))


def wilson(share: float, trials: int) -> tuple[float, float]:
    """95 % score interval of a proportion that was `share` in `trials` independent trials."""
    square = NORMAL_975**2
    centre = share + square / (2 * trials)
    spread = NORMAL_975 * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    low, high = (centre - spread) / (1 + square / trials), (centre + spread) / (1 + square / trials)
    return float(max(low, 0)), float(min(high, 1))
