"""The state of a run between two epochs, as one file that is whole or not there."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from training.errors import UnreadableCheckpoint


@dataclass(frozen=True, slots=True)
class RunState:
    """What a run needs to go on: its recipe, one record per finished epoch, every variable by name."""

    recipe: dict[str, Any]
    history: list[dict[str, float]]
    tensors: dict[str, npt.NDArray[np.generic]]

    def check_recipe(self, recipe: dict[str, Any]) -> None:
        """Raise `UnreadableCheckpoint` where this state belongs to a run of another recipe."""
        for name, value in recipe.items():
            if self.recipe.get(name) != value:
                raise UnreadableCheckpoint(
                    f"The checkpoint belongs to a run with {name}={self.recipe.get(name)}. "
                    f"Received: {name}={value}. Go on with the same options, or start in another folder."
                )

    def write(self, path: Path) -> None:
        """Replace `path` in one step, so that a kill leaves the old state or the new one."""
        partial = path.with_suffix(".partial")
        save_file(
            self.tensors, partial, {"recipe": json.dumps(self.recipe), "history": json.dumps(self.history)}
        )
        partial.replace(path)

    @classmethod
    def read(cls, path: Path) -> "RunState":
        """The state in `path`.

        Raises:
            UnreadableCheckpoint: not such a file.
        """
        try:
            with safe_open(path, "numpy") as stored:
                about = stored.metadata()
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
            return cls(json.loads(about["recipe"]), json.loads(about["history"]), tensors)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UnreadableCheckpoint(
                f"Expected the checkpoint of a training run at {path}. Received: {error}"
            ) from error
