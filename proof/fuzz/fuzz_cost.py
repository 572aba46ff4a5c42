"""Searches for cost: what makes the ports work longest, or hold most, for each byte that a client sends.

    python proof/fuzz/fuzz_cost.py [SECONDS] [SEED] [TARGET]
    python proof/fuzz/fuzz_cost.py atheris [SECONDS] [SEED] [TARGET]

Inputs are mutations of the costliest so far, by processor time and by bytes held, on the metrics port, the
same behind TLS, and the health port; with atheris, of those that reach new code too. A packet costs its
sender some bytes as well, so 200 are added to each input. The worst are kept in `costly/`, and are attacks
of `proof/bench/bench_attacks.py`.

Invariant: no input holds more memory than the connection is charged with, and none takes more than a
turn's worth of time for each read. The margins are wide, as the machine may be busy.
"""

import contextlib
import gc
import os
import ssl
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, cast

import fuzz_health
import fuzz_http
from mutate import mutated

from proxywatch.clock import SystemClock
from proxywatch.net.limits import Limits
from proxywatch.web.connection import HttpConnection
from proxywatch.web.guard import Guard

KEPT = Path(__file__).parent / "costly"
_POOL = 24
_PACKET = 200
_SLOWEST = 0.05  # seconds for one read of 16 KiB; some fifty times what the worst takes
_LONGEST = 16 << 10
_WORDS = (
    b"\r\n", b"\n", b"\r", b": ", b":", b",", b" ", b"?", b"/", b"a:\r\n", b"Host: x\r\n",
    b"GET / HTTP/1.1\r\n", b"Connection: " + b"a," * 500 + b"\r\n", b"a:b\r\n" * 90, b"\r\n" * 500,
    b"a" * 4000, b"Accept: " + b"a;q=1," * 300 + b"\r\n", b"GET /x HTTP/1.1\r\nHost:\r\n\r\n" * 100,
    b"collect[]=a&" * 90, b"Expect: 100-continue\r\n", b"Content-Length: 9\r\n",
    b"Transfer-Encoding: chunked\r\n", b"1\r\n\n\r\n" * 500,
)  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one input: seconds of the processor, bytes held, bytes charged, and reads."""

    seconds: float
    held: int
    charged: int
    reads: int = 1


@dataclass
class Pool:
    """The costliest inputs by one measure."""

    measure: Callable[[Cost], float]
    best: list[tuple[float, bytes]] = field(default_factory=list)

    def offer(self, data: bytes, cost: Cost) -> None:
        """Keep an input if it is among the costliest."""
        score = self.measure(cost) / (len(data) + _PACKET)
        if (len(self.best) < _POOL or score > self.best[-1][0]) and all(
            data != each for _, each in self.best
        ):
            self.best = sorted([*self.best, (score, data)], reverse=True)[:_POOL]


def _http(server: fuzz_http.LooplessServer, data: bytes, *, trace: bool = False) -> Cost:
    gc.disable()
    if trace:
        tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    start = time.thread_time()
    connection, wire = HttpConnection(server), fuzz_http.Wire()
    connection.connection_made(cast("Any", wire))
    reads = 0
    for at in range(0, len(data), len(server.buffer)):
        part = data[at : at + len(server.buffer)]
        if not wire.closed:
            server.buffer[: len(part)] = part
            connection.buffer_updated(len(part))
        server.turn()
        reads += 1
        wire.written = b""
    seconds = time.thread_time() - start
    held, charged = tracemalloc.get_traced_memory()[0] - before, server.budget.held
    if trace:
        tracemalloc.stop()
    connection.connection_lost(None)
    gc.enable()
    return Cost(seconds, held, charged, max(reads, 1))


def _server(tls: "tuple[ssl.SSLContext, frozenset[str]] | None" = None) -> fuzz_http.LooplessServer:
    server = fuzz_http.LooplessServer()
    server.limits = Limits()
    server.tls = tls
    return server


def metrics_port() -> tuple[Callable[..., Cost], Sequence[bytes]]:
    """The metrics port without TLS."""
    server = _server()
    return lambda data, **more: _http(server, data, **more), fuzz_http.REQUESTS


def tls_port() -> tuple[Callable[..., Cost], Sequence[bytes]]:
    """The metrics port with TLS, from the first byte of the handshake."""
    key = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-days", "9", "-subj", "/CN=localhost"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [*command, "-keyout", "k.pem", "-out", "c.pem"], cwd=folder, check=True, capture_output=True
        )
        conf = Path(folder) / "web.yml"
        conf.write_text("tls_server_config: {cert_file: c.pem, key_file: k.pem}")
        context = Guard(str(conf), SystemClock().monotonic).terms.context
    assert context is not None
    server = _server((context, frozenset()))
    return lambda data, **more: _http(server, data, **more), [
        _hello(each) for each in ("", "TLSv1.2", "secp521r1")
    ]


def _hello(kind: str) -> bytes:
    context = ssl.create_default_context()
    if kind.startswith("TLS"):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    elif kind:
        context.set_ecdh_curve(kind)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


def health_port() -> tuple[Callable[..., Cost], Sequence[bytes]]:
    """The health port: the answer to whatever it has kept."""

    def cost(data: bytes, *, trace: bool = False) -> Cost:  # noqa: ARG001 - it holds what it is sent
        start = time.thread_time()
        fuzz_health.one(data[:1024])
        return Cost(time.thread_time() - start, min(len(data), 1024), 1024)

    return cost, fuzz_health.REQUESTS


TARGETS = {"http": metrics_port, "tls": tls_port, "health": health_port}


class Search:
    """One target with its pools."""

    def __init__(self, name: str, seed: float) -> None:
        self.name = name
        self.cost, self.corpus = TARGETS[name]()
        self.dice = Random(seed)
        self.count = 0
        self.pools = {"cpu": Pool(lambda cost: cost.seconds), "held": Pool(lambda cost: cost.charged)}
        for file in sorted(KEPT.glob(f"{name}-*")):
            self.one(file.read_bytes())

    def another(self) -> bytes:
        """A mutation of what was costly."""
        pool = self.dice.choice(list(self.pools.values()))
        costly = [data for _, data in pool.best]
        return mutated(self.dice, [*self.corpus, *costly, *costly], _WORDS)[:_LONGEST]

    def one(self, data: bytes) -> None:
        """Measure one input."""
        self.count += 1
        cost = self.cost(data)
        if cost.seconds > _SLOWEST * cost.reads:
            cost = min((self.cost(data) for _ in range(5)), key=lambda each: each.seconds)
            assert cost.seconds <= _SLOWEST * cost.reads, (
                f"{self.name}: {cost.seconds:.3f} s for {data[:300]!r}"
            )
        for pool in self.pools.values():
            if len(pool.best) < _POOL or pool.measure(cost) / (len(data) + _PACKET) > pool.best[-1][0]:
                again = min((self.cost(data) for _ in range(3)), key=lambda each: each.seconds)
                pool.offer(data, again)
        if self.count % 50 == 0:
            traced = self.cost(data, trace=True)
            assert traced.held <= traced.charged, f"{self.name}: {traced} for {data[:300]!r}"

    def finish(self) -> None:
        """Keep the worst, and print them."""
        KEPT.mkdir(exist_ok=True)
        for measure, pool in self.pools.items():
            score, data = pool.best[0]
            (KEPT / f"{self.name}-{measure}").write_bytes(data)
            unit = f"{score * 1e9:.0f} ns" if measure == "cpu" else f"{score:.1f} bytes held"
            print(f"  {self.name}, {measure}: {unit} for each byte sent, {len(data)} bytes: {data[:60]!r}")


def search(seconds: float, seed: float, names: Sequence[str]) -> int:
    """With our own mutator."""
    count = 0
    for name in names:
        found = Search(name, seed)
        end = time.monotonic() + seconds / len(names)
        while time.monotonic() < end:
            found.one(found.another())
        found.finish()
        count += found.count
    return count


def search_with_atheris(seconds: float, seed: float, name: str) -> None:
    """With atheris, which tells new code from known, and ours as its mutator; ends the process."""
    import atheris  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - optional
    from mutate import _ours  # noqa: PLC0415

    found = Search(name, seed)
    for function in _ours():
        atheris.instrument_func(function)
    end = time.monotonic() + seconds

    def one(data: bytes) -> None:
        found.one(data)
        if time.monotonic() > end:
            found.finish()
            print(f"cost: {found.count} inputs, none broke the invariant", flush=True)
            os._exit(0)  # anything else is a finding to atheris

    def another(data: bytes, most: int, seed: int) -> bytes:
        return mutated(Random(seed), [data, found.another()], _WORDS)[:most]

    atheris.Setup([sys.argv[0], f"-max_len={_LONGEST}", "-verbosity=0"], one, custom_mutator=another)
    atheris.Fuzz()


def main() -> None:
    """Search."""
    guided = sys.argv[1:2] == ["atheris"]
    given = sys.argv[1 + guided :]
    seconds, seed = (float(each) for each in (given + ["10", "0"][len(given) :])[:2])
    names = given[2:3] or list(TARGETS)
    if guided and find_spec("atheris"):
        search_with_atheris(seconds, seed, names[0])
    count = search(seconds, seed, names)
    print(f"cost: {count} inputs, none broke the invariant")


if __name__ == "__main__":
    main()
