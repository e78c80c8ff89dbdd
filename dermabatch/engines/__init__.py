"""Inference engines: one network, computed by the framework that suits the device.

Frameworks are imported only by the engine that needs them, when it is loaded.
"""

from dermabatch.engines.base import Engine, EngineKind, EngineOutput, PrecisionChoice
from dermabatch.engines.golden import check_golden
from dermabatch.engines.loading import choose_engine, installed_engines, load_engine, set_up_tensorflow

__all__ = [
    "Engine",
    "EngineKind",
    "EngineOutput",
    "PrecisionChoice",
    "check_golden",
    "choose_engine",
    "installed_engines",
    "load_engine",
    "set_up_tensorflow",
]
