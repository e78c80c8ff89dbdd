"""Every setting of the system, typed, read once at program start and passed on.

Each is an environment variable with the prefix `DERMABATCH_`, or a file of the same name in lower case in
`/run/secrets` (how compose and Kubernetes hand over secrets).
"""

import base64
import binascii
from datetime import datetime, time
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from dermabatch.errors import ConfigurationError

_SECRETS = Path("/run/secrets")


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError("expected base64 text") from error


KeyBytes = Annotated[bytes, BeforeValidator(_decoded), Field(min_length=32, max_length=32)]


def _known_time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"expected a time zone such as Europe/Vienna, received {name}") from error
    return name


def _cron(text: str) -> str:
    try:
        CronSim(text, datetime(2000, 1, 1))  # noqa: DTZ001 - wall time; only its grammar is looked at
    except CronSimError as error:
        raise ValueError(
            f"expected five fields as cron has them, such as: 0 22 * * *, received {text}"
        ) from error
    return text


def _on_the_wall(moment: time) -> time:
    if moment.tzinfo is not None:
        raise ValueError("expected a time on the hospital's clock without a zone, such as 06:00")
    return moment


TimeZone = Annotated[str, AfterValidator(_known_time_zone)]


class NightRun(BaseModel):
    """One entry of DERMABATCH_NIGHT_RUNS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    source: str
    """As `dermabatch screen` takes it."""
    cron: Annotated[str, AfterValidator(_cron)]
    """In the hospital's time zone."""
    deadline: Annotated[time, AfterValidator(_on_the_wall)] | None = None
    """On the hospital's clock, the first after the start: by then everything is to be classified."""
    budget: Annotated[int, Field(gt=0)] | None = None
    """Images that one night takes in at most."""
    department: str | None = None
    """By name; the oldest if not given."""


def _named_once(runs: tuple[NightRun, ...]) -> tuple[NightRun, ...]:
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError("expected a name of its own for each night run")
    return runs


class RegistrySettings(BaseSettings):
    """What a program needs that trains and publishes models: no key to anything of a patient."""

    model_config = SettingsConfigDict(
        env_prefix="DERMABATCH_", secrets_dir=_SECRETS if _SECRETS.is_dir() else None, extra="ignore"
    )

    # Services
    database_url: SecretStr = Field(description="postgresql+psycopg2://... with the role of this program")
    s3_endpoint: str
    s3_bucket: str = "dermabatch"
    s3_region: str = "us-east-1"
    s3_access_key: SecretStr
    s3_secret_key: SecretStr

    # Keys
    signing_key: KeyBytes | None = Field(
        default=None, repr=False, description="Ed25519 seed of programs that sign: publisher and chainer"
    )
    verify_key: KeyBytes = Field(description="Ed25519 public key of this installation; 32 bytes as base64")
    retired_verify_keys: tuple[KeyBytes, ...] = Field(
        default=(), description="public keys that verify_key has replaced, as a JSON list"
    )

    # Training
    training_schedule: str | None = Field(
        default=None, description="when the training job starts, as cron has it, in UTC"
    )
    training_data: Path = Field(default=Path("/data"), description="data set of the training job")
    training_recipe: Path | None = Field(
        default=None, description="recipe of the training job, as `dermabatch tune` writes it"
    )
    training_runs: Path = Field(default=Path("/runs"), description="where the training job keeps its runs")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"


