"""Inference engines: one network, computed by the framework that suits the device.

Frameworks are imported only by the engine that needs them, when it is loaded.
"""

from dermabatch.engines.base import Engine, EngineKind, EngineOutput
from dermabatch.engines.golden import check_golden
from dermabatch.engines.loading import choose_engine, load_engine

__all__ = ["Engine", "EngineKind", "EngineOutput", "check_golden", "choose_engine", "load_engine"]
