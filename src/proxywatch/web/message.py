"""A request as the routes see it, and a response that is ready to be written many times."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs

PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


class HttpRequest:
    """One request without its body, which no route of ours reads.

    Attributes:
        method: `GET`, as sent.
        path: Without the query; not decoded, as no route of ours needs it.
        query: As sent.
        headers: By lower-case name; repeated ones joined by a comma.
        keep_alive: Whether the client wants to go on using the connection.
        old: Whether the client speaks HTTP/1.0.
        body: Bytes of the body that follows.
        expects: Whether the client waits for `100 Continue`.
    """

    __slots__ = ("body", "expects", "headers", "keep_alive", "method", "old", "path", "query")

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool = True,
        old: bool = False,
    ) -> None:
        self.method = method
        self.path, _, self.query = target.decode("latin-1").partition("?")
        self.headers = headers
        self.keep_alive = keep_alive
        self.old = old
        self.body = 0
        self.expects = False

    def header(self, name: bytes) -> str:
        """The header's value; empty when absent."""
        return self.headers.get(name, b"").decode("latin-1")

    def values(self, name: str) -> list[str]:
        """The values of a query parameter.

        Raises:
            ValueError: More parameters than anybody needs.
        """
        return (
            parse_qs(self.query, keep_blank_values=True, max_num_fields=100).get(name, [])
            if self.query
            else []
        )


@dataclass(frozen=True, slots=True)
class Response:
    """Bytes to be written as they are.

    Attributes:
        status: The code.
        head: Status line and headers, up to the ones that depend on the connection.
        body: What HEAD leaves out.
    """

    status: int
    head: bytes
    body: bytes

    @classmethod
    def make(cls, status: int, body: bytes | str, kind: str = PLAIN, **headers: str) -> "Response":
        """Put a response together; underscores in header names stand for hyphens."""
        content = body.encode() if isinstance(body, str) else body
        lines = {"content-type": kind, "content-length": str(len(content))}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return cls(status, _LINES[status] + head.encode("latin-1"), content)


def refuse(status: int, message: str, **headers: str) -> Response:
    """A response that states in one line what is wrong."""
    return Response.make(status, message + "\n", PLAIN, **headers)
