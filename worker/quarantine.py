"""Work image by image in a child process, so that the one that kills its process is known by name.

The child says nothing of an image before the parent has noted which one it holds: the parent sends one image and
waits. If the child dies or hangs, the image in its hands is the culprit. If the parent dies too, as in a
deployment, nothing is counted: the lease lapses and another worker starts over.
"""

import ctypes
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import structlog

from dermabatch import ledger
from dermabatch.artifacts import read_artifact
from dermabatch.engines import EngineKind, PrecisionChoice, load_engine
from dermabatch.errors import DecoderDied, ServiceUnavailable
from dermabatch.imaging.sandbox import DecoderPool
from dermabatch.out_of_distribution import read_detector
from worker.assessment import Answer, Finding, classify
from worker.opening import Picture
from worker.serving import ServedModel

log = structlog.get_logger(__name__)

# Loading a framework and a model from a cold disk takes up to 20 s; one image takes 0.1 s.
_START_SECONDS = 120
_IMAGE_SECONDS = 30

_PR_SET_PDEATHSIG = 1


class Quarantine:
    """A child process with its own engine and its own decoder, replaced whenever an image stops it.

    Args:
        model: what the chunk is classified with; the child loads it anew from its verified folder.
        on_stop: notes durably that an image stopped the child; returns how often it has by now.
    """

    def __init__(self, model: ServedModel, *, on_stop: Callable[[UUID], int]) -> None:
        self._model = model
        self._on_stop = on_stop
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_child()

    def examine(self, picture: Picture) -> Finding | ledger.Refused | ledger.Failed:
        """Classify one image, however often it takes its process down, up to `ledger.MAX_STOPS` times.

        Raises:
            ServiceUnavailable: the child does not start; that is no fault of the image.
            LeaseLost: somebody else has the chunk by now.
        """
        stops = picture.stops
        while stops < ledger.MAX_STOPS:
            if self._child is None:
                self._child = _Child(self._model)
            answer = self._child.ask(picture)
            if not isinstance(answer, DecoderDied):
                return answer
            self._stop_child()
            stops = self._on_stop(picture.image_id)
        return ledger.Failed(
            picture.image_id,
            DecoderDied.code,
            f"Reading this image stopped its process {stops} times. Export it again from its source and upload it.",
        )

    def _stop_child(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None


class _Child:
    def __init__(self, model: ServedModel) -> None:
        context = get_context("spawn")  # a fork would copy the locks of a running framework
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, model.artifact.folder, model.digest, model.engine_kind, model.precision),
            daemon=True,
            name="quarantine",
        )
        self._process.start()
        theirs.close()
        if self._answer_within(_START_SECONDS) != "ready":
            self.stop()
            raise ServiceUnavailable("The quarantine process does not start; its log says why.")

    def ask(self, picture: Picture) -> Answer:
        try:
            self._pipe.send(picture)
        except OSError:
            return DecoderDied("the quarantine process ended")
        answer = self._answer_within(_IMAGE_SECONDS)
        assert isinstance(answer, Answer)
        return answer

    def _answer_within(self, seconds: float) -> object:
        try:
            if self._pipe.poll(seconds):
                return self._pipe.recv()
        except (EOFError, OSError):
            return DecoderDied("the quarantine process ended")
        return DecoderDied(f"the quarantine process did not answer within {seconds:g} s")

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(
    pipe: Connection, folder: Path, digest: str, engine_kind: EngineKind, precision: PrecisionChoice
) -> None:
    """Body of the child. It ends with its parent, whatever the reason."""
    _end_with_parent()
    artifact = read_artifact(folder, expected_digest=digest, verify_key=None)
    # Decoders first: loading TensorFlow before a fork hangs.
    with DecoderPool(1) as decoders:
        engine = load_engine(artifact.folder, artifact.manifest, engine_kind, precision)
        model = ServedModel(artifact, engine, read_detector(artifact), engine_kind, precision)
        pipe.send("ready")
        while True:
            try:
                picture: Picture = pipe.recv()
            except EOFError:
                return
            pipe.send(classify([picture], model, decoders)[picture.image_id])


def _end_with_parent() -> None:
    # A stop may be sent to every process of a worker. The child's end would then be counted against its image.
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.SIG_IGN)
    # An engine that hangs never sees the pipe close. This signal comes when the parent's *thread* ends, which
    # outlives its `Quarantine`.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
