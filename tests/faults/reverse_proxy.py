"""The reverse proxy of the operators' guide, run exactly as it stands there."""

import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dermabatch.embedded.host import wait_until
from tests.live import LiveInstallation

NAME = "localhost"
_GUIDE = Path(__file__).parents[2] / "docs" / "operators.md"
_FRAME = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections {connections}; }}
http {{
access_log off;
fastcgi_temp_path {folder}/fastcgi;
uwsgi_temp_path {folder}/uwsgi;
scgi_temp_path {folder}/scgi;
{site}
}}
"""


@contextmanager
def reverse_proxy(live: LiveInstallation, folder: Path) -> Iterator[str]:
    """Run nginx in front of the portal; gives the address at which both answer, over TLS."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("no nginx on this machine: apt install nginx-light")
    plain, secure = _free_port(), _free_port()
    _write_certificate(folder)
    guide = _GUIDE.read_text(encoding="utf-8")
    [site] = re.findall(r"```nginx\n(server .*?)```", guide, re.DOTALL)
    connections = re.search(r"`worker_connections (\d+);`", guide)
    assert connections
    changes = {
        "dermabatch.hospital.example": NAME,
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "/etc/ssl/dermabatch": str(folder),
        "/var/lib/nginx/": f"{folder}/",
        "http://127.0.0.1:8000": f"http://{urlsplit(live.installation.portal_url).netloc}",
    }
    for documented, here in changes.items():
        assert documented in site, documented
        site = site.replace(documented, here)
    configuration = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""
    configuration.write_text(_FRAME.format(folder=folder, site=site, user=user, connections=connections[1]))
    live.installation.services.spawn("nginx", [program, "-c", str(configuration)], {}, kept_alive=True)
    try:
        assert wait_until(lambda: _listens(secure), seconds=20), (folder / "error.log").read_text()
        yield f"https://{NAME}:{secure}"
    finally:
        live.installation.services.kill("nginx")


def certificate(folder: Path) -> Path:
    """What a client must trust."""
    return folder / "fullchain.pem"


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    today = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate(folder).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "privkey.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
