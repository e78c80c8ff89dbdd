"""The instances that a DICOMweb server finds: QIDO-RS to list, WADO-RS to read.

dicomweb-client asks; an instance itself is fetched as bytes and not through it, because it would parse the object in
this process. Strangers' objects are parsed in the sandbox only.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import requests
import urllib3
from dicomweb_client.session_utils import create_session
from dicomweb_client.web import DICOMwebClient

from dermabatch.errors import InvalidRequest
from dermabatch.intake import Metadata
from dermabatch.screening.sources.base import (
    SourceFile,
    SourceUnavailable,
    changed_while_read,
    no_permission,
    read_capped,
    too_large,
    vanished,
)
from dermabatch.screening.tables import SourceKind
from dermabatch.settings import Settings

_PAGE: Final = 100
_SECONDS: Final = (5, 60)
"""To connect; to wait for the next bytes."""
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_MOST_HEADER: Final = 2**16
"""Bytes of a multipart answer that are not the object."""

# It logs UIDs, which lead to a patient.
logging.getLogger("dicomweb_client").setLevel(logging.ERROR)


class DicomwebSource:
    """
    Args:
        url: of the service, without a query.
        filters: QIDO-RS attributes that studies must have.
        token: bearer token, if the server wants one.
    """

    kind = SourceKind.DICOMWEB

    def __init__(self, url: str, filters: Mapping[str, str], *, token: str | None = None) -> None:
        self._url = url.rstrip("/")
        self._filters = dict(filters)
        self._session = create_session()
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"
        self._client = DICOMwebClient(self._url, session=self._session, timeout=_SECONDS)
        self._client.set_http_retry_params(max_attempts=3, wait_exponential_multiplier=500)
        self._where = f"dicomweb:{self._url}/"
        self.identity = f"{self._where}?{sorted(self._filters.items())}"

    @classmethod
    def from_settings(cls, url: str, settings: Settings) -> "DicomwebSource":
        """
        Args:
            url: `https://HOST/PATH?ATTRIBUTE=VALUE&...`

        Raises:
            InvalidRequest: no host.
        """
        parts = urlsplit(url)
        if not parts.hostname or parts.username:
            raise InvalidRequest(
                "Expected dicomweb+https://HOST/PATH?QUERY; credentials go into DERMABATCH_SOURCE_TOKEN."
            )
        bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        token = settings.source_token.get_secret_value() if settings.source_token else None
        return cls(bare, dict(parse_qsl(parts.query)), token=token)

    def files(self) -> Iterator[SourceFile]:
        """Study by study, each in pages. An instance never changes: its UID is its version."""
        with _source_answers():
            for study in self._pages(self._client.search_for_studies, search_filters=self._filters):
                study_uid = _uid(study, _STUDY)
                for instance in self._pages(self._client.search_for_instances, study_instance_uid=study_uid):
                    series_uid, uid = _uid(instance, _SERIES), _uid(instance, _INSTANCE)
                    place = f"studies/{study_uid}/series/{series_uid}/instances/{uid}"
                    yield SourceFile(self._where + place, f"{uid}.dcm", uid, None)

    def read(self, file: SourceFile, *, at_most: int) -> bytes:
        place = file.key.removeprefix(self._where)
        with (
            _source_answers(),
            self._session.get(
                f"{self._url}/{place}",
                headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
                timeout=_SECONDS,
                stream=True,
            ) as answer,
        ):
            if answer.status_code in (404, 410):
                raise vanished()
            if answer.status_code == 403 and self._may_search():
                raise no_permission()
            answer.raise_for_status()
            answer.raw.decode_content = True
            body = read_capped(answer.raw, at_most=at_most + _MOST_HEADER)
            data = _object_of(body, answer.headers.get("Content-Type", ""))
            if len(data) > at_most:
                raise too_large(at_most)
            return data

    def metadata(self) -> Metadata | None:
        """None: the objects say themselves whom they show."""
        return None

    def close(self) -> None:
        self._session.close()

    def _pages(self, search: Any, **query: Any) -> Iterator[Mapping[str, Any]]:
        offset = 0
        while page := search(**query, limit=_PAGE, offset=offset):
            yield from page
            offset += len(page)

    def _may_search(self) -> bool:
        self._client.search_for_studies(limit=1)
        return True


def _uid(found: Mapping[str, Any], tag: str) -> str:
    """
    Raises:
        SourceUnavailable: the server's answer is none of QIDO-RS.
    """
    values = found.get(tag, {}).get("Value", [])
    uid = str(values[0]) if values else ""
    if not 0 < len(uid) <= 64 or not set(uid) <= set("0123456789."):
        raise SourceUnavailable(f"Expected an answer of QIDO-RS with the attribute {tag}. Received: none")
    return uid


def _object_of(body: bytes, content_type: str) -> bytes:
    """The first part of a multipart answer (RFC 2046), or the whole of an answer that is no multipart.

    Raises:
        ImageRejected: it is cut off.
    """
    if not content_type.lower().startswith("multipart/"):
        return body
    header = Message()
    header["Content-Type"] = content_type
    delimiter = b"--" + str(header.get_param("boundary")).encode()
    _, _, parts = body.partition(delimiter + b"\r\n")
    _, _, part = parts.partition(b"\r\n\r\n")
    content, end, _ = part.partition(b"\r\n" + delimiter)
    if not end:
        raise changed_while_read()
    return content


@contextmanager
def _source_answers() -> Iterator[None]:
    """What requests raises, in words that name no UID."""
    try:
        yield
    except requests.HTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        raise SourceUnavailable(
            f"The DICOMweb server answered {status}: expected a query that it knows and a token that it takes."
        ) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise SourceUnavailable(f"The DICOMweb server does not answer ({type(error).__name__}).") from error
