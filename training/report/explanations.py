"""How faithful the explanations of a finished artifact are: a table of its report."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from dermabatch.artifacts import Artifact
from dermabatch.engines import load_engine
from dermabatch.explain import ExplainedModel, faithfulness_table
from dermabatch.taxonomy import CLASSES
from training.data import Sample, read_image
from training.report.of_artifact import SEED, Effort, Progress

PER_CLASS: Final[Mapping[Effort, int]] = MappingProxyType({Effort.QUICK: 1, Effort.FULL: 4})
"""Images of each class; the model answers 1,500 times for one."""


def explanations(
    artifact: Artifact, samples: Sequence[Sample], effort: Effort, progress: Progress
) -> list[dict[str, Any]]:
    """The table of `faithfulness_table` over a few images of each class, chosen by chance."""
    order = np.random.default_rng(SEED).permutation(len(samples))
    chosen = [
        samples[position]
        for label in range(len(CLASSES))
        for position in [at for at in order if samples[at].label == label][: PER_CLASS[effort]]
    ]
    images = np.stack([read_image(sample.path, artifact.manifest.input_size) for sample in chosen])
    with closing(load_engine(artifact.folder, artifact.manifest, "openvino")) as engine:
        return faithfulness_table(
            ExplainedModel.of_artifact(artifact, engine),
            images,
            progress=lambda done: progress("explaining", done, len(images)),
        )
