"""Who may call the API: host names, origins, credentials, roles, bodies."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from proxywatch.balancer.api.guard import (
    BODY,
    BodyTooLongError,
    BusyError,
    Caller,
    Guard,
    Hosts,
    Message,
    Receive,
    Scope,
    Send,
    basic,
    host_of,
)

HOSTS = Hosts.of(["127.0.0.1"], ["Balancer.test"])
JSON = {"content-type": "application/json"}


class Served:
    """What came through the guard, and what the guard answered."""

    def __init__(self) -> None:
        self.passed: list[Scope] = []
        self.sent: list[Message] = []
        self.chunks = [b""]

    async def app(self, scope: Scope, receive: Receive, _: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        self.passed.append(scope)

    async def receive(self) -> Message:
        body = self.chunks.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self.chunks)}

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def check(scheme: str, credentials: str, address: str) -> Caller | None:
    if address == "192.0.2.66":
        raise BusyError
    known = {
        ("basic", b64encode(b"reader:r").decode()): Caller("reader", "read"),
        ("basic", b64encode(b"boss:b").decode()): Caller("boss", "operate"),
        ("bearer", "token"): Caller("robot", "operate"),
    }
    return known.get((scheme, credentials))


async def call(
    method: str = "GET",
    path: str = "/api/nodes",
    *,
    users: bool = False,
    kind: str = "http",
    query: bytes = b"",
    chunks: list[bytes] | None = None,
    client: str = "192.0.2.1",
    **headers: Any,
) -> tuple[int, str]:
    """The status and detail of the guard's own answer, or 200."""
    served = Served()
    served.chunks = chunks or [b""]
    guard = Guard(served.app, HOSTS, check if users else None, realm="test")
    given = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope: dict[str, Any] = {
        "type": kind,
        "method": method,
        "path": path,
        "query_string": query,
        "client": (client, 5),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }
    await guard(scope, served.receive, served.send)
    if served.passed:
        return 200, ""
    if kind == "websocket":
        return served.sent[0]["code"] - 4000, served.sent[0]["reason"]
    challenge = dict(served.sent[0]["headers"]).get(b"www-authenticate", b"")
    assert (served.sent[0]["status"] == 401) == bool(challenge)
    return served.sent[0]["status"], msgspec.json.decode(served.sent[1]["body"])["detail"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8080", 200),
        ("balancer.test", 200),
        ("balancer.test.", 200),
        ("evil.example:8080", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.9", 421),
        ("", 421),
        ("a@127.0.0.1", 421),
        ("[127.0.0.1", 421),
        ("127.0.0.1:port", 421),
    ],
)
async def test_hosts(host: str, status: int) -> None:
    """Addresses that we listen on, localhost, and configured names; a page that was rebound by DNS has another."""
    assert (await call(host=host))[0] == status


def test_listening_everywhere_takes_any_address_but_no_name() -> None:
    """Rebinding needs a name."""
    hosts = Hosts.of([None], [])
    assert hosts.allow("192.0.2.7:8080")
    assert not hosts.allow("evil.example")


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "status"),
    [
        ("GET", "/api/nodes", b"", {"origin": "http://evil.example"}, 200),
        ("POST", "/api/nodes/a/drain", b"", {"origin": "http://evil.example"}, 403),
        ("POST", "/api/nodes/a/drain", b"", {"origin": "null"}, 403),
        ("POST", "/api/nodes/a/drain", b"", {"origin": "http://127.0.0.1:8080"}, 200),
        ("POST", "/api/nodes/a/drain", b"", {"sec_fetch_site": "cross-site"}, 403),
        ("POST", "/api/nodes/a/drain", b"", {"sec_fetch_site": "same-origin"}, 200),
        ("DELETE", "/api/load-balancer/leases/a", b"", {"origin": "http://evil.example"}, 403),
        ("GET", "/api/load-balancer/best-node/se", b"advance=true", {"origin": "http://evil.example"}, 403),
        ("GET", "/api/load-balancer/best-node/se", b"strict=1&advance=True", {"sec_fetch_site": "cross-site"}, 403),
        ("GET", "/api/events", b"", {"origin": "http://evil.example"}, 403),
        ("POST", "/api/nodes/a/drain", b"", {}, 200),
    ],
)  # fmt: skip
async def test_pages_of_other_origins(
    method: str, path: str, query: bytes, headers: dict[str, Any], status: int
) -> None:
    """They may change nothing and hear no events, also without users; programs send no Origin."""
    assert (await call(method, path, query=query, **headers))[0] == status


async def test_an_address_that_failed_too_often_waits() -> None:
    """429, without a comparison."""
    status, detail = await call(users=True, client="192.0.2.66", authorization="Basic eDp5")
    assert (status, "try again" in detail) == (429, True)


async def test_a_websocket_of_another_origin_is_closed() -> None:
    """With the reason."""
    status, reason = await call(kind="websocket", path="/api/events", origin="http://evil.example")
    assert (status, reason) == (403, "not from a page of another origin")
    assert (await call(kind="websocket", path="/api/events"))[0] == 200


@pytest.mark.parametrize(
    ("authorization", "method", "status"),
    [
        ("", "GET", 401),
        ("Basic " + b64encode(b"reader:r").decode(), "GET", 200),
        ("basic " + b64encode(b"reader:r").decode(), "GET", 200),
        ("Basic " + b64encode(b"reader:r").decode(), "POST", 403),
        ("Basic " + b64encode(b"boss:b").decode(), "POST", 200),
        ("Bearer token", "POST", 200),
        ("Bearer other", "GET", 401),
        ("Basic", "GET", 401),
        ("Digest x", "GET", 401),
        ("Bearer " + "x" * 2000, "GET", 401),
    ],
)
async def test_credentials_and_roles(authorization: str, method: str, status: int) -> None:
    """Reading needs a caller, changing one with the role for it."""
    headers: dict[str, Any] = {"authorization": authorization} if authorization else {}
    assert (await call(method, "/api/nodes/a/drain", users=True, **headers))[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content_length": "2", "content_type": "application/json"}, 200),
        ({"content_length": "2", "content_type": "application/json; charset=utf-8"}, 200),
        ({"content_length": "2", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_length": "2"}, 415),
        ({"transfer_encoding": "chunked", "content_type": "text/plain"}, 415),
        ({"content_length": str(BODY + 1), "content_type": "application/json"}, 413),
        ({"content_length": "0"}, 200),
        ({}, 200),
    ],
)
async def test_bodies(headers: dict[str, Any], status: int) -> None:
    """JSON of bounded length, or none."""
    assert (await call("POST", **headers))[0] == status


async def test_a_body_that_is_longer_than_it_said_is_cut_off() -> None:
    """Whatever its framing."""
    with pytest.raises(BodyTooLongError):
        await call(
            "POST",
            chunks=[b"x" * BODY, b"x"],
            transfer_encoding="chunked",
            content_type="application/json",
        )


@pytest.mark.parametrize(
    ("credentials", "pair"),
    [
        (b64encode(b"a:b:c").decode(), ("a", "b:c")),
        (b64encode("ü:ö".encode()).decode(), ("ü", "ö")),
        (b64encode(b":").decode(), ("", "")),
        (b64encode(b"no colon").decode(), None),
        ("###", None),
        (b64encode(b"\xff:x").decode(), None),
    ],
)
def test_basic_credentials(credentials: str, pair: tuple[str, str] | None) -> None:
    """The first colon divides."""
    assert basic(credentials) == pair


def test_a_host_is_a_name_without_its_port() -> None:
    """And nothing else."""
    assert host_of("A.test:80") == "a.test"
    assert host_of("a.test/path") is None
