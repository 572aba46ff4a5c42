"""The exporter inside a real pod: what it says of the tunnel, and that no key of it gets out."""

import re
import sys
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.exporter import Exporter, exporter
from testbed.namespace import child_of
from testbed.pod import Pod, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=f"a pod needs {missing()}")]


@contextmanager
def _inside(pod: Pod, directory: Path, **more: object) -> Iterator[Exporter]:
    """The exporter in the pod; this thread stays in the pod's network meanwhile."""
    settings = {
        "latency": {"interval": "1s", "targets": ["http://web.test/get"]},
        "speed": {"enabled": False},
        "exit": {"enabled": False},
        "sessions": {"log": str(pod.log), "checkpoint": str(directory / "checkpoint")},
        "scrape": {"interval": "1s"},
        "log": {"level": "debug"},
        **more,
    }
    with pod.entered("pod"), exporter(directory, settings, prefix=pod.prefix("pod")) as running:
        yield running


def test_the_faces_tell_the_tunnel_in_words(tmp_path: Path) -> None:
    """Ready while it works; not while it is gone, and the reason is there; ready again when it is back."""
    with Pod() as pod, _inside(pod, tmp_path) as running:
        running.until("ready", lambda: running.ready() == 200)
        fine = running.get("/vpnz", base=running.health)
        assert (fine.status, fine.body[:37]) == (200, "+ tunnel: fresh: wg0 works: last hand")
        assert running.value("vpn_connection_status") == 1
        assert running.value("vpn_tunnel_source", source="uapi") == 1
        pod.remove_wg()
        running.until("gone", lambda: running.get("/vpnz", base=running.health).status == 503, 10)
        gone = running.get("/readyz", base=running.health)
        assert gone.status == 503
        assert "- tunnel: absent: wg0 is not there\n" in gone.body
        running.until("no peer", lambda: not running.series("wireguard_peer_receive_bytes_total"), 5)
        before = running.value("proxy_bytes_transferred_total") or 0
        pod.create_wg()
        running.until("back", lambda: running.ready() == 200, 20)
        running.until("counted on", lambda: (running.value("proxy_bytes_transferred_total") or 0) > before)
        assert 'reason="wg0 is not there"' in running.log.read_text()


@pytest.mark.slow
def test_a_cut_is_seen_and_its_end_too(tmp_path: Path) -> None:
    """Within thirty seconds, by the daemon as it is set by default, while somebody asks for pages."""
    with Pod() as pod, _inside(pod, tmp_path, scrape={}) as running:
        running.until("ready", lambda: running.ready() == 200)
        pod.cut()
        start = time.monotonic()
        running.until("dead", lambda: running.get("/vpnz", base=running.health).status == 503, 30)
        seen = time.monotonic() - start
        assert "- tunnel: dead: wg0 is dead:" in running.get("/readyz", base=running.health).body
        pod.heal()
        start = time.monotonic()
        running.until("healed", lambda: running.get("/vpnz", base=running.health).status == 200, 30)
        print(f"a cut was seen after {seen:.1f} s, its end after {time.monotonic() - start:.1f} s")


@pytest.mark.parametrize(("source", "sockets"), [("uapi", "/var/run/wireguard"), ("command", "/nonexistent")])
def test_no_key_is_anywhere(tmp_path: Path, source: str, sockets: str) -> None:
    """In no log, metric, page, checkpoint or report, nor anywhere in the process's memory."""
    with Pod() as pod, _inside(pod, tmp_path, wireguard={"sockets": sockets}) as running:
        running.until("readings", lambda: running.value("vpn_tunnel_source", source=source) == 1)
        running.until("ready", lambda: running.ready() == 200)
        for _ in range(5):
            pod.get("/get")
            running.get("/metrics")
        found = _everything(pod, running, tmp_path)
        pages = b"".join(text for name, text in found.items() if name != "memory")
        assert _public(pod).encode() in pages
        assert _public(pod).encode() in found["memory"]
        for key in pod.keys:
            for form, secret in _forms(key).items():
                assert [name for name, content in found.items() if secret in content] == [], form
        sizes = {name: len(content) for name, content in found.items()}
        print(f"{source}: no key in {sum(sizes.values())} bytes of {', '.join(sizes)}")


def _everything(pod: Pod, running: Exporter, directory: Path) -> dict[str, bytes]:
    """All that the exporter has said or kept, by name."""
    paths = ("/metrics", "/", "/api/v1/status", "/api/v1/history")
    found = {path: running.get(path).body.encode() for path in paths}
    found["openmetrics"] = running.get("/metrics", accept="application/openmetrics-text").body.encode()
    for path in ("/readyz", "/vpnz", "/healthz?verbose"):
        found[path] = running.get(path, base=running.health).body.encode()
    for file in directory.iterdir():
        found[file.name] = file.read_bytes()
    check = (sys.executable, "-m", "proxywatch", "check", "-c", str(running.conf))
    found["check"] = pod.exec("pod", *check, check=False).encode()
    assert b"wg0" in found["check"]
    found["memory"] = _memory(child_of(running.process.pid))
    return found


def _memory(pid: int) -> bytes:
    """Every readable byte of a process."""
    parts = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r.*", line)
            if match and "[v" not in line:
                memory.seek(int(match[1], 16))
                parts.append(memory.read(int(match[2], 16) - int(match[1], 16)))
    return b"".join(parts)


def _forms(file: Path) -> dict[str, bytes]:
    """A key as it is written, and as it is; shortened, so that a part of it is found as well."""
    text = file.read_text().strip()
    raw = b64decode(text)
    return {"base64": text[:30].encode(), "hex": raw.hex()[:40].encode(), "raw": raw[:20]}


def _public(pod: Pod) -> str:
    """The far end's public key."""
    return pod.exec("far", "wg", "show", "wg0", "public-key").strip()
