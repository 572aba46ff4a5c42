"""Web configuration files: what Prometheus's own exporters accept loads here, what they refuse is refused."""

import logging
import os
import re
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxywatch.errors import ConfigError
from proxywatch.web import web_config
from proxywatch.web.guard import Guard, Terms
from support.fakes import FakeClock

HASH = "$2y$10$" + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ."
SERVER = "cert_file: server.pem, key_file: server.key"
CIPHERS = [
    f"TLS_ECDHE_{key}_WITH_{cipher}"
    for key in ("ECDSA", "RSA")
    for cipher in (
        "AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256", "AES_128_CBC_SHA",
        "AES_256_CBC_SHA",
    )
] + ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]  # fmt: skip


def tls(more: str = "", server: str = SERVER) -> str:
    """A file with this section."""
    return f"tls_server_config: {{{', '.join(part for part in (server, more) if part)}}}\n"


def inline(folder: Path) -> str:
    """The certificate and the key as texts."""
    indented = [(folder / name).read_text().replace("\n", "\n    ") for name in ("server.pem", "server.key")]
    return f"tls_server_config:\n  cert: |\n    {indented[0]}\n  key: |\n    {indented[1]}\n"


VALID = {
    "nothing": "",
    "a comment": "# nothing yet\n",
    "empty sections": "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
    "TLS taken away": "tls_server_config: {}\n",
    "TLS": tls(),
    "no certificates asked for": tls("client_auth_type: NoClientCert"),
    "certificates asked for and not looked at": tls("client_auth_type: RequestClientCert"),
    "any certificate required": tls("client_auth_type: RequireAnyClientCert"),
    "any certificate required, by its old name": tls("client_auth_type: RequireClientCert"),
    "certificates verified if given, by the system's authorities": tls(
        "client_auth_type: VerifyClientCertIfGiven"
    ),
    "certificates required, by the system's authorities": tls("client_auth_type: RequireAndVerifyClientCert"),
    "certificates required, by a file": tls(
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem"
    ),
    "names of certificates": tls(
        "client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, "
        "client_allowed_sans: [one, two, 10.0.0.1]"
    ),
    "names where a certificate is given": tls(
        "client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem, client_allowed_sans: [one]"
    ),
    "all cipher suites": tls(f"cipher_suites: [{', '.join(CIPHERS)}]"),
    "some cipher suites": tls(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], "
        "min_version: TLS12, max_version: TLS12"
    ),
    "the client's order": tls(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], "
        "prefer_server_cipher_suites: false"
    ),
    "a suite that HTTP/2 does not have, without HTTP/2": tls(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], max_version: TLS12"
    )
    + "http_server_config: {http2: false}\n",
    "all curves": tls("curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]"),
    "one curve": tls("min_version: TLS13, curve_preferences: [CurveP521]"),
    "old versions": tls("min_version: TLS10, max_version: TLS13"),
    "users without TLS": f"basic_auth_users: {{alice: {HASH}, bob: '{HASH}'}}\n",
    "users with TLS": tls() + f"basic_auth_users:\n  alice: {HASH}\n  123: {HASH}\n  no: {HASH}\n",
    "headers, one of which looks like a number": (
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n"
        "    Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-XSS-Protection: 1\n"
        "    Content-Security-Policy: \"default-src 'self' *.test.example.net\"\n"
    ),
    "empty headers": "http_server_config: {headers: {X-Frame-Options: '', X-XSS-Protection: }}\n",
    "HTTP/2 switched in YAML's many ways": "http_server_config: {http2: off}\n",
    "no rate limit": "rate_limit: {interval: 0, burst: 0}\n",
    "no rate limit, with a unit": "rate_limit: {interval: 0s}\n",
    "a rate limit": 'rate_limit: {interval: "1s", burst: 0}\n',
    "a rate limit in parts": "rate_limit: {interval: 1m30s, burst: 20}\n",
}
INVALID = {
    "words": "lorem ipsum\ndolor\n",
    "a list": "- tls_server_config\n",
    "an unknown section": "tls_config: {}\n",
    "an unknown key": "tls_server_config: {cert_filse: server.pem}\n",
    "no certificate": tls(server="cert_file: '', key_file: server.key"),
    "an empty certificate": tls(server="cert: '', key_file: server.key"),
    "no key": tls(server="cert_file: server.pem, key_file: ''"),
    "an empty key": tls(server="cert_file: server.pem, key: ''"),
    "neither": tls("client_auth_type: x", server="cert_file: '', key_file: ''"),
    "an absent certificate": tls(server="cert_file: nowhere, key_file: server.key"),
    "an absent key": tls(server="cert_file: server.pem, key_file: nowhere"),
    "both absent": tls(server="cert_file: nowhere, key_file: nowhere"),
    "another's key": tls(server="cert_file: server.pem, key_file: client.key"),
    "a certificate twice": tls("cert: x"),
    "an authority and nobody to verify": tls("client_ca_file: ca.pem"),
    "a device as an authority": tls("client_ca_file: /dev/null"),
    "an absent authority": tls("client_ca_file: nowhere"),
    "an absent authority, to verify": tls(
        "client_ca_file: nowhere, client_auth_type: RequireAndVerifyClientCert"
    ),
    "an authority without a certificate": tls(
        "client_ca_file: server.key, client_auth_type: RequireAndVerifyClientCert"
    ),
    "an unknown policy": tls("client_auth_type: Maybe"),
    "names that nobody asks for": tls("client_allowed_sans: [one]"),
    "a password in clear": tls() + "basic_auth_users: {john: hunter2}\n",
    "a user without a password": "basic_auth_users: {john: }\n",
    "a user twice": f"basic_auth_users:\n  john: {HASH}\n  john: {HASH}\n",
    "a section twice": "rate_limit: {interval: 1s}\nrate_limit: {interval: 0}\n",
    "an invented cipher suite": tls("cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]"),
    "a suite that HTTP/2 does not have": tls(
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], max_version: TLS12"
    ),
    "an invented curve": tls("curve_preferences: [CurveP257]"),
    "an invented curve among others": tls("curve_preferences: [CurveP256, CurveP257]"),
    "an invented version": tls("min_version: TLS111"),
    "a value of X-Content-Type-Options": "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
    "another value of X-Frame-Options": "http_server_config: {headers: {X-Frame-Options: foo}}\n",
    "another header": "http_server_config: {headers: {Content-Type: foo}}\n",
    "a header of two lines": 'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nx: y"}}\n',
    "an interval without a unit": "rate_limit: {interval: 5}\n",
    "a burst below nothing": "rate_limit: {interval: 1s, burst: -1}\n",
    "an open bracket": "basic_auth_users: [\n",
    "an open quote": f'basic_auth_users: {{alice: "{HASH}\n',
    "a tag": "rate_limit: !!python/object:os.system {}\n",
    "a time that is none": "rate_limit: {interval: !!timestamp abc}\n",
    "an alias": "a: &a 1\nb: *a\n",
    "two documents": "---\n---\n",
    "three thousand brackets": "[" * 3000,
    "a million brackets": "[" * 250_000,
    "a huge file": "# " + "x" * 300_000,
    "a huge number": "rate_limit: {burst: " + "9" * 6000 + "}\n",
    "bytes that are no text": "\udcff\udcfe\n",
    "a key that is no text": "? [a]\n: b\n",
}


