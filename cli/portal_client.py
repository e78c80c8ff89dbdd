"""The JSON API as a program sees it: hand in a batch, follow it, read its results."""

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from types import MappingProxyType
from typing import IO, Any, Final

import urllib3
from urllib3.fields import RequestField

from dermabatch.errors import DermabatchError, InvalidRequest, ServiceUnavailable

# A short batch is seen to end at once, a long one is not asked about ten times a second: each question costs the portal
# more than an image does.
_FIRST_POLL_SECONDS: Final = 0.1
_KEPT_IN_MEMORY: Final = 64 * 2**20
"""Bytes of an upload; a larger one waits in a temporary file until its length is known."""

_PATIENCE: Final = urllib3.Retry(
    total=None,
    status=40,
    status_forcelist=[429],
    allowed_methods=None,
    raise_on_status=False,
    # What failed on the way may have been done: only a refusal is surely none.
    connect=0,
    read=0,
    other=0,
    redirect=False,
)
"""Where the portal says when to come back, the client asks again then."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_LONGEST_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Upload:
    """One file to hand in."""

    name: str
    data: bytes


class PortalClient:
    """Speaks to one portal in the name of one token's owner. Thread-safe."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=300), retries=_PATIENCE)

    def submit(self, uploads: Iterable[Upload], *, queue: str = "interactive") -> str:
        """Hand in a batch, taking one file after the other; returns its id.

        Raises:
            InvalidRequest: the portal refused it and says why.
            ServiceUnavailable: the portal does not answer.
        """
        with SpooledTemporaryFile(_KEPT_IN_MEMORY) as body:
            content_type = _write_form(body, uploads, queue)
            length = body.tell()
            body.seek(0)
            headers = {"Content-Type": content_type, "Content-Length": str(length)}
            answer = self._ask("POST", "/api/v1/batches", body=body, headers=headers)
        return str(answer["batch_id"])

    def batch(self, batch_id: str) -> dict[str, Any]:
        """State and counts of a batch."""
        return self._ask("GET", f"/api/v1/batches/{batch_id}")

    def follow(self, batch_id: str, *, timeout_seconds: float) -> Iterator[dict[str, Any]]:
        """The batch as it changes, until nothing of it is pending.

        Raises:
            ServiceUnavailable: it is not done in time.
        """
        deadline = time.monotonic() + timeout_seconds
        pause = _FIRST_POLL_SECONDS
        while time.monotonic() < deadline:
            batch = self.batch(batch_id)
            yield batch
            if batch["done"]:
                return
            time.sleep(pause)
            pause = min(1.5 * pause, _LONGEST_POLL_SECONDS)
        raise ServiceUnavailable(
            f"Batch {batch_id} was not done within {timeout_seconds:g} s. It goes on: dermabatch results {batch_id}"
        )

    def results(self, batch_id: str) -> list[dict[str, Any]]:
        """Every result, most suspicious first."""
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            query = f"?limit=500{f'&cursor={cursor}' if cursor else ''}"
            page = self._ask("GET", f"/api/v1/batches/{batch_id}/results{query}")
            found += page["results"]
            cursor = page["next_cursor"]
        return found

    def _ask(
        self, method: str, path: str, *, body: IO[bytes] | None = None, headers: Mapping[str, str] = _NONE
    ) -> dict[str, Any]:
        try:
            response = self._http.request(
                method, self._url + path, body=body, headers={**self._headers, **headers}
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServiceUnavailable(f"The portal at {self._url} does not answer: {error}") from error
        if response.status >= 400:
            raise _refusal(response.status, response.data)
        answer = json.loads(response.data)
        assert isinstance(answer, dict)
        return answer


def _write_form(body: IO[bytes], uploads: Iterable[Upload], queue: str) -> str:
    """Write a form of multipart/form-data; returns its content type with the boundary."""
    boundary = secrets.token_hex(16)

    def write(field: RequestField, data: bytes) -> None:
        body.write(f"--{boundary}\r\n{field.render_headers()}".encode())
        body.write(data)
        body.write(b"\r\n")

    write(RequestField.from_tuples("queue", ""), queue.encode())
    for upload in uploads:
        file = (upload.name, b"", "application/octet-stream")
        write(RequestField.from_tuples("files", file), upload.data)
    body.write(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}"


def _refusal(status: int, body: bytes) -> DermabatchError:
    try:
        detail = json.loads(body).get("detail", "")
    except ValueError:
        detail = ""
    kind = ServiceUnavailable if status >= 500 else InvalidRequest
    return kind(f"The portal answered {status}. {detail}")
