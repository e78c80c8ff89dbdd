"""A Dataverse of a few files on this machine, which can behave as badly as servers do."""

import hashlib
import io
import json
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Dataverse:
    """What the server serves and how; a test changes it as it goes.

    Attributes:
        files: contents by id.
        break_after: a connection breaks after so many bytes of a file; each value serves for one request.
        busy: so many requests are first answered by 503.
        ranges: whether the server knows them.
        requested: paths that were asked for, with the Range header.
    """

    files: dict[int, bytes] = field(default_factory=dict)
    listing: list[dict[str, object]] = field(default_factory=list)
    break_after: list[int] = field(default_factory=list)
    busy: int = 0
    ranges: bool = True
    requested: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, label, content, **more):
        """Publish a file; `more` goes into its entry of the list."""
        number = 1000 + len(self.files)
        self.files[number] = content
        checksum = {"type": "MD5", "value": hashlib.md5(content).hexdigest()}
        data_file = {"id": number, "filesize": len(content), "checksum": checksum} | more
        self.listing.append({"label": label, "restricted": False, "dataFile": data_file})
        return number


@contextmanager
def serving():
    """A Dataverse that listens on a port of its own."""
    dataverse = Dataverse()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"dataverse": dataverse}))
    dataverse.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield dataverse
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def archive_of(pictures):
    """A ZIP archive of contents by name, as bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in pictures.items():
            archive.writestr(name, content)
    return stream.getvalue()


class _Handler(BaseHTTPRequestHandler):
    dataverse: Dataverse

    def do_GET(self):
        dataverse = self.dataverse
        dataverse.requested.append((self.path, self.headers.get("Range")))
        path, _, query = self.path.partition("?")
        if dataverse.busy:
            dataverse.busy -= 1
            self._answer(503, b"busy")
        elif path == "/api/datasets/:persistentId/versions/4.0/files":
            assert query == "persistentId=doi:10.7910/DVN/DBW86T"
            self._answer(200, json.dumps({"status": "OK", "data": dataverse.listing}).encode())
        elif path.startswith("/api/access/datafile/"):
            # As the real one does: the file itself lies in a storage elsewhere.
            self.send_response(303)
            self.send_header("Location", f"/storage/{path.rpartition('/')[2]}")
            self.end_headers()
        elif (content := dataverse.files.get(int(path.rpartition("/")[2]))) is not None:
            self._send_file(content)
        else:
            self._answer(404, b"no such file")

    def _send_file(self, content):
        asked = self.headers.get("Range")
        if not (asked and self.dataverse.ranges):
            return self._answer(200, content)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return self._answer(416, b"")
        return self._answer(
            206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        )

    def _answer(self, status, body, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if status in {200, 206} and self.path.startswith("/storage/") and self.dataverse.break_after:
            body = body[: self.dataverse.break_after.pop(0)]
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args):
        pass
