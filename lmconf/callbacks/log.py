"""Calls as structlog events, on standard error unless the application configured structlog."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lmconf.callbacks.events import End, Event, Failure, Fallback, LimitWait, Retry

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

__all__ = ["LogCallback"]


class LogCallback:
    """Logs figures, never content.

    An answer is `lm_call`, at `level`; a failure is `lm_call_failed`, an error. In between,
    `lm_retry` and `lm_fallback` are warnings, and `lm_limit_wait` is an info.
    """

    inline = True  # what an application logs stands in the order of what happens

    def __init__(self, level: str = "info") -> None:
        self._level = level
        self._logger: FilteringBoundLogger | None = None

    def on_retry(self, event: Retry) -> None:
        """Log that a request is sent again."""
        self._opened().warning("lm_retry", **_event_fields(event))

    def on_fallback(self, event: Fallback) -> None:
        """Log that another LM is asked."""
        self._opened().warning("lm_fallback", **_event_fields(event))

    def on_limit_wait(self, event: LimitWait) -> None:
        """Log that a call has waited for a limit."""
        self._opened().info("lm_limit_wait", **_event_fields(event))

    def on_end(self, event: End) -> None:
        """Log an answer."""
        more = {} if event.first_token is None else {"first_token": round(event.first_token, 6)}
        getattr(self._opened(), self._level)(
            "lm_call",
            lm=event.lm,
            model=event.model,
            call_id=event.call_id,
            duration=round(event.duration, 6),
            cache_hit=event.cache_hit,
            attempts=event.attempts,
            usage=None if event.usage is None else dict(event.usage),
            cost=event.cost,
            request_id=event.request_id,
            **more,
        )

    def on_error(self, event: Failure) -> None:
        """Log a failure by its type and status: its text may quote the prompt."""
        self._opened().error(
            "lm_call_failed",
            lm=event.lm,
            model=event.model,
            call_id=event.call_id,
            duration=round(event.duration, 6),
            attempts=event.attempts,
            error=type(event.error).__name__,
            status=getattr(event.error, "status", None),
            request_id=getattr(event.error, "request_id", None),
        )

    def _opened(self) -> FilteringBoundLogger:
        if self._logger is None:
            self._logger = _logger()
        return self._logger


def _event_fields(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__ if name != "time"}


def _logger() -> FilteringBoundLogger:
    import structlog

    if structlog.is_configured():
        configured: FilteringBoundLogger = structlog.get_logger("lmconf")
        return configured
    # structlog's own default writes to standard output, which belongs to the program's results.
    own: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("debug"),
    )
    return own
