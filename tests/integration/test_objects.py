"""Both stores keep the same promises; the real one keeps them through failures too."""

import hashlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from dermabatch.embedded.host import free_port, wait_until
from dermabatch.errors import ObjectExists, ObjectMissing, ObjectStoreUnavailable
from dermabatch.objects import MemoryObjectStore, S3ObjectStore


@pytest.fixture(params=["memory", "s3"])
def store(request):
    return MemoryObjectStore() if request.param == "memory" else request.getfixturevalue("object_store")


@pytest.mark.parametrize("size", [0, 1, 300_000, 9_000_000])
def test_bytes_come_back_as_they_went(store, size):
    data = os.urandom(size)

    store.put("packs/a.tar", data, sha256=hashlib.sha256(data).hexdigest())

    assert store.get("packs/a.tar") == data


def test_a_second_put_replaces_the_first(store):
    store.put("key", b"first")
    store.put("key", b"second")

    assert store.get("key") == b"second"


def test_bytes_that_do_not_have_the_stated_digest_are_refused(store):
    with pytest.raises(ObjectStoreUnavailable, match="BadDigest"):
        store.put("key", b"changed", sha256=hashlib.sha256(b"meant").hexdigest())

    assert not store.exists("key")


def test_a_range_is_exactly_the_bytes_asked_for(store):
    data = os.urandom(100_000)
    store.put("key", data)

    assert store.get_range("key", 1_000, 2_345) == data[1_000:3_345]
    assert store.get_range("key", 99_999, 1) == data[-1:]


@pytest.mark.parametrize(("offset", "length"), [(90, 11), (100, 1), (200, 10)])
def test_a_range_past_the_end_is_missing(store, offset, length):
    store.put("key", bytes(100))

    with pytest.raises(ObjectMissing):
        store.get_range("key", offset, length)


def test_what_was_never_stored_is_missing(store):
    assert not store.exists("nothing")
    with pytest.raises(ObjectMissing, match="nothing"):
        store.get("nothing")
    with pytest.raises(ObjectMissing):
        store.get_range("nothing", 0, 1)


def test_a_deleted_object_is_missing_and_may_be_deleted_again(store):
    store.put("key", b"data")

    store.delete("key")
    store.delete("key")

    assert not store.exists("key")
    with pytest.raises(ObjectMissing):
        store.get("key")


def test_a_listing_has_every_key_of_the_prefix_in_order(store):
    for key in ("packs/b/2", "packs/a/1", "packs/b/10", "packs/bc/1", "derived/b/1"):
        store.put(key, key.encode())

    listed = list(store.list("packs/b/"))

    assert [(info.key, info.size) for info in listed] == [("packs/b/10", 10), ("packs/b/2", 9)]
    now = datetime.now(UTC)
    assert all(now - timedelta(minutes=1) < info.modified_at <= now + timedelta(seconds=2) for info in listed)
    assert [info.key for info in store.list("packs/b")] == ["packs/b/10", "packs/b/2", "packs/bc/1"]
    assert list(store.list("audit/")) == []


def test_a_listing_goes_on_past_one_page(store):
    keys = [f"many/{number:04}" for number in range(1_100)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, b""), keys))

    assert [info.key for info in store.list("many/")] == keys


def test_a_key_that_must_be_free_is_never_overwritten(store):
    store.put("key", b"first", if_absent=True)

    with pytest.raises(ObjectExists):
        store.put("key", b"second", if_absent=True)

    assert store.get("key") == b"first"


def test_of_many_writers_that_demand_a_free_key_one_wins(store):
    start = threading.Barrier(8)

    def write(number: int) -> int | None:
        start.wait()
        try:
            store.put("key", bytes([number]), if_absent=True)
        except ObjectExists:
            return None
        return number

    with ThreadPoolExecutor(8) as threads:
        winners = [number for number in threads.map(write, range(8)) if number is not None]

    assert len(winners) == 1
    assert store.get("key") == bytes(winners)


def test_wrong_credentials_are_refused_without_being_shown(services):
    stranger = S3ObjectStore(
        services.s3_endpoint, services.s3_bucket, services.s3_access_key, "not-the-secret"
    )

    with pytest.raises(ObjectStoreUnavailable, match="SignatureDoesNotMatch") as caught:
        stranger.put("key", b"data")

    assert "not-the-secret" not in str(caught.value)


def test_a_server_that_is_down_is_unavailable_soon():
    store = S3ObjectStore(f"http://127.0.0.1:{free_port()}", "bucket", "access", "secret")
    started = time.monotonic()

    with pytest.raises(ObjectStoreUnavailable):
        store.get("key")
    with pytest.raises(ObjectStoreUnavailable):
        list(store.list("packs/"))

    assert time.monotonic() - started < 20


def test_a_server_that_accepts_and_says_nothing_is_unavailable(monkeypatch):
    monkeypatch.setattr("dermabatch.objects.READ_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = S3ObjectStore(f"http://127.0.0.1:{silent.getsockname()[1]}", "bucket", "access", "secret")

        with pytest.raises(ObjectStoreUnavailable, match="key"):
            store.get("key")


def test_a_bucket_that_does_not_exist_is_unavailable_not_missing(services):
    store = S3ObjectStore(services.s3_endpoint, "no-such", services.s3_access_key, services.s3_secret_key)

    with pytest.raises(ObjectStoreUnavailable, match="NoSuchBucket"):
        store.get("key")


def test_what_was_acknowledged_outlives_the_death_of_the_server(services, object_store):
    acknowledged = {}

    def write_until_it_dies(writer: int) -> None:
        for number in range(1_000):
            key, data = f"{writer}/{number}", os.urandom(20_000)
            try:
                object_store.put(key, data)
            except ObjectStoreUnavailable:
                return
            acknowledged[key] = data

    with ThreadPoolExecutor(4) as threads:
        for writer in range(4):
            threads.submit(write_until_it_dies, writer)
        assert wait_until(lambda: len(acknowledged) >= 50, seconds=30)
        services.kill("s3")
    services.restart("s3")

    def all_there():
        with suppress(ObjectStoreUnavailable):  # it answers a moment before it has found all of its volumes
            return {key: object_store.get(key) for key in acknowledged} == acknowledged

    assert wait_until(all_there, seconds=30)
