import os
from pathlib import Path

import pytest

from models import cpus

HERE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.mark.parametrize(
    "quota, expected", [("max 100000", HERE), ("50000 100000", 1), ("150000 100000", 1), ("99900000 100000", HERE)]
)
def test_a_cgroup_2_quota_limits_the_cores(quota: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert cpus.usable(tmp_path) == expected


@pytest.mark.parametrize("quota, expected", [("-1", HERE), ("100000", 1)])
def test_a_cgroup_1_quota_limits_the_cores(quota: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpus.usable(tmp_path) == expected


def test_without_a_quota_the_affinity_limits_the_cores(tmp_path: Path) -> None:
    assert cpus.usable(tmp_path) == HERE
    if hasattr(os, "sched_setaffinity"):
        mine = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(mine)})
        try:
            assert cpus.usable(tmp_path) == 1
        finally:
            os.sched_setaffinity(0, mine)
