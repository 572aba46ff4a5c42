"""Reads the settings again while the daemon runs."""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from proxywatch.clock import Clock
from proxywatch.config import Config
from proxywatch.errors import ConfigError, Fault

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reloads:
    """How the last reading of the settings went.

    Attributes:
        successful: Whether the settings in force are those of the file.
        at: Unix time of the last reading that succeeded.
        fault: Why the last reading did not; empty when it did.
    """

    successful: bool = True
    at: float = 0.0
    fault: str = ""


class Reload:
    """Reads the settings; those in force stay in force when the new ones have a fault.

    Args:
        read: Reads the settings; raises ConfigError.
        config: The settings in force.
        apply: Puts others into force.
        at_start_only: Sections that take effect at a restart only.
        record: Where the outcome is kept.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        config: Config,
        apply: Callable[[Config], None],
        *,
        at_start_only: Collection[str],
        record: Reloads,
        clock: Clock,
    ) -> None:
        self.config = config
        self._read = read
        self._apply = apply
        self._at_start_only = at_start_only
        self._record = record
        self._clock = clock
        self._turn = asyncio.Lock()  # what was read first is applied first
        record.at = clock.now()

    async def __call__(self) -> None:
        """Apply the settings as they are now; after a reload that is under way.

        Raises:
            ConfigError: They have faults; nothing changed.
        """
        async with self._turn:
            await self._reload()

    async def _reload(self) -> None:
        try:
            config = await asyncio.to_thread(self._read)
            self._apply(config)
        except ConfigError as error:
            self._refused(error)
            raise
        except Exception as error:
            log.exception("reload failed")
            refused = ConfigError(Fault("settings", f"cannot be applied: {type(error).__name__}"))
            self._refused(refused)
            raise refused from error
        for section in self._at_start_only:
            if config.sections[section] != self.config.sections[section]:
                log.warning("needs a restart to take effect", extra={"section": section})
        self.config = config
        self._record.successful, self._record.fault, self._record.at = True, "", self._clock.now()
        log.info("settings loaded")

    async def on(self, requested: asyncio.Event) -> None:
        """Reload whenever the event is set; a task of the daemon."""
        while True:
            await requested.wait()
            requested.clear()
            try:
                await self()
            except ConfigError:
                continue

    def _refused(self, error: ConfigError) -> None:
        self._record.successful, self._record.fault = False, str(error)
        log.error("settings refused, the old ones stay in force", extra={"faults": str(error)})
