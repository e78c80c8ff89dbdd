"""Where the images of a screening lie: a folder, a bucket, a DICOMweb server. Each lists without an end in memory."""

from pathlib import Path
from urllib.parse import urlsplit

from dermabatch.errors import InvalidRequest
from dermabatch.screening.sources.base import NOT_READ, Source, SourceFile, SourceUnavailable
from dermabatch.screening.sources.dicomweb import DicomwebSource
from dermabatch.screening.sources.folder import FolderSource
from dermabatch.screening.sources.s3 import S3Source
from dermabatch.settings import Settings

__all__ = [
    "NOT_READ",
    "DicomwebSource",
    "FolderSource",
    "S3Source",
    "Source",
    "SourceFile",
    "SourceUnavailable",
    "open_source",
]


def open_source(text: str, settings: Settings) -> Source:
    """The source that a person or a schedule names.

    Args:
        text: a folder, `s3://BUCKET/PREFIX`, or `dicomweb+https://HOST/PATH?QUERY` with QIDO-RS attributes as query.

    Raises:
        InvalidRequest: none of these.
    """
    scheme = urlsplit(text).scheme
    if scheme == "s3":
        return S3Source.from_settings(text, settings)
    if scheme in ("dicomweb+https", "dicomweb+http"):
        return DicomwebSource.from_settings(text.removeprefix("dicomweb+"), settings)
    if scheme:
        raise InvalidRequest(
            "Expected a folder, s3://BUCKET/PREFIX or dicomweb+https://HOST/PATH?QUERY as source."
            f" Received: {scheme}://"
        )
    return FolderSource(Path(text))
