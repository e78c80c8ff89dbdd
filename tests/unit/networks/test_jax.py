"""The same networks on another backend of Keras, in a process of its own: a process has one backend."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dermabatch.architectures import ARCHITECTURES
from dermabatch.networks.weights import save_weights
from tests.unit.networks.choices import QUICK
from tests.unit.networks.conftest import parameters_of

PROGRAM = """
import json, sys
from pathlib import Path
import keras, numpy as np
from dermabatch.networks import build
from dermabatch.networks.weights import load_weights

assert keras.backend.backend() == "jax" and "tensorflow" not in sys.modules
folder, answering, learning = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
images = np.load(folder / "images.npy")
for name, parameters in answering.items():
    network = build(name, parameters)
    load_weights(network, (folder / f"{name}.safetensors").read_bytes())
    np.save(folder / f"{name}.npy", network.predict(images, verbose=0)["logits"])
    if name not in learning:
        continue
    network.compile(
        keras.optimizers.AdamW(1e-3), {"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    )
    labels = {"logits": np.arange(len(images))}
    losses = [float(network.train_on_batch(images, labels)) for _ in range(3)]
    assert losses[-1] < losses[0], (name, losses)
"""


def on_jax(network_of, images, folder, answering, learning):
    """Each network answers on JAX as on TensorFlow, by the same named weights; some then learn there."""
    np.save(folder / "images.npy", images)
    parameters = {name: parameters_of(name) for name in answering}
    for name in answering:
        (folder / f"{name}.safetensors").write_bytes(save_weights(network_of(name)))

    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), json.dumps(parameters), json.dumps(list(learning))],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
        timeout=1800,
    )

    for name in answering:
        expected = network_of(name)(images)["logits"].numpy()
        largest = np.abs(expected).max()
        np.testing.assert_allclose(np.load(folder / f"{name}.npy") / largest, expected / largest, atol=1e-4)


def test_small_networks_answer_on_jax_as_on_tensorflow_and_the_smallest_learns(network_of, images, tmp_path):
    on_jax(network_of, images, tmp_path, answering=QUICK, learning=["baseline_cnn"])


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_network_answers_and_learns_on_jax(network_of, images, tmp_path):
    on_jax(network_of, images, tmp_path, answering=ARCHITECTURES, learning=ARCHITECTURES)
