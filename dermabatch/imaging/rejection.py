"""Why a file is not judged. The reason is stored and counted; the message on the row is for a nurse."""

from enum import StrEnum


class RejectionReason(StrEnum):
    """Stable codes of `dermabatch.errors.ImageRejected.reason`, as far as the picture itself is concerned."""

    NOT_AN_IMAGE = "not_an_image"  # another kind of file: a GIF, a PDF, a text, nothing at all
    WRONG_SUFFIX = "wrong_suffix"  # the name says one format, the content is another
    TRUNCATED = "truncated"  # the file ends before its picture does
    CORRUPT = "corrupt"  # the file is whole but its parts contradict each other
    TOO_LARGE = "too_large"  # more pixels or bytes than one picture may have
    TOO_SMALL = "too_small"  # too few pixels to show a lesion
    UNSUPPORTED_BIT_DEPTH = "unsupported_bit_depth"  # more than 8 bits a channel: their scale is not known
    UNSUPPORTED_ENCODING = "unsupported_encoding"  # lossless, arithmetic or hierarchical JPEG
    CMYK = "cmyk"  # colours for a printing press
    ANIMATED = "animated"  # more than one picture in a file
    DICOM_UNSUPPORTED = "dicom_unsupported"  # another kind of DICOM object, many frames, another coding
    UNDECODABLE = "undecodable"  # well formed by its structure, but the decoder gave up
    DUPLICATE = "duplicate"  # the same bytes came earlier in this batch
