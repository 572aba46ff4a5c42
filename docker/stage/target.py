"""Something to fetch: `/bytes/N`, `/delay/SECONDS`, `/json` (who asks), and an empty page for all else.

Usage: target.py ADDRESS PORT...
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_LARGEST = 100_000_000
_BLOCK = bytes(65536)


class Page(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        """Answer it."""
        word, _, argument = self.path.strip("/").partition("/")
        number = int(argument) if argument.isdecimal() else 0
        if word == "bytes":
            self._send(min(number, _LARGEST))
            return
        if word == "delay":
            time.sleep(min(number, 30))
        about = {
            "ip": self.address_string(),
            "country": "Sweden",
            "country_iso": "SE",
            "city": "Gothenburg",
            "mullvad_exit_ip": True,
        }
        body = json.dumps(about).encode() if word == "json" else b""
        self._head(len(body))
        self.wfile.write(body)

    def _send(self, size: int) -> None:
        self._head(size)
        for start in range(0, size, len(_BLOCK)):
            self.wfile.write(_BLOCK[: size - start])

    def _head(self, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


def main(address: str, ports: list[int]) -> None:
    """Serve on every port until the process ends."""
    servers = [ThreadingHTTPServer((address, port), Page) for port in ports]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], [int(port) for port in sys.argv[2:]])
