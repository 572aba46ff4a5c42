"""Invariant: a user name is refused with a sentence, or has a user without `-` and wishes that can be kept.

python fuzz/fuzz_wishes.py [SECONDS] [SEED]
"""

from mutate import fuzz

from proxywatch.balancer.wishes import STRATEGIES, parse
from proxywatch.errors import ParseError

NAMES = (
    b"alice", b"alice-country-se-city-got-session-abc-ttl-30m", b"alice-node-se-1-country-uk", b"-country-se",
    b"alice%2Dcountry%2Dse", b"a-strategy-random-fallback-region", b"a-server-se-got-wg-001-ttl-1h30m",
    b"a-country--session-abc", b"a-country-se-country-de", b"caf%C3%A9",
)  # fmt: skip
WORDS = (b"-", b"--", b"-country-", b"-node-", b"-ttl-", b"%2d", b"%", b"%00", b"\xff", b"\n", b"a" * 300)


def one(data: bytes) -> None:
    """Hold one input against the invariant."""
    try:
        user, wishes = parse(data)
    except ParseError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 250
        return
    assert "-" not in user
    assert user.isprintable()
    assert wishes.country == "" or (len(wishes.country) == 2 and wishes.country != "uk")
    assert wishes.strategy in {"", *STRATEGIES}
    assert 0 <= wishes.ttl <= 30 * 86400


if __name__ == "__main__":
    fuzz(one, NAMES, WORDS)
