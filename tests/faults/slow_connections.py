"""Connections that a server must not wait for: nothing on them is ever finished."""

import contextlib
import random
import socket
import ssl
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

_PAUSE_SECONDS = 0.01
"""Between two sockets that get their next byte: with 500 of them each sends one every 5 s."""

_SMALLEST_BUFFER = 2048


@dataclass
class SlowConnections:
    """So many sockets at a TLS address: one in three sends a header, one a body, byte by byte; one never reads.

    A socket that the server gives up is opened anew.
    """

    host: str
    port: int
    count: int
    trusted: str
    """File of the certificate."""
    large_page: str
    """Path of something that does not fit into the buffers of a connection."""
    _open: list[ssl.SSLSocket] = field(default_factory=list)
    _end: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._context = ssl.create_default_context(cafile=self.trusted)
        self._open = [self._begin(number) for number in range(self.count)]
        self._thread = threading.Thread(target=self._drip)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()
        for connection in self._open:
            connection.close()

    def _begin(self, number: int) -> ssl.SSLSocket:
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALLEST_BUFFER)
        plain.settimeout(30)
        plain.connect((self.host, self.port))
        connection = self._context.wrap_socket(plain, server_hostname=self.host)
        connection.sendall(self._beginning(number).encode())
        return connection

    def _beginning(self, number: int) -> str:
        match number % 3:
            case 0:
                return f"GET / HTTP/1.1\r\nHost: {self.host}\r\n"
            case 1:
                return (
                    f"POST /sign-in HTTP/1.1\r\nHost: {self.host}\r\n"
                    "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100000\r\n\r\n"
                )
            case _:
                return f"GET {self.large_page} HTTP/1.1\r\nHost: {self.host}\r\n\r\n"

    def _drip(self) -> None:
        number = 0
        while not self._end.wait(_PAUSE_SECONDS):
            number = (number + 1) % self.count
            try:
                if number % 3 < 2:
                    self._open[number].sendall(random.choice(("X-A: b\r\n", "X-C: d\r\n")).encode())
            except OSError:
                self._open[number].close()
                with contextlib.suppress(OSError):
                    self._open[number] = self._begin(number)