def terms(folder: Path, text: str) -> Terms:
    """The terms of a file with this text, beside the certificates."""
    path = folder / "table.yml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return Guard(str(path), FakeClock().monotonic).terms


@pytest.mark.parametrize("name", VALID)
def test_what_the_exporters_of_prometheus_accept_loads(certificates: Path, name: str) -> None:
    """Each case of their documentation and tests, in files of our own."""
    found = terms(certificates, VALID[name])
    assert (found.context is not None) == ("cert_file" in VALID[name])
    assert (found.users is not None) == (HASH in VALID[name])
    assert (found.bucket is not None) == name.startswith("a rate limit")


def test_the_certificate_may_be_a_text(certificates: Path) -> None:
    """Inline, as files that are made by templates have it."""
    assert terms(certificates, inline(certificates)).context is not None


@pytest.mark.parametrize("name", INVALID)
def test_what_they_refuse_is_refused(certificates: Path, name: str) -> None:
    """With the file's name, in few words, and with no word of a secret."""
    with pytest.raises(ConfigError) as caught:
        terms(certificates, INVALID[name])
    message = str(caught.value)
    assert "table.yml" in message
    assert len(message) < 500
    assert HASH[8:] not in message
    assert "hunter2" not in message


def test_headers_are_sent_as_they_are_written(certificates: Path) -> None:
    """Also where YAML would read a number."""
    text = VALID["headers, one of which looks like a number"]
    assert b"x-xss-protection: 1\r\n" in terms(certificates, text).headers


