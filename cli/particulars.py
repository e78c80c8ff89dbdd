"""What `dermabatch predict` is told of pictures besides their pixels: the CSV of intake, or options for one picture."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from dermabatch.errors import ImageRejected, InvalidRequest
from dermabatch.intake.metadata import (
    NOTHING_KNOWN,
    Matching,
    Metadata,
    Particulars,
    parse_metadata,
    parse_particulars,
)


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of each file.

    Attributes:
        of_file: every file, in order.
        without_file: how many lines of the CSV name none of the files.
        ignored_columns: of the CSV; nobody reads them.
        anything: whether anything was told at all.
    """

    of_file: dict[Path, Particulars]
    without_file: int = 0
    ignored_columns: tuple[str, ...] = ()
    anything: bool = False


_OPTIONS: Final = (
    click.option(
        "--metadata",
        "metadata_file",
        metavar="CSV",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="As `submit` takes it: columns file, and any of age, sex, localization.",
    ),
    click.option("--age", metavar="YEARS", help="Of the patient, for a single picture."),
    click.option("--sex", metavar="SEX", help="Of the patient, for a single picture: male, female or other."),
    click.option("--localization", metavar="PLACE", help="Place on the body, for a single picture."),
)


def particulars_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `read_particulars` takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def read_particulars(
    names: Mapping[Path, str], metadata_file: Path | None, of_one: Mapping[str, str | None]
) -> Told:
    """What the options tell of the files, read as intake reads it.

    Args:
        names: the files in order, by the names that intake would give them.
        metadata_file: a CSV.
        of_one: texts by their column; None where nothing was said.

    Raises:
        InvalidRequest: what is told cannot be right, or cannot be of these files; the message says where.
    """
    said = {column: text.strip() for column, text in of_one.items() if text is not None}
    if metadata_file is None and not said:
        return Told(dict.fromkeys(names, NOTHING_KNOWN))
    if metadata_file is None:
        return _of_one(names, said)
    if said:
        raise InvalidRequest(f"Expected --metadata or --{next(iter(said))}. Received: both.")
    with metadata_file.open("rb") as stream:
        try:
            return _of_each(names, parse_metadata(stream))
        except InvalidRequest as error:
            raise InvalidRequest(f"{metadata_file}: {error}") from error


def _of_one(names: Mapping[Path, str], said: Mapping[str, str]) -> Told:
    if len(names) != 1:
        raise InvalidRequest(
            f"Expected a single picture with --{next(iter(said))}. Received: {len(names)} files. Tell of several"
            " with --metadata."
        )
    particulars, problems = parse_particulars(said)
    if problems:
        raise InvalidRequest("; ".join(problems))
    return Told(dict.fromkeys(names, particulars), anything=True)


def _of_each(names: Mapping[Path, str], metadata: Metadata) -> Told:
    if wrong := [row.problem for row in metadata.rows if row.problem]:
        more = f" More such lines: {len(wrong) - 1}." if wrong[1:] else ""
        raise InvalidRequest(f"{wrong[0]}. Correct it, or leave the value empty.{more}")
    matching = Matching(metadata)
    try:
        rows = {path: matching.take(name) for path, name in names.items()}
    except ImageRejected as ambiguous:
        raise InvalidRequest(str(ambiguous)) from ambiguous
    left_over = list(matching.left_over())
    if len(left_over) == len(metadata.rows):
        named = f"{left_over[0].name} first" if left_over else "no line at all"
        raise InvalidRequest(
            f"Expected in the column file the names of these pictures, {next(iter(names.values()))} first."
            f" Received: {named}."
        )
    return Told(
        {path: row.particulars if row else NOTHING_KNOWN for path, row in rows.items()},
        without_file=len(left_over),
        ignored_columns=metadata.ignored_columns,
        anything=True,
    )
