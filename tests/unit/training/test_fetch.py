"""Fetching HAM10000 from a Dataverse: the list of files, their checksums, and archives that mean harm."""

import shutil
import zipfile
from types import SimpleNamespace

import pytest
import urllib3
from urllib3.util import Retry

from tests.unit.training.dataverse import archive_of, serving
from training.data import read_samples
from training.errors import DownloadFailed, TooLittleSpace
from training.fetch import PUBLICATIONS, fetch, list_files, unpack_images

HAM10000 = PUBLICATIONS["ham10000"]


class Silent:
    def received(self, name, done, size):
        pass

    def unpacked(self, name, done, size):
        pass


@pytest.fixture
def http():
    return urllib3.PoolManager(retries=Retry(total=2, backoff_factor=0))


@pytest.fixture
def published(dataset):
    """The set of the tests, as Harvard publishes the real one: a table that was converted, and two archives."""
    pictures = sorted(dataset.rglob("*.jpg"))
    halves = (pictures[:50], pictures[50:])
    with serving() as server:
        original = (dataset / "HAM10000_metadata.csv").read_bytes()
        server.add(
            "HAM10000_metadata.tab",
            original,
            filesize=len(original) + 999,  # of the conversion
            originalFileFormat="text/csv",
            originalFileSize=len(original),
        )
        server.add("ISIC2018_Task3_Test_Images.zip", b"not wanted")
        for number, half in enumerate(halves, start=1):
            archive = archive_of({path.name: path.read_bytes() for path in half})
            server.add(f"HAM10000_images_part_{number}.zip", archive)
        yield server


def test_the_published_files_become_a_data_set(published, http, dataset, tmp_path):
    fetch(HAM10000, tmp_path / "ham", http, Silent(), published.url)

    samples = read_samples(tmp_path / "ham")
    assert [sample.image_id for sample in samples] == [sample.image_id for sample in read_samples(dataset)]
    assert {sample.path.parent.name for sample in samples} == {
        "HAM10000_images_part_1",
        "HAM10000_images_part_2",
    }
    assert sorted(path.name for path in (tmp_path / "ham").iterdir()) == [
        "HAM10000_images_part_1",
        "HAM10000_images_part_2",
        "HAM10000_metadata.csv",
    ]


def test_the_metadata_is_asked_for_as_it_was_handed_in(published, http, tmp_path):
    metadata, *_ = list_files(HAM10000, http, published.url)

    assert metadata.url.endswith("/api/access/datafile/1000?format=original")
    assert metadata.size == len(published.files[1000])


def test_a_second_call_fetches_only_what_is_missing(published, http, tmp_path):
    fetch(HAM10000, tmp_path, http, Silent(), published.url)
    shutil.rmtree(tmp_path / "HAM10000_images_part_2")
    published.requested.clear()

    fetch(HAM10000, tmp_path, http, Silent(), published.url)

    assert [path for path, _ in published.requested if "storage" in path] == ["/storage/1003"]
    assert len(read_samples(tmp_path)) == 112


def test_a_connection_that_breaks_costs_only_the_rest(published, http, tmp_path):
    published.break_after = [10**9, 30_000]

    fetch(HAM10000, tmp_path, http, Silent(), published.url)

    assert "bytes=30000-" in {asked for _, asked in published.requested}
    assert len(read_samples(tmp_path)) == 112


def test_a_wrong_archive_is_refused_before_it_is_opened(published, http, tmp_path):
    published.files[1002] = archive_of({"ISIC_1.jpg": b"other"})

    with pytest.raises(DownloadFailed, match="checksum"):
        fetch(HAM10000, tmp_path, http, Silent(), published.url)

    assert [path.name for path in tmp_path.iterdir()] == ["HAM10000_metadata.csv"]


def test_a_list_without_an_expected_file_is_told(published, http, tmp_path):
    published.listing = [entry for entry in published.listing if "part_2" not in entry["label"]]

    with pytest.raises(DownloadFailed, match=r"expected the files HAM10000_images_part_2\. Received: HAM"):
        fetch(HAM10000, tmp_path, http, Silent(), published.url)


def test_a_server_that_is_no_dataverse_is_told(http, tmp_path):
    with serving() as server:
        server.busy = 100
        with pytest.raises(DownloadFailed, match=r"expected a list of files in JSON\. Received: HTTP 503"):
            fetch(HAM10000, tmp_path, http, Silent(), server.url)


def test_a_disk_too_small_is_found_before_anything_comes(published, http, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))

    with pytest.raises(TooLittleSpace, match="free space"):
        fetch(HAM10000, tmp_path, http, Silent(), published.url)

    assert not list(tmp_path.iterdir())


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    archive = tmp_path / "evil.zip"
    archive.write_bytes(
        archive_of(
            {
                "../../outside.jpg": b"1",
                "/absolute.jpg": b"2",
                "c:\\windows\\back.png": b"3",
                "__MACOSX/._ISIC_1.jpg": b"resource fork",
                "run.sh": b"no picture",
                "deep/": b"",
            }
        )
    )

    unpack_images(archive, tmp_path / "evil", Silent())

    assert sorted(path.name for path in (tmp_path / "evil").iterdir()) == [
        "absolute.jpg",
        "back.png",
        "outside.jpg",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil", "evil.zip"]


def test_two_pictures_of_one_name_are_told(tmp_path):
    archive = tmp_path / "double.zip"
    archive.write_bytes(archive_of({"a/ISIC_1.jpg": b"1", "b/ISIC_1.jpg": b"2"}))

    with pytest.raises(DownloadFailed, match=r"two pictures of the name ISIC_1\.jpg"):
        unpack_images(archive, tmp_path / "double", Silent())

    assert [path.name for path in tmp_path.iterdir()] == ["double.zip"]


def test_a_damaged_archive_leaves_no_folder(tmp_path):
    archive = tmp_path / "damaged.zip"
    content = bytearray(archive_of({"ISIC_1.jpg": b"a picture" * 100, "ISIC_2.jpg": b"b" * 900}))
    content[content.index(b"bbb")] ^= 1
    archive.write_bytes(content)

    with pytest.raises(DownloadFailed, match=r"damaged\.zip is a damaged archive"):
        unpack_images(archive, tmp_path / "damaged", Silent())

    assert [path.name for path in tmp_path.iterdir()] == ["damaged.zip"]


def test_a_picture_that_claims_to_be_larger_than_the_disk_is_not_unpacked(tmp_path, monkeypatch):
    archive = tmp_path / "large.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("ISIC_1.jpg", bytes(10**6))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**5))

    with pytest.raises(TooLittleSpace):
        unpack_images(archive, tmp_path / "large", Silent())

    assert [path.name for path in tmp_path.iterdir()] == ["large.zip"]
