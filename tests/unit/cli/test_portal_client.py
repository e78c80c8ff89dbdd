import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from werkzeug.formparser import parse_form_data

from cli.portal_client import PortalClient, Upload, _write_form
from dermabatch.errors import InvalidRequest, ServiceUnavailable

NAMES = ["lesion.jpg", 'a "quoted" one.jpg', "Läsion 病変.png", "two\r\nlines.jpg", "folder/inside.jpg"]


@pytest.mark.parametrize("name", NAMES)
def test_a_form_brings_each_file_with_its_bytes(name):
    uploads = [Upload(name, bytes(range(256))), Upload("empty.jpg", b"")]
    body = io.BytesIO()
    content_type = _write_form(body, iter(uploads), "bulk")
    length = body.tell()
    body.seek(0)
    _, form, files = parse_form_data(
        {
            "REQUEST_METHOD": "POST",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(length),
            "wsgi.input": body,
        }
    )
    assert form["queue"] == "bulk"
    received = files.getlist("files")
    assert [file.read() for file in received] == [upload.data for upload in uploads]
    assert received[0].filename == name.replace("\r\n", "%0D%0A")  # as browsers write a line break


@pytest.fixture
def portal_that_answers():
    """A portal that gives these answers, one after the other; its client, and the bodies that arrived."""
    servers = []

    def _portal(*answers):
        left, bodies = list(answers), []

        class Portal(BaseHTTPRequestHandler):
            def do_POST(self):
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers, content = left.pop(0)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(json.dumps(content).encode())

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Portal)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return PortalClient(f"http://127.0.0.1:{server.server_port}", "token"), bodies

    yield _portal
    for server in servers:
        server.shutdown()
        server.server_close()


COME_BACK = (429, {"Retry-After": "1"}, {"detail": "Hand it in again in 1 s."})


def test_who_is_told_to_come_back_hands_in_the_same_again(portal_that_answers):
    client, bodies = portal_that_answers(COME_BACK, (202, {}, {"batch_id": "7"}))

    assert client.submit([Upload("lesion.jpg", b"picture")]) == "7"
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]


@pytest.mark.parametrize(("status", "error"), [(400, InvalidRequest), (503, ServiceUnavailable)])
def test_no_other_refusal_is_asked_again(portal_that_answers, status, error):
    client, bodies = portal_that_answers((status, {"Retry-After": "0"}, {"detail": "no"}))

    with pytest.raises(error):
        client.submit([Upload("lesion.jpg", b"picture")])
    assert len(bodies) == 1
