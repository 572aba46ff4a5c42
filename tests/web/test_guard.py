"""The web configuration file: who may come in, how, and what happens when the file changes."""

import asyncio
import base64
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxywatch.errors import ConfigError
from proxywatch.net.limits import Limits
from proxywatch.quantity import Address
from proxywatch.web.guard import Guard
from proxywatch.web.server import WebServer
from support.fakes import FakeClock
from support.wire import Wire, hello, until

ALICE = "$2b$04$wzTVQ7rWQzFqzv8yVYc0gOeFnjkN1lM0BxXcZrLQXW4ZQAcTHuIbK"


@asynccontextmanager
async def guarded(path: Path, clock: FakeClock | None = None) -> AsyncIterator[tuple[WebServer, Guard, str]]:
    """A server under the terms of a file."""
    clock = clock or FakeClock()
    guard = Guard(str(path), clock.monotonic)
    async with WebServer("http", lambda request: guard.admit(request, hello), Limits(), clock) as server:

        def enforce() -> None:
            guard.refresh()
            terms = guard.terms
            server.tls = (terms.context, terms.names) if terms.context else None
            server.own_headers = terms.headers

        server.before_tick = enforce
        enforce()
        await clock.advance(1)
        await server.listen([Address.parse("127.0.0.1:0")])
        yield server, guard, server.addresses[0]


def write(folder: Path, text: str) -> Path:
    path = folder / "web.yml"
    path.write_text(text)
    return path


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def hashed(password: str) -> str:
    import bcrypt  # noqa: PLC0415

    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


def client(folder: Path, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_asks_for_a_password(tmp_path: Path) -> None:
    """Right, wrong, unknown, none: only the first comes in, and the second time without a comparison."""
    path = write(tmp_path, f"basic_auth_users: {{alice: {hashed('wonder:land')}}}")
    async with guarded(path) as (_, guard, address):
        wire = await Wire.to(address)
        status, headers, _ = await wire.ask("/")
        assert (status, headers["www-authenticate"][:5]) == (401, "Basic")
        for name, password in (("alice", "wrong"), ("bob", "wonder:land"), ("", "")):
            assert (await wire.ask("/", basic(name, password)))[0] == 401
        assert (await wire.ask("/", "Authorization: Bearer x"))[0] == 401
        assert (await wire.ask("/", "Authorization: Basic ?"))[0] == 401
        assert (await wire.ask("/", basic("alice", "wonder:land")))[0] == 200
        assert guard.terms.users is not None
        assert guard.terms.users.known(basic("alice", "wonder:land")[15:].encode()) is True
        await wire.close()


async def test_bounds_the_comparisons(tmp_path: Path) -> None:
    """A hundred guesses at once: some are compared, one at a time, and the rest told to come again."""
    path = write(tmp_path, f"basic_auth_users: {{alice: {hashed('secret')}}}")
    async with guarded(path) as (_, _, address):
        wires = [await Wire.to(address) for _ in range(100)]
        answers = await asyncio.gather(
            *(wire.ask("/", basic("alice", f"guess {number}")) for number, wire in enumerate(wires))
        )
        assert {status for status, _, _ in answers} == {401, 503}
        assert (await wires[0].ask("/", basic("alice", "secret")))[0] == 200
        for wire in wires:
            await wire.close()


async def test_reads_the_file_again(tmp_path: Path) -> None:
    """A changed file is in force within a second; a faulty one changes nothing."""
    clock = FakeClock()
    path = write(tmp_path, f"basic_auth_users: {{alice: {hashed('old')}}}")
    async with guarded(path, clock) as (_, _, address):
        wire = await Wire.to(address)
        assert (await wire.ask("/", basic("alice", "old")))[0] == 200
        write(tmp_path, f"basic_auth_users: {{alice: {hashed('new and longer')}, bob: {hashed('x')}}}")
        await clock.advance(1)
        assert (await wire.ask("/", basic("alice", "old")))[0] == 401
        assert (await wire.ask("/", basic("alice", "new and longer")))[0] == 200
        write(tmp_path, "basic_auth_users: [")
        await clock.advance(1)
        assert (await wire.ask("/", basic("alice", "new and longer")))[0] == 200
        await wire.close()


async def test_sends_the_headers(tmp_path: Path) -> None:
    """What the operator wants on every response is on it."""
    path = write(
        tmp_path,
        "http_server_config: {headers: {X-Frame-Options: deny, Strict-Transport-Security: max-age=9}}",
    )
    async with guarded(path) as (_, _, address):
        wire = await Wire.to(address)
        _, headers, _ = await wire.ask("/")
        assert (headers["x-frame-options"], headers["strict-transport-security"]) == ("deny", "max-age=9")
        await wire.close()


async def test_limits_the_rate(tmp_path: Path) -> None:
    """A burst, then one per interval."""
    clock = FakeClock()
    path = write(tmp_path, "rate_limit: {interval: 2s, burst: 3}")
    async with guarded(path, clock) as (_, _, address):
        wire = await Wire.to(address)
        assert [(await wire.ask("/"))[0] for _ in range(5)] == [200, 200, 200, 429, 429]
        await clock.advance(2)
        assert [(await wire.ask("/"))[0] for _ in range(2)] == [200, 429]
        await wire.close()


async def test_speaks_tls(tmp_path: Path, certificates: Path) -> None:
    """Keep-alive, a farewell that says that nothing was cut off, and no answer to plain HTTP."""
    path = write(
        tmp_path,
        f"tls_server_config: {{cert_file: {certificates}/server.pem, key_file: {certificates}/server.key}}",
    )
    async with guarded(path) as (server, _, address):
        wire = await Wire.to(address, ssl=client(certificates), server_hostname="localhost")
        assert wire.writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        for _ in range(3):
            assert (await wire.ask("/"))[2] == b"hello\n"
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await wire.rest()).endswith(b"hello\n")
        await wire.close()
        leaving = await Wire.to(address, ssl=client(certificates), server_hostname="localhost")
        leaving.writer.close()
        await until(lambda: server.connections == 0)
        await leaving.close()
        plain = await Wire.to(address)
        await plain.send(b"GET / HTTP/1.1\r\n\r\n")
        assert b"hello" not in await plain.rest()
        await plain.close()


