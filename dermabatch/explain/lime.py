"""LIME: a linear model of what the network does around one picture.

Source: Ribeiro, Singh & Guestrin, "'Why Should I Trust You?': Explaining the Predictions of Any Classifier" (KDD
2016). Written from the paper, because the authors' package has had no release since 2020.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from skimage.segmentation import slic
from sklearn.linear_model import Ridge

from dermabatch.explain.absence import Image, Mask, Predict, keep

SUPERPIXELS: Final = 64  # about 28 pixels wide in 224: pigment networks and dots still lie in one
COMPACTNESS: Final = 10.0  # of SLIC: follows the border of a lesion and not its hairs
BATCH: Final = 32  # 5 MB of pictures
KERNEL_WIDTH: Final = 0.25  # of the authors' code, like the penalty
PENALTY: Final = 1.0


def lime(
    predict: Predict, image: Image, target: int, *, evaluations: int, seed: int
) -> npt.NDArray[np.float64]:
    """What each superpixel adds to the score of the class where it is there, float64[S, S].

    Args:
        predict: the model.
        image: uint8[S, S, 3].
        target: index of the class.
        evaluations: neighbours of the picture that the model is shown, itself among them; several a superpixel.
        seed: of the neighbours that are drawn.
    """
    segments = superpixels(image)
    present = np.random.default_rng(seed).random((evaluations, segments.max() + 1)) < 0.5
    present[0] = True
    scores = np.concatenate(
        [
            predict(keep(image, present[start : start + BATCH][:, segments]))[:, target]
            for start in range(0, evaluations, BATCH)
        ]
    )
    effects: npt.NDArray[np.float64] = (
        Ridge(alpha=PENALTY).fit(present, scores, sample_weight=_closeness(present)).coef_
    )
    return effects[segments]


def superpixels(image: Image) -> npt.NDArray[np.int64]:
    """About `SUPERPIXELS` connected areas of even colour, int64[S, S], numbered from 0.

    Source: Achanta et al., "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods" (PAMI 2012).
    """
    segments: npt.NDArray[np.int64] = slic(
        image, n_segments=SUPERPIXELS, compactness=COMPACTNESS, start_label=0
    )
    return segments


def _closeness(present: Mask) -> npt.NDArray[np.float64]:
    """Weight of each neighbour, float64[N]: an exponential kernel on its cosine distance to the whole picture."""
    distance = 1 - np.sqrt(present.mean(axis=1))
    closeness: npt.NDArray[np.float64] = np.exp(-(distance**2) / (2 * KERNEL_WIDTH**2))
    return closeness
