"""The three kinds of source against real servers: listed in pages, read whole, and clear about what fails."""

import hashlib
from contextlib import closing

import pytest
from pydantic import SecretStr

from dermabatch.errors import ImageRejected, InvalidRequest
from dermabatch.screening.sources import S3Source, SourceUnavailable, open_source
from tests.integration.intake.conftest import picture
from tests.integration.screening.conftest import counts
from tests.integration.screening.pacs import Pacs, serving

LIMIT = 2**20


@pytest.fixture
def pacs():
    with serving(Pacs()) as running:
        yield running


@pytest.fixture
def settings_of_pacs(settings, pacs):
    return settings.model_copy(update={"source_token": SecretStr(pacs.token)})


@pytest.fixture
def dicomweb(pacs, settings_of_pacs):
    with closing(open_source(f"dicomweb+{pacs.url}?Modality=DMS", settings_of_pacs)) as source:
        yield source


@pytest.fixture
def bucket_source(object_store, settings):
    with closing(open_source("s3://tests/archive/", settings)) as source:
        yield source


def refusal(source, file):
    with pytest.raises(ImageRejected) as rejected:
        source.read(file, at_most=LIMIT)
    return rejected.value.reason


def test_a_bucket_is_screened(archive, object_store, bucket_source):
    object_store.put("archive/2026/a.jpg", picture(0))
    object_store.put("archive/b.jpg", picture(1))
    object_store.put("elsewhere/c.jpg", picture(2))

    assert counts(archive.screen(bucket_source)) == {"listed": 2, "taken in": 2}
    assert counts(archive.screen(bucket_source)) == {"listed": 2, "skipped": 2}


def test_an_object_that_is_replaced_after_it_was_listed_is_not_read_as_what_it_was(
    object_store, bucket_source
):
    object_store.put("archive/a.jpg", picture(0))
    [file] = bucket_source.files()
    object_store.put("archive/a.jpg", picture(1))
    assert refusal(bucket_source, file) == "changed_while_read"
    object_store.delete("archive/a.jpg")
    assert refusal(bucket_source, file) in ("vanished", "changed_while_read")


def test_an_object_that_is_too_large_is_not_read_to_its_end(object_store, bucket_source):
    object_store.put("archive/large.jpg", bytes(LIMIT + 1))
    [file] = bucket_source.files()
    assert refusal(bucket_source, file) == "too_large"


@pytest.mark.parametrize("wrong", ["key", "bucket"])
def test_credentials_that_have_expired_end_the_screening_and_not_each_file(services, settings, wrong):
    url = "s3://tests/archive/" if wrong == "key" else "s3://no-such-bucket/"
    changed = {
        "source_s3_endpoint": services.s3_endpoint,
        "source_s3_access_key": SecretStr("expired" if wrong == "key" else services.s3_access_key),
        "source_s3_secret_key": SecretStr(services.s3_secret_key),
    }
    with (
        closing(open_source(url, settings.model_copy(update=changed))) as source,
        pytest.raises(SourceUnavailable, match="credentials"),
    ):
        list(source.files())


def test_a_storage_that_does_not_answer_ends_the_screening(settings):
    nobody = SecretStr("nobody")
    changed = {
        "source_s3_endpoint": "http://127.0.0.1:9",
        "source_s3_access_key": nobody,
        "source_s3_secret_key": nobody,
    }
    with (
        closing(open_source("s3://tests/", settings.model_copy(update=changed))) as source,
        pytest.raises(SourceUnavailable, match="does not answer"),
    ):
        next(source.files())


def test_a_dicomweb_server_is_screened_and_its_objects_say_whom_they_show(archive, pacs, dicomweb):
    for seed in range(5):
        pacs.add(seed, patient=f"P-{seed}")

    report = archive.screen(dicomweb)

    assert counts(report) == {"listed": 5, "taken in": 5}
    assert any("Modality=DMS" in path for path in pacs.requests)
    [batch] = archive.work.intake.batches()
    images = archive.work.intake.images(batch.id)
    assert {image.age for image in images} == {50}
    assert len({image.subject_id for image in images}) == 5
    pacs.requests.clear()
    assert counts(archive.screen(dicomweb)) == {"listed": 5, "skipped": 5}
    assert not any("/series/" in path for path in pacs.requests)


@pytest.mark.parametrize("plain", [True, False])
def test_an_instance_comes_byte_for_byte(pacs, dicomweb, plain):
    pacs.plain = plain
    pacs.add(1, patient="P")
    [file] = dicomweb.files()
    [(_, _, data)] = next(iter(pacs.objects.values()))
    read = dicomweb.read(file, at_most=LIMIT)
    assert hashlib.sha256(read).digest() == hashlib.sha256(data).digest()


def test_what_is_wrong_with_one_instance_is_said_of_it_alone(pacs, dicomweb):
    pacs.forbidden.add(pacs.add(1, patient="P"))
    pacs.missing.add(pacs.add(2, patient="P"))
    pacs.cut.add(pacs.add(3, patient="P"))
    pacs.add(4, patient="P")
    forbidden, missing, cut, good = sorted(dicomweb.files(), key=lambda file: _order(file, pacs))
    assert refusal(dicomweb, forbidden) == "unreadable_file"
    assert refusal(dicomweb, missing) == "vanished"
    assert refusal(dicomweb, cut) == "changed_while_read"
    assert dicomweb.read(good, at_most=LIMIT)
    with pytest.raises(ImageRejected, match="too large"):
        dicomweb.read(good, at_most=10)


def _order(file, pacs):
    uids = [uid for objects in pacs.objects.values() for _, uid, _ in objects]
    return uids.index(file.name.removesuffix(".dcm"))


def test_a_token_that_has_expired_ends_the_screening(pacs, dicomweb):
    pacs.add(1, patient="P")
    [file] = dicomweb.files()
    pacs.token = "another one by now"
    with pytest.raises(SourceUnavailable, match="401"):
        list(dicomweb.files())
    with pytest.raises(SourceUnavailable, match="401"):
        dicomweb.read(file, at_most=LIMIT)


@pytest.mark.parametrize("text", ["ftp://host/x", "s3:///x", "dicomweb+https://me:secret@host/x"])
def test_a_source_that_is_none_is_refused_with_what_was_expected(settings, text):
    with pytest.raises(InvalidRequest, match="Expected") as refused:
        open_source(text, settings)
    assert "secret" not in str(refused.value)


def test_own_storage_is_the_source_where_no_other_is_named(settings, bucket_source):
    assert isinstance(bucket_source, S3Source)
    assert settings.s3_endpoint in bucket_source.identity
