"""Telling people outside this system that something is wrong: by webhook and e-mail, besides the log."""

import json
import smtplib
import ssl
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import urllib3

from dermabatch.errors import ServiceUnavailable
from dermabatch.settings import Settings

_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Alert:
    """What is wrong. Holds no path, no file name and nothing of a patient.

    Attributes:
        id: the same when it is told again, because a channel did not answer.
        kind: stable code.
        about: the name of the schedule and its night.
    """

    id: str
    kind: str
    about: str
    message: str
    raised_at: str


class AlertNotTaken(ServiceUnavailable):
    """A channel did not take an alert; it is tried again."""

    code = "alert_not_taken"


class Channel(Protocol):
    """A way to people."""

    def deliver(self, alert: Alert) -> None:
        """
        Raises:
            AlertNotTaken: telling it again later is right.
        """


class Webhook:
    """Posts alerts as JSON to one URL, which may hold a secret: no error names it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = urllib3.PoolManager(retries=False, timeout=_SECONDS)

    def deliver(self, alert: Alert) -> None:
        body = json.dumps(asdict(alert)).encode()
        try:
            answer = self._http.request(
                "POST", self._url, body=body, headers={"Content-Type": "application/json"}
            )
        except urllib3.exceptions.HTTPError as error:
            raise AlertNotTaken(f"The webhook does not answer: {type(error).__name__}") from None
        if not 200 <= answer.status < 300:
            raise AlertNotTaken(f"Expected the webhook to answer 2xx. Received: {answer.status}")


class Mail:
    """Sends alerts through one mail server.

    Args:
        url: `smtp://USER:PASSWORD@HOST:PORT` or `smtps://...`. With a user, and wherever the server offers it, the
            connection is encrypted first.
    """

    def __init__(self, url: str, *, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = urlsplit(url)
        self._sender = sender
        self._recipients = recipients

    def deliver(self, alert: Alert) -> None:
        message = EmailMessage()
        message["Subject"] = f"Dermabatch: {alert.kind.replace('_', ' ')}: {alert.about}"
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Message-ID"] = f"<{alert.id}@dermabatch>"
        message.set_content(f"{alert.message}\n\nRaised at {alert.raised_at}.\n")
        try:
            with self._connection() as server:
                server.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            raise AlertNotTaken(f"The mail server did not take it: {type(error).__name__}") from None

    def _connection(self) -> smtplib.SMTP:
        host = self._server.hostname or ""
        context = ssl.create_default_context()
        if self._server.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, self._server.port or 465, timeout=_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(host, self._server.port or 25, timeout=_SECONDS)
            server.ehlo()
            # A password never goes over a bare connection: without STARTTLS this raises.
            if self._server.username or server.has_extn("starttls"):
                server.starttls(context=context)
        if self._server.username:
            server.login(unquote(self._server.username), unquote(self._server.password or ""))
        return server


def channels_of(settings: Settings) -> list[Channel]:
    """The channels that are set up."""
    channels: list[Channel] = []
    if settings.alert_webhook is not None:
        channels.append(Webhook(settings.alert_webhook.get_secret_value()))
    if settings.alert_smtp is not None and settings.alert_to:
        url = settings.alert_smtp.get_secret_value()
        channels.append(Mail(url, sender=settings.alert_from, recipients=settings.alert_to))
    return channels