@pytest.mark.parametrize("content", [b"[", b'a: "', b"\xff", b"a: *b", b"!!int x", b"a: 1\na: 2", b"\t- x"])
def test_a_fault_of_yaml_has_its_line(tmp_path: Path, content: bytes) -> None:
    """And is of one kind, whatever the library raised."""
    path = tmp_path / "web.yml"
    path.write_bytes(b"\n" + content)
    with pytest.raises(ConfigError) as caught:
        web_config.load(str(path))
    assert re.search(r"web\.yml:[2-3]", str(caught.value))


@given(st.binary(max_size=300) | st.text("{}[]:,-?!&*#|>'\"% \n\tab~1", max_size=200).map(str.encode))
def test_whatever_is_in_the_file(content: bytes) -> None:
    """What was read, or one kind of fault."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            web_config.load(file.name)
        except ConfigError:
            return


def guard(folder: Path, text: str) -> Guard:
    """A guard over a file that can be changed."""
    write(folder, text)
    return Guard(str(folder / "web.yml"), FakeClock().monotonic)


def write(folder: Path, text: str) -> None:
    (folder / "web.new").write_text(text)
    (folder / "web.new").replace(folder / "web.yml")


PROTECTED = (
    "tls_server_config: {{cert_file: {0}/server.pem, key_file: {0}/server.key, client_ca_file: {0}/ca.pem,\n"
    "  client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [one], min_version: TLS13}}\n"
    f"basic_auth_users: {{{{alice: {HASH}}}}}\n"
    "rate_limit: {{interval: 1s, burst: 5}}\n"
    "http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n"
)


@pytest.mark.parametrize("kept", range(5))
def test_a_file_that_was_emptied_or_cut_off_opens_nothing(
    tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    """The terms in force stay, and the log has what is missing."""
    lines = PROTECTED.format(certificates).splitlines(keepends=True)
    watched = guard(tmp_path, "".join(lines))
    before = watched.terms
    caplog.set_level(logging.WARNING)
    write(tmp_path, "".join(lines[: kept if kept != 1 else 0]))
    watched.refresh()
    assert watched.terms is before
    assert "web configuration not taken" in caplog.text
    write(tmp_path, "".join(lines) + "# as it was\n")
    watched.refresh()
    assert watched.terms is not before


@pytest.mark.parametrize("text", ["basic_auth_users:\n", "basic_auth_users: ~\n", "", "{}"])
def test_nothing_is_no_removal(tmp_path: Path, text: str) -> None:
    """A key without a value may be all that was written of it."""
    watched = guard(tmp_path, f"basic_auth_users: {{alice: {HASH}}}\n")
    write(tmp_path, text)
    watched.refresh()
    assert watched.terms.users is not None


def test_protection_is_removed_by_writing_so(tmp_path: Path, certificates: Path) -> None:
    """An empty section removes it; a policy that asks for nothing removes that policy."""
    watched = guard(tmp_path, PROTECTED.format(certificates))
    write(
        tmp_path,
        f"tls_server_config: {{cert_file: {certificates}/server.pem, key_file: {certificates}/server.key,\n"
        "  client_auth_type: NoClientCert, client_allowed_sans: [], min_version: TLS12}\n"
        "basic_auth_users: {}\nrate_limit: {interval: 0}\nhttp_server_config: {headers: {}}\n",
    )
    watched.refresh()
    assert (watched.terms.users, watched.terms.bucket, watched.terms.headers) == (None, None, b"")
    assert watched.terms.context is not None
    assert watched.terms.context.verify_mode is ssl.CERT_NONE
    write(tmp_path, "tls_server_config: {}\nbasic_auth_users: {}\nrate_limit: {}\nhttp_server_config: {}\n")
    watched.refresh()
    assert watched.terms.context is None


def test_a_pipe_is_refused_at_once(tmp_path: Path, certificates: Path) -> None:
    """As the file itself, and as a file that it names; so is a device."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="not a regular file"):
        Guard(str(tmp_path / "pipe"), FakeClock().monotonic)
    for name in ("cert_file", "key_file", "client_ca_file"):
        for other in (str(tmp_path / "pipe"), "/dev/zero", str(tmp_path)):
            files = {"cert_file": "server.pem", "key_file": "server.key", "client_ca_file": "ca.pem"} | {
                name: other
            }
            text = ", ".join(f"{key}: {value}" for key, value in files.items())
            with pytest.raises(ConfigError, match=r"not a regular file|Is a directory"):
                terms(certificates, tls("client_auth_type: VerifyClientCertIfGiven", server=text))


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Kubernetes mounts secrets so."""
    (tmp_path / "data").write_text(f"basic_auth_users: {{alice: {HASH}}}\n")
    (tmp_path / "web.yml").symlink_to(tmp_path / "data")
    assert Guard(str(tmp_path / "web.yml"), FakeClock().monotonic).terms.users is not None


def test_no_fault_ends_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not one that nobody thought of either; its text, which may have a secret in it, is not logged."""
    watched = guard(tmp_path, f"basic_auth_users: {{alice: {HASH}}}\n")

    def fail(_: str) -> None:
        raise RuntimeError(HASH)

    monkeypatch.setattr(web_config, "load", fail)
    write(tmp_path, "basic_auth_users: {}\n")
    watched.refresh()
    assert watched.terms.users is not None
    assert "RuntimeError" in str([vars(record) for record in caplog.records])
    assert HASH not in str([vars(record) for record in caplog.records])


