"""A certificate for `dns.test` and 127.0.0.1, and the contexts of both sides."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pki:
    """Files of a self-signed certificate."""

    certificate: Path
    key: Path

    def server(self, *protocols: str) -> ssl.SSLContext:
        """The side that has the key."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


def make_pki(folder: Path) -> Pki:
    """Have openssl make one."""
    pki = Pki(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2",
         "-subj", "/CN=dns.test", "-addext", "subjectAltName=DNS:dns.test,IP:127.0.0.1",
         "-keyout", str(pki.key), "-out", str(pki.certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return pki
