"""Lines out of what comes in pieces."""

CHUNK = 1 << 15  # at once; more is slower to account for
LONGEST = 1 << 20
KEPT = 1 << 12


class Splitter:
    """Holds back what is no whole line yet; of a line of more than 1 MiB it keeps the first 4 KiB."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> bytes:
        """The lines that are complete with this chunk, which is shorter than 1 MiB."""
        if self._skipping:
            _, newline, chunk = chunk.partition(b"\n")
            self._skipping = not newline
        end = chunk.rfind(b"\n") + 1
        lines = b""
        if end:
            lines = b"".join((self._waiting, chunk[:end]))
            self._waiting.clear()
            first = lines.find(b"\n") + 1
            if first > LONGEST:
                lines = lines[:KEPT] + b"\n" + lines[first:]
        self._waiting += chunk[end:]
        if len(self._waiting) >= LONGEST:
            lines += self._waiting[:KEPT] + b"\n"
            self._waiting.clear()
            self._skipping = True
        return lines

    def end(self) -> bytes:
        """The last line, given its newline, when nothing else follows; what comes then is a new one."""
        rest = bytes(self._waiting)
        self._waiting.clear()
        self._skipping = False
        return rest and rest + b"\n"
