"""Reads what tables say of images: the metadata of HAM10000, of the ISIC challenges and of the ISIC Archive.

All of them are tables with a line for each image, under a few names for the same columns, and often in several files:
classes in one, lesions or ages in another. So a folder's tables are joined by image, whatever their names.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Final, TextIO

from dermabatch.taxonomy import CLASSES
from training.errors import UnusableData
from training.findings import Findings, Problem

IMAGE_COLUMNS: Final = ("image_id", "image", "isic_id", "image_name")
DIAGNOSIS_COLUMNS: Final = ("dx", "diagnosis", *(f"diagnosis_{level}" for level in (5, 4, 3, 2, 1)))
"""The ISIC Archive names a diagnosis on up to five levels; the deepest one that is known here decides."""
ONE_HOT_COLUMNS: Final = ("MEL", "NV", "BCC", "AKIEC", "AK", "BKL", "DF", "VASC", "SCC", "UNK")
"""The challenges of 2018 and 2019 give each class a column of 0.0 and 1.0."""
PARTICULARS: Final[Mapping[str, tuple[str, ...]]] = {
    "lesion": ("lesion_id",),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "localization": ("localization", "anatom_site_general"),
}

CLASS_OF_DIAGNOSIS: Final[Mapping[str, str]] = {
    **{name: name for name in CLASSES},
    "ak": "akiec",
    "actinic keratosis": "akiec",
    "solar or actinic keratosis": "akiec",
    "squamous cell carcinoma in situ": "akiec",
    "squamous cell carcinoma in situ, bowen's disease": "akiec",
    "basal cell carcinoma": "bcc",
    "pigmented benign keratosis": "bkl",
    "seborrheic keratosis": "bkl",
    "solar lentigo": "bkl",
    "lichenoid keratosis": "bkl",
    "lichen planus like keratosis": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanoma, nos": "mel",
    "melanoma in situ": "mel",
    "melanoma invasive": "mel",
    "nevus": "nv",
    "melanocytic nevus": "nv",
    "vascular lesion": "vasc",
    "angioma": "vasc",
    "hemangioma": "vasc",
    "angiokeratoma": "vasc",
    "pyogenic granuloma": "vasc",
}
"""Diagnoses in lower case, as the sources write them, to the class that holds them in HAM10000."""

_NOT_SAID: Final = frozenset({"", "unknown", "n/a", "na", "nan"})


@dataclass(frozen=True, slots=True)
class Record:
    """What the tables say of one image, as text; None is what they do not say.

    Attributes:
        image: its id, which is also the name of its file without the suffix.
        where: the first table and line that name it.
    """

    image: str
    where: str
    diagnosis: str | None = None
    lesion: str | None = None
    age: str | None = None
    sex: str | None = None
    localization: str | None = None


def read_records(folder: Path, findings: Findings) -> list[Record]:
    """What all tables in `folder` and below say, joined by image and in order of its id.

    Raises:
        UnusableData: no table has a column of images and one of classes.
    """
    tables = [_Table(path, folder) for path in sorted(folder.rglob("*")) if path.suffix in {".csv", ".tab"}]
    if not any(table.names_images and table.names_classes for table in tables):
        raise UnusableData(_no_table(folder, tables))
    records: dict[str, Record] = {}
    for table in tables:
        if table.names_images and table.says_something:
            for record in table.records(findings):
                known = records.get(record.image)
                records[record.image] = _joined(known, record, findings) if known else record
    if any("dx" in table.header for table in tables) and not any(
        "lesion_id" in table.header for table in tables
    ):
        # Other sources may lack it. For HAM10000, a quarter of whose images repeat a lesion, the split would leak.
        findings.add(Problem.MISSING_COLUMN, _columns("lesion_id", tables))
    return [records[image] for image in sorted(records)]


def _joined(known: Record, record: Record, findings: Findings) -> Record:
    news = {}
    for name in (field.name for field in fields(Record) if field.name not in {"image", "where"}):
        old, new = getattr(known, name), getattr(record, name)
        if old is None:
            news[name] = new
        elif new is not None and _normal(old) != _normal(new):
            findings.add(
                Problem.CONTRADICTION,
                f"{name} of {known.image}: {old} ({known.where}) and {new} ({record.where})",
            )
    return replace(known, **news)


def _normal(text: str) -> str:
    """The same for `MEL` and `Melanoma`, and for `45` and `45.0`."""
    lower = text.lower()
    return CLASS_OF_DIAGNOSIS.get(lower, lower.removesuffix(".0"))


def _no_table(folder: Path, tables: Sequence["_Table"]) -> str:
    expected = (
        f"Expected in {folder} a table with a column of images ({' or '.join(IMAGE_COLUMNS)}) "
        f"and one of classes (dx, diagnosis, diagnosis_1, or one for each class: MEL, NV, ...)."
    )
    if not tables:
        return f"{expected} Received: no file *.csv or *.tab."
    return f"{expected} Received: {_columns(None, tables)}"


def _columns(missing: str | None, tables: Sequence["_Table"]) -> str:
    told = "; ".join(f"{table.name} with {', '.join(table.header)}" for table in tables)
    return f"{missing}; there is {told}" if missing else told


class _Table:
    """One file with a header; its lines are read when they are asked for."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.name = str(path.relative_to(folder))
        self._path = path
        with self._open() as stream:
            first = stream.readline()
        self._delimiter = "\t" if "\t" in first else ","
        self.header = [name.strip() for name in next(csv.reader([first], delimiter=self._delimiter), [])]

    @property
    def names_images(self) -> bool:
        return any(name in self.header for name in IMAGE_COLUMNS)

    @property
    def names_classes(self) -> bool:
        return self._is_one_hot or any(name in self.header for name in DIAGNOSIS_COLUMNS)

    @property
    def says_something(self) -> bool:
        return self.names_classes or any(
            name in self.header for names in PARTICULARS.values() for name in names
        )

    @property
    def _is_one_hot(self) -> bool:
        return {"MEL", "NV"} <= set(self.header)

    def records(self, findings: Findings) -> Iterator[Record]:
        """A record for each line; an image that is named again is a finding, and its first line counts."""
        seen: dict[str, str] = {}
        with self._open() as stream:
            reader = csv.DictReader(stream, self.header, restval="", delimiter=self._delimiter)
            next(reader, None)
            for row in reader:
                where = f"{self.name}, line {reader.line_num}"
                image = _first(row, IMAGE_COLUMNS)
                if image is None:
                    findings.add(Problem.IMPOSSIBLE_VALUE, f"no image id ({where})")
                elif image in seen:
                    findings.add(Problem.NAMED_TWICE, f"{image} ({seen[image]} and {where})")
                else:
                    seen[image] = where
                    particulars = {name: _first(row, columns) for name, columns in PARTICULARS.items()}
                    yield Record(image, where, diagnosis=self._diagnosis(row), **particulars)

    def _open(self) -> TextIO:
        # What is not UTF-8 can be no name of a column or an image; as an unknown one it is told with its line.
        return self._path.open(newline="", encoding="utf-8-sig", errors="replace")

    def _diagnosis(self, row: Mapping[str, str]) -> str | None:
        if self._is_one_hot:
            return " and ".join(name for name in ONE_HOT_COLUMNS if _is_one(row.get(name, ""))) or None
        said = [text for name in DIAGNOSIS_COLUMNS if (text := _first(row, (name,)))]
        known = [text for text in said if text.lower() in CLASS_OF_DIAGNOSIS]
        return next(iter([*known, *said]), None)


def _first(row: Mapping[str, str], columns: Sequence[str]) -> str | None:
    """The first of `columns` that says anything, without blanks around it."""
    texts = (row.get(name, "").strip() for name in columns)
    return next((text for text in texts if text.lower() not in _NOT_SAID), None)


def _is_one(text: str) -> bool:
    try:
        return float(text) == 1.0
    except ValueError:
        return False
