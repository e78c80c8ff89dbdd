"""Explanations beside their figures: of one picture, and as a table over many for a report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermabatch.explain.absence import Image
from dermabatch.explain.deletion_insertion import (
    EVALUATIONS,
    RANDOM_MAPS,
    Faithfulness,
    Saliency,
    baselines,
    faithfulness,
    mean,
)
from dermabatch.explain.methods import BUDGETS, ExplainedModel, Method, explain

BASELINES: Final[Mapping[str, str]] = MappingProxyType(
    {"random": "Random areas", "centre": "Centre of the picture"}
)
"""Maps that know nothing of the model, as people write them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A map float[S, S], how faithful it is, and the seconds of all cores together that it took."""

    saliency: Saliency
    faithfulness: Faithfulness
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Explained:
    """What methods say of one class of one picture, beside `BASELINES`. `scores` are those of the whole picture."""

    target: int
    scores: npt.NDArray[np.floating]
    explanations: Mapping[Method, Explanation]
    baselines: Mapping[str, Faithfulness]

    def beats_baselines(self, method: Method) -> bool:
        """Whether the map of `method` has a wider gap than each baseline; one that has not tells nothing."""
        gap = self.explanations[method].faithfulness.gap
        return all(gap > baseline.gap for baseline in self.baselines.values())


def explain_and_judge(
    model: ExplainedModel,
    image: Image,
    methods: Sequence[Method],
    *,
    target: int | None = None,
    progress: Callable[[int], None] = lambda pictures: None,
) -> Explained:
    """Explain a picture by each of `methods`, and judge the maps.

    Args:
        model: the model.
        image: uint8[S, S, 3].
        methods: in the order of the result.
        target: index of the class; the model's own where None.
        progress: hears how many pictures the model has just been shown, of about `evaluations` in all.

    Raises:
        CannotExplain, ConfigurationError: see `explain`.
    """

    def predict(images: Image) -> npt.NDArray[np.floating]:
        scores = model.predict(images)
        progress(len(images))
        return scores

    watched = replace(model, predict=predict)
    scores = predict(image[None])[0]
    target = int(scores.argmax()) if target is None else target
    return Explained(
        target,
        scores,
        {method: _judged(watched, image, method, target) for method in methods},
        baselines(predict, image, target),
    )


def evaluations(methods: Sequence[Method]) -> int:
    """About how many pictures `explain_and_judge` shows the model."""
    judged = len(methods) + RANDOM_MAPS + 1
    return 1 + judged * EVALUATIONS + sum(BUDGETS[method] for method in methods)


def _judged(model: ExplainedModel, image: Image, method: Method, target: int) -> Explanation:
    started = time.process_time()
    saliency = explain(model, image, method, target)
    seconds = time.process_time() - started
    return Explanation(saliency, faithfulness(model.predict, image, saliency, target), seconds)


def faithfulness_table(
    model: ExplainedModel,
    images: Image,
    methods: Sequence[Method] = tuple(Method),
    progress: Callable[[int], None] = lambda images: None,
) -> list[dict[str, Any]]:
    """How faithful each method is to this model: the part `explanations` of a report.

    Each picture is explained for the class that it gets; with all four methods the model is asked about 1,500 times.

    Args:
        model: the model.
        images: uint8[N, S, S, 3].
        methods: the rows before the baselines.
        progress: hears the number of images done.

    Returns:
        A row for each method and then each of `BASELINES`: `map`, its code; `method`, its name for people; `images`,
        N; the mean `deletion` and `insertion`. Rows of methods also have `beats_random` and `beats_centre`, the shares
        of the images where their gap (`Faithfulness.gap`) is the larger one, and `cpu_seconds`, the median of one
        explanation: the first one loads what it needs.
    """
    explained = []
    for number, image in enumerate(images, start=1):
        explained.append(explain_and_judge(model, image, methods))
        progress(number)
    rows = [_method_row(explained, method) for method in methods]
    for name, label in BASELINES.items():
        rows.append(_row(name, label, [one.baselines[name] for one in explained]))
    return rows


def _method_row(explained: Sequence[Explained], method: Method) -> dict[str, Any]:
    of_method = [one.explanations[method] for one in explained]
    row = _row(method.value, method.label, [explanation.faithfulness for explanation in of_method])
    for name in BASELINES:
        wins = [one.explanations[method].faithfulness.gap > one.baselines[name].gap for one in explained]
        row[f"beats_{name}"] = float(np.mean(wins))
    row["cpu_seconds"] = float(np.median([explanation.cpu_seconds for explanation in of_method]))
    return row


def _row(code: str, label: str, judged: Sequence[Faithfulness]) -> dict[str, Any]:
    return {"map": code, "method": label, "images": len(judged), **asdict(mean(judged))}
