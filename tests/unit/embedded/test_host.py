import socket

import pytest

from dermabatch.embedded import host
from dermabatch.errors import ConfigurationError


def test_free_ports_are_different_and_can_be_listened_on():
    ports = host.free_ports(20, offset=10_000)

    assert len(set(ports)) == 20
    for port in ports:
        for each in (port, port + 10_000):
            with socket.create_server(("127.0.0.1", each)):
                pass


def test_ports_lie_below_those_of_outgoing_connections():
    assert max(host.free_ports(100)) + 10_000 < 32_768


def test_a_taken_port_is_not_offered(monkeypatch):
    taken, free = host.free_ports(2)
    monkeypatch.setattr(host, "_PORTS", (taken, free))
    with socket.create_server(("127.0.0.1", taken)):
        assert host.free_ports(2) == [free]


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(ConfigurationError, match="no_such_package"):
        host.package_folder("no_such_package")
    with pytest.raises(ConfigurationError, match="no-such-program"):
        host.script("no-such-program")


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ("starting\nFATAL: no room\nshut down\n", "FATAL: no room"),
        ("starting\nshut down\n\n", "shut down"),
        ("", "it said nothing"),
    ],
)
def test_the_last_complaint_of_a_log_is_quoted_with_its_place(tmp_path, log, complaint):
    path = tmp_path / "server.log"
    path.write_text(log)

    assert host.last_complaint(path) == f"{complaint} (log: {path})"


def test_the_first_private_folder_on_the_way_is_found(tmp_path):
    tmp_path.chmod(0o700)

    assert host.private_ancestor(tmp_path / "data") == tmp_path
