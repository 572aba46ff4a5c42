"""Question and response code of a DNS message in whatever form a handler has it.

Bytes are read here; messages of dnspython, and of libraries that pack theirs (dnslib), by their own methods.
None of these libraries is needed. What cannot be read gives None, and no error.
"""

from typing import Any

from proxywatch.instrument import dns_message
from proxywatch.instrument.dns_message import Question


def question(message: object) -> Question | None:
    """The first question of a query."""
    if isinstance(message, bytes):
        return dns_message.question(message)
    try:
        return _question(message)
    except Exception:  # noqa: BLE001 - another library's, about another one's input
        return None


def response_code(message: object) -> str | None:
    """The response code of a response."""
    if isinstance(message, bytes):
        return dns_message.response_code(message)
    try:
        return _response_code(message)
    except Exception:  # noqa: BLE001 - another library's
        return None


def _question(message: Any) -> Question | None:  # noqa: ANN401
    if isinstance(message, bytearray | memoryview):
        return dns_message.question(bytes(message))
    if hasattr(message, "to_wire"):
        first = message.question[0]
        domain = first.name.to_text(omit_final_dot=True).lower()
        return Question(int(message.id), domain, dns_message.type_name(int(first.rdtype)))
    return dns_message.question(bytes(message.pack()))


def _response_code(message: Any) -> str | None:  # noqa: ANN401
    if isinstance(message, bytearray | memoryview):
        return dns_message.response_code(bytes(message))
    if hasattr(message, "to_wire"):
        return dns_message.code_name(int(message.rcode()))
    return dns_message.response_code(bytes(message.pack()))
