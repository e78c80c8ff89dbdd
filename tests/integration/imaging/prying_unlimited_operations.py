"""The operations that pry, in decoders with a system call filter and nothing else."""

from dermabatch.imaging import confinement
from tests.integration.imaging import prying_operations

decode, render, extract_dicom, warm_up = (
    prying_operations.decode,
    prying_operations.render,
    prying_operations.extract_dicom,
    prying_operations.warm_up,
)

confinement._limit = confinement._drop_privileges = lambda *_: None
