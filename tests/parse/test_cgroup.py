"""Control groups, as kernels and container runtimes write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ParseError
from proxywatch.parse import cgroup

UID = "0f6ab1c2-77aa-4a27-9ad8-5be1a2f0c8de"


def test_both_versions_beside_each_other() -> None:
    """As on a host in hybrid mode: a path for each controller, and one for version 2."""
    content = (
        b"4:memory:/docker/6b1f\n3:cpu,cpuacct:/docker/6b1f\n1:name=systemd:/\n0::/system.slice/a:b.service\n"
    )
    assert cgroup.groups(content) == {
        "memory": "/docker/6b1f",
        "cpu": "/docker/6b1f",
        "cpuacct": "/docker/6b1f",
        "name=systemd": "/",
        "": "/system.slice/a:b.service",
    }


@pytest.mark.parametrize("content", [b"nonsense\n", b"0::\n", b"0:/a\n", b"1:memory:relative\n"])
def test_what_is_no_membership_is_refused(content: bytes) -> None:
    """The message quotes nothing."""
    with pytest.raises(ParseError):
        cgroup.groups(content)


@pytest.mark.parametrize(
    ("path", "pod"),
    [
        (f"/kubepods/burstable/pod{UID}/6b1f", f"/kubepods/burstable/pod{UID}"),
        (
            f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice/cri-containerd-6b1f.scope",
            f"/kubepods.slice/kubepods-pod{UID.replace('-', '_')}.slice",
        ),
        ("/system.slice/danted.service", "/system.slice/danted.service"),
        ("/machine.slice/libpod-6b1f.scope/container", "/machine.slice/libpod-6b1f.scope/container"),
        ("/", "/"),
    ],
)
def test_the_pod_of_a_container(path: str, pod: str) -> None:
    """By the uid in its name, from either driver of the kubelet; what is in no pod stays as it is."""
    assert cgroup.pod(path) == pod


def test_limits() -> None:
    """Version 2 says `max`, version 1 the largest multiple of a page."""
    assert cgroup.limit(b"max\n") is None
    assert cgroup.limit(b"9223372036854771712\n") is None
    assert cgroup.limit(b"134217728\n") == 128 << 20
    for content in (b"", b"-1\n", b"maximum\n", b"1 2\n"):
        with pytest.raises(ParseError):
            cgroup.limit(content)


def test_statistics() -> None:
    """Lines of a key and a number."""
    content = b"usage_usec 4820\nuser_usec 3000\nnr_throttled 2\nstrange -1\n\nthrottled_usec 77\n"
    assert cgroup.statistics(content) == {
        "usage_usec": 4820,
        "user_usec": 3000,
        "nr_throttled": 2,
        "throttled_usec": 77,
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    """Never another exception."""
    for parse in (cgroup.groups, cgroup.number, cgroup.limit, cgroup.statistics):
        try:
            parse(content)
        except ParseError:
            continue
