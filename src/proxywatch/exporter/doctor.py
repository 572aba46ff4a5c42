"""`proxywatch check`: looks at the machine as the collectors would, and says how to fix what is missing."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from proxywatch.config import Config
from proxywatch.exporter import kind
from proxywatch.exporter.library import Extension, installed, new_context, wanted
from proxywatch.finding import Finding
from proxywatch.metrics.registry import Collector, Registry

_LONGEST = 90.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, by collector."""

    findings: dict[str, Sequence[Finding]]

    @property
    def healthy(self) -> bool:
        """Whether nothing is missing."""
        return not any(each.level == "fault" for found in self.findings.values() for each in found)

    def text(self) -> str:
        """For a terminal: one line per finding, with its fix below."""
        width = max(map(len, self.findings), default=0)
        lines = []
        for name, found in self.findings.items():
            for each in found:
                lines.append(f"{name:{width}}  {_MARKS[each.level]}  {each.text}")
                if each.fix:
                    lines.append(f"{'':{width}}         -> {each.fix}")
        faults = sum(each.level == "fault" for found in self.findings.values() for each in found)
        end = "all is well" if not faults else f"{faults} thing{'s' * (faults > 1)} to fix"
        return "\n".join([*lines, "", end])


_MARKS = {"ok": "ok   ", "unknown": "?    ", "hint": "hint ", "fault": "FAULT"}


async def diagnose(config: Config) -> Diagnosis:
    """Let every collector look at the machine, those that conclude from others last."""
    config, generic = kind.settled(config)
    context = new_context(config)
    registry = Registry({})
    findings: dict[str, Sequence[Finding]] = {}
    if generic:
        findings["proxy"] = [
            Finding.ok(f"a proxy other than Dante: {generic} (else say `proxy.kind: dante`)")
        ]
    async with aclosing(context.transfers):
        context = context.among(registry.collectors)
        lines = wanted(config)
        for entry, settings in lines.values():
            registry.register(entry.build(settings, context))
        for derived in (False, True):
            names = [name for name, (entry, _) in lines.items() if entry.derived is derived]
            found = await asyncio.gather(*(_examine(registry.collectors[name]) for name in names))
            findings |= dict(zip(names, found, strict=True))
        for name, collector in installed().items():
            findings[name] = await _examine(Extension(name, collector))
    return Diagnosis(findings)


async def _examine(collector: Collector) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(min(collector.timeout, _LONGEST)):
            return await collector.examine()
    except TimeoutError:
        return [
            Finding.fault(f"no answer within {collector.timeout:g} s", "See whether what it reads hangs.")
        ]
    except Exception as error:  # noqa: BLE001 - whatever is wrong is reported
        return [Finding.fault(f"internal error: {type(error).__name__}: {error}", "Please report this.")]
