"""The operations that pry, in decoders with everything but a system call filter."""

from dermabatch.imaging import confinement
from tests.integration.imaging import prying_operations

decode, render, extract_dicom, warm_up = (
    prying_operations.decode,
    prying_operations.render,
    prying_operations.extract_dicom,
    prying_operations.warm_up,
)

confinement.install_filter = lambda: None
