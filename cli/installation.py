"""A whole system on this machine: the embedded services, and portal, worker and scheduler beside them.

`up`, `demo`, `bench` and the end-to-end tests all start it this way.
"""

import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

import migrations
from dermabatch import accounts, model_store
from dermabatch.audit import Actor, ActorKind
from dermabatch.database import Sessions, connect
from dermabatch.embedded import EmbeddedServices
from dermabatch.embedded.host import free_port, wait_until
from dermabatch.errors import ConfigurationError, NotFound, ServiceUnavailable
from dermabatch.objects import S3ObjectStore
from dermabatch.schema import User
from dermabatch.settings import Settings

PORTAL_SECONDS = 60
"""A cold import of the portal on a slow disk takes up to 20 s."""

PORTAL_THREADS = 128
"""Uploads that wait for their turn hold 100 of them at most (`webui.turns`)."""

_ENVIRONMENT_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROGRAMS_AND_ROLES = {
    "portal": "web",
    "worker": "worker",
    "scheduler": "worker",
    "training": "trainer",
    "nights": "web",
}
_DATABASE_VARIABLES = {
    role: f"DERMABATCH_{role.upper()}_URL" for role in ("owner", "web", "worker", "chainer", "trainer")
}


@dataclass(frozen=True, slots=True)
class Login:
    """With what a person signs in."""

    email: str
    password: str


@dataclass(frozen=True)
class Installation:
    """The running system."""

    services: EmbeddedServices
    settings: Settings
    """As the portal has them."""
    sessions: Sessions
    """Of the portal's role."""
    store: S3ObjectStore
    portal_url: str
    variables: Mapping[str, str]
    """`DERMABATCH_...` variables of every program. Those of the services that run here go before them."""

    def start(self, program: str) -> None:
        """Start `portal`, `worker`, `scheduler`, `training` or `nights`; it is started again when it ends by itself."""
        self.services.spawn(program, self.command(program), self.environment(program), kept_alive=True)

    def command(self, program: str) -> list[str]:
        """The arguments that `start` starts a program with: Python, and what it is to run."""
        return {
            "portal": portal_command(self.portal_url.removeprefix("http://")),
            "worker": [sys.executable, "-m", "worker.app"],
            "scheduler": [sys.executable, "-m", "worker.scheduler"],
            "training": [sys.executable, "-m", "worker.training_schedule"],
            "nights": [sys.executable, "-m", "worker.nights"],
        }[program]

    def environment(self, program: str) -> dict[str, str]:
        """The whole environment that `start` gives to a program."""
        return {
            **_inherited(),
            **self.variables,
            **self.services.environment(_PROGRAMS_AND_ROLES[program]),
            "DERMABATCH_DATABASE_URL": database_url(self.services, _PROGRAMS_AND_ROLES[program]),
            "DERMABATCH_CHAINER_URL": database_url(self.services, "chainer"),
        }

    def person(self, email: str, name: str, role: str) -> Login:
        """Make sure that this person exists with this one role, and give them a new password."""
        password = secrets.token_urlsafe(12)
        assert self.settings.password_salt is not None
        salt = self.settings.password_salt.get_secret_value()
        with self.sessions.begin() as session:
            try:
                user = accounts.find_user(session, email)
                accounts.set_password(session, user, password, salt=salt, actor=_ACTOR)
                if [known.name for known in user.roles] != [role]:
                    accounts.set_roles(session, user, [role], actor=_ACTOR)
            except NotFound:
                accounts.create_user(
                    session,
                    email=email,
                    name=name,
                    password=password,
                    roles=[role],
                    department=accounts.find_department(session),
                    salt=salt,
                    actor=_ACTOR,
                )
        return Login(email, password)

    def token(self, email: str, *scopes: accounts.Scope) -> str:
        """A new API token of this person."""
        with self.sessions.begin() as session:
            return accounts.create_token(
                session,
                accounts.find_user(session, email),
                name="this installation",
                scopes=scopes,
                expires_at=None,
                actor=_ACTOR,
            )

    def activate_shipped_model(self, email: str) -> str:
        """Let the shipped model serve, in the name of this administrator; returns its digest."""
        digest = self.shipped_model()
        if self.active_model() != digest:
            actor = accounts.actor_for(self.user(email), source="installation")
            model_store.activate(digest, actor=actor, sessions=self.sessions)
        return digest

    def active_model(self) -> str | None:
        """The digest of the model that serves."""
        with self.sessions.begin() as session:
            model = model_store.active_model(session)
        return None if model is None else model.digest

    def shipped_model(self) -> str:
        """Publish the model that the repository ships, once, as the service principal `installer`."""
        assert self.settings.signing_key is not None
        return model_store.publish_shipped(
            sessions=self.sessions, store=self.store, signing_key=self.settings.signing_key
        ).digest

    def user(self, email: str) -> User:
        """The user with this address."""
        with self.sessions.begin() as session:
            return accounts.find_user(session, email)


