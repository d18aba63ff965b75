"""How many CPU cores this process may use."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable(cgroups: Path = CGROUPS) -> int:
    """The cores that the CPU affinity and the container's CPU quota allow, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Rounded down: with a quota of 1.5 cores a second worker would be throttled.
    return max(1, int(min(cores, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """The CPU quota in cores, of cgroup version 2 or 1; infinite without one."""
    version_2 = _read(cgroups / "cpu.max")
    version_1 = _read(cgroups / "cpu" / "cpu.cfs_quota_us") + _read(cgroups / "cpu" / "cpu.cfs_period_us")
    for limit in (version_2, version_1):
        if len(limit) == 2 and limit[0].isdecimal() and limit[1].isdecimal() and int(limit[1]) > 0:
            return int(limit[0]) / int(limit[1])
    return math.inf


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
