"""The optional CSV beside the pictures: which patient and lesion each shows, age, sex and place on the body."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

from dermabatch.errors import ImageRejected, InvalidRequest
from dermabatch.intake.incoming import IntakeReason, RefusedFile

COLUMNS: Final = ("file", "patient", "lesion_id", "age", "sex", "localization")
MAX_BYTES: Final = 16 * 2**20
MAX_AGE: Final = 130
MAX_TEXT: Final = 64

_DELIMITERS: Final = ",;\t"
_MAX_DEPTH: Final = 32
"""Folders of a path that count; deeper ones only cost time."""

# Whole numbers, also as HAM10000 writes them: 80.0.
_AGE: Final = re.compile(r"(\d{1,3})(?:[.,]0+)?")
_SEXES: Final = {"male": "male", "m": "male", "female": "female", "f": "female", "other": "other"}
_UNKNOWN: Final = {"", "unknown", "n/a", "na"}


@dataclass(frozen=True, slots=True)
class Particulars:
    """What is known of a picture besides its pixels.

    Attributes:
        patient: the hospital's number for the patient.
        lesion: a label for the lesion, unique within the patient.
        age: in years, 0 to 130.
        sex: "male", "female" or "other".
        localization: place on the body, in lower case.
    """

    patient: str | None = None
    lesion: str | None = None
    age: int | None = None
    sex: str | None = None
    localization: str | None = None

    def filled_from(self, other: "Particulars") -> "Particulars":
        """These particulars, and the other's where there are none."""
        return Particulars(
            patient=self.patient or other.patient,
            lesion=self.lesion or other.lesion,
            age=other.age if self.age is None else self.age,
            sex=self.sex or other.sex,
            localization=self.localization or other.localization,
        )


NOTHING_KNOWN: Final = Particulars()


@dataclass(frozen=True, slots=True)
class MetadataRow:
    """One line of the CSV.

    Attributes:
        line: its number, counted from 1 with the header.
        file: the path or name that it gives.
        particulars: what it says, without the values that cannot be right.
        problem: what cannot be right, for a nurse; None where all can.
    """

    line: int
    file: str
    particulars: Particulars
    problem: str | None


@dataclass(frozen=True, slots=True)
class Metadata:
    """A parsed CSV.

    Attributes:
        rows: in the order of the file.
        ignored_columns: columns of other names, which nobody reads. Worth telling: one may be a misspelt name.
        complete: whether each line's file is to come with the upload, and is refused if it does not.
    """

    rows: tuple[MetadataRow, ...]
    ignored_columns: tuple[str, ...]
    complete: bool = True


def parse_metadata(stream: BinaryIO) -> Metadata:
    """Read a CSV with a column `file` and any others of `COLUMNS`, in any order and case.

    Commas, semicolons and tabs separate; UTF-8 with or without a byte order mark, or else what Excel writes in Western
    Europe. A value that cannot be right is a matter of its own row; a file that is no such CSV is refused whole.

    Raises:
        InvalidRequest: no such CSV; the message says what was expected.
    """
    text = _decoded(stream.read(MAX_BYTES + 1))
    delimiter = max(_DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header)
        rows = tuple(
            _parse_row(reader.line_num, header, values) for values in reader if any(map(str.strip, values))
        )
    except csv.Error as error:
        raise InvalidRequest(
            f"Expected a CSV file. Line {reader.line_num} cannot be read: {error}"
        ) from error
    _check_unique(rows)
    return Metadata(rows, tuple(name for name in header if name and name not in COLUMNS))


def parse_particulars(cells: Mapping[str, str]) -> tuple[Particulars, list[str]]:
    """What texts without blanks around them say, by their column, and what of it cannot be right, for a nurse."""
    problems: list[str] = []
    particulars = Particulars(
        patient=_text("patient", cells, problems),
        lesion=_text("lesion_id", cells, problems),
        age=_age(cells.get("age", ""), problems),
        sex=_sex(cells.get("sex", ""), problems),
        localization=_localization(cells, problems),
    )
    return particulars, problems


