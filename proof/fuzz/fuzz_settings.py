"""Invariant: any file gives settings, or faults with a place and a bounded message.

python proof/fuzz/fuzz_settings.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.config import load
from proxywatch.errors import ConfigError
from proxywatch.exporter.settings import SCHEMA

FILES = (
    b'proxy: {name: golden-crab, url: "socks5h://127.0.0.1:1080"}\nlatency: {interval: 30s}\n',
    b"latency:\n  interval: 5s\n  timeout: 3s\n  targets:\n  - http://127.0.0.1:80/get\n",
    b'speed: {interval: 1h30m, bytes: 1MiB, url: "http://example.org/{bytes}"}\n',
    b"exit: {expect: {country: se}}\n",
    b'http: {listen: ":9090,unix:/run/x.sock"}\nhealth: {listen: "[::1]:9999", require: [latency]}\n',
    b"proxy:\n  username: me\n  password: hunter2hunter2\n  url: 'socks5h://127.0.0.1:1080'\n",
    b"a: &a [x, x, x]\nb: &b [*a, *a, *a]\nlatency: {targets: [*b, *b], interval: *a}\n",
)
_WORDS = (
    b"&a ", b"*a", b"<<: ", b"!!python/object/apply:os.system ", b"!!binary ", b"- ", b"? ", b": ", b"\n",
    b"\t",
    b"{", b"}", b"[", b"]", b"|", b">", b"'", b'"', b"\xff", b"\0", b"1e999", b".nan",
    b"99999999999999999999",
    b"9999999d", b"-1s", b"2026-02-30", b"0x", b"~",
)  # fmt: skip
_LONGEST = 1000


def one(file: bytes) -> None:
    """Hold one input against the invariant, as a file and as a variable."""
    text = file.decode(errors="surrogateescape")
    for given, environ in ((text, {}), ("", {"PROXYWATCH_LATENCY": text, "PROXYWATCH_PROXY_PASSWORD": text})):
        try:
            load(given, environ, SCHEMA)
        except ConfigError as error:
            assert error.faults
            for fault in error.faults:
                assert fault.place
                assert 0 < len(fault.message) < _LONGEST


def main() -> None:
    """Mutate settings files."""
    fuzz(one, FILES, _WORDS)


if __name__ == "__main__":
    main()
