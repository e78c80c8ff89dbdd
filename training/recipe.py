"""Every number of a training run, each with its reason."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from dermabatch.taxonomy import CLASSES
from training.augment import Augmentation
from training.errors import UnusableRecipe
from training.imbalance import Imbalance

SIZE_STEP: Final = 16  # pixels; sizes in between would leave a partly empty last column of features


@dataclass(frozen=True, slots=True)
class Recipe:
    """Every number of a run. Two runs of one recipe on the same data and machine give the same weights."""

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    network: str = "efficientnet_lite0"  # 5 ms an image on one CPU core; the night shift counts on that
    input_size: int = 224  # the size lite0 was designed for
    epochs: int = 16  # half an hour on two free cores; the validation curve is flat by then
    small_share: float = 0.7  # of the epochs see small views, which cost half as much ...
    small_scale: float = 5 / 7  # ... 160 px for 224 ...
    large_scale: float = (
        6 / 7
    )  # ... the others 192 px; frames enlarge lesions by a third, so none looks small
    most_per_class: int | None = 2000  # of an epoch: 42 % of the nevi, and all of every other class
    batch: int = 32  # smaller ones make the batch statistics of rare classes noisy, larger ones cost steps
    peak_rate: float = 8e-4  # 1e-3 and 6e-4 were equal within noise
    warm_up: float = 0.1  # share of all steps; the new classifier must not wreck pretrained features
    weight_decay: float = 0.05  # on kernels only: norms and biases have no scale to hold down
    averaging: float = 0.995  # over about 200 steps; single epochs swing by several points of BMA
    imbalance: Imbalance = Imbalance.LOGIT_ADJUSTMENT
    augmentation: Augmentation = field(default_factory=Augmentation)
    patience: int = (
        6  # epochs without a better validation loss; the cosine needs its end, so this is generous
    )
    seed: int = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """What `dermabatch.networks.build` needs besides the name."""
        return {"input_size": self.input_size, "classes": len(CLASSES)}

    def view_size(self, epoch: int) -> int:
        """Edge of the views of an epoch, counted from 0, in pixels."""
        scale = self.small_scale if epoch < round(self.small_share * self.epochs) else self.large_scale
        return max(SIZE_STEP, round(scale * self.input_size / SIZE_STEP) * SIZE_STEP)


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """Linear warm-up to `peak_rate`, then half a cosine down to zero."""
    warm_up = max(1, round(recipe.warm_up * steps))
    if step < warm_up:
        return recipe.peak_rate * (step + 1) / warm_up
    return recipe.peak_rate * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))


def read_recipe(path: Path) -> dict[str, Any]:
    """The fields of a recipe that a JSON file names, such as `dermabatch tune` writes; the others keep their defaults.

    Raises:
        UnusableRecipe: no such file, no JSON, an unknown field, or a value of another type.
    """
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return {name: getattr(_RECIPE.validate_python(fields), name) for name in fields}
    except (OSError, ValueError) as error:
        raise UnusableRecipe(f"Expected a recipe as JSON in {path}. Received: {_first(error)}") from None


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error)


_RECIPE: Final = TypeAdapter(Recipe)
