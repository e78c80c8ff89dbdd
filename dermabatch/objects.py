"""Storage of immutable bytes under keys: S3, and an honest store in memory for tests of what stands above it."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from dermabatch.errors import ObjectExists, ObjectMissing, ObjectStoreUnavailable

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import PutObjectRequestTypeDef

    from dermabatch.settings import RegistrySettings

CONNECT_SECONDS = 2
READ_SECONDS = 10
ATTEMPTS = 3
CONNECTIONS = 16

_MISSING = {"NoSuchKey", "NotFound", "404", "InvalidRange", "416"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_OWN_BUCKET = {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}


@dataclass(frozen=True)
class ObjectInfo:
    """One entry of a listing; `size` in bytes."""

    key: str
    size: int
    modified_at: datetime


class ObjectStore(Protocol):
    """Every method may raise ObjectStoreUnavailable."""

    def put(self, key: str, data: bytes, *, sha256: str | None = None, if_absent: bool = False) -> None:
        """Store `data` whole or not at all.

        Args:
            sha256: hex digest of `data`, where the caller has it already; the store refuses other bytes.
            if_absent: demand that the key is free.

        Raises:
            ObjectExists: the key was to be free and is not.
        """

    def get(self, key: str) -> bytes:
        """
        Raises:
            ObjectMissing: nothing has this key.
        """

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, never fewer.

        Raises:
            ObjectMissing: nothing has this key, or it is too short.
        """

    def delete(self, key: str) -> None:
        """Afterwards nothing has this key; it is no error if nothing had it before."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key begins with `prefix`, in order of key."""

    def exists(self, key: str) -> bool: ...


class S3ObjectStore:
    """One bucket of an S3 server. Thread-safe.

    Args:
        endpoint: URL of the server, such as http://seaweedfs:8333.
    """

    def __init__(
        self, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str = "us-east-1"
    ) -> None:
        self._bucket = bucket
        self._client = s3_client(endpoint, access_key, secret_key, region)

    @classmethod
    def from_settings(cls, settings: "RegistrySettings") -> "S3ObjectStore":
        """The bucket of this installation."""
        return cls(
            settings.s3_endpoint,
            settings.s3_bucket,
            settings.s3_access_key.get_secret_value(),
            settings.s3_secret_key.get_secret_value(),
            settings.s3_region,
        )

    def ensure_bucket(self) -> None:
        """Make the bucket if it is not there."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - see s3_client

        with _translated("make bucket", self._bucket):
            try:
                self._client.create_bucket(Bucket=self._bucket)
            except ClientError as error:
                if _code(error) not in _OWN_BUCKET:
                    raise

    def put(self, key: str, data: bytes, *, sha256: str | None = None, if_absent: bool = False) -> None:
        digest = bytes.fromhex(sha256) if sha256 else hashlib.sha256(data).digest()
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": key,
            "Body": data,
            "ChecksumSHA256": base64.b64encode(digest).decode(),
        }
        if if_absent:
            request["IfNoneMatch"] = "*"
        with _translated("put", key):
            self._client.put_object(**request)

    def get(self, key: str) -> bytes:
        with _translated("get", key):
            return self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        wanted = f"bytes={offset}-{offset + length - 1}"
        with _translated("get", key):
            data = self._client.get_object(Bucket=self._bucket, Key=key, Range=wanted)["Body"].read()
        return _whole(data, key, offset, length)

    def delete(self, key: str) -> None:
        with _translated("delete", key):
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with _translated("list", prefix):
            for page in pages:
                for entry in page.get("Contents", []):
                    yield ObjectInfo(entry["Key"], entry["Size"], entry["LastModified"])

    def exists(self, key: str) -> bool:
        try:
            with _translated("look up", key):
                self._client.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return False
        return True


def s3_client(endpoint: str, access_key: str, secret_key: str, region: str) -> "S3Client":
    """boto3's client of one server, which gives up in time. Thread-safe."""
    # Heavy (0.2 s), and many commands never touch storage.
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        config=Config(
            # SeaweedFS refuses presigned URLs of the older version.
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=CONNECTIONS,
            # A hospital's proxy knows nothing of this machine's loopback interface.
            proxies={} if urlsplit(endpoint).hostname in {"127.0.0.1", "localhost", "::1"} else None,
        ),
    )


@contextmanager
def _translated(action: str, key: str) -> Iterator[None]:
    """Turns what boto3 raises into this system's errors; the messages name the key, never a credential."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - see s3_client

    try:
        yield
    except ClientError as error:
        code = _code(error)
        if code in _MISSING:
            raise ObjectMissing(
                f"The storage holds no such object, or not these bytes of it: {key}"
            ) from error
        if code in _TAKEN:
            raise ObjectExists(f"The storage holds an object under this key already: {key}") from error
        raise ObjectStoreUnavailable(f"The storage refused to {action} {key}: {code}") from error
    except BotoCoreError as error:
        raise ObjectStoreUnavailable(f"The storage did not {action} {key}: {error}") from error


def _code(error: "ClientError") -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _whole(data: bytes, key: str, offset: int, length: int) -> bytes:
    if len(data) != length:
        raise ObjectMissing(
            f"{key} ends early: expected {length} bytes from {offset} on, received {len(data)}."
        )
    return data


class MemoryObjectStore:
    """The same promises, kept in a dictionary. Thread-safe."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._turn = threading.Lock()

    def put(self, key: str, data: bytes, *, sha256: str | None = None, if_absent: bool = False) -> None:
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectStoreUnavailable(f"The storage refused to put {key}: BadDigest")
        with self._turn:
            if if_absent and key in self._objects:
                raise ObjectExists(f"The storage holds an object under this key already: {key}")
            self._objects[key] = (bytes(data), datetime.now(UTC))

    def get(self, key: str) -> bytes:
        try:
            return self._objects[key][0]
        except KeyError:
            raise ObjectMissing(
                f"The storage holds no such object, or not these bytes of it: {key}"
            ) from None

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return _whole(self.get(key)[offset : offset + length], key, offset, length)

    def delete(self, key: str) -> None:
        with self._turn:
            self._objects.pop(key, None)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._turn:
            snapshot = sorted(self._objects.items())
        for key, (data, modified_at) in snapshot:
            if key.startswith(prefix):
                yield ObjectInfo(key, len(data), modified_at)

    def exists(self, key: str) -> bool:
        return key in self._objects
