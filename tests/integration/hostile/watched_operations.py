"""The real operations, in decoders that end themselves where a codec gets what it never should.

OpenCV picks one of two dozen codecs by the first bytes. Only two of them may ever see any, and only of a picture whose
structure was judged before: what comes out must be as large as its header said.
"""

import os

import cv2
import numpy as np
import numpy.typing as npt

from dermabatch.imaging import operations
from dermabatch.imaging.inspection import inspect

decode, render, extract_dicom = operations.decode, operations.render, operations.extract_dicom

_decode_with_any_codec = cv2.imdecode


def warm_up() -> None:
    operations.warm_up()
    cv2.imdecode = _watched


def _watched(encoded: npt.NDArray[np.uint8], flags: int) -> npt.NDArray[np.uint8] | None:
    data = encoded.tobytes()
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        os._exit(77)
    promised = inspect(data, "")
    picture = _decode_with_any_codec(encoded, flags)
    if picture is not None and picture.shape[:2] != (promised.height, promised.width):
        os._exit(78)
    return picture
