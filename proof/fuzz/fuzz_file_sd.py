"""Invariant: a target file gives nodes with ids of their own, or a ParseError that begins with the file's name.

python fuzz/fuzz_file_sd.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.balancer.discovery import file_sd
from proxywatch.errors import ParseError

FILES = (
    b'[{"targets":["10.0.0.1:9090"],"labels":{"__proxywatch_socks__":":1080","country":"se","city":"got"}}]',
    b'[{"targets":["[2001:db8::1]:9090"],"labels":{"__proxywatch_socks__":"http://10.0.0.1:3128","country":"uk",'
    b'"weight":"2.5","tags":"a,b","max_connections":"5","id":"gb-1","__scheme__":"https"}},{"targets":["a:1"]}]',
    b'- targets: ["10.0.0.1:9090", "10.0.0.2:9090"]\n  labels: {__proxywatch_socks__: ":1080", country: no}\n',
)
WORDS = (
    b'"', b":", b"[", b"]", b"{", b"}", b",", b"\\u0000", b"*a", b"&a", b"!!python/object:x", b"__proxywatch_",
    b"socks5://u:p@h", b"0", b"65536", b"\xff", b"1e999", b"nan", b"a" * 300,
)  # fmt: skip


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    for name in ("a.json", "a.yml"):
        try:
            nodes, foreign = file_sd.read(data, name)
        except ParseError as error:
            assert str(error).startswith(name)
            assert len(str(error)) < 2000
            continue
        assert len({node.id for node in nodes}) == len(nodes)
        assert foreign >= 0
        assert all(len(node.country) == 2 and 0 < node.upstream.port < 65536 for node in nodes)


if __name__ == "__main__":
    fuzz(one, FILES, WORDS)
