"""A small DICOMweb server: QIDO-RS and WADO-RS over HTTP, with objects that are made for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from threading import Thread

from flask import Flask, Response, abort, jsonify, request
from pydicom import dcmread
from werkzeug.serving import make_server

from dermabatch.imaging.synthetic_dicom import lesion_dicom

_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"


@dataclass
class Pacs:
    """What it holds, by study; and what a test wants it to do."""

    token: str = "of the night run"
    page: int = 2
    """More it never answers at once, whatever is asked for."""
    objects: dict[str, list[tuple[str, str, bytes]]] = field(default_factory=dict)
    forbidden: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    plain: bool = False
    """Answers one object without the multipart around it, as some servers do."""
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, seed: int, *, patient: str) -> str:
        data = lesion_dicom(seed, width=96, height=72, patient=patient, age=50)
        read = dcmread(BytesIO(data), stop_before_pixels=True)
        place = (str(read.SeriesInstanceUID), str(read.SOPInstanceUID), data)
        self.objects.setdefault(str(read.StudyInstanceUID), []).append(place)
        return str(read.SOPInstanceUID)


@contextmanager
def serving(pacs: Pacs) -> Iterator[Pacs]:
    server = make_server("127.0.0.1", 0, _application(pacs), threaded=True)
    pacs.url = f"http://127.0.0.1:{server.server_port}/dicom-web"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pacs
    finally:
        server.shutdown()
        thread.join()


def _application(pacs: Pacs) -> Flask:
    app = Flask("pacs")

    @app.before_request
    def ask_for_the_token() -> None:
        pacs.requests.append(request.full_path)
        if request.headers.get("Authorization") != f"Bearer {pacs.token}":
            abort(401)

    @app.get("/dicom-web/studies")
    def studies() -> Response:
        return _page([{_STUDY: _value(study)} for study in pacs.objects], pacs)

    @app.get("/dicom-web/studies/<study>/instances")
    def instances(study: str) -> Response:
        found = [
            {_STUDY: _value(study), _SERIES: _value(series), _INSTANCE: _value(uid)}
            for series, uid, _ in pacs.objects[study]
        ]
        return _page(found, pacs)

    @app.get("/dicom-web/studies/<study>/series/<series>/instances/<uid>")
    def instance(study: str, series: str, uid: str) -> Response:
        if uid in pacs.forbidden:
            abort(403)
        if uid in pacs.missing:
            abort(404)
        [data] = [data for _, known, data in pacs.objects[study] if known == uid]
        if pacs.plain:
            return Response(data, content_type="application/dicom")
        head = b"--limit\r\nContent-Type: application/dicom\r\n\r\n"
        body = head + data + b"\r\n--limit--\r\n"
        if uid in pacs.cut:
            body = body[: len(body) // 2]
        return Response(body, content_type='multipart/related; type="application/dicom"; boundary=limit')

    return app


def _page(found: list, pacs: Pacs) -> Response:
    offset = int(request.args.get("offset", 0))
    limit = min(int(request.args.get("limit", 100)), pacs.page)
    return jsonify(found[offset : offset + limit])


def _value(uid: str) -> dict:
    return {"vr": "UI", "Value": [uid]}
