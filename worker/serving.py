"""The model this worker serves: loaded once, changed at the next claim after an activation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import structlog

from dermabatch.artifacts import Artifact
from dermabatch.engines import Engine, EngineKind
from dermabatch.errors import ArtifactRefused, ServiceUnavailable

log = structlog.get_logger(__name__)


class ServedModel:
    """A verified artifact and the engine that runs it. Closed when replaced and no chunk uses it any more."""

    def __init__(self, artifact: Artifact, engine: Engine, engine_kind: EngineKind) -> None:
        self.artifact = artifact
        self.engine = engine
        self.engine_kind = engine_kind
        self.users = 0
        self.replaced = False

    @property
    def digest(self) -> str:
        return self.artifact.digest


class Serving:
    """Follows the active model.

    A model that fails a check is refused once, loudly, and the one before serves on: a hospital without results
    is worse off than one with yesterday's model.

    Args:
        active_digest: reads which model is active now; None where none is.
        load: fetches, verifies and loads a model; raises ArtifactRefused.
        on_refused: told once for each model that was refused.
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
        self._refused: set[str] = set()
        self._lock = Lock()

    @contextmanager
    def current(self) -> Iterator[ServedModel]:
        """The model for one chunk. Other slots wait while a new one loads, so that no claim gets the old one.

        Raises:
            ServiceUnavailable: no model is active, or the only one was refused.
        """
        with self._lock:
            model = self._follow(self._active_digest())
            model.users += 1
        try:
            yield model
        finally:
            with self._lock:
                model.users -= 1
                _close_if_unused(model)

    def _follow(self, digest: str | None) -> ServedModel:
        current = self._current
        if (
            digest is not None
            and digest not in self._refused
            and (current is None or current.digest != digest)
        ):
            try:
                self._current = self._load(digest)
            except ArtifactRefused as refusal:
                self._refused.add(digest)
                self._on_refused(digest, refusal)
            else:
                log.info("model_loaded", model=digest, engine=self._current.engine.name)
                if current is not None:
                    current.replaced = True
                    _close_if_unused(current)
        if self._current is None:
            raise ServiceUnavailable(
                "No model is active. Publish one and activate it: dermabatch models activate."
                if digest is None
                else f"The active model {digest[:12]} was refused and no other is loaded."
            )
        return self._current


def _close_if_unused(model: ServedModel) -> None:
    if model.replaced and model.users == 0:
        model.engine.close()
