"""The real operations, in decoders of a system that has no system call filter."""

import errno

from dermabatch.imaging import confinement, operations

decode, render, extract_dicom, warm_up = (
    operations.decode,
    operations.render,
    operations.extract_dicom,
    operations.warm_up,
)


def _refuse() -> None:
    raise OSError(errno.EINVAL, "Invalid argument")


confinement.install_filter = _refuse
