"""The rules of danted.conf, as far as their logging goes (sockd.conf(5)).

    client pass {
            from: 10.0.0.0/8 to: 0.0.0.0/0
            log: connect disconnect error
    }

A rule is `client`, `hostid`, `socks` or nothing of these, then `pass` or `block`, then a block. Comments
start with `#`. Options stand several to a line or over several lines; a list ends where the next `word:`
begins.
"""

import re
from dataclasses import dataclass

_RULE = re.compile(
    r"^[ \t]*((?:(?:client|socks|hostid)[ \t]+)?(?:pass|block))[ \t\r\n]*\{([^{}]*)\}", re.MULTILINE
)
_LOG = re.compile(r"(?:^|\s)log[ \t]*:((?:[ \t]+[a-z]++(?![\w.]*[ \t]*:))*)")
_COMMENT = re.compile(r"#[^\n]*")
_OUTPUT = re.compile(r"^[ \t]*logoutput[ \t]*:([^\n]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        kind: As written: `client pass`, `socks block`, `pass`.
        line: Of its `log:`, or of its begin when it has none.
        keywords: What it logs.
    """

    kind: str
    line: int
    keywords: frozenset[str]


def rules(content: bytes) -> list[Rule]:
    """Every rule in order; what is no rule is passed over."""
    text = _text(content)
    found = []
    line = counted = 0
    for match in _RULE.finditer(text):
        log = _LOG.search(match[2])
        at = match.start(2) + log.start(1) if log else match.start(1)
        line += text.count("\n", counted, at)
        counted = at
        keywords = frozenset(log[1].split()) if log else frozenset()
        found.append(Rule(" ".join(match[1].split()), line + 1, keywords))
    return found


def outputs(content: bytes) -> list[str]:
    """Where the server writes its log: paths, `stderr`, `stdout`, `syslog`."""
    return [word for match in _OUTPUT.finditer(_text(content)) for word in match[1].split()]


def _text(content: bytes) -> str:
    return _COMMENT.sub("", content.decode(errors="replace"))
