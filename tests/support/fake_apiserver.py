"""A fake API server with pods that a test changes: lists in pages, watches with bookmarks, errors on demand."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


def pod(
    name: str = "se-1", *, uid: str = "", ip: str = "10.0.0.1", ready: bool = True, phase: str = "Running",
    deleted: bool = False, disrupted: bool = False, version: str = "5", annotations: dict[str, str] | None = None,
    ports: list[dict[str, Any]] | None = None, **labels: str,
) -> dict[str, Any]:  # fmt: skip
    """A pod as an API server has it."""
    conditions = [
        {
            "type": "Initialized",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": "2026-11-28T00:00:00Z",
        },
        {"type": "Ready", "status": "True" if ready else "False", "reason": "x"},
    ]
    if disrupted:
        conditions.append({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"})
    labels = {"country": "se"} | {key.replace("_", "-"): value for key, value in labels.items()}
    return {
        "metadata": {
            "name": name, "namespace": "vpn", "uid": uid or f"{name}-uid", "resourceVersion": version,
            "creationTimestamp": "2026-11-28T00:00:00Z", "annotations": annotations,
            "labels": {"app": "proxy", **{f"proxywatch/{key}": value for key, value in labels.items()}},
            **({"deletionTimestamp": "2026-11-28T01:00:00Z", "deletionGracePeriodSeconds": 30} if deleted else {}),
        },
        "spec": {"containers": [
            {"name": "proxy", "image": "x", "ports": ports if ports is not None else
             [{"name": "socks", "containerPort": 1080, "protocol": "TCP"}]},
            {"name": "sidecar", "image": "y", "ports": [{"name": "metrics", "containerPort": 9090}]},
        ]},
        "status": {"phase": phase, "podIP": ip, "hostIP": "192.0.2.1", "conditions": conditions},
    }  # fmt: skip


class FakeApiserver(ThreadingHTTPServer):
    """Serves them."""

    daemon_threads = True

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.version = 10
        self.requests: list[str] = []
        self.page = 500
        self.status = 200
        self.watch_status = 200
        self.close_at_once = False
        self.streams: list[Any] = []
        self.over = threading.Event()
        serving = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                serving.requests.append(self.path)
                if "watch" in query:
                    self.watch()
                elif serving.status != 200:
                    self.answer({"kind": "Status", "code": serving.status}, serving.status)
                else:
                    start = int(query.get("continue", ["0"])[0])
                    end = start + serving.page
                    more = {"continue": str(end)} if end < len(serving.pods) else {}
                    meta = {"resourceVersion": str(serving.version), **more}
                    self.answer({"kind": "PodList", "metadata": meta, "items": serving.pods[start:end]})

            def watch(self) -> None:
                if serving.watch_status != 200:
                    self.answer({"kind": "Status", "code": serving.watch_status}, serving.watch_status)
                    return
                self.send_response(200)
                self.end_headers()
                if not serving.close_at_once:
                    closed = threading.Event()
                    serving.streams.append((self, closed))
                    while not (serving.over.is_set() or closed.wait(0.02)):
                        pass

            def answer(self, document: object, status: int = 200) -> None:
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def tell(self, kind: str, document: dict[str, Any]) -> None:
        """Send an event to every watch."""
        self.version += 1
        for stream, _ in self.streams:
            with suppress(OSError):
                stream.wfile.write(json.dumps({"type": kind, "object": document}).encode() + b"\n")

    def close_watches(self) -> None:
        """End them, as a server does every few minutes."""
        for _, closed in self.streams:
            closed.set()
        self.streams = []

    @property
    def watches(self) -> list[str]:
        """The versions that watches were to go on from."""
        return [parse_qs(urlsplit(it).query)["resourceVersion"][0] for it in self.requests if "watch=" in it]

    @property
    def lists(self) -> int:
        """How many lists were asked for."""
        return sum("watch=" not in it for it in self.requests)


@contextmanager
def fake_apiserver() -> Iterator[FakeApiserver]:
    serving = FakeApiserver()
    thread = threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield serving
    finally:
        serving.over.set()
        serving.shutdown()
        serving.server_close()
