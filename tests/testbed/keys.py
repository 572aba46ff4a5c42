"""The keys of one pod's tunnel, made by `wg` itself, in files that only their owner may read."""

import subprocess
from pathlib import Path


class Keys:
    """A key pair per end, and the key that they share.

    Attributes:
        private: The file of each end's private key.
        public: Each end's public key, in base64.
        preshared: The file of the shared key.
    """

    def __init__(self, directory: Path) -> None:
        """Make them in a directory."""
        self.private = {side: _secret(directory / f"{side}.key", "genkey") for side in ("pod", "far")}
        self.public = {
            side: _wg("pubkey", file.read_bytes()).decode().strip() for side, file in self.private.items()
        }
        self.preshared = _secret(directory / "preshared.key", "genpsk")

    @property
    def secrets(self) -> list[Path]:
        """Every file that holds a secret."""
        return [*self.private.values(), self.preshared]


def _secret(file: Path, command: str) -> Path:
    file.touch(0o600)
    file.write_bytes(_wg(command))
    return file


def _wg(command: str, given: bytes = b"") -> bytes:
    return subprocess.run(["wg", command], input=given, capture_output=True, check=True).stdout
