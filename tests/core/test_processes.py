"""Cores that a process may use, from files as Linux makes them."""

import os

import pytest

from fashionlib.core import processes


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A root folder of 16 cores; `machine(path=content)` writes a file of it and counts."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)

    def cores(files: dict[str, str]) -> int:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return processes.cores(tmp_path)

    return cores


def v1(quota: str) -> dict[str, str]:
    folder = "sys/fs/cgroup/cpu/docker/a/cpu.cfs"
    return {f"{folder}_quota_us": quota, f"{folder}_period_us": "100000"}


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),  # not Linux: no such files
        ({"proc/self/cgroup": "0::/\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "400000 100000\n"}, 4),  # one above
        ({"proc/self/cgroup": "5:cpu,cpuacct:/docker/a\n", **v1("200000")}, 2),
        ({"proc/self/cgroup": "5:cpu,cpuacct:/docker/a\n", **v1("-1")}, 16),
        ({"proc/self/cgroup": "4:memory:/docker/a\n", **v1("200000")}, 16),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "nonsense"}, 16),
    ],
)  # fmt: skip
def test_the_cgroups_quota_counts(machine, files, cores):
    assert machine(files) == cores


def test_fewer_cores_may_be_asked_for_or_given(machine, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine({}) == 3
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5}, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert machine({}) == 2
