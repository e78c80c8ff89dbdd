"""Alerts reach a real HTTP server and a real mail server of these tests, and say when they do not."""

import json
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, TCPServer
from threading import Thread

import pytest

from dermabatch.alerts import Alert, AlertNotTaken, Mail, Webhook

ALERT = Alert(
    "0190", "late", "archive of 2026-11-23", "It will not be done by 06:00 UTC.", "2026-11-24T04:00:00Z"
)


class Posted(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_):
        """Nothing to standard error."""


class Mailed(StreamRequestHandler):
    """As much of RFC 5321 as one message needs. It offers no STARTTLS."""

    def handle(self):
        self._say("220 ready")
        while line := self.rfile.readline().strip():
            match line[:4].upper():
                case b"DATA":
                    self._say("354 go on")
                    self.server.mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                    self._say("250 taken")
                case b"QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("250 ok")

    def _say(self, line):
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def served():
    running = []

    def serve(kind, handler, **attributes):
        server = kind(("127.0.0.1", 0), handler)
        for name, value in attributes.items():
            setattr(server, name, value)
        Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return server

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_webhook_gets_the_alert_as_json(served):
    server = served(HTTPServer, Posted, bodies=[], status=204)
    Webhook(f"http://127.0.0.1:{server.server_port}/hook").deliver(ALERT)
    [body] = server.bodies
    assert json.loads(body) == {
        "id": "0190",
        "kind": "late",
        "about": "archive of 2026-11-23",
        "message": "It will not be done by 06:00 UTC.",
        "raised_at": "2026-11-24T04:00:00Z",
    }


def test_a_webhook_that_refuses_is_named_without_its_address(served):
    server = served(HTTPServer, Posted, bodies=[], status=500)
    with pytest.raises(AlertNotTaken, match="500") as refused:
        Webhook(f"http://127.0.0.1:{server.server_port}/secret").deliver(ALERT)
    assert "secret" not in str(refused.value)


def test_a_webhook_that_is_away_is_tried_again_later():
    with pytest.raises(AlertNotTaken, match="does not answer"):
        Webhook("http://127.0.0.1:9/secret").deliver(ALERT)


def test_a_mail_server_gets_the_alert_as_a_mail(served):
    server = served(TCPServer, Mailed, mails=[])
    mail = Mail(
        f"smtp://127.0.0.1:{server.server_address[1]}",
        sender="dermabatch@hospital.example",
        recipients=("night@hospital.example", "it@hospital.example"),
    )
    mail.deliver(ALERT)
    message = message_from_bytes(server.mails[0], policy=policy.default)
    assert message["Subject"] == "Dermabatch: late: archive of 2026-11-23"
    assert message["To"] == "night@hospital.example, it@hospital.example"
    assert "It will not be done by 06:00 UTC." in message.get_content()


def test_a_password_is_never_sent_in_clear(served):
    server = served(TCPServer, Mailed, mails=[])
    mail = Mail(
        f"smtp://night:secret@127.0.0.1:{server.server_address[1]}",
        sender="a@b.example",
        recipients=("c@d.example",),
    )
    with pytest.raises(AlertNotTaken):
        mail.deliver(ALERT)
    assert server.mails == []