class Matching:
    """Gives each file of one upload its line of the CSV, and each line to one file at most."""

    def __init__(self, metadata: Metadata | None) -> None:
        self._rows = metadata.rows if metadata else ()
        self._complete = metadata is None or metadata.complete
        self._by_path = {_comparable(row.file): row for row in self._rows if row.file}
        self._by_name = _unambiguous_names(self._by_path)
        self._taken: set[int] = set()

    def take(self, file: str) -> MetadataRow | None:
        """The line that means a file; None where none does.

        Raises:
            ImageRejected: another file took that line. Which of the two is the patient's cannot be known.
        """
        row = self._find(_comparable(file)) if file else None
        if row is None:
            return None
        if row.line in self._taken:
            raise ImageRejected(
                IntakeReason.AMBIGUOUS_METADATA,
                f"line {row.line} of the CSV fits several files of this upload: write the full path of each"
                " in the column file",
            )
        self._taken.add(row.line)
        return row

    def _find(self, path: str) -> MetadataRow | None:
        """The line with this path, or with its longest end; else the only line whose path ends with this one.

        Both happen: an archive holds one folder more than the CSV knows of, or a browser sends none at all.
        """
        folders = path.split("/")[-_MAX_DEPTH:]
        for depth in range(len(folders)):
            if row := self._by_path.get("/".join(folders[depth:])):
                return row
        row = self._by_name.get(_name_of(path))
        return row if row and _comparable(row.file).endswith(f"/{path}") else None

    def left_over(self) -> Iterator[RefusedFile]:
        """Each line that no file took, as what gets a row of its own."""
        for row in self._rows:
            if self._complete and row.line not in self._taken:
                message = f"line {row.line} of the CSV names a file that did not come with this upload"
                if not row.file:
                    message = f"line {row.line} of the CSV names no file"
                yield RefusedFile(row.file, IntakeReason.METADATA_WITHOUT_FILE, message)


def clean_text(text: str | None) -> str | None:
    """A short text for a human reader; None where it is empty, too long, or not to be printed."""
    stripped = unicodedata.normalize("NFC", text or "").strip()
    return stripped if stripped.isprintable() and 0 < len(stripped) <= MAX_TEXT else None


def possible_age(years: int | None) -> int | None:
    """The age if a person can have it."""
    return years if years is not None and 0 <= years <= MAX_AGE else None


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise InvalidRequest(f"Expected a CSV file of at most {MAX_BYTES // 2**20} MB. Received: more.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if "\0" in text:
        raise InvalidRequest("Expected a CSV file in UTF-8. Received: a file that is not text, or UTF-16.")
    return text


def _check_header(header: list[str]) -> None:
    known = [name for name in header if name in COLUMNS]
    if "file" not in known:
        received = ", ".join(header)[:200] or "an empty file"
        raise InvalidRequest(
            f"Expected a CSV whose first line names the column file, and any of {', '.join(COLUMNS[1:])}."
            f" Received: {received}"
        )
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise InvalidRequest(f"Expected each column once. Received twice: {', '.join(twice)}")


def _check_unique(rows: tuple[MetadataRow, ...]) -> None:
    seen: dict[str, int] = {}
    for row in rows:
        if row.file and (first := seen.setdefault(_comparable(row.file), row.line)) != row.line:
            raise InvalidRequest(
                f"Expected one line for each file. Lines {first} and {row.line} name the same file."
            )


def _parse_row(line: int, header: list[str], values: list[str]) -> MetadataRow:
    cells = dict(zip(header, (value.strip() for value in values), strict=False))
    particulars, problems = parse_particulars(cells)
    if any(value.strip() for value in values[len(header) :]):
        problems.insert(0, f"expected {len(header)} values, received {len(values)}")
    problem = f"line {line} of the CSV: {'; '.join(problems)}" if problems else None
    return MetadataRow(line, cells.get("file", ""), particulars, problem)


def _text(column: str, cells: Mapping[str, str], problems: list[str]) -> str | None:
    value = cells.get(column, "")
    text = clean_text(value)
    if value and text is None:
        # Not repeated: it may name a patient, and reasons are stored readable.
        problems.append(f"{column}: expected at most {MAX_TEXT} printable characters")
    return text


def _age(value: str, problems: list[str]) -> int | None:
    if value.lower() in _UNKNOWN:
        return None
    match = _AGE.fullmatch(value)
    age = possible_age(int(match[1])) if match else None
    if age is None:
        problems.append(f"age: expected years from 0 to {MAX_AGE}")
    return age


def _sex(value: str, problems: list[str]) -> str | None:
    if value.lower() in _UNKNOWN:
        return None
    sex = _SEXES.get(value.lower())
    if sex is None:
        problems.append("sex: expected male, female, other or unknown")
    return sex


def _localization(cells: Mapping[str, str], problems: list[str]) -> str | None:
    text = _text("localization", cells, problems)
    return None if text is None or text.lower() in _UNKNOWN else text.lower()


def _comparable(path: str) -> str:
    """One writing for one path: macOS decomposes letters, Windows turns slashes and ignores case."""
    text = unicodedata.normalize("NFC", path.strip()).replace("\\", "/").casefold()
    return text.removeprefix("./")


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]


def _unambiguous_names(by_path: Mapping[str, MetadataRow]) -> dict[str, MetadataRow]:
    by_name: dict[str, MetadataRow | None] = {}
    for path, row in by_path.items():
        name = _name_of(path)
        by_name[name] = None if name in by_name else row
    return {name: row for name, row in by_name.items() if row is not None}
