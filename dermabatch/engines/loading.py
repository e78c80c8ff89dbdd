"""Chooses an engine and loads a model into it. The frameworks are imported here, and only when they are chosen."""

import importlib.util
import os
from pathlib import Path
from typing import Final, Literal

from dermabatch.artifacts import Artifact, Manifest
from dermabatch.engines.base import Engine, EngineKind
from dermabatch.engines.golden import check_golden
from dermabatch.errors import ConfigurationError

_GPU_DEVICES: Final = (Path("/dev/nvidiactl"), Path("/dev/kfd"), Path("/dev/dxg"))
"""NVIDIA, AMD, WSL: without any of these nobody needs to ask TensorFlow, which takes seconds and 500 MB to load."""


def load_engine(folder: Path, manifest: Manifest, kind: EngineKind = "auto") -> Engine:
    """Load a verified model, check it against its golden images, and leave it warm.

    Start decoders before: TensorFlow does not survive a fork.

    Args:
        folder: of an artifact that `read_artifact` passed.
        manifest: its manifest.
        kind: `auto` takes TensorFlow where it sees a GPU, else OpenVINO, else TensorFlow.

    Raises:
        ConfigurationError: the engine's framework is not installed; names the extra that brings it.
        ArtifactRefused: a file changed since it was verified, or the engine misses the golden answers.
    """
    engine = _loaded(folder, manifest, kind if kind != "auto" else choose_engine())
    try:
        check_golden(engine, Artifact(folder, manifest, manifest.digest))
    except BaseException:
        engine.close()
        raise
    return engine


def choose_engine() -> Literal["openvino", "tensorflow"]:
    """What `auto` means on this machine.

    Raises:
        ConfigurationError: neither framework is installed.
    """
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    if has_tensorflow and _tensorflow_sees_a_gpu():
        return "tensorflow"
    if importlib.util.find_spec("openvino") is not None:
        return "openvino"
    if has_tensorflow:
        return "tensorflow"
    raise ConfigurationError(
        "Expected an inference engine. Neither OpenVINO nor TensorFlow is installed:"
        " pip install 'dermabatch[openvino]' for a CPU, 'dermabatch[gpu]' for an NVIDIA GPU."
    )


def _loaded(folder: Path, manifest: Manifest, kind: Literal["openvino", "tensorflow"]) -> Engine:
    try:
        if kind == "openvino":
            from dermabatch.engines.openvino_engine import OpenVinoEngine  # noqa: PLC0415 - optional framework

            return OpenVinoEngine(folder, manifest)
        _set_up_tensorflow()
        from dermabatch.engines.tensorflow_engine import TensorFlowEngine  # noqa: PLC0415 - optional framework

        return TensorFlowEngine(folder, manifest)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Expected the engine {kind}, which needs {error.name}: pip install 'dermabatch[{kind}]'"
        ) from None


def _tensorflow_sees_a_gpu() -> bool:
    if not any(device.exists() for device in _GPU_DEVICES):
        return False
    _set_up_tensorflow()
    import tensorflow as tf  # noqa: PLC0415 - optional framework

    return bool(tf.config.list_physical_devices("GPU"))


def _set_up_tensorflow() -> None:
    """Settings that it reads while it is imported, unless the installation has its own."""
    # It takes all memory of a GPU at once otherwise, and a second process there finds none.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