class Settings(RegistrySettings):
    """One installation as one program sees it. Programs differ in their database role, not in their settings."""

    # Services
    chainer_url: SecretStr | None = Field(
        default=None, description="the database with the role dermabatch_chainer; for the scheduler"
    )
    redis_url: SecretStr

    # Keys
    master_key: KeyBytes = Field(
        description="wraps the keys of patients and batches; 32 bytes as base64", repr=False
    )
    secret_key: SecretStr | None = Field(
        default=None, description="signs the portal's forms and picture tickets"
    )
    password_salt: SecretStr | None = Field(default=None, description="keys the portal's password hashes")

    # Intake
    pack_images: int = Field(default=64, ge=1, le=64, description="images per pack and so per chunk")
    max_upload_bytes: int = Field(default=4 * 2**30, description="largest upload, unpacked, in bytes")
    max_file_bytes: int = Field(default=64 * 2**20, description="largest single file in bytes")
    max_upload_files: int = Field(default=20_000, description="most files in one upload")

    # Work
    lease_seconds: float = Field(default=60, gt=0, description="how long a claim holds without being renewed")
    renew_seconds: float = Field(default=15, gt=0, description="how often a worker renews its lease")
    chunk_deadline_seconds: float = Field(
        default=600, gt=0, description="after this a chunk is taken for hung"
    )
    sweep_seconds: float = Field(
        default=5, gt=0, description="how often the sweeper looks for work left behind"
    )
    worker_slots: int = Field(default=3, ge=1, description="chunks one worker holds at a time")
    decoders: int | None = Field(
        default=None, ge=1, description="decoding processes; one per core if not given"
    )
    engine: Literal["auto", "openvino", "tensorflow"] = "auto"
    precision: Literal["auto", "f32", "bf16", "int8"] = Field(
        default="auto", description="of OpenVINO; auto takes the fastest that the model passed its gate with"
    )
    model_cache: Path = Field(
        default=Path("/var/cache/dermabatch/models"), description="where verified artifacts are kept"
    )

    trial: bool = Field(
        default=False,
        description="not a hospital's but a trial on one machine: excuses what `dermabatch.production` refuses",
    )

    # Screening
    time_zone: TimeZone = Field(default="UTC", description="of the hospital, such as Europe/Vienna")
    night_runs: Annotated[tuple[NightRun, ...], AfterValidator(_named_once)] = Field(
        default=(), description="what `scheduler --nights` screens, and when, as a JSON list"
    )
    source_s3_endpoint: str | None = Field(
        default=None, description="storage of s3:// sources; this installation's own if not given"
    )
    source_s3_access_key: SecretStr | None = None
    source_s3_secret_key: SecretStr | None = None
    source_token: SecretStr | None = Field(default=None, description="bearer token for a DICOMweb source")

    # Alerts
    alert_webhook: SecretStr | None = Field(default=None, description="gets alerts as JSON by POST")
    alert_smtp: SecretStr | None = Field(
        default=None, description="smtp://USER:PASSWORD@HOST:587 or smtps://...; sends alerts by e-mail"
    )
    alert_from: str = Field(default="dermabatch@localhost", description="sender of these e-mails")
    alert_to: tuple[str, ...] = Field(default=(), description="who gets them, as a JSON list")

    # Audit
    checkpoint_seconds: float = Field(default=60, gt=0, description="how often the chain is signed into S3")

    # Portal
    insecure_cookies: bool = Field(
        default=False, description="allow cookies over plain HTTP: only in a trial, on loopback"
    )
    trusted_proxies: int = Field(default=0, ge=0, description="reverse proxies in front of the portal")
    trusted_hosts: tuple[str, ...] = Field(
        default=(), description="names under which people reach the portal, as a JSON list; any if not given"
    )
    session_hours: float = Field(default=12, gt=0, description="the longest stay in the portal")
    session_idle_minutes: float = Field(
        default=60, gt=0, description="a stay in which nobody does anything ends after this"
    )
    second_factor_for: tuple[Literal["staff", "administrator"], ...] = Field(
        default=(), description="roles that sign in with a second factor or not at all, as a JSON list"
    )


_Kind = TypeVar("_Kind", bound=RegistrySettings)


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        ConfigurationError: names every missing or malformed setting at once.
    """
    return _loaded(Settings)


def load_registry_settings() -> RegistrySettings:
    """Read the part of the environment that a program without patients' data has. Raises as `load_settings`."""
    return _loaded(RegistrySettings)


def _loaded(kind: type[_Kind]) -> _Kind:
    try:
        return kind()
    except ValidationError as error:
        problems = "; ".join(
            f"DERMABATCH_{'_'.join(str(part) for part in problem['loc']).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(
            f"The settings are not complete: {problems}. docs/operators.md lists every setting."
        ) from None
    except SettingsError as error:
        # Its cause would quote the value, which may be a secret.
        raise ConfigurationError(f"Expected JSON: {error}. docs/operators.md lists every setting.") from None
