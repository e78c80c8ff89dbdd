"""SHAP: the score of a class, shared out fairly among the pixels.

Source: Lundberg & Lee, "A Unified Approach to Interpreting Model Predictions" (NIPS 2017). Pixels are grouped by
halving the picture again and again, the most telling half first, and the shares are Owen values: Shapley values of
players in such a hierarchy. All shares together are the score less that of the absent picture.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import shap

from dermabatch.explain.absence import Image, Predict, absent

BATCH: Final = 32


def shapley(predict: Predict, image: Image, target: int, *, evaluations: int) -> npt.NDArray[np.float64]:
    """The share of each pixel in the score of the class, float64[S, S]. Draws nothing at random.

    Args:
        predict: the model.
        image: uint8[S, S, 3].
        target: index of the class.
        evaluations: pictures that the model is shown; the more, the finer the parts that get a share of their own.
    """
    masker = shap.maskers.Image(absent(image), image.shape)
    shares = shap.PartitionExplainer(predict, masker)(
        image[None], max_evals=evaluations, batch_size=BATCH, outputs=[target], silent=True
    ).values
    summed: npt.NDArray[np.float64] = shares[0, ..., 0].sum(axis=-1)
    return summed
