"""From `tls_server_config` to a context of OpenSSL."""

import os
import ssl
from contextlib import ExitStack

from proxywatch.errors import ConfigError, Fault
from proxywatch.web import web_config
from proxywatch.web.web_config import Tls

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_VERIFY = {
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
}


def build(tls: Tls, path: str) -> ssl.SSLContext:
    """The context for new connections.

    Args:
        tls: The section.
        path: Of the file that it stands in.

    Raises:
        ConfigError: A certificate cannot be used, or something is asked for that cannot be kept.
    """
    place = f"{path} tls_server_config"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.minimum_version = _VERSIONS[tls.min_version]
    context.maximum_version = _VERSIONS[tls.max_version]
    context.set_alpn_protocols(["http/1.1"])
    try:
        _certificates(context, tls, path)
        if tls.cipher_suites:
            context.set_ciphers(":".join(map(_openssl_name, tls.cipher_suites)))
        if tls.curve_preferences:
            _curve(context, tls.curve_preferences)
    except (OSError, ValueError) as error:
        raise ConfigError(Fault(place, str(error))) from error
    return context


def _certificates(context: ssl.SSLContext, tls: Tls, path: str) -> None:
    with ExitStack() as stack:

        def source(name: str) -> str:
            text, where = getattr(tls, name), getattr(tls, f"{name}_file")
            if text and where:
                raise ValueError(f"expected {name} or {name}_file, not both")
            return stack.enter_context(web_config.text_as_file(text)) if text else beside(path, where)

        certificate, key, authority = source("cert"), source("key"), source("client_ca")
        if not certificate or not key:
            raise ValueError("expected both cert_file and key_file")
        context.load_cert_chain(certificate, key)
        _client(context, tls, authority)


def _client(context: ssl.SSLContext, tls: Tls, authority: str) -> None:
    wanted = tls.client_auth_type
    if wanted in ("RequestClientCert", "RequireAnyClientCert"):
        raise ValueError(
            f"{wanted} asks for certificates without checking them; take RequireAndVerifyClientCert"
        )
    if tls.client_allowed_sans and wanted != "RequireAndVerifyClientCert":
        raise ValueError("client_allowed_sans expects client_auth_type RequireAndVerifyClientCert")
    if wanted in _VERIFY:
        if not authority:
            raise ValueError(f"{wanted} expects client_ca_file")
        context.load_verify_locations(authority)
        context.verify_mode = _VERIFY[wanted]
    elif authority:
        raise ValueError("client_ca_file expects a client_auth_type that verifies")


def _curve(context: ssl.SSLContext, names: tuple[str, ...]) -> None:
    if len(names) > 1 or names[0] not in _CURVES:
        raise ValueError(f"curve_preferences: expected one of {', '.join(_CURVES)}; only one can be set here")
    context.set_ecdh_curve(_CURVES[names[0]])


def _openssl_name(name: str) -> str:
    """`TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256` as OpenSSL writes it."""
    key, _, cipher = name.removeprefix("TLS_").partition("_WITH_")
    if not cipher:
        raise ValueError(f"cipher_suites: expected a name for TLS 1.2 as Go writes it, got {name}")
    cipher = (
        cipher.replace("AES_", "AES")
        .replace("_CBC", "")
        .removesuffix("_SHA256" if "CHACHA" in cipher else "")
    )
    exchange = "" if key == "RSA" else key.replace("_", "-") + "-"
    return exchange + cipher.replace("_", "-")


def beside(path: str, name: str) -> str:
    """A relative name is relative to the file that it stands in."""
    return os.path.join(os.path.dirname(path), name) if name else ""  # noqa: PTH118, PTH120
