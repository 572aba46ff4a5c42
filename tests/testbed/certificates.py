"""A certificate authority of the tests' own, with servers' certificates good and bad, all for `localhost`."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
_CA = """\
[ca]
default_ca = default
[default]
database = index.txt
serial = serial
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


@dataclass(frozen=True)
class Certificates:
    """Files of PEM, in one directory.

    Attributes:
        bundle: The authority, for those who trust it.
        directory: Where all of it is.
    """

    bundle: str
    directory: Path

    def server(self, name: str = "good") -> ssl.SSLContext:
        """For a server with the certificate `good`, `expired`, `early`, `other` (name) or `stranger`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / f"{name}.pem", self.directory / f"{name}.key")
        return context


def make(directory: Path) -> Certificates:
    """Make them all in an empty directory."""
    (directory / "ca.cnf").write_text(_CA)
    (directory / "index.txt").touch()
    (directory / "serial").write_text("01\n")
    _self_signed(directory, "ca", "test authority")
    _self_signed(directory, "stranger", "localhost", "-addext", _NAMES)
    _signed(directory, "good", _NAMES, "20200101000000Z", "21000101000000Z")
    _signed(directory, "other", "subjectAltName=DNS:elsewhere.test", "20200101000000Z", "21000101000000Z")
    _signed(directory, "expired", _NAMES, "20200101000000Z", "20210101000000Z")
    _signed(directory, "early", _NAMES, "20990101000000Z", "21000101000000Z")
    return Certificates(str(directory / "ca.pem"), directory)


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)


def _key(name: str) -> tuple[str, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key")


def _self_signed(directory: Path, name: str, subject: str, *more: str) -> None:
    subject = f"/CN={subject}"
    _openssl(
        directory, "req", "-x509", *_key(name), "-out", f"{name}.pem", "-days", "30", "-subj", subject, *more
    )


def _signed(directory: Path, name: str, names: str, start: str, end: str) -> None:
    request = ("-out", f"{name}.csr", "-subj", "/CN=localhost", "-addext", names)
    _openssl(directory, "req", "-new", *_key(name), *request)
    dates = ("-startdate", start, "-enddate", end)
    files = ("-config", "ca.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem")
    _openssl(directory, "ca", "-batch", "-notext", *files, *dates)
