"""Searches a recipe: trial runs with other numbers, stopped early where they fall behind, all kept in one file.

Killed and started again, the search goes on with the trial that was running, from its last epoch.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from training.augment import Augmentation
from training.recipe import Recipe
from training.run import Prepared, Watcher, fit
from training.train import StepDone

STUDY: Final = "study.journal"
BEST: Final = "recipe.json"
SEARCHED: Final = ("peak_rate", "weight_decay", "averaging", "most_per_class", "augmentation")
CHOICES: Final = "choices"
"""User attribute of a trial: the numbers that were drawn for it, and with them the folder of its run."""

Finished = Callable[["TrialDone"], None]


@dataclass(frozen=True, slots=True)
class TrialDone:
    """How a trial ended; `value` is the lowest validation loss it reached, None where it was stopped early."""

    number: int
    value: float | None
    choices: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Best:
    """The best trial so far, and the file with the fields of its recipe that `dermabatch train --recipe` takes."""

    value: float
    choices: dict[str, Any]
    path: Path


def tune(
    prepared: Prepared,
    out: Path,
    base: Recipe,
    trials: int,
    watcher: Watcher,
    finished: Finished,
    *,
    pretrained: bool,
) -> Best:
    """Search until the study in `out` has `trials` finished trials.

    The validation side alone decides: the lowest mean cross-entropy over the classes, which swings less than BMA.

    Raises:
        TrainingError: see `training.run.fit`.
    """
    study = open_study(out)
    _queue_interrupted(study)
    while len(study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))) < trials:
        trial = study.ask()
        choices = _draw(trial)
        trial.set_user_attr(CHOICES, choices)
        recipe = varied(base, choices)
        value = _run(prepared, out / _folder(recipe), recipe, _Judge(trial, watcher), pretrained=pretrained)
        study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)
        finished(TrialDone(trial.number, value, choices))
        _write_best(best_of(study, out), base)
    return best_of(study, out)


def open_study(out: Path) -> optuna.Study:
    """The study in the folder `out`, begun if there is none."""
    out.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="recipe",
        direction="minimize",
        storage=JournalStorage(JournalFileBackend(str(out / STUDY))),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
        load_if_exists=True,
    )
    # A constant seed would draw the first trials once more after every start.
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials), multivariate=True)
    return study


def best_of(study: optuna.Study, out: Path) -> Best:
    """The best finished trial. The first trials are never stopped early, so there is one after the first."""
    trial = study.best_trial
    assert trial.value is not None
    return Best(trial.value, trial.user_attrs[CHOICES], out / BEST)


def _queue_interrupted(study: optuna.Study) -> None:
    """A trial that was running when the search was killed is drawn again, and finds its checkpoint."""
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.enqueue_trial(trial.params)
        study.tell(trial.number, state=TrialState.FAIL)


def _draw(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "peak_rate": trial.suggest_float("peak_rate", 2e-4, 2e-3, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 2e-3, 0.1, log=True),
        "averaging": trial.suggest_categorical("averaging", [0.99, 0.995, 0.998]),
        "most_per_class": trial.suggest_categorical("most_per_class", [1000, 2000, 4000]),
        "smallest_frame": trial.suggest_float("smallest_frame", 0.4, 0.8),
        "colour": trial.suggest_float("colour", 0.05, 0.3),
    }


def varied(base: Recipe, choices: dict[str, Any]) -> Recipe:
    """`base` with the numbers of one trial; `colour` sets brightness, contrast and saturation together."""
    fields = dict(choices)
    colour = fields.pop("colour")
    augmentation = Augmentation(
        smallest_frame=fields.pop("smallest_frame"),
        brightness=colour,
        contrast=colour,
        saturation=colour,
        tint=base.augmentation.tint,
    )
    return replace(base, augmentation=augmentation, **fields)


def _folder(recipe: Recipe) -> str:
    """The same numbers have the same folder, so that a trial that is drawn again goes on where it was."""
    return "trial-" + hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:12]


def _run(
    prepared: Prepared, folder: Path, recipe: Recipe, watcher: Watcher, *, pretrained: bool
) -> float | None:
    """The lowest validation loss of a run, None where it was stopped early."""
    folder.mkdir(exist_ok=True)
    try:
        trainer = fit(prepared, folder, recipe, watcher, pretrained=pretrained)
    except optuna.TrialPruned:
        return None
    return min(record["validation_loss"] for record in trainer.history)


@dataclass(frozen=True, slots=True)
class _Judge:
    """Tells the study of every epoch, and ends a run that falls behind the others."""

    trial: optuna.Trial
    watcher: Watcher

    def working(self, work: str, done: int, total: int) -> None:
        self.watcher.working(work, done, total)

    def stepped(self, step: StepDone) -> None:
        self.watcher.stepped(step)

    def finished_epoch(self, record: dict[str, float]) -> None:
        self.watcher.finished_epoch(record)
        self.trial.report(record["validation_loss"], int(record["epoch"]))
        if self.trial.should_prune():
            raise optuna.TrialPruned


def _write_best(best: Best, base: Recipe) -> None:
    partial = best.path.with_suffix(".partial")
    varied_fields = asdict(varied(base, best.choices))
    fields = {name: varied_fields[name] for name in SEARCHED}
    partial.write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    partial.replace(best.path)
