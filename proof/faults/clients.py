"""Clients of the proxy, and the truth about what they got.

    with Clients(pod, workers=3) as clients:
        ...
    clients.truth

Each worker makes one request after another from the client's side: most are for pages, some for a port that
nobody listens on. What is known by the answer is counted as granted or refused, all else as unsure: the
proxy may
have decided either way, or never have heard of it.
"""

import random
import socket
import threading
import time
from dataclasses import astuple, dataclass
from typing import Self

from testbed import socks
from testbed.pod import WEB, Pod

_PATIENCE = 4.0
_PAUSE = 0.05
_PAGES = ((WEB, 80), (WEB, 80), (WEB, 80), ("web.test", 80), (WEB, 81))


@dataclass
class Truth:
    """What clients saw.

    Attributes:
        granted: Requests that the proxy said yes to.
        refused: Requests that it said no to.
        unsure: Requests that began and never had an answer.
        served: Pages that came whole.
    """

    granted: int = 0
    refused: int = 0
    unsure: int = 0
    served: int = 0

    def __sub__(self, other: "Truth") -> "Truth":
        return Truth(*(mine - its for mine, its in zip(astuple(self), astuple(other), strict=True)))


class Clients:
    """Workers in threads on the client's side; a context."""

    def __init__(self, pod: Pod, *, workers: int = 3, seed: int = 0) -> None:
        self.truth = Truth()
        self._pod = pod
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._running = threading.Event()
        self._idle = [threading.Event() for _ in range(workers)]
        self._threads = [
            threading.Thread(target=self._work, args=(random.Random(seed + n), idle), daemon=True)
            for n, idle in enumerate(self._idle)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.resume()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._running.set()
        for thread in self._threads:
            thread.join(4 * _PATIENCE)

    def resume(self) -> None:
        """Go on with requests."""
        self._running.set()

    def pause(self) -> Truth:
        """Let the requests under way end, make no new ones; the truth so far."""
        self._running.clear()
        for idle in self._idle:
            idle.wait(4 * _PATIENCE)
        return Truth(*astuple(self.truth))

    def _work(self, dice: random.Random, idle: threading.Event) -> None:
        with self._pod.entered("client"):
            while not self._end.is_set():
                if not self._running.is_set():
                    idle.set()
                    self._running.wait()
                    idle.clear()
                    continue
                self._request(dice.choice(_PAGES), dice.choice((0, 1000, 20_000)))
                time.sleep(dice.uniform(0, 2 * _PAUSE))

    def _request(self, destination: tuple[str, int], size: int) -> None:
        granted = None
        try:
            with socket.create_connection((self._pod.address, 1080), timeout=_PATIENCE) as client:
                socks.greet(client)
                socks.request(client, destination)
                granted = socks.reply(client) == socks.SUCCEEDED
                self._count("granted" if granted else "refused")
                if granted:
                    self._fetch(client, size)
        except (OSError, KeyError):
            if granted is None:
                self._count("unsure")

    def _fetch(self, client: socket.socket, size: int) -> None:
        client.sendall(f"GET /bytes/{size} HTTP/1.0\r\n\r\n".encode())
        received = sum(len(data) for data in iter(lambda: client.recv(65536), b""))
        if received >= size:
            self._count("served")

    def _count(self, what: str) -> None:
        with self._lock:
            setattr(self.truth, what, getattr(self.truth, what) + 1)
