"""The figures of a log: None where its settings do not show what they are made of, or there was nothing."""

from proxywatch.dante.sessions import Sessions


def success_rate(sessions: Sessions, now: float, window: float) -> float | None:
    """Percent of the requests of the last seconds; None without any, or where outcomes are hidden."""
    if not sessions.settings.shows_rate:
        return None
    successful, failed = sessions.counting.window.since(now - window)
    return 100 * successful / (successful + failed) if successful + failed else None


def success_rate_of_all(sessions: Sessions) -> float | None:
    """Percent of all requests; None without any, or where outcomes are hidden."""
    decided = sessions.totals.successful + sessions.totals.failed
    return 100 * sessions.totals.successful / decided if decided and sessions.settings.shows_rate else None


def request_rate(sessions: Sessions, now: float) -> int | None:
    """Requests decided in the last 60 seconds; None where outcomes are hidden."""
    settings = sessions.settings
    shown = settings.shows_failures and settings.shows_successes
    return sum(sessions.counting.window.since(now - 60)) if shown else None


def mean_duration(sessions: Sessions) -> float | None:
    """Of the last 100 sessions, in seconds; None before the first."""
    last = sessions.counting.last_durations
    return sum(last) / len(last) if last and sessions.settings.shows_durations else None


def active(sessions: Sessions) -> int | None:
    """Connections accepted and not ended; None where begins or ends are hidden."""
    return len(sessions.connections) if sessions.settings.shows_active else None
