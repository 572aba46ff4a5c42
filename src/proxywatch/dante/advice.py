"""What `proxywatch check` says of a log: what it hides, and which line of danted.conf to change."""

from collections.abc import Sequence

from proxywatch.dante.account import DanteAccount
from proxywatch.dante.conf import Rule
from proxywatch.dante.settings import LogSettings
from proxywatch.finding import Finding

WANTED = "log: connect disconnect error"
_GAINS = {
    "connect": "the begin of every session: set-up times, open connections",
    "disconnect": "every outcome: timeouts, bytes, durations, the success rate",
}


def of_absence(path: str, *, permitted: bool) -> str:
    """How to mend a log that cannot be read."""
    if not permitted:
        return f"Let this process read it: run it in the group that owns {path}, or `chmod o+r` the file."
    return (
        f"Set `logoutput: {path}` in danted.conf and restart Dante, mount its directory here too, or name "
        "the file in `sessions.log`. Of a proxy other than Dante say `proxy.kind: generic`."
    )


def of_account(path: str, account: DanteAccount, conf: str, rules: Sequence[Rule]) -> list[Finding]:
    """What to say of a log that was read.

    Args:
        path: The log's.
        account: Of its last lines.
        conf: The path of danted.conf; empty when it is not at hand.
        rules: Its rules.
    """
    settings = account.sessions.settings
    parsed = account.lines - account.unparsed
    if account.unparsed and not parsed:
        return [Finding.fault(f"{path} is no log of Dante's", "Name Dante's `logoutput` in `sessions.log`.")]
    findings = []
    missing = settings.cannot_tell()
    if missing:
        text = f"the log settings of Dante hide {'; '.join(missing)}"
        findings.append(Finding.hint(text, _mend(settings, conf, rules)))
    else:
        findings.append(
            Finding.ok(f"{path} can be read, {parsed} of its last {account.lines} lines are Dante's")
        )
        lacking = [rule for rule in rules if not {"connect", "disconnect"} <= rule.keywords]
        if lacking:
            findings.append(
                Finding.hint(f"{len(lacking)} rules do not log everything", _lines(conf, lacking))
            )
    if account.unparsed and parsed:
        example = account.example.decode(errors="backslashreplace")[:200]
        findings.append(
            Finding.hint(
                f"{account.unparsed} lines are none that Dante writes, such as {example!r}",
                "Let nothing else write to this file.",
            )
        )
    return findings


def _mend(settings: LogSettings, conf: str, rules: Sequence[Rule]) -> str:
    there = {"connect": settings.connect, "disconnect": settings.disconnect}
    gains = [gain for word, gain in _GAINS.items() if there[word] is False]
    lacking = [rule for rule in rules if not {"connect", "disconnect"} <= rule.keywords]
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
