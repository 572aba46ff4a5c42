"""The test bed: a whole VPN proxy pod on one machine, with real WireGuard and a real Dante.

    client  10.90.N.1 ---- pod  10.90.N.2  danted on port 1080, out by wg0
                           pod  10.91.N.2 ---- far  10.91.N.1  a relay in front of WireGuard: delay, loss, cut
                           wg0  10.92.N.2 ==== wg0  10.92.N.1  web 203.0.113.10, names .53, silence .99

    with Pod() as pod:
        pod.get("/bytes/1000")                    # through the proxy, by curl on the client's side
        pod.delay(50, jitter=5); pod.loss(5); pod.cut(); pod.heal(); pod.rate(10); pod.rate(None)
        pod.link_down(); pod.link_up()            # the pod's own wire below the tunnel
        pod.remove_wg(); pod.create_wg(); pod.recreate_wg()
        pod.exec("pod", "wg", "show")             # sides: client, pod, far
        daemon = pod.popen("pod", sys.executable, "-m", "proxywatch", "run")
        with pod.entered("client"): ...           # this thread's new sockets are the client's

Each side has its own network, mount and pid namespaces; nothing outside them is touched, and everything in
them ends with `close()` or with this process, whichever comes first. Pods stand side by side, each with an N
of its own; `Pod(beside=other)` shares the client of another one. Files are in `pod.directory`, seen alike
from inside and outside: `log` (Dante's), `uapi` (WireGuard's socket), `keys` (every secret of this pod),
`www` (served by the web). `pod.read("/proc/self/net/dev")` reads /proc and /sys as the pod sees them.

Names that fail: nx.test, servfail.test, slow.test (no answer), dead.test (an address that never answers).
Needs root, /dev/net/tun and the programs in `NEEDS`. Start-up takes half a second, and at most 30 s.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Self

from testbed.far import Weather
from testbed.keys import Keys
from testbed.namespace import Inside, Namespace

NEEDS = ("danted", "wireguard-go", "wg", "ip", "tc", "curl", "bash", "unshare", "nsenter", "setpriv")
WEB, NAMES, SILENT = "203.0.113.10", "203.0.113.53", "203.0.113.99"
_PORT = 1080
_WIREGUARD, _RELAY = 51820, 51821
_LOCKS = Path(tempfile.gettempdir()) / "proxywatch-testbed"
_DANTE = """\
logoutput: {log}
internal: 0.0.0.0 port = {port}
external: wg0
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
timeout.connect: 10
{extra}
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0
 log: {keywords} }}
socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0
 log: {keywords} }}
