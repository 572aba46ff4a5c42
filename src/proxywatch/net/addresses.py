"""One or more addresses to listen on, as the settings write them."""

from typing import Self

from proxywatch.errors import ParseError
from proxywatch.quantity import Address, show


class Addresses(tuple[Address, ...]):
    """`:9090`, or several: `127.0.0.1:9090, unix:/run/proxywatch.sock`."""

    __slots__ = ()

    expected = Address.expected + ", or several of them"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read one address, several with commas between them, or a list."""
        parts = value if isinstance(value, list | tuple) else str(value).split(",")
        addresses = [Address.parse(part) for part in parts if str(part).strip()]
        if not addresses:
            raise ParseError(f"expected {cls.expected}, got {show(value)}")
        return cls(addresses)

    def __str__(self) -> str:
        """As it is written in a settings file."""
        return ", ".join(self)
