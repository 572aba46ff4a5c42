"""Programs that people use, through the relay and a real Dante: pages and large bodies, whole."""

import functools
import hashlib
import http.server
import importlib.util
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from balancer.relay.standing import Standing, node, relay, settings
from balancer.relay.test_socks import echo
from testbed.danted import BINARY, Danted, danted
from testbed.faulty_socks import faulty
from testbed.target import Target, target

pytestmark = pytest.mark.skipif(not Path(BINARY).exists(), reason="needs dante-server")

SIZE = 20_000_000
LARGE = 100_000_000
WHOLE = hashlib.sha256(bytes(SIZE)).hexdigest()

REQUESTS = """
import hashlib, sys, requests
proxies = {"http": sys.argv[1], "https": sys.argv[1]}
digest = hashlib.sha256()
with requests.get(sys.argv[2], proxies=proxies, stream=True, timeout=30) as answer:
    for piece in answer.iter_content(1 << 16):
        digest.update(piece)
print(digest.hexdigest())
"""
NODE = """
const http = require('http'), crypto = require('crypto')
const [proxyPort, url, way] = process.argv.slice(1)
const login = Buffer.from('alice-country-se:x').toString('base64')
const auth = {'Proxy-Authorization': 'Basic ' + login}
const print = r => {
  const h = crypto.createHash('sha256')
  r.on('data', d => h.update(d))
  r.on('end', () => { console.log(h.digest('hex')); process.exit(0) })
}
const target = new URL(url)
const proxy = {host: '127.0.0.1', port: proxyPort}
const plain = {...proxy, path: url, headers: {Host: target.host, ...auth}}
const tunnel = {...proxy, method: 'CONNECT', path: target.host, headers: auth}
if (way === 'plain') http.get(plain, print)
else http.request(tunnel).on('connect', (r, socket) => {
  http.get({createConnection: () => socket, host: target.hostname, path: target.pathname}, print)
}).end()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Danted]:
    with danted(tmp_path_factory.mktemp("dante"), timeouts={"io": 60}) as one:
        yield one


@pytest.fixture(scope="module")
def site() -> Iterator[Target]:
    with target() as one:
        yield one


@pytest.fixture
def it(server: Danted) -> Iterator[Standing]:
    with relay([node(server.port)]) as one:
        yield one


def ran(*command: str, feed: bytes = b"") -> bytes:
    """What a program prints; it must not fail."""
    done = subprocess.run(command, input=feed, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"needs {program}")


Way = Callable[[int, str], bytes]


def curl(proxy: str, *more: str) -> Way:
    def fetch(port: int, url: str) -> bytes:
        needs("curl")
        return (
            hashlib.sha256(
                ran("curl", "-sS", "--fail", "--noproxy", "", "-x", proxy.format(port), *more, url)
            )
            .hexdigest()
            .encode()
        )

    return fetch


def requests(proxy: str) -> Way:
    def fetch(port: int, url: str) -> bytes:
        if not importlib.util.find_spec("socks"):
            pytest.skip("needs PySocks")
        return ran(sys.executable, "-c", REQUESTS, proxy.format(port), url).strip()

    return fetch


def wget(port: int, url: str) -> bytes:
    needs("wget")
    body = ran("wget", "-q", "-O-", "-e", "use_proxy=yes", "-e", f"http_proxy=127.0.0.1:{port}",
               "--proxy-user=alice-country-se", "--proxy-password=x", url)  # fmt: skip
    return hashlib.sha256(body).hexdigest().encode()


def nodejs(way: str) -> Way:
    def fetch(port: int, url: str) -> bytes:
        needs("node")
        return ran("node", "-e", NODE, str(port), url, way).strip()

    return fetch


def piped(*command: str) -> Way:
    """A program that connects its standard input and output, as ssh's ProxyCommand has them."""

    def fetch(port: int, url: str) -> bytes:
        needs(command[0])
        host, _, path = url.removeprefix("http://").partition("/")
        name, _, number = host.partition(":")
        words = [word.format(port=port) for word in command]
        answer = ran(
            *words,
            name,
            number,
            feed=f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(),
        )
        return hashlib.sha256(answer.partition(b"\r\n\r\n")[2]).hexdigest().encode()

    return fetch


