"""The services of one installation, started together on one folder and ended with this process."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dermabatch import database_roles
from dermabatch.embedded import credentials, host
from dermabatch.embedded.postgres import DATABASE, Postgres
from dermabatch.embedded.redis import RedisServer
from dermabatch.embedded.seaweedfs import BUCKET, SeaweedFS
from dermabatch.embedded.supervision import Supervision
from dermabatch.embedded.supervisor import Program
from dermabatch.errors import ConfigurationError, ServiceUnavailable

READY_SECONDS = 30
# The supervisor starts a server again that ended by itself: its port may have been taken a moment ago, or backends of a
# killed PostgreSQL may still be leaving. One that ended this often while starting is broken.
MOST_STARTS = 3

_ROLES = {
    "owner": database_roles.OWNER,
    "web": database_roles.WEB,
    "worker": database_roles.WORKER,
    "chainer": database_roles.CHAINER,
    "trainer": database_roles.TRAINER,
}


class Service(Protocol):
    """One server: `prepare` its files, run its `program`, wait until it `is_ready`, `set_up` what clients expect."""

    name: str
    title: str
    log_path: Path

    def prepare(self, supervision: Supervision) -> None: ...
    def program(self) -> Program: ...
    def is_ready(self, process_id: int) -> bool: ...
    def set_up(self) -> None: ...


def default_folder() -> Path:
    """Where an installation keeps its data if nobody says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/dermabatch")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "dermabatch"


class EmbeddedServices:
    """PostgreSQL, Redis and S3 storage with their data in `folder`, up inside a `with`.

    The same folder starts again with the same data and credentials. However this process ends, SIGKILL included,
    what it started here ends too. `replaced` names services (postgres, redis, s3) that the environment provides.

    Raises, on entering:
        ConfigurationError: not Linux, a full disk, a folder in use by another process or out of reach.
        ServiceUnavailable: a server did not come up; the message quotes it.
    """

    def __init__(self, folder: Path, *, replaced: Collection[str] = ()) -> None:
        self._folder = folder.absolute()
        self._replaced = replaced

    def __enter__(self) -> Self:
        host.require_linux()
        self._make_folders()
        host.require_disk(self._folder)
        self._supervision = Supervision(self._folder)
        try:
            self._start()
        except BaseException:
            self._supervision.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._supervision.stop()

    def environment(self, role: str, database: str = DATABASE) -> dict[str, str]:
        """The settings of a program that signs in to the database as one of `_ROLES`.

        What the environment replaces is left out.
        """
        made = self._credentials
        settings = {
            "DERMABATCH_MASTER_KEY": made.master_key,
            "DERMABATCH_SIGNING_KEY": made.signing_key,
            "DERMABATCH_VERIFY_KEY": made.verify_key,
            "DERMABATCH_SECRET_KEY": made.secret_key,
            "DERMABATCH_PASSWORD_SALT": made.password_salt,
        }
        if "postgres" in self._services:
            settings["DERMABATCH_DATABASE_URL"] = self.postgres_url(role, database)
        if "redis" in self._services:
            settings["DERMABATCH_REDIS_URL"] = self.redis_url
        if "s3" in self._services:
            settings["DERMABATCH_S3_ENDPOINT"] = self.s3_endpoint
            settings["DERMABATCH_S3_BUCKET"] = self.s3_bucket
            settings["DERMABATCH_S3_ACCESS_KEY"] = self.s3_access_key
            settings["DERMABATCH_S3_SECRET_KEY"] = self.s3_secret_key
        return settings

    def postgres_url(self, role: str, database: str = DATABASE) -> str:
        """SQLAlchemy's URL for one of `_ROLES`, or for the superuser "postgres"."""
        return self._postgres.url(_ROLES.get(role, role), database)

    @property
    def redis_url(self) -> str:
        return self._redis.url

    @property
    def s3_endpoint(self) -> str:
        return self._s3.endpoint

    @property
    def s3_access_key(self) -> str:
        return self._credentials.s3_access_key

    @property
    def s3_secret_key(self) -> str:
        return self._credentials.s3_secret_key

    s3_bucket = BUCKET

    @property
    def pids(self) -> dict[str, int]:
        """Process id of each service and program that runs, by name."""
        return {
            name: status.pid
            for name, status in self._supervision.status().items()
            if status.exit_status is None
        }

    @property
    def logs(self) -> Path:
        """Where every service and program writes its log."""
        return self._folder / "logs"

    def spawn(
        self, name: str, argv: list[str], environment: Mapping[str, str], *, kept_alive: bool = False
    ) -> None:
        """Run a program that ends before the services do: SIGTERM, and SIGKILL to its process group 10 s later.

        Args:
            name: also of its log, `logs/<name>.log` in the folder.
            environment: its whole environment.
            kept_alive: start it again, at most once a second, when it ends by itself.
        """
        log_path = str(self._new_log(name))
        self._supervision.start(
            Program(name, argv, log_path=log_path, environment=dict(environment), kept_alive=kept_alive)
        )

    def kill(self, name: str) -> None:
        """SIGKILL a service or program, as a crash would, and leave it down."""
        self._supervision.kill(name)

    def restart(self, name: str) -> None:
        """SIGKILL a service, if it runs, and wait until it is ready again on the same port."""
        service = self._services[name]
        self._supervision.start(service.program())
        self._wait_until_ready(service)

    def _make_folders(self) -> None:
        try:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The data folder {self._folder} cannot be used: {error.strerror}."
            ) from error
        # PostgreSQL's account must pass through; nobody else needs to.
        self._folder.chmod(0o711 if os.geteuid() == 0 else 0o700)

    def _start(self) -> None:
        self._credentials = credentials.load_or_create(self._folder / "secrets.json")
        self._redis = RedisServer(
            self._folder / "redis", self._new_log("redis"), self._credentials.redis_password
        )
        self._s3 = SeaweedFS(
            self._folder / "s3",
            self._new_log("s3"),
            self._credentials.s3_access_key,
            self._credentials.s3_secret_key,
        )
        self._postgres = Postgres(
            self._folder / "postgres", self._new_log("postgres"), self._credentials.postgres_passwords
        )
        every: tuple[Service, ...] = (self._redis, self._s3, self._postgres)
        self._services = {service.name: service for service in every if service.name not in self._replaced}
        for service in self._services.values():
            service.prepare(self._supervision)
            self._supervision.start(service.program())
        for service in self._services.values():
            self._wait_until_ready(service)
            service.set_up()

    def _wait_until_ready(self, service: Service) -> None:
        def is_ready() -> bool:
            status = self._supervision.status()[service.name]
            if status.exit_status is None:
                return service.is_ready(status.pid)
            if status.starts >= MOST_STARTS:
                raise ServiceUnavailable(
                    f"{service.title} ended while starting: {host.last_complaint(service.log_path)}"
                )
            return False

        if not host.wait_until(is_ready, seconds=READY_SECONDS):
            raise ServiceUnavailable(
                f"{service.title} was not ready within {READY_SECONDS} s: {host.last_complaint(service.log_path)}"
            )

    def _new_log(self, name: str) -> Path:
        """An empty log; the one of the run before stays beside it."""
        path = self.logs / f"{name}.log"
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)
        return path
