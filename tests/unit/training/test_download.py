"""Downloading over connections that break, from servers that do not keep their word."""

import errno
import hashlib

import pytest
import urllib3
from urllib3.util import Retry

from tests.unit.training.dataverse import serving
from training import download as downloading
from training.download import BREAKS, RemoteFile, download
from training.errors import DownloadFailed, TooLittleSpace

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def server():
    with serving() as dataverse:
        dataverse.files[7] = CONTENT
        yield dataverse


@pytest.fixture
def http():
    """As `polite_pool`, without the waiting."""
    return urllib3.PoolManager(
        retries=Retry(total=3, backoff_factor=0, status_forcelist=(503,), raise_on_status=False)
    )


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(downloading, "BLOCK", 1000)


@pytest.fixture
def remote(server):
    return RemoteFile(
        "file.bin", f"{server.url}/storage/7", len(CONTENT), "md5", hashlib.md5(CONTENT).hexdigest()
    )


def ranges(server):
    return [asked for _, asked in server.requested]


def test_a_file_comes_whole_and_its_progress_is_told(server, remote, http, tmp_path):
    told = []

    download(remote, tmp_path / "file.bin", http, told.append)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert told == sorted(told)
    assert told[-1] == len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_connection_that_breaks_in_the_middle_costs_only_the_rest(server, remote, http, tmp_path):
    server.break_after = [30_000, 20_000]

    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=30000-", "bytes=50000-"]


def test_a_download_that_gave_up_goes_on_at_the_next_call(server, remote, http, tmp_path):
    server.break_after = [30_000, *[0] * BREAKS]

    with pytest.raises(DownloadFailed, match=r"broke 5 times in a row at 30,000 bytes"):
        download(remote, tmp_path / "file.bin", http, lambda done: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin.partial"]
    server.requested.clear()
    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert ranges(server) == ["bytes=30000-"]


def test_a_stopped_download_goes_on_at_the_next_call(server, remote, http, tmp_path):
    def stop_half_way(done):
        if done > len(CONTENT) / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(remote, tmp_path / "file.bin", http, stop_half_way)
    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert int(ranges(server)[1].removeprefix("bytes=").removesuffix("-")) > len(CONTENT) / 2


def test_a_server_without_ranges_sends_all_of_it_again(server, remote, http, tmp_path):
    server.ranges = False
    server.break_after = [30_000]

    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_what_is_there_and_right_is_not_asked_for_again(server, remote, http, tmp_path):
    (tmp_path / "file.bin").write_bytes(CONTENT)

    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert server.requested == []


def test_what_is_there_and_wrong_is_replaced(server, remote, http, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"something else")

    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "partial", [CONTENT, CONTENT[:-1] + b"?", CONTENT + b"more", b"wrong from the start"]
)
def test_a_partial_file_is_never_trusted_without_the_checksum(server, remote, http, tmp_path, partial):
    (tmp_path / "file.bin.partial").write_bytes(partial)

    if partial == CONTENT:
        download(remote, tmp_path / "file.bin", http, lambda done: None)
    else:
        with pytest.raises(DownloadFailed, match="checksum"):
            download(remote, tmp_path / "file.bin", http, lambda done: None)
        download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_told_and_leaves_nothing(server, remote, http, tmp_path):
    server.files[7] = CONTENT[:-1] + b"?"

    with pytest.raises(DownloadFailed, match=rf"expected the md5 checksum {remote.checksum}\. Received: "):
        download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert not list(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_told_with_its_address_and_leaves_nothing(server, remote, http, tmp_path):
    del server.files[7]

    with pytest.raises(DownloadFailed, match=rf"{remote.url}: .*Received: HTTP 404"):
        download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert not list(tmp_path.iterdir())


def test_a_busy_server_is_asked_again(server, remote, http, tmp_path):
    server.busy = 2

    download(remote, tmp_path / "file.bin", http, lambda done: None)

    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_told(server, remote, http, tmp_path):
    server.busy = 100

    with pytest.raises(DownloadFailed, match="HTTP 503"):
        download(remote, tmp_path / "file.bin", http, lambda done: None)


def test_no_server_at_all_is_told_with_its_address(http, tmp_path):
    with serving() as gone:
        url = f"{gone.url}/storage/7"

    with pytest.raises(DownloadFailed, match=rf"{url} cannot be reached"):
        download(RemoteFile("f", url, 1, "md5", ""), tmp_path / "f", http, lambda done: None)


def test_a_full_disk_is_told_and_what_has_come_is_kept(server, remote, http, tmp_path):
    def fill_the_disk(done):
        if done > 10_000:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TooLittleSpace, match=rf"The disk of {tmp_path}.* is full"):
        download(remote, tmp_path / "file.bin", http, fill_the_disk)

    assert CONTENT.startswith((tmp_path / "file.bin.partial").read_bytes())