WAYS: dict[str, Way] = {
    "curl socks5h": curl("socks5h://alice-country-se:x@127.0.0.1:{}"),
    "curl socks5": curl("socks5://127.0.0.1:{}"),
    "curl socks4a": curl("socks4a://alice-country-se@127.0.0.1:{}"),
    "curl socks4": curl("socks4://127.0.0.1:{}"),
    "curl http": curl("http://alice-country-se:x@127.0.0.1:{}"),
    "curl http, any login": curl("http://alice-country-se:x@127.0.0.1:{}", "--proxy-anyauth"),
    "curl http, tunnel": curl("http://alice-country-se:x@127.0.0.1:{}", "-p"),
    "requests socks5h": requests("socks5h://alice-country-se:x@127.0.0.1:{}"),
    "requests socks4a": requests("socks4a://127.0.0.1:{}"),
    "requests http": requests("http://alice-country-se:x@127.0.0.1:{}"),
    "wget": wget,
    "node, plain": nodejs("plain"),
    "node, tunnel": nodejs("tunnel"),
    "nc -X 5": piped("nc", "-N", "-X", "5", "-x", "127.0.0.1:{port}"),
    "nc -X 4": piped("nc", "-N", "-X", "4", "-x", "127.0.0.1:{port}"),
    "nc -X connect": piped("nc", "-N", "-X", "connect", "-x", "127.0.0.1:{port}"),
    "connect-proxy -5": piped("connect-proxy", "-5", "-S", "127.0.0.1:{port}"),
    "connect-proxy -H": piped("connect-proxy", "-H", "127.0.0.1:{port}"),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_page_and_a_body(it: Standing, site: Target, way: str) -> None:
    """The page, then a body of many buffers, its checksum equal; the wish has arrived where it can."""
    address = f"127.0.0.1:{site.port}"
    assert WAYS[way](it.port, f"http://{address}/bytes/{SIZE}").decode() == WHOLE
    request = it.brain.requests[-1]
    assert str(request.destination) == address
    assert request.wishes.country in {"", "se"}
    assert {reason for *_, reason in it.brain.closings} <= {"done", "reset", "client_left"}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_large_body_while_another_node_dies(server: Danted, site: Target, way: str) -> None:
    """A hundred megabytes, while other clients' node is killed in the middle of their transfers."""
    with faulty(echo) as dying, relay([node(server.port, "a"), node(dying, "b")], retries=0) as it:
        url = f"http://127.0.0.1:{site.port}/bytes/{LARGE}"
        others = threading.Thread(target=_cut_others, args=(it, server))
        others.start()
        assert WAYS[way](it.port, url).decode() == hashlib.sha256(bytes(LARGE)).hexdigest()
        others.join()


def _cut_others(it: Standing, server: Danted) -> None:
    """Sessions through a second node, which are cut again and again."""
    for _ in range(20):
        clients = [socket.create_connection(("127.0.0.1", it.port)) for _ in range(5)]
        for client in clients:
            client.sendall(b"\5\1\0\5\1\0\1\x7f\0\0\1\0\x09")
        it.call(it.relay.close_node, "b", "exit_drift")
        for client in clients:
            client.close()
    assert server.port


def test_names_are_resolved_by_the_node(it: Standing, site: Target) -> None:
    """With socks5h, socks4a and http the relay never looks one up."""
    for proxy in ("socks5h", "socks4a", "http"):
        needs("curl")
        body = ran(
            "curl",
            "-sS",
            "--noproxy",
            "",
            "-x",
            f"{proxy}://127.0.0.1:{it.port}",
            f"http://localhost:{site.port}/get",
        )
        assert body
        destination = it.brain.requests[-1].destination
        assert destination is not None
        assert destination.host == "localhost"


def test_git_clones(it: Standing, tmp_path: Path) -> None:
    """A repository over plain HTTP, by SOCKS and by HTTP."""
    needs("git")
    (tmp_path / "one").mkdir()
    git = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(tmp_path / "one"))
    ran(*git, "init", "-q")
    (tmp_path / "one" / "file").write_bytes(bytes(1_000_000))
    ran(*git, "add", "file")
    ran(*git, "commit", "-qm", "one")
    ran("git", "-C", str(tmp_path / "one"), "update-server-info")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **more: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "one" / ".git"), **more)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        for proxy in ("socks5h", "http"):
            where = tmp_path / proxy
            ran("git", "-c", f"http.proxy={proxy}://127.0.0.1:{it.port}", "clone", "-q",
                f"http://127.0.0.1:{web.server_port}/", str(where))  # fmt: skip
            assert (where / "file").stat().st_size == 1_000_000
        web.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["socks5", "http"])
def test_chromium(server: Danted, tmp_path: Path, proxy: str) -> None:
    """It does not log in to SOCKS5; it asks for loopback by the proxy only when told to."""
    needs("chromium")
    (tmp_path / "index.html").write_text("<p>through the relay")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    # What the browser asks for on its own account stays here.
    quiet = settings(deny=(".google.com", ".googleapis.com", ".gstatic.com"))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web,
        relay([node(server.port)], quiet) as it,
    ):
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        page = ran("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-sync", "--disable-background-networking", "--disable-component-update",
                   f"--user-data-dir={tmp_path}", "--proxy-bypass-list=<-loopback>",
                   f"--proxy-server={proxy}://127.0.0.1:{it.port}", "--dump-dom",
                   f"http://127.0.0.1:{web.server_port}/")  # fmt: skip
        web.shutdown()
        thread.join()
        assert b"through the relay" in page
        asked = [str(one.destination) for one in it.brain.requests]
        assert f"127.0.0.1:{web.server_port}" in asked
