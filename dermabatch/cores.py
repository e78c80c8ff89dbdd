"""How many processor cores this process may really use."""

import math
import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""`quota period` in microseconds, or `max period`: how a container is held to its share (cgroup v2)."""


def available_cores(quota_file: Path = _QUOTA) -> int:
    """Cores by affinity and by the container's quota, at least 1.

    A container limited to 2 of 64 cores still sees 64; 64 busy threads would then stand still most of the time.
    """
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = quota_file.read_text().split()
    except OSError:
        return cores
    if quota == "max":
        return cores
    return max(1, min(cores, math.floor(int(quota) / int(period))))
