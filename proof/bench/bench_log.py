"""CPU seconds per million lines of Dante's log: our accounting, mtail with four counters, a bare regex.

    python proof/bench/bench_log.py [LINES]

The file is the recorded log of a thousand connections of 91 kinds, repeated. Each round runs everything once;
the best of five is taken, as other load on the machine only adds. mtail reads the file once and exits.
"""

import gzip
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from proxywatch.dante.log import DanteLog
from proxywatch.dante.sessions import Sessions
from proxywatch.probe.own_traffic import OwnTraffic
from proxywatch.source.log.logfile import LogFile
from proxywatch.source.log.splitter import CHUNK

HERE = Path(__file__).parent
RECORDED = HERE.parents[1] / "tests" / "fixtures" / "dante" / "main.log.gz"
ROUNDS = 5
HEAD = re.compile(rb"\w+ +\d+ [\d:]+ \((\d+\.\d+)\) \w+\[(\d+)\]: (\w+): (.*)")


def ours(path: Path) -> None:
    """Read and account, as the collector does."""
    log = LogFile(str(path))
    own = OwnTraffic()
    own.opened("127.0.0.1", 40000, at=0)
    counted = DanteLog(Sessions(own.includes, own_begins=own.begins))
    while chunk := log.read(CHUNK):
        counted.take(chunk)
    log.close()


def bare_regex(path: Path) -> None:
    """The limit of one match for a line, with nothing done about it."""
    match = HEAD.match
    with path.open("rb") as file:
        for line in file:
            match(line)


def mtail(program: str) -> Callable[[Path], None]:
    """One reading by mtail."""

    def run(path: Path) -> None:
        command = ["mtail", "--one_shot", "--progs", str(HERE / program), "--logs", str(path)]
        subprocess.run(command, check=True, capture_output=True)

    return run


def cpu(work: Callable[[Path], None], path: Path) -> float:
    """CPU seconds of this process and its children."""
    before = time.process_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    work(path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    children = after.ru_utime + after.ru_stime - before[1].ru_utime - before[1].ru_stime
    return time.process_time() - before[0] + children


def main(lines: int) -> None:
    """Print a table."""
    recorded = gzip.decompress(RECORDED.read_bytes())
    repeats = max(1, lines // recorded.count(b"\n"))
    lines = repeats * recorded.count(b"\n")
    works = {"proxywatch, all accounting": ours, "one regex per line, bare": bare_regex}
    if shutil.which("mtail"):
        works["mtail, four counters"] = mtail("four_counters.mtail")
        works["mtail, four counters, unanchored"] = mtail("four_counters_unanchored.mtail")
    else:
        print("mtail is not installed: apt-get install mtail")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "danted.log"
        with path.open("wb") as file:
            for _ in range(repeats):
                file.write(recorded)
        best = dict.fromkeys(works, float("inf"))
        for _ in range(ROUNDS):
            for name, work in works.items():
                best[name] = min(best[name], cpu(work, path))
    own = best["proxywatch, all accounting"]
    print(f"{lines} lines, best of {ROUNDS}")
    for name, seconds in best.items():
        print(
            f"{name:34} {seconds / lines * 1e6:6.2f} CPU s per million lines, "
            f"ours is {own / seconds:.2f} of it"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
