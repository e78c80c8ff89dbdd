"""Real PostgreSQL, Redis and S3 storage from pip wheels, on loopback, with all data in one folder.

`services.EmbeddedServices` is the way in; `supervisor` is the process that keeps what it starts alive and lets
nothing outlive the program that asked for it.
"""

from dermabatch.embedded.services import EmbeddedServices, default_folder

__all__ = ["EmbeddedServices", "default_folder"]
