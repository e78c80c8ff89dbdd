import io
import tempfile

from webui.spool import SpooledPart


def _spooled(*contents):
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - the parts read from it
    parts = []
    for content in contents:
        part = SpooledPart(spool)
        part.write(content)
        part.seek(0)
        parts.append(part)
    return parts


def test_parts_of_one_spool_read_back_their_own_bytes():
    first, empty, last = _spooled(b"first", b"", b"last of them")
    assert (first.read(), empty.read(), last.read()) == (b"first", b"", b"last of them")


def test_parts_are_read_in_any_order_and_side_by_side():
    first, last = _spooled(b"abcdef", b"uvwxyz")
    assert [last.read(2), first.read(3), last.read(), first.read()] == [b"uv", b"abc", b"wxyz", b"def"]


def test_a_part_ends_where_the_next_begins():
    part, _ = _spooled(b"short", b"never seen")
    assert part.read(100) == b"short"
    assert part.read(1) == b""


def test_a_part_seeks_within_itself():
    _, part = _spooled(b"before", b"0123456789")
    assert part.seek(-3, io.SEEK_END) == 7
    assert part.read() == b"789"
    assert part.seek(2) == 2
    assert part.seek(2, io.SEEK_CUR) == 4
    assert part.read(1) == b"4"
    assert part.tell() == 5
