"""A log like Dante's for a proxy that is used all day, with the truth about it."""

import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

_ACCEPT = "pass(1): tcp/accept [: {c} 10.0.0.2.1080"
_OPEN = "pass(1): tcp/connect [: {c} 10.0.0.2.1080 -> 10.1.0.2.{p} 203.0.113.{d}.443"
_MOVED = "{n} -> {c} 10.0.0.2.1080 -> {m}"
_END = (
    f"pass(1): tcp/connect ]: {_MOVED}, {{m}} -> 10.1.0.2.{{p}} 203.0.113.{{d}}.443 -> {{n}}: {{why}}."
    "  Session duration: 1s"
)
_CLOSE = f"pass(1): tcp/accept ]: {_MOVED}: {{why}}.  Session duration: 1s"
_REFUSED = (
    "pass(1): tcp/connect ]: 0 -> {c} 10.0.0.2.1080 -> 0, 0 -> 10.1.0.2.{p} 203.0.113.{d}.443 -> 0: "
    "remote peer error (Connection refused).  Session duration: 0s"
)
_KEPT = 3


@dataclass
class Truth:
    """What was written."""

    successful: int = 0
    failed: int = 0


class Log:
    """Writes sessions, rotates.

    Attributes:
        truth: About all that was written.
        rotations: So far.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.truth = Truth()
        self.rotations = 0
        self._path = path
        self._dice = Random(seed)
        self._port = 10_000
        self._file = path.open("ab", buffering=0)

    def write(self, now: float, sessions: int) -> None:
        """So many sessions, all of them in the second before now."""
        self._file.write(b"".join(self._session(now - 1 + index / sessions) for index in range(sessions)))

    def _session(self, at: float) -> bytes:
        self._port = 10_000 + (self._port - 9_999) % 50_000
        numbers = {
            "p": self._port, "d": self._dice.randrange(256),
            "n": self._dice.randrange(100_000), "m": self._dice.randrange(2000),
            "c": f"10.0.{self._dice.randrange(4)}.1.{self._port}", "why": self._dice.choice(("local "
            "client closed", "remote peer closed")),
        }  # fmt: skip
        if self._dice.random() < 0.1:
            lines: tuple[str, ...] = (_ACCEPT, _REFUSED, _CLOSE)
            numbers |= {"n": 0, "m": 0}
            self.truth.failed += 1
        else:
            lines = (_ACCEPT, _OPEN, _END, _CLOSE)
            self.truth.successful += 1
        stamp = time.strftime("%b %e %H:%M:%S", time.gmtime(at))
        return b"".join(
            (
                f"{stamp} ({at + 0.001 * index:.6f}) danted[{77 + index}]: info: "
                + line.format(**numbers)
                + "\n"
            ).encode()
            for index, line in enumerate(lines)
        )

    def rotate(self) -> None:
        """Rename, keep a few, begin a new one."""
        self._file.close()
        for number in range(_KEPT, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path.with_name(f"{self._path.name}.{number - 1}") if number > 1 else self._path
            newer.replace(older) if newer.exists() else None
        self._file = self._path.open("ab", buffering=0)
        self.rotations += 1