async def test_handshakes_have_a_deadline(tmp_path: Path, certificates: Path) -> None:
    """Whoever connects and does not shake hands is dropped like any slow request."""
    clock = FakeClock()
    path = write(
        tmp_path,
        f"tls_server_config: {{cert_file: {certificates}/server.pem, key_file: {certificates}/server.key}}",
    )
    async with guarded(path, clock) as (_, _, address):
        wire = await Wire.to(address)
        await asyncio.sleep(0.01)
        await clock.advance(11)
        assert await wire.rest() == b""
        await wire.close()


async def test_refuses_old_versions(tmp_path: Path, certificates: Path) -> None:
    """`min_version` holds, and so do the cipher suites by Go's names."""
    path = write(
        tmp_path,
        f"tls_server_config: {{cert_file: {certificates}/server.pem, key_file: {certificates}/server.key, "
        "min_version: TLS12, max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]}\n"
        "http_server_config: {http2: false}",
    )
    async with guarded(path) as (_, _, address):
        wire = await Wire.to(address, ssl=client(certificates), server_hostname="localhost")
        assert wire.writer.get_extra_info("cipher")[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        await wire.close()
        newer = client(certificates)
        newer.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(ssl.SSLError):
            await Wire.to(address, ssl=newer, server_hostname="localhost")


@pytest.mark.parametrize(
    ("sans", "name", "admitted"),
    [
        ("", "client", True),
        ("", "", False),
        ("", "stranger", False),
        ("prometheus", "client", True),
        ("other", "client", False),
    ],
)
async def test_verifies_clients(
    tmp_path: Path, certificates: Path, sans: str, name: str, *, admitted: bool
) -> None:
    """A certificate of the authority, and the allowed name in it, or nothing is served."""
    shutil.copy(certificates / "server.pem", tmp_path)
    path = write(
        tmp_path,
        f"""
tls_server_config:
  cert_file: server.pem
  key: |
    {(certificates / "server.key").read_text().replace(chr(10), chr(10) + "    ")}
  client_ca_file: {certificates}/ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [{sans}]
""",
    )
    async with guarded(path) as (_, _, address):
        try:
            wire = await Wire.to(address, ssl=client(certificates, name), server_hostname="localhost")
            await wire.send(b"GET / HTTP/1.0\r\n\r\n")
            answer = await wire.reader.read()
        except OSError:
            answer = b""
        else:
            await wire.close()
        assert answer.endswith(b"hello\n") == admitted


async def test_takes_a_new_certificate(tmp_path: Path, certificates: Path) -> None:
    """A renewed certificate is served to new connections; those that are open go on."""
    clock = FakeClock()
    for kind in ("pem", "key"):
        (tmp_path / f"now.{kind}").write_bytes((certificates / f"server.{kind}").read_bytes())
    path = write(tmp_path, "tls_server_config: {cert_file: now.pem, key_file: now.key}")
    async with guarded(path, clock) as (_, _, address):
        old = await Wire.to(address, ssl=client(certificates), server_hostname="localhost")
        for kind in ("pem", "key"):
            (tmp_path / f"now.{kind}").write_bytes((certificates / f"stranger.{kind}").read_bytes())
        await clock.advance(1)
        with pytest.raises(ssl.SSLError):
            await Wire.to(address, ssl=client(certificates), server_hostname="localhost")
        assert (await old.ask("/"))[0] == 200
        await old.close()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("basic_auth_users: {bob: secret}", "basic_auth_users", "bcrypt"),
        ("basic_auth_user: {}", "", "unknown field `basic_auth_user`"),
        ("tls_server_config: {min_version: TLS14}", "min_version", "TLS14"),
        ("tls_server_config: {min_version: TLS13}", "tls_server_config", "both cert_file and key_file"),
        (
            "tls_server_config: {cert_file: nowhere.pem, key_file: nowhere.key}",
            "tls_server_config",
            "No such file",
        ),
        ("http_server_config: {headers: {X-Frame-Options: maybe}}", "X-Frame-Options", "maybe"),
        ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nx: y"}}', "", "one line"),
        ("rate_limit: {interval: soon}", "", "soon"),
        ("[", "", "not YAML"),
    ],
)
def test_says_what_is_wrong(tmp_path: Path, text: str, place: str, words: str) -> None:
    """With the file, the place in it, and what was expected."""
    with pytest.raises(ConfigError) as caught:
        Guard(str(write(tmp_path, text)), FakeClock().monotonic)
    assert "web.yml" in str(caught.value)
    assert place in str(caught.value)
    assert words in str(caught.value)


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """Named with its setting."""
    with pytest.raises(ConfigError, match=r"http.web_config: .*nowhere"):
        Guard(str(tmp_path / "nowhere"), FakeClock().monotonic)
