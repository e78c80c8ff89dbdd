"""The operations that pry, in decoders that are not confined at all, to show that each attempt is one."""

from dermabatch.imaging import decoder_child
from tests.integration.imaging import prying_operations

decode, render, extract_dicom, warm_up = (
    prying_operations.decode,
    prying_operations.render,
    prying_operations.extract_dicom,
    prying_operations.warm_up,
)

decoder_child.confine = lambda *_: []
