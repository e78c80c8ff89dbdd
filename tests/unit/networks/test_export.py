"""Every network as the file that a CPU serves from."""

import numpy as np
import openvino

from dermabatch.manifest import OPENVINO_BIN, OPENVINO_XML
from tests.unit.networks.choices import every_network_in_time
from training.export import OUTPUTS, openvino_files


@every_network_in_time
def test_openvino_gives_the_outputs_of_the_network_that_was_exported(network_of, images, name):
    network = network_of(name)
    files = openvino_files(network)
    model = openvino.Core().read_model(files[OPENVINO_XML], files[OPENVINO_BIN])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    received, expected = compiled(images), network(images)

    for output in OUTPUTS:
        largest = np.abs(expected[output]).max()
        np.testing.assert_allclose(received[output] / largest, expected[output] / largest, atol=1e-4)
