"""Chooses an engine and loads a model into it. The frameworks are imported here, and only when they are chosen."""

import importlib.util
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final, Literal

from dermabatch.artifacts import Artifact
from dermabatch.engines.base import Engine, EngineKind, Precision, PrecisionChoice
from dermabatch.engines.golden import LARGEST_DIFFERENCE, check_golden
from dermabatch.errors import ConfigurationError
from dermabatch.manifest import Manifest

_GPU_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
"""NVIDIA, AMD, WSL: without any of these nobody needs to ask TensorFlow, which takes seconds and 500 MB to load."""


def load_engine(
    folder: Path, manifest: Manifest, kind: EngineKind = "auto", precision: PrecisionChoice = "auto"
) -> Engine:
    """Load a verified model, check it against its golden images, and leave it warm.

    Start decoders before: TensorFlow does not survive a fork.

    Args:
        folder: of an artifact that `read_artifact` passed.
        manifest: its manifest.
        kind: `auto` takes TensorFlow where it sees a GPU, else OpenVINO, else TensorFlow.
        precision: of OpenVINO; see `choose_precision`. TensorFlow always computes in full precision.

    Raises:
        ConfigurationError: the engine's framework is not installed; names the extra that brings it.
        ArtifactRefused: a file changed since it was verified, or the engine misses the golden answers.
    """
    engine, tolerance = _loaded(folder, manifest, kind if kind != "auto" else choose_engine(), precision)
    try:
        check_golden(engine, Artifact(folder, manifest, manifest.digest), tolerance)
    except BaseException:
        engine.close()
        raise
    return engine


def installed_engines() -> tuple[Literal["openvino", "tensorflow"], ...]:
    """The engines whose framework is installed here."""
    kinds: tuple[Literal["openvino", "tensorflow"], ...] = ("openvino", "tensorflow")
    return tuple(kind for kind in kinds if importlib.util.find_spec(kind) is not None)


def choose_engine() -> Literal["openvino", "tensorflow"]:
    """What `auto` means on this machine.

    Raises:
        ConfigurationError: neither framework is installed.
    """
    installed = installed_engines()
    if "tensorflow" in installed and _tensorflow_sees_a_gpu():
        return "tensorflow"
    if installed:
        return installed[0]
    raise ConfigurationError(
        "Expected an inference engine. Neither OpenVINO nor TensorFlow is installed:"
        " pip install 'dermabatch[openvino]' for a CPU, 'dermabatch[gpu]' for an NVIDIA GPU."
    )


def choose_precision(manifest: Manifest, wanted: PrecisionChoice, native: Collection[Precision]) -> Precision:
    """In what OpenVINO computes a model.

    Args:
        manifest: says which reduced precisions the model may be served in, and how much faster each is.
        wanted: `auto` takes the fastest. One that the model may not be served in gives way to f32.
        native: what this machine computes by itself.
    """
    speeds: dict[Precision, float] = {
        name: measured.speed
        for name, measured in (manifest.precisions or {}).items()
        if measured.passes and name in native
    }
    if wanted == "auto":
        return max(speeds, key=lambda name: speeds[name], default="f32")
    return wanted if wanted in speeds else "f32"


def _loaded(
    folder: Path, manifest: Manifest, kind: Literal["openvino", "tensorflow"], precision: PrecisionChoice
) -> tuple[Engine, float]:
    """The engine, and how far its golden answers may lie from the recorded ones."""
    try:
        if kind == "openvino":
            from dermabatch.engines.openvino_engine import (  # noqa: PLC0415 - optional framework
                OpenVinoEngine,
                native_precisions,
            )

            chosen = choose_precision(manifest, precision, native_precisions())
            engine = OpenVinoEngine(folder, manifest, chosen)
            if chosen == "f32" or manifest.precisions is None:
                return engine, LARGEST_DIFFERENCE
            return engine, manifest.precisions[chosen].golden_tolerance
        set_up_tensorflow()
        from dermabatch.engines.tensorflow_engine import TensorFlowEngine  # noqa: PLC0415 - optional framework

        return TensorFlowEngine(folder, manifest), LARGEST_DIFFERENCE
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Expected the engine {kind}, which needs {error.name}: pip install 'dermabatch[{kind}]'"
        ) from None


def _tensorflow_sees_a_gpu() -> bool:
    if not any(device.exists() for device in _GPU_DEVICES):
        return False
    set_up_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - optional framework

    return bool(tf.config.list_physical_devices("GPU"))


def set_up_tensorflow() -> None:
    """Settings that it reads while it is imported, unless the installation has its own."""
    # It takes all memory of a GPU at once otherwise, and a second process there finds none.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
