"""The words of a failure, and whose fault it is."""

import pytest

from proxywatch.dante import reason as dante_reason

REQUEST = b"request was not performed due to error: "
READING = b"error after reading 18 bytes in 0 seconds: "


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (READING + b"unknown SOCKS version 71 in client request", "not_socks"),
        (b"error after reading 1 byte in 2 seconds: unknown SOCKS version 22 in client request", "not_socks"),
        (READING + b"unknown socks_v5 command: 9", "bad_request"),
        (READING + b"client offered no acceptable authentication method", "no_auth_method"),
        (READING + b'system password authentication failed for user "a"', "auth_failed"),
        (READING + b'could not access user "x"\'s records in the system password file: no', "auth_failed"),
        (READING + b'pam_authenticate() for user "x" failed: nope', "auth_failed"),
        (READING + b"eof from local client", "negotiation_aborted"),
        (READING + b"Connection reset by peer", "negotiation_aborted"),
        (b"negotiate timeout after 7 seconds", "negotiation_timeout"),
        (b"", "socks_rule"),
        (b"blocked by higher-level socks-rule #1", "socks_rule"),
        (b"blocked by higher-level socks-rule #0: no rules matched; using default block rule", "socks_rule"),
        (b"blocked by higher-level socks-rule #3: session limit reached (2/2 slots in use)", "session_limit"),
        (b"session limit reached (2/2 slots in use)", "session_limit"),
        (b"session rate limit reached (already accepted 3 new clients during the last 0s)", "session_limit"),
        (b'could not resolve hostname "a": Name or service not known', "dns_not_found"),
        (REQUEST + b'could not resolve hostname "a": Name does not resolve', "dns_not_found"),
        (b'could not resolve hostname "a": Temporary failure in name resolution', "dns_temporary"),
        (b'could not resolve hostname "a": Try again', "dns_temporary"),
        (b'could not resolve hostname "a": No address associated with hostname', "dns_no_address"),
        (b'could not resolve hostname "a": Name or service n', "dns_not_found"),
        (b'could not resolve hostname "aaaaaaaaaaaaaa', "dns_error"),
        (b'could not resolve hostname "x": Name or service not known": Try again', "dns_temporary"),
        (REQUEST + b"connect(2) to 10.9.1.80 from 10.3.1.5 failed: Network is unreachable", "no_route"),
        (b"connect(2) to 10.9.1.80 from 10.3.1.5 failed: Host is unreachable", "no_route"),
        (b"connect(2) to 10.9.1.80 from 10.3.1.5 failed: Operation not permitted", "not_permitted"),
        (b"connect(2) to 0.0.0.1.80 from 10.3.1.5 failed: Network is unreachable", "socks4a"),
        (b"could not bind address to use on external side: none of the addresses", "no_external_address"),
        (b"could not create socket: Too many open files", "proxy_error"),
        (b"something new: Too many open files", "proxy_error"),
        (b"something new: No file descriptors available", "proxy_error"),
        (b"something new", "other"),
        (b"eof from client", None),
    ],
)
def test_a_refusal(text: bytes, reason: str | None) -> None:
    """The words of glibc and musl's, whole and cut, and whatever a name holds."""
    assert dante_reason.of_refusal(text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"connect timeout", "connect_timeout"),
        (b"remote peer error (Connection refused)", "refused"),
        (b"remote peer error (No route to host)", "unreachable"),
        (b"remote peer error (Operation timed out)", "connect_timeout"),
        (b"remote peer error (Connection reset by peer)", "reset"),
        (b"remote peer error (Protocol error)", "destination_error"),
        (b"remote peer closed", None),
        (b"local client closed", None),
        (b"i/o timeout", None),
    ],
)
def test_a_dial(text: bytes, reason: str | None) -> None:
    """What ended before it began; what merely ended is no failure."""
    assert dante_reason.of_dial(text) == reason


def test_a_connection_without_a_byte_is_no_request() -> None:
    """Health checks and port scans."""
    assert dante_reason.of_probe(b"error after reading 0 bytes in 0 seconds: eof from local client")
    assert dante_reason.of_probe(b"error after reading 0 bytes in 1 second: Connection reset by peer")
    assert not dante_reason.of_probe(READING + b"eof from local client")
    assert not dante_reason.of_probe(b"negotiate timeout after 6 seconds")
