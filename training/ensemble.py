"""Makes one artifact of several finished runs that differ by their seed: what they say is averaged."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from dermabatch.artifacts import Artifact
from dermabatch.manifest import Network
from dermabatch.networks import build
from dermabatch.networks.ensemble import average
from dermabatch.taxonomy import CLASSES
from training.checkpoint import RunState
from training.errors import UnusableRuns
from training.finish import Options, Trained, finish
from training.run import CHECKPOINT, SPLIT, Watcher, prepare
from training.train import best_weights


def train_ensemble(
    data: Path, runs: Sequence[Path], out: Path, input_size: int | None, options: Options, watcher: Watcher
) -> Artifact:
    """Average the best networks of `runs`; the artifact is written to `out`/model.

    Args:
        data: folder of the data set that all of them were trained on.
        runs: folders of finished runs of one architecture and one split.
        out: folder of the result.
        input_size: edge in pixels at which the ensemble sees pictures; that of the runs where None.
        options: as for one run; nothing is resumed, nothing starts from other weights.
        watcher: hears how it goes on.

    Raises:
        UnusableRuns: the runs do not belong together, or one of them is among them twice.
        UnreadableCheckpoint: no run in one of the folders.
        TrainingError: see `training.finish.finish`.
    """
    states = [RunState.read(run / CHECKPOINT) for run in runs]
    name, size = (_common(states, runs, field) for field in ("network", "input_size"))
    if len({state.recipe["seed"] for state in states}) < len(states):
        raise UnusableRuns(
            f"Expected runs of different seeds. Received: {[s.recipe['seed'] for s in states]}"
        )
    prepared = prepare(data, out, input_size or size, watcher)
    for run in runs:
        if (run / SPLIT).read_bytes() != (out / SPLIT).read_bytes():
            raise UnusableRuns(f"Expected runs on the split of {data}. Received: another one in {run}.")
    one = {"input_size": input_size or size, "classes": len(CLASSES)}
    about = Network(name="ensemble", parameters={"of": name, "members": len(runs), **one})
    network = build(about.name, about.parameters)
    average(network, [_member(name, one, state) for state in states])
    return finish(prepared, Trained(network, about, states), out, options, watcher)


def _member(name: str, parameters: dict[str, int], state: RunState) -> keras.Model:
    network = build(name, parameters)
    network.set_weights(best_weights(state))
    return network


def _common(states: Sequence[RunState], runs: Sequence[Path], field: str) -> Any:
    values = {str(run): state.recipe[field] for run, state in zip(runs, states, strict=True)}
    first, *others = values.values()
    if any(other != first for other in others):
        raise UnusableRuns(f"Expected runs of one {field}. Received: {values}")
    return first
