"""Arrays of a model artifact: npz files without pickles, and no larger than what such a file has reason to be."""

import io
import math
import zipfile
import zlib
from collections.abc import Collection
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dermabatch.errors import ArtifactRefused

MAX_ARRAY_BYTES: Final = 64 * 2**20
"""Of one file, unpacked. The largest in sight: 8 golden images of 1024 px with 25 MB."""

Array = npt.NDArray[Any]


def read_arrays(content: bytes, *, of: str, names: Collection[str]) -> dict[str, Array]:
    """The arrays of an npz file.

    What the file says of its sizes is added up before anything is unpacked, and no more is unpacked than it said: a few
    kilobytes can neither become gigabytes nor ask for them.

    Args:
        content: the file.
        of: its name, for messages.
        names: of the arrays that it must hold, and no other.

    Raises:
        ArtifactRefused: it is something else, holds other arrays or Python objects, or is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {entry.filename: entry for entry in archive.infolist()}
            if sorted(members) != sorted(f"{name}.npy" for name in names):
                raise ValueError(f"a file with {', '.join(sorted(members)) or 'nothing in it'}")
            if (size := sum(entry.file_size for entry in members.values())) > MAX_ARRAY_BYTES:
                raise ValueError(f"{size} bytes, of at most {MAX_ARRAY_BYTES}")
            return {name: _array(archive.read(members[f"{name}.npy"])) for name in names}
    except (ValueError, TypeError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        # RuntimeError: an encrypted member, or a compression that this Python lacks.
        raise ArtifactRefused(
            f"Expected the arrays {' and '.join(names)} in {of}. Received: {error}"
        ) from None


def _array(content: bytes) -> Array:
    stream = io.BytesIO(content)
    major, _minor = np.lib.format.read_magic(stream)
    read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(major)
    if read_header is None:
        raise ValueError(f"an array of format {major}")
    shape, _fortran_order, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ValueError(f"{len(content) - stream.tell()} bytes that say to be {dtype}{shape}")
    stream.seek(0)
    array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    return array
