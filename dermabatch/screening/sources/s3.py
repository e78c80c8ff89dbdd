"""Objects of a bucket, of this installation's storage or of another one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from dermabatch.errors import ConfigurationError, InvalidRequest
from dermabatch.intake import Metadata
from dermabatch.objects import s3_client
from dermabatch.screening.sources.base import (
    SourceFile,
    SourceUnavailable,
    changed_while_read,
    no_permission,
    read_capped,
    vanished,
)
from dermabatch.screening.tables import SourceKind
from dermabatch.settings import Settings

_GONE: Final = {"NoSuchKey", "404", "NotFound"}
_CHANGED: Final = {"PreconditionFailed", "412"}
_FORBIDDEN: Final = {"AccessDenied", "403", "InvalidObjectState"}


class S3Source:
    """
    Args:
        client: of boto3.
        endpoint: its URL; names the server in `identity`.
    """

    kind = SourceKind.S3

    def __init__(self, client: Any, *, endpoint: str, bucket: str, prefix: str) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._where = f"s3:{endpoint}/{bucket}/"
        self.identity = f"{self._where}{prefix}"

    @classmethod
    def from_settings(cls, url: str, settings: Settings) -> "S3Source":
        """
        Args:
            url: `s3://BUCKET/PREFIX`; on DERMABATCH_SOURCE_S3_ENDPOINT, or else on this installation's storage.

        Raises:
            InvalidRequest: no bucket.
            ConfigurationError: another storage without its credentials.
        """
        parts = urlsplit(url)
        if not parts.netloc:
            raise InvalidRequest(f"Expected s3://BUCKET/PREFIX. Received: {url}")
        endpoint, access, secret = settings.s3_endpoint, settings.s3_access_key, settings.s3_secret_key
        if settings.source_s3_endpoint is not None:
            if settings.source_s3_access_key is None or settings.source_s3_secret_key is None:
                raise ConfigurationError(
                    "DERMABATCH_SOURCE_S3_ENDPOINT needs DERMABATCH_SOURCE_S3_ACCESS_KEY and"
                    " DERMABATCH_SOURCE_S3_SECRET_KEY."
                )
            endpoint = settings.source_s3_endpoint
            access, secret = settings.source_s3_access_key, settings.source_s3_secret_key
        client = s3_client(endpoint, access.get_secret_value(), secret.get_secret_value(), settings.s3_region)
        return cls(client, endpoint=endpoint, bucket=parts.netloc, prefix=parts.path.removeprefix("/"))

    def files(self) -> Iterator[SourceFile]:
        """A page of 1,000 at a time."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        with _source_answers():
            for page in pages:
                for entry in page.get("Contents", []):
                    key = entry["Key"]
                    if not key.endswith("/"):  # an empty object that stands for a folder
                        name = key.removeprefix(self._prefix).lstrip("/") or key.rpartition("/")[2]
                        yield SourceFile(self._where + key, name, entry["ETag"], entry["Size"])

    def read(self, file: SourceFile, *, at_most: int) -> bytes:
        from botocore.exceptions import ClientError  # noqa: PLC0415 - heavy, see objects.s3_client

        with _source_answers():
            try:
                answer = self._client.get_object(
                    Bucket=self._bucket, Key=file.key.removeprefix(self._where), IfMatch=file.version
                )
                return read_capped(answer["Body"], at_most=at_most)
            except ClientError as error:
                code = str(error.response.get("Error", {}).get("Code", ""))
                if code in _GONE:
                    raise vanished() from error
                if code in _CHANGED:
                    raise changed_while_read() from error
                if code in _FORBIDDEN and self._may_list():
                    raise no_permission() from error
                raise

    def metadata(self) -> Metadata | None:
        """None: whose images they are only DICOM objects say."""
        return None

    def close(self) -> None:
        self._client.close()

    def _may_list(self) -> bool:
        """Whether our credentials are good for anything; a storage may answer the same when they have expired."""
        self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix, MaxKeys=1)
        return True


@contextmanager
def _source_answers() -> Iterator[None]:
    """What boto3 raises about the whole source, in this system's words, which name no key."""
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415 - as above

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise SourceUnavailable(
            f"The storage of the source refused ({code}): expected a bucket that is there and credentials that"
            " may list and read it. Renew them and start again."
        ) from error
    except (BotoCoreError, HTTPClientError, OSError) as error:
        raise SourceUnavailable(
            f"The storage of the source does not answer ({type(error).__name__})."
        ) from error
