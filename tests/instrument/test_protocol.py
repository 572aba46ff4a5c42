"""A protocol sees what it would see, and its connections are counted once."""

import asyncio
import ssl
from pathlib import Path
from typing import cast

import pytest
import uvloop

from instrument.loops import Loop, both_loops, listening, reset, run, until
from proxywatch.instrument import ConnectionClosed, MetricsAwareProxy
from proxywatch.instrument.protocol import CountedTransport


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_protocol() is self
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> bool:
        self.transport.writelines([b"by", b"e"])
        self.transport.close()
        return True


class BufferedEcho(asyncio.BufferedProtocol):
    """The same, with a buffer of its own."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.buffer = bytearray(100)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.buffer[:nbytes]))

    def eof_received(self) -> None:
        self.transport.write(b"bye")


class Changing(asyncio.Protocol):
    """Hands the connection to another protocol after the first byte."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert not self.transport.is_closing()
        other = BufferedEcho()
        other.connection_made(self.transport)
        self.transport.set_protocol(other)
        assert self.transport.get_protocol() is other
        other.transport.write(data)


class Measured:
    """A proxy and the ends that it tells of."""

    def __init__(self) -> None:
        self.proxy = MetricsAwareProxy()
        self.closed: list[ConnectionClosed] = []
        self.proxy.on("connection-close", self.closed.append, inline=True)

    async def end(self) -> ConnectionClosed:
        """The only connection's end."""
        await until(lambda: bool(self.closed))
        total = self.proxy.get_totals()
        assert (total.opened, total.closed, total.active, len(self.closed)) == (1, 1, 0, 1)
        return self.closed[0]


@both_loops
@pytest.mark.parametrize("kind", [Echo, BufferedEcho, Changing])
def test_whole_connection(new_loop: Loop, kind: type[asyncio.BaseProtocol]) -> None:
    """Bytes in and out, client, and the end, for both kinds of protocol and a change between them."""
    measured = Measured()

    async def main() -> None:
        factory = measured.proxy.wrap_factory(kind, type="tcp", route="echo")
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        async with listening(server) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            writer.write(b"y" * 2000)
            assert await reader.readexactly(2000) == b"y" * 2000
            assert measured.proxy.get_connections_by_route() == {"echo": 1}
            writer.write_eof()
            assert await reader.read() == b"bye"
            writer.close()
            end = await measured.end()
        assert (end.bytes_in, end.bytes_out, end.reason, end.client) == (2001, 2004, "closed", "127.0.0.1")

    run(new_loop, main())


@both_loops
def test_abrupt_loss(new_loop: Loop) -> None:
    """A reset is a loss."""
    measured = Measured()

    async def main() -> None:
        factory = measured.proxy.wrap_factory(Echo)
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        async with listening(server) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            await reader.readexactly(1)
            reset(writer)
            assert (await measured.end()).reason == "lost"

    run(new_loop, main())


@both_loops
def test_protocol_that_raises(new_loop: Loop) -> None:
    """The loop ends such a connection, and it is counted as an error."""
    measured, faults = Measured(), list[object]()

    class Faulty(Echo):
        def data_received(self, data: bytes) -> None:
            raise ValueError(data)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: faults.append(context["exception"]))
        server = await loop.create_server(measured.proxy.wrap_factory(Faulty), "127.0.0.1", 0)
        async with listening(server) as address:
            _, writer = await asyncio.open_connection(*address)
            writer.write(b"x")
            assert (await measured.end()).reason == "error"
            writer.close()
        assert [type(fault) for fault in faults] == [ValueError]

    run(new_loop, main())


@both_loops
def test_upgrade_to_tls(new_loop: Loop, tmp_path: Path) -> None:
    """A protocol that starts TLS in the middle is counted to its end, on asyncio in bytes on the wire."""
    measured = Measured()
    context = self_signed(tmp_path)

    class Upgrading(Echo):
        def data_received(self, data: bytes) -> None:
            if data == b"STARTTLS\n":
                self.upgrade = asyncio.get_running_loop().create_task(self.start())
            else:
                super().data_received(data)

        async def start(self) -> None:
            loop = asyncio.get_running_loop()
            self.transport.write(b"GO\n")
            taken, protocol = self.transport, cast("asyncio.BaseProtocol", self)
            if isinstance(loop, uvloop.Loop):
                taken = taken.wrapped  # type: ignore[attr-defined]
                protocol = taken.get_protocol()
            new = await loop.start_tls(taken, protocol, context, server_side=True)
            assert new is not None
            self.transport = new
            new.write(b"READY")

    async def main() -> None:
        factory = measured.proxy.wrap_factory(Upgrading)
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        async with listening(server) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"GO\n"
            client = ssl.create_default_context(cafile=tmp_path / "cert.pem")
            client.check_hostname = False
            await writer.start_tls(client)
            assert await reader.readexactly(5) == b"READY"
            writer.write(b"secret")
            assert await reader.readexactly(6) == b"secret"
            writer.close()
            end = await measured.end()
            assert end.bytes_in >= len(b"STARTTLS\nsecret")
            assert end.bytes_out >= len(b"GO\n")
            if new_loop is asyncio.new_event_loop:
                assert end.bytes_in > 200
                assert end.bytes_out > 700

    run(new_loop, main())


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's context with a new certificate, which it leaves in the folder."""
    import subprocess  # noqa: PLC0415

    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_transport_passes_everything_on() -> None:
    """Every method of a transport reaches the real one; nothing falls through to the abstract class."""
    calls = list[str]()

    class Real:
        def __getattr__(self, name: str) -> object:
            return lambda *_args, **_kwargs: calls.append(name)

    proxy = MetricsAwareProxy()
    seen = list[CountedTransport]()

    class Keeping(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, CountedTransport)
            seen.append(transport)

    real = Real()
    proxy.wrap_factory(Keeping)().connection_made(real)  # type: ignore[arg-type]
    calls.clear()
    names = [
        name for name in dir(asyncio.Transport) if not name.startswith("_") and "protocol" not in name
    ] + ["some_extension"]
    arguments = {"write": (b"x",), "writelines": ([b"y"],), "get_extra_info": ("peername",)}
    for name in names:
        getattr(seen[0], name)(*arguments.get(name, ()))
    assert calls == names
    assert proxy.get_total_bytes() == (0, 2)


def test_only_streams() -> None:
    """Datagrams have no connections, and a factory of such protocols is refused."""
    factory = MetricsAwareProxy().wrap_factory(asyncio.DatagramProtocol)
    with pytest.raises(TypeError, match="streams"):
        factory()


def test_wrapping_twice_counts_once() -> None:
    """The wrapper of one proxy is left as it is and shows its factory."""
    proxy = MetricsAwareProxy()
    wrapped = proxy.wrap_factory(Echo)
    assert proxy.wrap_factory(wrapped) is wrapped
    assert wrapped.__wrapped__ is Echo  # type: ignore[attr-defined]
