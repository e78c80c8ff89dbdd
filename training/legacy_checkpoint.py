"""Reads PyTorch checkpoints in the legacy format without PyTorch, and runs nothing in them.

Such a file is five pickles (magic number, protocol, system, state dict, storage keys), then the raw storages. Python's
own unpickler would call whatever a pickle names; this one knows the four of `ALLOWED` and refuses every other.
"""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from training.errors import UnreadableCheckpoint

LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C

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
    _TensorUnpickler(stream).load()  # sizes and byte order of the writing machine: storages are little-endian
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