def shake(server: ssl.SSLContext, folder: Path, name: str) -> str:
    """A handshake in memory; the certificate's subject that the server saw."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if name:
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(one, other, server_side=True)
    ends: Sequence[ssl.SSLObject] = (context.wrap_bio(other, one, server_hostname="localhost"), ours)
    for _ in range(5):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return f"refused: {error.reason}"
    return "served"


@pytest.mark.parametrize(
    ("policy", "nobody", "client", "stranger"),
    [
        ("NoClientCert", "served", "served", "served"),
        ("RequestClientCert", "served", "served", "served"),
        ("RequireAnyClientCert", "refused", "served", "served"),
        ("VerifyClientCertIfGiven, client_ca_file: ca.pem", "served", "served", "refused"),
        ("RequireAndVerifyClientCert, client_ca_file: ca.pem", "refused", "served", "refused"),
        ("RequireAndVerifyClientCert", "refused", "refused", "refused"),
        ("VerifyClientCertIfGiven", "served", "refused", "refused"),
    ],
)
def test_the_policies_mean_what_they_say(
    certificates: Path, policy: str, nobody: str, client: str, stranger: str
) -> None:
    """Without a certificate, with one of the authority, with a stranger's."""
    context = terms(certificates, tls(f"client_auth_type: {policy}")).context
    assert context is not None
    found = [shake(context, certificates, name).partition(":")[0] for name in ("", "client", "stranger")]
    assert found == [nobody, client, stranger]


def test_several_curves_are_in_force(certificates: Path) -> None:
    """A client that has none of them is refused."""
    context = terms(certificates, tls("curve_preferences: [CurveP384, CurveP521]")).context
    assert context is not None
    other = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    other.set_ecdh_curve("X25519")
    one, two = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, peer = (
        context.wrap_bio(one, two, server_side=True),
        other.wrap_bio(two, one, server_hostname="localhost"),
    )
    with pytest.raises(ssl.SSLWantReadError):
        peer.do_handshake()
    with pytest.raises(ssl.SSLError, match=r"(?i)no.suitable|no.shared|group"):
        server.do_handshake()
    assert shake(context, certificates, "") == "served"


def test_a_file_that_turns_into_a_pipe_is_a_fault(tmp_path: Path) -> None:
    """The daemon reads it in its loop, and must not wait for a writer."""
    watched = guard(tmp_path, f"basic_auth_users: {{alice: {HASH}}}\n")
    (tmp_path / "web.yml").unlink()
    os.mkfifo(tmp_path / "web.yml")
    watched.refresh()
    assert watched.terms.users is not None
