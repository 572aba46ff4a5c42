"""From `tls_server_config` to a context of OpenSSL."""

import os
import ssl
import warnings
from contextlib import ExitStack

from proxywatch.errors import ConfigError, Fault, SourceError
from proxywatch.net import openssl
from proxywatch.web import web_config
from proxywatch.web.web_config import Tls

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CURVES = {  # as Go names them, with the names of OpenSSL's lists and of Python's switch for one
    "CurveP256": ("P-256", "prime256v1"),
    "CurveP384": ("P-384", "secp384r1"),
    "CurveP521": ("P-521", "secp521r1"),
    "X25519": ("X25519", "X25519"),
}
_CIPHERS = {  # as Go names them; those of TLS 1.3 are always on
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}
_HTTP2 = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
_ANY = ("RequireAnyClientCert", "RequireClientCert")
_VERIFY = {
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
}


def build(tls: Tls, path: str, *, http2: bool = False) -> ssl.SSLContext:
    """Build the context for new connections.

    Args:
        tls: The section.
        path: Of the file that it stands in.
        http2: Whether the file asks for HTTP/2, which has a say in the cipher suites.

    Raises:
        ConfigError: A certificate cannot be used, or something is asked for that cannot be kept.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # who writes TLS10 knows
            context.minimum_version = _VERSIONS[tls.min_version]
            context.maximum_version = _VERSIONS[tls.max_version]
        context.set_alpn_protocols(["http/1.1"])
        _certificates(context, tls, path)
        _ciphers(context, tls, http2=http2)
        _curves(context, tls.curve_preferences)
    except (OSError, ValueError, SourceError, openssl.UnavailableError) as error:
        raise ConfigError(Fault(f"{path} tls_server_config", str(error))) from error
    return context


def _certificates(context: ssl.SSLContext, tls: Tls, path: str) -> None:
    def content(name: str) -> bytes:
        text, where = getattr(tls, name), getattr(tls, f"{name}_file")
        if text and where:
            raise ValueError(f"expected {name} or {name}_file, not both")
        return web_config.read_regular(beside(path, where)) if where else text.encode()

    certificate, key, authority = content("cert"), content("key"), content("client_ca")
    if not certificate or not key:
        raise ValueError("expected both cert_file and key_file")
    with ExitStack() as stack:
        files = [stack.enter_context(web_config.as_file(each)) for each in (certificate, key)]
        context.load_cert_chain(files[0], files[1], password=_no_password)
    _client(context, tls, authority)


def _no_password() -> bytes:
    raise ValueError("expected a key without a passphrase")  # instead of a prompt


def _client(context: ssl.SSLContext, tls: Tls, authority: bytes) -> None:
    wanted = tls.client_auth_type
    asks = wanted in _VERIFY or wanted in _ANY
    if tls.client_allowed_sans and not asks:
        raise ValueError("client_allowed_sans expects a client_auth_type that requires certificates")
    if (tls.client_ca or tls.client_ca_file) and wanted in ("", "NoClientCert"):
        raise ValueError("client_ca_file expects a client_auth_type")
    if authority:
        context.load_verify_locations(cadata=authority.decode("ascii", "replace"))
    elif tls.client_ca_file:
        raise ValueError("client_ca_file has no certificate")
    if wanted in _VERIFY:
        if not authority:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        context.verify_mode = _VERIFY[wanted]
    elif wanted in _ANY:
        openssl.require_any_certificate(context)


def _ciphers(context: ssl.SSLContext, tls: Tls, *, http2: bool) -> None:
    if not tls.cipher_suites:
        return
    if unknown := [name for name in tls.cipher_suites if name not in _CIPHERS]:
        raise ValueError(
            f"cipher_suites: unknown {', '.join(unknown)[:100]}; expected names as Go writes them"
        )
    if http2 and tls.min_version != "TLS13" and not any(name in tls.cipher_suites for name in _HTTP2):
        raise ValueError(f"cipher_suites: HTTP/2 needs {' or '.join(_HTTP2)}, or set http2: false")
    if chosen := [_CIPHERS[name] for name in tls.cipher_suites if _CIPHERS[name]]:
        context.set_ciphers(":".join(chosen))
    elif tls.min_version != "TLS13":
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # no suite of an older version is left


def _curves(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    if any(name not in _CURVES for name in names):
        raise ValueError(f"curve_preferences: expected {', '.join(_CURVES)}")
    if len(names) == 1:
        context.set_ecdh_curve(_CURVES[names[0]][1])
    elif names:
        openssl.set_groups(context, ":".join(_CURVES[name][0] for name in names))


def beside(path: str, name: str) -> str:
    """Return the path of a file that is named relative to another."""
    return os.path.join(os.path.dirname(path), name) if name else ""  # noqa: PTH118, PTH120
