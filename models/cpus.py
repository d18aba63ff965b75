"""How many cores this process may use."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable(cgroups: Path = CGROUPS) -> int:
    """What affinity and the container's quota leave of the machine's cores; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # Half a core is one worker, and so are one and a half: a second one would wait for its share.
    return max(1, int(min(cores, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """The cores' worth of time that the cgroup grants, as a container sees its own; infinite without a limit."""
    for quota, period in (_version_2(cgroups), _version_1(cgroups)):
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:
            return int(quota) / int(period)
    return math.inf


def _version_2(cgroups: Path) -> tuple[str, str]:
    quota, _, period = _read(cgroups / "cpu.max").partition(" ")
    return quota, period


def _version_1(cgroups: Path) -> tuple[str, str]:
    return _read(cgroups / "cpu" / "cpu.cfs_quota_us"), _read(cgroups / "cpu" / "cpu.cfs_period_us")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
