"""The model this worker serves: loaded once, changed at the next claim after an activation.

A chunk may want another one, as in a screening with a candidate; one such guest is kept beside it.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import structlog

from dermabatch.artifacts import Artifact
from dermabatch.engines import Engine, EngineKind, PrecisionChoice
from dermabatch.errors import ArtifactRefused, ServiceUnavailable
from dermabatch.out_of_distribution import Detector

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 30
_REFUSED_RETRY_SECONDS = 3600
"""The bytes of a model that was refused may be put right; until then every hour says that it is not served."""


class ServedModel:
    """A verified artifact and the engine that runs it. Closed when replaced and no chunk uses it any more."""

    def __init__(
        self,
        artifact: Artifact,
        engine: Engine,
        detector: Detector,
        engine_kind: EngineKind,
        precision: PrecisionChoice = "auto",
    ) -> None:
        self.artifact = artifact
        self.engine = engine
        self.detector = detector
        self.engine_kind = engine_kind
        self.precision = precision
        self.users = 0
        self.replaced = False

    @property
    def digest(self) -> str:
        return self.artifact.digest


class Serving:
    """Follows the active model.

    A model that cannot be served leaves the one before in place: a hospital without results is worse off than one
    with yesterday's model.

    Args:
        active_digest: reads which model is active now; None where none is.
        load: fetches, verifies and loads a model; raises ArtifactRefused.
        on_refused: told each time that the active model is refused, at most once an hour.
    """

    def __init__(
        self,
        *,
        active_digest: Callable[[], str | None],
        load: Callable[[str], ServedModel],
        on_refused: Callable[[str, ArtifactRefused], None],
    ) -> None:
        self._active_digest = active_digest
        self._load = load
        self._on_refused = on_refused
        self._current: ServedModel | None = None
        self._guest: ServedModel | None = None
        self._retry_at: dict[str, float] = {}
        """Models that did not load, and when, by the monotonic clock, it is worth another try."""
        self._lock = Lock()

    @contextmanager
    def current(self) -> Iterator[ServedModel]:
        """The model for one chunk. Other slots wait while a new one loads, so that no claim gets the old one.

        Raises:
            ServiceUnavailable: no model is active, or the only one cannot be served.
        """
        with self._in_use(lambda: self._follow(self._active_digest())) as model:
            yield model

    @contextmanager
    def wanted(self, digest: str) -> Iterator[ServedModel]:
        """A certain model, for a chunk that was claimed for it.

        Raises:
            ServiceUnavailable: it cannot be served now; see `unservable`.
        """
        with self._in_use(lambda: self._find_or_load(digest)) as model:
            yield model

    def unservable(self) -> list[str]:
        """Digests of models that did not load and are not worth another try yet."""
        with self._lock:
            return [digest for digest, moment in self._retry_at.items() if time.monotonic() < moment]

    @contextmanager
    def _in_use(self, find: Callable[[], ServedModel]) -> Iterator[ServedModel]:
        with self._lock:
            model = find()
            model.users += 1
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1
                _close_if_unused(model)

    def _find_or_load(self, digest: str) -> ServedModel:
        for model in (self._current, self._guest):
            if model is not None and model.digest == digest:
                return model
        former = self._guest
        try:
            self._guest = self._load(digest)
        except ArtifactRefused as refusal:
            self._on_refused(digest, refusal)
            self._retry_at[digest] = time.monotonic() + _REFUSED_RETRY_SECONDS
            raise ServiceUnavailable(f"The wanted model {digest[:12]} was refused.") from refusal
        except Exception as error:
            self._retry_at[digest] = time.monotonic() + _RETRY_SECONDS
            log.exception("wanted_model_not_loaded", model=digest)
            raise ServiceUnavailable(f"The wanted model {digest[:12]} cannot be loaded now.") from error
        log.info("wanted_model_loaded", model=digest, engine=self._guest.engine.name)
        if former is not None:
            former.replaced = True
            _close_if_unused(former)
        return self._guest

    def _follow(self, active: str | None) -> ServedModel:
        serving = None if self._current is None else self._current.digest
        if active not in (None, serving) and time.monotonic() >= self._retry_at.get(active, 0):
            self._switch_to(active)
        if self._current is not None:
            return self._current
        if active is None:
            raise ServiceUnavailable(
                "No model is active. Publish one and activate it: dermabatch models activate."
            )
        raise ServiceUnavailable(f"The active model {active[:12]} cannot be served and no other is loaded.")

    def _switch_to(self, digest: str) -> None:
        former = self._current
        try:
            self._current = self._load(digest)
        except ArtifactRefused as refusal:
            self._on_refused(digest, refusal)
            self._retry_at[digest] = time.monotonic() + _REFUSED_RETRY_SECONDS
            return
        except Exception:
            if former is None:
                raise
            # A full disk, a storage that is away, no memory for a second model.
            self._retry_at[digest] = time.monotonic() + _RETRY_SECONDS
            log.exception("model_not_loaded", model=digest, still_serving=former.digest)
            return
        log.info("model_loaded", model=digest, engine=self._current.engine.name)
        if former is not None:
            former.replaced = True
            _close_if_unused(former)


def _close_if_unused(model: ServedModel) -> None:
    if model.replaced and model.users == 0:
        model.engine.close()
