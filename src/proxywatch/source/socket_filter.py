"""Shares the messages of a netlink group among several sockets, by a filter on each (bpf(4), socket(7)).

Each socket has a buffer of its own, so that together they hold what one may not.
"""

import socket
import struct
from array import array
from collections.abc import Sequence

_SO_ATTACH_FILTER = 26
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD_BYTE, _TO_INDEX, _XOR_INDEX, _AND, _RIGHT, _IF_EQUAL, _RETURN = 0x30, 0x07, 0xAC, 0x54, 0x74, 0x15, 0x06
_LOAD_NOTHING = 0x01
_ALL, _NONE = 0xFFFFFFFF, 0


def attach(one: socket.socket, places: Sequence[int], count: int, number: int) -> None:
    """Let only a share of the messages through.

    The lowest bit decides nothing: the kernel gives ports to connections by twos.

    Args:
        one: The socket.
        places: Where the bytes are in a message that decide, all of them by exclusive or.
        count: Among how many sockets, a power of two.
        number: Which of them this is.

    Raises:
        OSError: The kernel does not take it.
    """
    code = [(_LOAD_NOTHING, 0, 0, 0)]  # into the index register
    for place in places:
        code += [(_LOAD_BYTE, 0, 0, place), (_XOR_INDEX, 0, 0, 0), (_TO_INDEX, 0, 0, 0)]
    code += [
        (_RIGHT, 0, 0, 1),
        (_AND, 0, 0, count - 1),
        (_IF_EQUAL, 0, 1, number),
        (_RETURN, 0, 0, _ALL),
        (_RETURN, 0, 0, _NONE),
    ]
    packed = array("B", b"".join(_INSTRUCTION.pack(*each) for each in code))
    program = struct.pack("HP", len(code), packed.buffer_info()[0])
    one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
