"""Why a training run cannot go on. Each message names the file or value at fault."""

from dermabatch.errors import DermabatchError, InvalidRequest


class TrainingError(InvalidRequest):
    """A training run met something it cannot use."""

    code = "training"


class UnusableData(TrainingError):
    """The data set lacks, repeats or contradicts something."""

    code = "unusable_data"


class UnusableRecipe(TrainingError):
    """A recipe names a field that there is not, or a value that it cannot have."""

    code = "unusable_recipe"


class UnusableRuns(TrainingError):
    """Finished runs do not belong together."""

    code = "unusable_runs"


class RunExists(TrainingError):
    """The folder of a run holds another one."""

    code = "run_exists"


class UnreadableCheckpoint(TrainingError):
    """Stored weights are missing, damaged, of another run, or ask for more than tensors."""

    code = "unreadable_checkpoint"


class TooLittleSpace(TrainingError):
    """The disk cannot hold what a run writes."""

    code = "too_little_space"


class TrainingDiverged(TrainingError):
    """The loss is no longer a number."""

    code = "training_diverged"


class EnginesDisagree(TrainingError):
    """The exported file answers differently from the network it was made of."""

    code = "engines_disagree"


class DownloadFailed(DermabatchError):
    """A file did not come, or came otherwise than its publisher says. Nobody's wrong use."""

    code = "download_failed"
