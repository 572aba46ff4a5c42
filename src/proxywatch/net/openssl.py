"""Two switches of OpenSSL that Python's `ssl` does not have, set on its contexts through ctypes.

CPython's context begins with the pointer to OpenSSL's own. The functions are those of the library that `ssl`
itself is linked to. Where they cannot be found, `UnavailableError` says so and nothing is changed.
"""

import ssl
import sys
from typing import Any

_SET_GROUPS = 92  # SSL_CTRL_SET_GROUPS_LIST
_ASK_AND_REQUIRE = 0x03  # SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
_kept: list[object] = []  # callbacks of ctypes, which OpenSSL calls for as long as the process lives


class UnavailableError(Exception):
    """This Python does not let us set it."""


def set_groups(context: ssl.SSLContext, names: str) -> None:
    """Set the groups for the exchange of keys, in order.

    Args:
        context: Of the server.
        names: As OpenSSL writes them, with colons between: `X25519:P-256`.

    Raises:
        UnavailableError: It cannot be set here.
        ValueError: OpenSSL knows no such group.
    """
    library, types = _library()
    control = library.SSL_CTX_ctrl
    control.argtypes = [types.c_void_p, types.c_int, types.c_long, types.c_char_p]
    control.restype = types.c_long
    if control(_pointer(context, library, types), _SET_GROUPS, 0, names.encode()) != 1:
        raise ValueError(f"this OpenSSL does not know all of {names}")


def require_any_certificate(context: ssl.SSLContext) -> None:
    """Require a certificate of each client, whoever has signed it.

    Raises:
        UnavailableError: It cannot be set here.
    """
    library, types = _library()
    context.verify_mode = ssl.CERT_REQUIRED
    pointer = _pointer(context, library, types)
    kind = types.CFUNCTYPE(types.c_int, types.c_int, types.c_void_p)
    accept = kind(lambda _valid, _store: 1)
    _kept.append(accept)
    library.SSL_CTX_set_verify.argtypes = [types.c_void_p, types.c_int, kind]
    library.SSL_CTX_set_verify.restype = None
    library.SSL_CTX_set_verify(pointer, _ASK_AND_REQUIRE, accept)


def _library() -> tuple[Any, Any]:
    import _ssl  # noqa: PLC0415 - named here alone
    import ctypes  # noqa: PLC0415 - a megabyte that only those who ask for such a switch pay

    try:
        library = ctypes.CDLL(_ssl.__file__)
        _ = library.SSL_CTX_set_verify, library.SSL_CTX_ctrl, library.SSL_CTX_get_options
    except (AttributeError, OSError) as error:
        raise UnavailableError("OpenSSL's functions cannot be found from this Python") from error
    if sys.implementation.name != "cpython":
        raise UnavailableError("this is not CPython")
    return library, ctypes


def _pointer(context: ssl.SSLContext, library: Any, types: Any) -> int:  # noqa: ANN401
    pointer = types.c_void_p.from_address(id(context) + object.__basicsize__).value
    if not pointer:
        raise UnavailableError("this Python keeps its contexts otherwise")
    options = library.SSL_CTX_get_options
    options.argtypes, options.restype = [types.c_void_p], types.c_uint64
    if options(pointer) != int(context.options) & 0xFFFFFFFFFFFFFFFF:
        raise UnavailableError("this Python keeps its contexts otherwise")
    return int(pointer)
