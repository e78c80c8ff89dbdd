"""The methods by their names, and what each of them asks of a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import numpy.typing as npt

from dermabatch.artifacts import Artifact
from dermabatch.engines import Engine, set_up_tensorflow
from dermabatch.errors import ConfigurationError
from dermabatch.explain.absence import Image, Predict
from dermabatch.explain.deletion_insertion import Saliency
from dermabatch.manifest import WEIGHTS
from dermabatch.saliency import upscaled
from dermabatch.triage import decision_scores

if TYPE_CHECKING:
    import keras

SEED: Final = 20180707


class Method(StrEnum):
    """A way to say which part of a picture speaks for a class."""

    CAM = "cam"  # the exact class activation map, which comes with every answer
    GRADCAM = "gradcam"  # the same through gradients, for networks with another ending too
    LIME = "lime"  # a linear model of the answers to pictures that lack superpixels
    SHAP = "shap"  # fair shares of the score

    @property
    def label(self) -> str:
        """As people write it."""
        return _LABELS[self]


_LABELS: Final[Mapping[Method, str]] = MappingProxyType(
    {
        Method.CAM: "Class activation map",
        Method.GRADCAM: "Grad-CAM",
        Method.LIME: "LIME",
        Method.SHAP: "SHAP",
    }
)

BUDGETS: Final[Mapping[Method, int]] = MappingProxyType(
    {Method.CAM: 0, Method.GRADCAM: 0, Method.LIME: 500, Method.SHAP: 500}
)
"""Pictures that a method shows the model, so that LIME and SHAP have the same means."""


@dataclass(frozen=True, slots=True)
class ExplainedModel:
    """A loaded model as the methods ask it.

    Attributes:
        predict: from uint8[N, S, S, 3] to decision scores float[N, 7].
        cam: from uint8[N, S, S, 3] to class activation maps float32[N, h, w, 7].
        network: gives the Keras network; called by Grad-CAM alone.
    """

    predict: Predict
    cam: Callable[[Image], npt.NDArray[np.float32]]
    network: Callable[[], "keras.Model"]

    @classmethod
    def of_artifact(cls, artifact: Artifact, engine: Engine) -> Self:
        """The model of `artifact`, which `engine` has loaded."""

        @cache
        def network() -> "keras.Model":
            about = artifact.manifest.network
            built = _heavy("dermabatch.networks").build(about.name, about.parameters)
            _heavy("dermabatch.networks.weights").load_weights(built, artifact.read(WEIGHTS))
            return built

        return cls(
            predict=lambda images: decision_scores(engine.run(images).logits),
            cam=lambda images: engine.run(images).cam,
            network=network,
        )

    @classmethod
    def of_network(cls, network: "keras.Model") -> Self:
        """A network that is not in an artifact yet."""

        def run(images: Image, output: str) -> npt.NDArray[np.float32]:
            return np.asarray(network(images, training=False)[output])

        return cls(
            predict=lambda images: decision_scores(run(images, "logits")),
            cam=lambda images: run(images, "cam"),
            network=lambda: network,
        )


def explain(model: ExplainedModel, image: Image, method: Method, target: int) -> Saliency:
    """How much each pixel speaks for a class, and below 0 against it, float[S, S]; each method has its own scale.

    Args:
        model: the model.
        image: uint8[S, S, 3].
        method: the method. What it draws at random is the same every time.
        target: index of the class.

    Raises:
        CannotExplain: the method does not fit the network.
        ConfigurationError: the method needs a package that is not installed.
    """
    saliency: Saliency
    match method:
        case Method.CAM:
            saliency = upscaled(model.cam(image[None])[0, :, :, target], len(image))
        case Method.GRADCAM:
            grid = _heavy("dermabatch.explain.gradcam").gradcam(model.network(), image, target)
            saliency = upscaled(grid, len(image))
        case Method.LIME:
            lime = _heavy("dermabatch.explain.lime").lime
            saliency = lime(model.predict, image, target, evaluations=BUDGETS[method], seed=SEED)
        case Method.SHAP:
            shapley = _heavy("dermabatch.explain.shapley").shapley
            saliency = shapley(model.predict, image, target, evaluations=BUDGETS[method])
    return saliency


def _heavy(module: str) -> Any:
    """A module whose packages take seconds to import, and come with the extra `training` alone.

    Raises:
        ConfigurationError: they are not installed.
    """
    set_up_tensorflow()  # which Grad-CAM imports, and SHAP where it finds it
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Expected {error.name}, which this explanation needs: pip install 'dermabatch[training]'"
        ) from None