"""


def missing() -> list[str]:
    """What this machine lacks for a pod; empty when one can be made."""
    programs = [program for program in NEEDS if shutil.which(program, path=_search()) is None]
    return (
        programs
        + ([] if os.geteuid() == 0 else ["root"])
        + ([] if Path("/dev/net/tun").exists() else ["tun"])
    )


class Pod(AbstractContextManager["Pod"]):
    """One pod with its client and its far end.

    Attributes:
        number: N in the addresses.
        directory: Of this pod's files; gone after `close()`.
        address: Where the proxy listens, as the client sees it.
        proxy: The same as a URL; the far end resolves names.
        log: Dante's log file.
        uapi: The UAPI socket of the pod's wireguard-go.
        keys: The files with the private and preshared keys.
        www: Files put here are served by the web under their names.
    """

    def __init__(
        self,
        *,
        keepalive: int = 25,
        connected: bool = True,
        dante: bool = True,
        dante_log: str = "connect disconnect error",
        dante_extra: str = "",
        beside: Self | None = None,
    ) -> None:
        """Start everything and return when a request has gone through.

        Args:
            keepalive: WireGuard's persistent keepalive in seconds; 0 for none.
            connected: False starts with the relay cut, so that no handshake is ever made until `heal()`.
            dante: Whether to start danted.
            dante_log: The keywords of `log:` in both rules.
            dante_extra: More lines for danted.conf, before the rules.
            beside: A pod whose client is to be the client of this one too.
        """
        self._stack = ExitStack()
        try:
            self._prepare(keepalive, beside)
            self._weather = Weather(cut=not connected)
            self._start_far()
            self.create_wg()
            if connected:
                self.wait("handshake", self.handshaken, 15)
            if dante:
                self._configure_dante(dante_log, dante_extra)
                self.start_dante()
            if dante and connected:
                self.get("/get")
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End every process of this pod and remove its files."""
        self._stack.close()

    # --- the weather

    def delay(self, milliseconds: float, jitter: float = 0) -> None:
        """Delay every datagram of the tunnel, each way, by `milliseconds` give or take `jitter`."""
        self._relay(replace(self._weather, delay=milliseconds / 1000, jitter=jitter / 1000))

    def loss(self, percent: float) -> None:
        """Lose so many of a hundred datagrams, each way."""
        self._relay(replace(self._weather, loss=percent / 100))

    def cut(self) -> None:
        """Let nothing through any more; the pod cannot tell from its own wire."""
        self._relay(replace(self._weather, cut=True))

    def heal(self) -> None:
        """Let everything through again (delay and loss stay)."""
        self._relay(replace(self._weather, cut=False))

    def rate(self, mbit: float | None) -> None:
        """Shape the wire below the tunnel, each way, to 10^6 bits per second; None for no limit."""
        for side in ("pod", "far"):
            self.exec(side, "tc", "qdisc", "del", "dev", "under", "root", check=False)
            if mbit is not None:
                shape = f"rate {mbit}mbit burst 64kb latency 200ms".split()
                self.exec(side, "tc", "qdisc", "add", "dev", "under", "root", "tbf", *shape)

    def link_down(self) -> None:
        """Take the pod's own wire below the tunnel down."""
        self.exec("pod", "ip", "link", "set", "under", "down")

    def link_up(self) -> None:
        """Bring it up again."""
        self.exec("pod", "ip", "link", "set", "under", "up")

    # --- the pod's parts

    def create_wg(self) -> None:
        """Make the pod's wg0 and connect it; returns before the handshake."""
        self._wireguard = self._start_wg("pod")
        peer = (
            "peer",
            self._keys.public["far"],
            "preshared-key",
            str(self._keys.preshared),
            "allowed-ips",
            "0.0.0.0/0",
        )
        where = ("endpoint", f"10.91.{self.number}.1:{_RELAY}", "persistent-keepalive", str(self.keepalive))
        self.exec("pod", "wg", "set", "wg0", "private-key", str(self._keys.private["pod"]), *peer, *where)
        self._address("pod", "wg0", f"10.92.{self.number}.2/24", "mtu", "1420")
        self.exec("pod", "ip", "route", "add", "default", "dev", "wg0")
        self.stir()

    def remove_wg(self) -> None:
        """End the pod's wireguard-go; its wg0 is gone when this returns."""
        self._wireguard.terminate()
        self._wireguard.wait(5)

    def recreate_wg(self) -> None:
        """A new wg0 with the same keys: new index, counters at 0, no handshake yet."""
        self.remove_wg()
        self.create_wg()

    def start_dante(self) -> None:
        """Start danted and wait until it listens."""
        command = (
            "/usr/sbin/danted",
            "-f",
            str(self.directory / "danted.conf"),
            "-p",
            str(self.directory / "danted.pid"),
        )
        self._dante = self.popen("pod", *command, **self._output("danted.out"))
        listening = f"sport = :{_PORT}"
        self.wait("danted", lambda: bool(self.exec("pod", "ss", "-Htln", listening).strip()), 5)

    def stop_dante(self) -> None:
        """SIGTERM to danted's mother, as its container's stop would."""
        self._dante.terminate()
        self._dante.wait(5)

    def stir(self) -> None:
        """Send one datagram into the tunnel, which makes WireGuard shake hands if it has to."""
        target = f"/dev/udp/10.92.{self.number}.1/9"
        self.exec("pod", "bash", "-c", f"echo > {target}", check=False)

    def handshaken(self) -> bool:
        """Whether the pod's wg0 has ever shaken hands."""
        return any(
            line.split()[1] != "0"
            for line in self.exec("pod", "wg", "show", "wg0", "latest-handshakes").splitlines()
        )

    # --- being there

    def exec(self, side: str, *command: str, timeout: float = 20, check: bool = True) -> str:
        """Run a command on a side to its end; its standard output (see Namespace.exec)."""
        return self._sides[side].exec(*command, timeout=timeout, check=check)

    def popen(self, side: str, *command: str, **options: Any) -> Inside:
        """Start a command on a side; options as for subprocess.Popen."""
        return self._sides[side].popen(*command, **options)

    def entered(self, side: str) -> AbstractContextManager[None]:
        """Put the calling thread into a side's network for a while."""
        return self._sides[side].entered()

    def prefix(self, side: str) -> list[str]:
        """What to put before a command, so that it runs on a side; it ends when that is killed."""
        return self._sides[side].prefix

    def pid(self, side: str) -> int:
        """The process that holds a side, as seen from outside."""
        return self._sides[side].pid

    def read(self, path: str) -> bytes:
        """A file of /proc or /sys as the pod's own processes see it.

        Raises:
            OSError: It cannot be read.
        """
        if path.startswith("/proc/self/net/"):
            return Path(f"/proc/{self.pid('pod')}/net/{path.removeprefix('/proc/self/net/')}").read_bytes()
        return Path(f"/proc/{self.pid('pod')}/root{path}").read_bytes()

    def get(self, path: str, *, host: str = "web.test", timeout: float = 5) -> str:
        """Fetch a page through the proxy, as a client does; returns `STATUS BYTES SECONDS`.

        Raises:
            RuntimeError: It failed; the message holds curl's exit status and words.
        """
        report = "%{http_code} %{size_download} %{time_total}"
        options = ("-sS", "-m", str(timeout), "-o", "/dev/null", "-w", report, "-x", self.proxy)
        return self.exec("client", "curl", *options, f"http://{host}{path}", timeout=timeout + 5)

    def wait(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until something real is so; TimeoutError after so many seconds."""
        deadline = time.monotonic() + seconds
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {what} within {seconds} s")
            time.sleep(0.02)

    # --- how it is made

    def _prepare(self, keepalive: int, beside: "Pod | None") -> None:
        self.number, lock = _free_number()
        self._stack.callback(lock.close)
        self.keepalive = keepalive
        self.directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix=f"pod{self.number}-"))
        )
        self.directory.chmod(0o755)
        self.address = f"10.90.{self.number}.2"
        self.proxy = f"socks5h://{self.address}:{_PORT}"
        self.log = self.directory / "danted.log"
        self.www = self._folder("www")
        self._keys = Keys(self.directory)
        self.keys = self._keys.secrets
        self._sides: dict[str, Namespace] = {
            "client": self._side("client") if beside is None else beside._sides["client"],
            "pod": self._side("pod", resolver=True),
            "far": self._side("far"),
        }
        self.uapi = self.directory / "pod-wireguard" / "wg0.sock"
        n = self.number
        self._wire(("client", f"pod{n}", f"10.90.{n}.1/24"), ("pod", "eth0", f"10.90.{n}.2/24"))
        # With its wire down, WireGuard must not find the way to its peer through itself.
        self.exec("pod", "ip", "route", "add", "unreachable", f"10.91.{n}.0/24", "metric", "9999")
        self._wire(("pod", "under", f"10.91.{n}.2/24"), ("far", "under", f"10.91.{n}.1/24"))

    def _folder(self, name: str) -> Path:
        folder = self.directory / name
        folder.mkdir()
        return folder

    def _side(self, name: str, *, resolver: bool = False) -> Namespace:
        Path("/run/wireguard").mkdir(exist_ok=True)
        binds = {self._folder(f"{name}-wireguard"): "/run/wireguard"}
        if resolver:
            file = self.directory / "resolv.conf"
            file.write_text(f"nameserver {NAMES}\noptions timeout:2 attempts:1\n")
            binds[file] = "/etc/resolv.conf"
        side = Namespace(name, binds)
        self._stack.callback(side.close)
        return side

    def _wire(self, one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
        """Join two (side, device, address)."""
        ends = [f"{device} netns {self.pid(side)}" for side, device, _ in (one, other)]
        command = f"ip link add {ends[0]} type veth peer name {ends[1]}"
        subprocess.run(command.split(), check=True, capture_output=True)
        self._address(*one)
        self._address(*other)

    def _address(self, side: str, device: str, address: str, *options: str) -> None:
        self.exec(side, "ip", "address", "add", address, "dev", device)
        self.exec(side, "ip", "link", "set", device, "up", *options)

    def _output(self, name: str) -> dict[str, IO[str]]:
        file = self._stack.enter_context((self.directory / name).open("a"))
        return {"stdout": file, "stderr": file}

    def _start_wg(self, side: str) -> Inside:
        process = self.popen(side, "wireguard-go", "-f", "wg0", **self._output(f"{side}-wireguard.out"))
        self.wait(f"wg0 of {side}", (self.directory / f"{side}-wireguard" / "wg0.sock").is_socket, 5)
        return process

    def _start_far(self) -> None:
        for address in (WEB, NAMES):
            self.exec("far", "ip", "address", "add", f"{address}/32", "dev", "lo")
        self._start_wg("far")
        key = ("listen-port", str(_WIREGUARD), "private-key", str(self._keys.private["far"]))
        peer = (
            "peer",
            self._keys.public["pod"],
            "preshared-key",
            str(self._keys.preshared),
            "allowed-ips",
            f"10.92.{self.number}.2/32",
        )
        self.exec("far", "wg", "set", "wg0", *key, *peer)
        self._address("far", "wg0", f"10.92.{self.number}.1/24", "mtu", "1420")
        where = {"web": WEB, "names": NAMES, "silent": SILENT, "www": str(self.www)}
        arguments = json.dumps(where | {"relay": _RELAY, "wireguard": _WIREGUARD})
        errors = self._output("far.out")["stderr"]
        command = (sys.executable, str(Path(__file__).with_name("far.py")), arguments)
        self._far = self.popen("far", *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        self._expect("ready")
        self._relay(self._weather)

    def _relay(self, weather: Weather) -> None:
        self._weather = weather
        assert self._far.stdin
        self._far.stdin.write(json.dumps(asdict(weather)) + "\n")
        self._far.stdin.flush()
        self._expect("ok")

    def _expect(self, word: str) -> None:
        assert self._far.stdout
        if self._far.stdout.readline() != f"{word}\n":
            raise RuntimeError(f"the far end failed: {(self.directory / 'far.out').read_text()}")

    def _configure_dante(self, keywords: str, extra: str) -> None:
        settings = _DANTE.format(log=self.log, port=_PORT, extra=extra, keywords=keywords)
        (self.directory / "danted.conf").write_text(settings)


def _free_number() -> tuple[int, IO[str]]:
    """A number that no other pod on this machine has, and the lock that keeps it."""
    _LOCKS.mkdir(exist_ok=True)
    for number in range(256):
        lock = (_LOCKS / str(number)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
        else:
            return number, lock
    raise RuntimeError("256 pods are running on this machine")


def _search() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
