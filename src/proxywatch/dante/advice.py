"""What `proxywatch check` says of a log: what it hides, and which line of danted.conf to change."""

from collections.abc import Sequence

from proxywatch.dante.conf import Rule
from proxywatch.dante.log import DanteLog
from proxywatch.dante.settings import LogSettings
from proxywatch.finding import Finding

WANTED = "log: connect disconnect error"
_GAINS = {
    "connect": "the begin of every session: set-up times, open connections",
    "disconnect": "every outcome: timeouts, bytes, durations, the success rate",
}


def of_absence(path: str, *, permitted: bool) -> str:
    """How to fix a log that cannot be read."""
    if not permitted:
        return f"Let this process read it: run it in the group that owns {path}, or `chmod o+r` the file."
    return (
        f"Set `logoutput: {path}` in danted.conf and restart Dante, mount its directory here too, or name "
        "the file in `sessions.log`. Of a proxy other than Dante say `proxy.kind: generic`."
    )


def of_log(path: str, log: DanteLog, conf: str, rules: Sequence[Rule]) -> list[Finding]:
    """What to say of a log that was read.

    Args:
        path: The log's.
        log: Of its last lines.
        conf: The path of danted.conf; empty when it is not at hand.
        rules: Its rules.
    """
    if log.unparsed and log.unparsed == log.lines:
        return [Finding.fault(f"{path} is no log of Dante's", "Name Dante's `logoutput` in `sessions.log`.")]
    settings = log.sessions.settings
    missing = settings.cannot_tell()
    lacking = [rule for rule in rules if not {"connect", "disconnect"} <= rule.keywords]
    findings = []
    if missing:
        text = f"the log settings of Dante hide {'; '.join(missing)}"
        findings.append(Finding.hint(text, _fix(settings, conf, lacking)))
    elif not log.lines:
        findings.append(_of_empty(path, conf, rules, lacking))
    else:
        parsed = log.lines - log.unparsed
        findings.append(Finding.ok(f"{path} can be read, {parsed} of its last {log.lines} lines are Dante's"))
        if lacking:
            findings.append(
                Finding.hint(f"{len(lacking)} rules do not log everything", _lines(conf, lacking))
            )
    if log.unparsed:
        example = f", such as {log.example.decode(errors='backslashreplace')[:200]!r}" if log.example else ""
        findings.append(
            Finding.hint(
                f"{log.unparsed} lines are none that Dante writes{example}",
                "Let nothing else write to this file.",
            )
        )
    return findings


def _of_empty(path: str, conf: str, rules: Sequence[Rule], lacking: Sequence[Rule]) -> Finding:
    if lacking:
        return Finding.hint(
            f"{path} is empty, and {len(lacking)} rules do not log everything", _lines(conf, lacking)
        )
    if rules:
        return Finding.ok(f"{path} is there; nothing is written in it yet")
    return Finding.hint(
        f"{path} is there; nothing is written in it yet, so it is not known what it will show",
        f"Send a request through the proxy; if no line comes, write `{WANTED}` in every rule.",
    )


def _fix(settings: LogSettings, conf: str, lacking: Sequence[Rule]) -> str:
    there = {"connect": settings.connect, "disconnect": settings.disconnect}
    gains = [gain for word, gain in _GAINS.items() if there[word] is False]
    where = f"In danted.conf, write `{WANTED}` in every client and socks rule."
    if lacking:
        where = _lines(conf, lacking)
    return f"{where} This gives {', and '.join(gains)}. Then reload Dante (SIGHUP)."


def _lines(conf: str, lacking: Sequence[Rule]) -> str:
    changes = []
    for rule in lacking:
        was = (
            f"change `log: {' '.join(sorted(rule.keywords))}` to" if rule.keywords else f"give `{rule.kind}`"
        )
        changes.append(f"{conf}:{rule.line}: {was} `{WANTED}`")
    return "; ".join(changes) + "."
