"""The CSV beside the pictures: what it may look like, and which file each of its lines means."""

import contextlib
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermabatch.errors import ImageRejected, InvalidRequest
from dermabatch.intake.metadata import Matching, Metadata, Particulars, parse_metadata


def parsed(text: str | bytes) -> Metadata:
    return parse_metadata(io.BytesIO(text.encode() if isinstance(text, str) else text))


def matching(text: str) -> Matching:
    return Matching(parsed(text))


def only_row(text: str | bytes):
    (row,) = parsed(text).rows
    return row


def test_a_full_line_gives_every_particular():
    row = only_row("file,patient,lesion_id,age,sex,localization\na.jpg,P-01,L2,45,female,Back\n")
    assert (row.line, row.file, row.problem) == (2, "a.jpg", None)
    assert row.particulars == Particulars("P-01", "L2", 45, "female", "back")


@pytest.mark.parametrize(
    "text",
    [
        "\ufefffile,patient\na.jpg,P1\n",
        "file;patient\r\na.jpg;P1\r\n",
        "file\tpatient\na.jpg\tP1",
        " FILE , Patient \n a.jpg , P1 \n",
        "patient,file\nP1,a.jpg\n",
        "file,patient\n\n,\na.jpg,P1\n",
        'file,patient\n"a.jpg","P1"\n',
    ],
)
def test_the_ways_in_which_programs_write_a_csv_mean_the_same(text: str):
    row = only_row(text)
    assert (row.file, row.particulars, row.problem) == ("a.jpg", Particulars(patient="P1"), None)


def test_excel_in_western_europe_is_understood():
    assert only_row("file;localization\na.jpg;Rücken\n".encode("cp1252")).particulars.localization == "rücken"


def test_values_as_ham10000_writes_them_are_understood():
    row = only_row("file,age,sex,localization\na.jpg,80.0,unknown,unknown\n")
    assert row.particulars == Particulars(age=80)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("image,dx\na,b\n", "Received: image, dx"),
        ("file,file\na,b\n", "Received twice: file"),
        ('file,patient\n"a.jpg,P1\n', "cannot be read"),
        ("file\na.jpg\nA.JPG\n", "Lines 2 and 3 name the same file"),
        (b"\x89PNG\0\0", "not text"),
        ("file\n".encode("utf-16"), "not text"),
    ],
)
def test_what_is_no_such_csv_is_refused_with_what_was_expected(text: str | bytes, message: str):
    with pytest.raises(InvalidRequest, match=message):
        parsed(text)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("age", "old"),
        ("age", "-1"),
        ("age", "131"),
        ("age", "45.5"),
        ("sex", "maybe"),
        ("patient", "x" * 65),
        ("lesion_id", "a\x07b"),
        ("localization", "x" * 65),
    ],
)
def test_a_value_that_cannot_be_right_is_a_problem_of_its_line_alone(column: str, value: str):
    bad, good = parsed(f"file,{column}\na.jpg,{value}\nb.jpg,\n").rows
    assert bad.problem.startswith(f"line 2 of the CSV: {column}")
    assert value not in bad.problem or column == "age"
    assert good.problem is None


def test_a_line_with_more_values_than_columns_is_a_problem():
    assert "expected 2 values, received 3" in only_row("file,age\na.jpg,4,5\n").problem


def test_unknown_columns_are_named_and_not_read():
    metadata = parsed("file,dx,Patient,dx_type\na.jpg,nv,P1,histo\n")
    assert metadata.ignored_columns == ("dx", "dx_type")
    assert metadata.rows[0].particulars == Particulars(patient="P1")


@pytest.mark.parametrize(
    ("in_csv", "as_it_came"),
    [
        ("a.jpg", "a.jpg"),
        ("a.jpg", "folder/a.jpg"),
        ("folder/a.jpg", "upload/folder/a.jpg"),
        ("folder/a.jpg", "a.jpg"),
        ("folder\\A.JPG", "folder/a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("Lésion.jpg", "Le\u0301sion.jpg"),
    ],
)
def test_a_line_means_a_file_by_path_or_by_name(in_csv: str, as_it_came: str):
    assert matching(f"file\n{in_csv}\n").take(as_it_came) is not None


@pytest.mark.parametrize(
    ("in_csv", "as_it_came"), [("a.jpg", "b.jpg"), ("one/a.jpg", "two/a.jpg"), ("xa.jpg", "a.jpg"), ("a", "")]
)
def test_a_line_never_means_another_file(in_csv: str, as_it_came: str):
    assert matching(f"file\n{in_csv}\n").take(as_it_came) is None


def test_files_of_one_name_in_several_folders_are_told_apart():
    lines = matching("file,patient\np1/1.jpg,P1\np2/1.jpg,P2\n")
    assert lines.take("upload/p2/1.jpg").particulars.patient == "P2"
    assert lines.take("upload/p1/1.jpg").particulars.patient == "P1"


def test_a_name_that_several_lines_have_means_none_of_them():
    assert matching("file,patient\np1/1.jpg,P1\np2/1.jpg,P2\n").take("1.jpg") is None


def test_a_second_file_for_the_same_line_is_refused():
    lines = matching("file,patient\n1.jpg,P1\n")
    assert lines.take("a/1.jpg") is not None
    with pytest.raises(ImageRejected, match="fits several files") as refusal:
        lines.take("b/1.jpg")
    assert refusal.value.reason == "ambiguous_metadata"


def test_lines_whose_file_did_not_come_are_left_over():
    lines = matching("file,patient\na.jpg,P1\nb.jpg,P2\n,P3\n")
    lines.take("a.jpg")
    left = list(lines.left_over())
    assert [(row.name, row.reason) for row in left] == [
        ("b.jpg", "metadata_without_file"),
        ("", "metadata_without_file"),
    ]
    assert "line 4 of the CSV names no file" in left[1].message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_csv_or_are_refused(data: bytes):
    with contextlib.suppress(InvalidRequest):
        parse_metadata(io.BytesIO(data))


_names = st.text(st.characters(blacklist_categories=["C", "Z"]), min_size=1, max_size=20)


@given(st.dictionaries(_names, _names, min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_read_back(patients: dict[str, str]):
    text = io.StringIO()
    csv.writer(text).writerows([("file", "patient"), *patients.items()])
    try:
        metadata = parsed(text.getvalue())
    except InvalidRequest:  # two names that differ only by case, or by slashes
        return
    assert [row.file for row in metadata.rows] == list(patients)
