"""Results as files: CSV for a spreadsheet, and the submission format of ISIC 2018 Task 3.

A file name or a lesion label comes from outside and ends up in somebody's spreadsheet, which would take
`=HYPERLINK(...)` for a formula: such cells get a leading apostrophe.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

from dermabatch.results import Result, record
from dermabatch.taxonomy import CLASSES, ISIC_COLUMNS, LESION_CLASSES

NOTICE: Final = "Assistive use only. Not a medical device. A clinician decides."

CSV_COLUMNS: Final = (
    *("image_id", "file", "patient", "lesion_id", "age", "sex", "localization", "state"),
    *("triage", "triage_reason", "class", "malignant_probability"),
    *(f"p_{code}" for code in CLASSES),
    *("conformal_set", "quality_flags", "fields_used", "reason_code", "reason"),
    *("model_digest", "preprocessing_version", "engine", "classified_at", "notice"),
)
ISIC_HEADER: Final = ("image", *ISIC_COLUMNS)

# The last four are wide signs, which spreadsheets in some languages take for the plain ones.
_FORMULA_STARTS: Final = (*"=+-@\t\r\n", *"＝＋－＠")
_CLASS_OF_ISIC_COLUMN: Final = {lesion.isic: place for place, lesion in enumerate(LESION_CLASSES)}


def csv_lines(results: Iterable[Result]) -> Iterator[str]:
    """One line for each received file, with calibrated probabilities; the header first."""
    return _lines(CSV_COLUMNS, (_csv_row(result) for result in results))


def isic_lines(results: Iterable[Result]) -> Iterator[str]:
    """One line for each predicted image: the stem of its name, and the scores whose argmax is the class."""
    rows = (
        isic_row(_stem(result), result.prediction.scores)
        for result in results
        if result.prediction is not None
    )
    return _lines(ISIC_HEADER, rows)


def isic_row(stem: str, scores: Sequence[float]) -> list[str | float]:
    """One row under `ISIC_HEADER`.

    Args:
        scores: decision scores in the order of `taxonomy.CLASSES`.
    """
    return [safe_cell(stem), *(scores[_CLASS_OF_ISIC_COLUMN[column]] for column in ISIC_COLUMNS)]


def safe_cell(text: str) -> str:
    """The text so that no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv_row(result: Result) -> list[Any]:
    cells: Mapping[str, Any] = record(result)
    special = {
        "conformal_set": " ".join(cells["conformal_set"] or ()),
        "quality_flags": " ".join((cells["quality"] or {}).get("flags", ())),
        "fields_used": " ".join(cells["fields_used"] or ()),
        "notice": NOTICE,
        **{f"p_{code}": (cells["probabilities"] or {}).get(code) for code in CLASSES},
    }
    row = (special[column] if column in special else cells[column] for column in CSV_COLUMNS)
    return [safe_cell(cell) if isinstance(cell, str) else cell for cell in row]


def _stem(result: Result) -> str:
    return PurePath(result.file_name).stem if result.file_name else str(result.image.id)


class _Passing:
    """A file whose `write` hands the text back, so that csv.writer returns its lines."""

    def write(self, text: str) -> str:
        return text


def _lines(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    writer = csv.writer(_Passing())
    yield writer.writerow(header)
    for row in rows:
        yield writer.writerow(row)
