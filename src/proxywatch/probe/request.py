"""What to fetch through the proxy, its bounds, and what is expected of the answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What to fetch.

    Attributes:
        kind: What it is for, as the history names it.
        url: http or https.
        timeout: For all of it, in seconds.
        limit: The most bytes of body to read.
        enough: True when reaching the limit is the end of the transfer, False when it is a failure.
        keep: Whether the body is wanted, not only counted.
        min_duration: Go on past `least` bytes until the body has taken as many seconds.
        least: With `min_duration`, the bytes to read at least.
        family: 4 or 6 to insist on one family for a connection made from here; 0 for either.
        patience: The longest that it may stand still, in whole seconds; 0 for as long as all of it may take.
        status: The HTTP status that the answer is to have; 0 for any success.
        body: The body that it is to have, without white space around it; None for any.
        upload: Bytes to send; 0 for a GET.
    """

    kind: str
    url: str
    timeout: float
    limit: int
    enough: bool = False
    keep: bool = False
    min_duration: float = 0.0
    least: int = 0
    family: int = 0
    patience: int = 0
    status: int = 0
    body: bytes | None = None
    upload: int = 0

    @property
    def kept(self) -> bool:
        """Whether the body is to be kept."""
        return self.keep or self.body is not None

    @property
    def wanted(self) -> int:
        """Bytes of body that make a success of a transfer that we end ourselves; 0 for the whole body."""
        return (self.least or self.limit) if self.enough else 0