_ACTOR = Actor(None, ActorKind.SERVICE, "installation")


@contextmanager
def running_installation(
    folder: Path,
    *,
    port: int | None = None,
    overrides: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _step: None,
) -> Iterator[Installation]:
    """Start everything on one folder; everything ends with the block, also when this process is killed.

    Args:
        folder: data, credentials and logs. The same folder starts again with the same data.
        port: of the portal, on loopback; a free one if not given.
        overrides: further `DERMABATCH_...` settings of the programs.
        tell: hears each step as it begins.

    Raises:
        ConfigurationError: the folder or the port is taken, the disk is full, or this is not Linux.
        ServiceUnavailable: a part did not come up; the message says which, and where its log lies.
    """
    port = _require_free(port) if port is not None else free_port()
    tell("Starting PostgreSQL, Redis and S3 storage")
    with EmbeddedServices(folder, replaced=_replaced()) as services:
        tell("Bringing the database to its newest revision")
        migrations.upgrade(database_url(services, "owner"))
        variables = _variables(folder, overrides or {})
        settings = _settings(services, variables)
        sessions = connect(settings.database_url.get_secret_value())
        accounts.bootstrap(sessions, source="installation")
        installation = Installation(
            services=services,
            settings=settings,
            sessions=sessions,
            store=S3ObjectStore.from_settings(settings),
            portal_url=f"http://127.0.0.1:{port}",
            variables=variables,
        )
        tell("Publishing the model of this release")
        installation.shipped_model()
        tell("Starting portal, worker and scheduler")
        wanted = {"training": settings.training_schedule is not None, "nights": bool(settings.night_runs)}
        for program in _PROGRAMS_AND_ROLES:
            if wanted.get(program, True):
                installation.start(program)
        _wait_for_portal(installation, folder)
        try:
            yield installation
        finally:
            sessions.close()


def database_url(services: EmbeddedServices, role: str) -> str:
    """The database as one of `_DATABASE_VARIABLES`: the environment's, or else the one that runs here."""
    return os.environ.get(_DATABASE_VARIABLES[role]) or services.postgres_url(role)


def portal_command(address: str) -> list[str]:
    """How gunicorn serves the portal at an address; threads, because requests wait for storage and database."""
    return [
        *(sys.executable, "-m", "gunicorn", "webui.wsgi:create()", "--bind", address),
        *("--worker-class", "gthread", "--workers", "1", "--threads", str(PORTAL_THREADS)),
        *("--timeout", "120", "--graceful-timeout", "8", "--no-control-socket"),
        *("--worker-tmp-dir", "/dev/shm"),  # noqa: S108 - its heartbeat must not wait for a slow disk
    ]


def _settings(services: EmbeddedServices, variables: Mapping[str, str]) -> Settings:
    names = {
        **variables,
        **services.environment("web"),
        "DERMABATCH_DATABASE_URL": database_url(services, "web"),
    }
    prefix = "DERMABATCH_"
    return Settings.model_validate(
        {name.removeprefix(prefix).lower(): value for name, value in names.items()}
    )


def _variables(folder: Path, overrides: Mapping[str, str]) -> dict[str, str]:
    other_roles = set(_DATABASE_VARIABLES.values())
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if name.startswith("DERMABATCH_") and name not in other_roles
        },
        "DERMABATCH_MODEL_CACHE": str(folder.absolute() / "models"),
        # The portal listens on loopback only, without TLS.
        "DERMABATCH_TRIAL": "true",
        "DERMABATCH_INSECURE_COOKIES": "true",
        **overrides,
    }


def _replaced() -> set[str]:
    """Services for which the environment names a real one."""
    missing = [name for name in _DATABASE_VARIABLES.values() if name not in os.environ]
    if 0 < len(missing) < len(_DATABASE_VARIABLES):
        raise ConfigurationError(
            f"A database of your own needs a URL for each of its roles: set {', '.join(missing)}."
        )
    named = {"redis": "DERMABATCH_REDIS_URL", "s3": "DERMABATCH_S3_ENDPOINT"}
    replaced = {service for service, variable in named.items() if variable in os.environ}
    return replaced if missing else replaced | {"postgres"}


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}


def _require_free(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} cannot be used ({error.strerror}): choose another one with --port."
            ) from error
    return port


def _wait_for_portal(installation: Installation, folder: Path) -> None:
    http = urllib3.PoolManager(retries=False, timeout=2)

    def answers() -> bool:
        try:
            return http.request("GET", f"{installation.portal_url}/healthz").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    if not wait_until(answers, seconds=PORTAL_SECONDS):
        raise ServiceUnavailable(
            f"The portal did not answer within {PORTAL_SECONDS} s. {folder}/logs/portal.log says why."
        )
