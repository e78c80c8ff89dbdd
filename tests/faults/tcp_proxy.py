"""Stands between a program and a server on loopback: forwards every byte, until a test wants otherwise."""

import contextlib
import re
import selectors
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


@dataclass
class Connection:
    """One client that talks through the proxy to the server."""

    client: socket.socket
    server: socket.socket
    said: bytes = b""
    """What the client said since `forget`."""

    def forget(self) -> None:
        self.said = b""


class TcpProxy(ABC):
    """Listens on a port of its own inside a `with`; every connection has a thread of its own."""

    def __init__(self, server_port: int) -> None:
        self._server = ("127.0.0.1", server_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A thread that waits in accept would keep the listener open.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @abstractmethod
    def heard(self, connection: Connection, data: bytes) -> bool:
        """The client said something; False ends the connection, and then nothing of it is forwarded."""

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        # Either side may leave at any time; the other then sees the end of its connection.
        with client, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            connection = Connection(client, server)
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                selector.register(server, selectors.EVENT_READ)
                while all(self._pass_on(connection, key.fileobj) for key, _ in selector.select()):
                    pass

    def _pass_on(self, connection: Connection, speaker: object) -> bool:
        if speaker is connection.server:
            data = connection.server.recv(_CHUNK)
            connection.client.sendall(data)
            return bool(data)
        data = connection.client.recv(_CHUNK)
        connection.said += data
        if not data or not self.heard(connection, data):
            return False
        connection.server.sendall(data)
        return True


class DatabaseProxy(TcpProxy):
    """In front of PostgreSQL."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self._words: bytes | None = None
        self._lock = threading.Lock()
        self.cut = threading.Event()

    def cut_the_answer_to_the_commit_of(self, words: str) -> None:
        """The next transaction that says these words is committed, and whoever asked for it never hears of it."""
        self.cut.clear()
        self._words = words.encode()

    def heard(self, connection: Connection, data: bytes) -> bool:
        if b"COMMIT\0" in data and self._take(connection.said):
            connection.server.sendall(data)
            connection.server.recv(1)  # it has happened
            self.cut.set()
            return False
        if b"COMMIT\0" in data or b"ROLLBACK\0" in data:
            connection.forget()
        return True

    def _take(self, transaction: bytes) -> bool:
        with self._lock:
            if self._words is None or self._words not in transaction:
                return False
            self._words = None
            return True


Fault = Callable[[Connection], None]
"""What becomes of a request of which the proxy has heard the beginning. The connection ends afterwards."""


class StorageProxy(TcpProxy):
    """In front of S3."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self._fault: Fault | None = None
        self._requests = re.compile(b"")
        self._left = 0
        self._lock = threading.Lock()
        self.met = threading.Event()
        """A request met the fault."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def failing(self, fault: Fault, requests: str, *, times: int = 1_000_000) -> Iterator[None]:
        """Inside the block so many requests that match, such as "PUT .*/packs/", meet this fault."""
        self.met.clear()
        self._requests, self._fault, self._left = re.compile(requests.encode()), fault, times
        try:
            yield
        finally:
            self._fault = None

    def heard(self, connection: Connection, data: bytes) -> bool:
        if not re.match(rb"[A-Z]+ /\S* HTTP/1.1\r\n", data):
            return True
        connection.said = data
        fault = self._take(data)
        if fault is None:
            return True
        self.met.set()
        fault(connection)
        return False

    def _take(self, request: bytes) -> Fault | None:
        with self._lock:
            if self._fault is None or self._left == 0 or not self._requests.match(request):
                return None
            self._left -= 1
            return self._fault


def answer(status: int, code: str) -> Fault:
    """The server takes the request and answers with an error."""

    def refuse(connection: Connection) -> None:
        _hear_out(connection)
        body = f"<Error><Code>{code}</Code><Message>because a test says so</Message></Error>"
        head = f"HTTP/1.1 {status} Error\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        connection.client.sendall(f"{head}Connection: close\r\n\r\n{body}".encode())

    refuse.__name__ = f"answer {status}"
    return refuse


def reset(connection: Connection) -> None:
    """The connection breaks at once."""
    connection.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def hang(connection: Connection) -> None:
    """No answer comes, until the client has had enough."""
    while connection.client.recv(_CHUNK):
        pass


def cut_the_request(connection: Connection) -> None:
    """The server gets half of what was sent."""
    _hear_out(connection)
    connection.server.sendall(connection.said[: len(connection.said) // 2])


def cut_the_answer(connection: Connection) -> None:
    """The request is carried out, and the client never learns how it went."""
    _hear_out(connection)
    connection.server.sendall(connection.said)
    connection.client.sendall(connection.server.recv(_CHUNK)[: len("HTTP/1.1")])


def cut_the_body(connection: Connection) -> None:
    """The client gets half of what it asked for, after a head that promises all of it."""
    _hear_out(connection)
    connection.server.sendall(connection.said)
    answer = connection.server.recv(_CHUNK)
    connection.client.sendall(answer[: len(answer) // 2])


def _hear_out(connection: Connection) -> None:
    """Read the rest of the request."""
    head, _, body = connection.said.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)^content-length: *(\d+)", head, re.MULTILINE)
    missing = int(found[1]) - len(body) if found else 0
    if b"100-continue" in head:
        connection.client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    while missing > 0:
        data = connection.client.recv(_CHUNK)
        if not data:
            raise ConnectionResetError
        connection.said += data
        missing -= len(data)
