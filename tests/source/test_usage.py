"""What this process takes, beside what psutil says of it."""

import os
import resource

import psutil
import pytest

from proxywatch.source.usage import started, usage


def test_it_is_what_psutil_says() -> None:
    """Memory to a megabyte, the rest exactly."""
    process, own = psutil.Process(), usage()
    memory, times = process.memory_info(), process.cpu_times()
    assert own.resident == pytest.approx(memory.rss, abs=1 << 20)
    assert own.virtual == pytest.approx(memory.vms, abs=1 << 20)
    assert own.cpu == pytest.approx(times.user + times.system, abs=0.1)
    assert own.most_descriptors == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert started() == pytest.approx(process.create_time(), abs=1.5)


def test_a_descriptor_more_is_counted() -> None:
    """And one less."""
    before = usage().descriptors
    descriptor = os.open("/dev/null", os.O_RDONLY)
    assert usage().descriptors == before + 1
    os.close(descriptor)
    assert usage().descriptors == before


def test_no_limit_is_infinite(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Prometheus writes it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert usage().most_descriptors == float("inf")
