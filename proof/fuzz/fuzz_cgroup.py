"""Invariant: any bytes give paths that begin with a slash and numbers that are not negative, or ParseError.

python proof/fuzz/fuzz_cgroup.py [SECONDS] [SEED]
"""

from contextlib import suppress
from pathlib import Path

from mutate import fuzz

from proxywatch.errors import ParseError
from proxywatch.parse import cgroup

_POD = "/kubepods.slice/kubepods-pod0f6ab1c2_77aa_4a27_9ad8_5be1a2f0c8de.slice/cri-containerd-6b1f.scope"
RECORDED = [
    b"0::/system.slice/danted.service\n",
    f"4:memory:{_POD}\n3:cpu,cpuacct:{_POD}\n0::/\n".encode(),
    b"134217728\n",
    b"max\n",
    b"usage_usec 4820\nuser_usec 3000\nnr_throttled 2\nthrottled_usec 77\n",
]


def one(content: bytes) -> None:
    """Hold one input against the invariant."""
    with suppress(ParseError):
        for path in cgroup.groups(content).values():
            assert path.startswith("/")
            assert path.startswith(cgroup.pod(path))
    with suppress(ParseError):
        assert 0 <= cgroup.number(content) < 10**20
    with suppress(ParseError):
        limit = cgroup.limit(content)
        assert limit is None or 0 <= limit < 1 << 60
    assert all(0 <= value < 10**20 for value in cgroup.statistics(content).values())


def main() -> None:
    """Mutate recorded files of /proc and /sys."""
    with suppress(FileNotFoundError):
        RECORDED.append(Path("/proc/self/cgroup").read_bytes())
    fuzz(one, RECORDED)


if __name__ == "__main__":
    main()
