"""Invariant: any danted.conf gives rules whose lines lie within it."""

from mutate import fuzz

from proxywatch.dante import conf

CORPUS = (
    b"logoutput: /var/log/danted.log\nclient pass {\n from: 0/0 to: 0/0\n log: connect error\n}\n",
    b"# log: none\nsocks block { from: 0/0 to: 10.0.0.0/8 log: connect command: connect }\npass {}\n",
)
WORDS = (b"{", b"}", b"log:", b"pass", b"\n", b"#", b" ", b"client ")


def one(data: bytes) -> None:
    """A mutated file."""
    for rule in conf.rules(data):
        assert 1 <= rule.line <= data.count(b"\n") + 1


if __name__ == "__main__":
    fuzz(one, CORPUS, WORDS)
