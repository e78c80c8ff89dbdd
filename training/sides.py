"""The images of a data set on the sides of a split that was written down before."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dermabatch.taxonomy import CLASSES
from training.data import Sample, read_samples
from training.errors import UnusableData
from training.split import Side, read_split_table


@dataclass(frozen=True, slots=True)
class Sides:
    """Samples by side, in the order of the table; `digest` is the SHA-256 of its file, as manifests have it."""

    samples: dict[Side, list[Sample]]
    digest: str


def read_sides(data: Path, split: Path) -> Sides:
    """The data set in the folder `data`, divided as the table `split` says.

    Raises:
        UnusableData: see `read_samples` and `read_split_table`; or the table names an image that is not there.
    """
    side_of = read_split_table(split)
    by_id = {sample.image_id: sample for sample in read_samples(data)}
    if missing := [image_id for image_id in side_of if image_id not in by_id]:
        raise UnusableData(
            f"{split} names {len(missing)} images that {data} does not have, {missing[0]} first."
        )
    samples = {
        side: [by_id[image_id] for image_id, named in side_of.items() if named == side] for side in Side
    }
    return Sides(samples, hashlib.sha256(split.read_bytes()).hexdigest())


def check_every_class(samples: list[Sample], name: str) -> None:
    """Raise `UnusableData` where a class has no image among these, which people know as `name`."""
    present = {sample.label for sample in samples}
    if absent := [code for label, code in enumerate(CLASSES) if label not in present]:
        raise UnusableData(f"Expected every class on {name}. Missing: {', '.join(absent)}.")
