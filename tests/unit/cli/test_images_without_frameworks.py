"""What runs in the portal's image, which holds no framework and nothing of the extra `training`."""

import subprocess
import sys

import pytest

ABSENT = (
    "tensorflow",
    "keras",
    "openvino",
    "nncf",
    "sklearn",
    "scipy",
    "matplotlib",
    "pandas",
    "safetensors",
)


@pytest.mark.parametrize("module", ["cli.models", "cli.publishing", "worker.training_schedule"])
def test_the_registry_is_reached_without_a_framework(module):
    program = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); import {module}"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
