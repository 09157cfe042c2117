"""Specs made live: `LM`, its calls, and what other rooms may use of them.

Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmconf.system.lazy import lazy_attributes

if TYPE_CHECKING:
    from lmconf.runtime.answer import Answer, TruncatedWarning, texts_of
    from lmconf.runtime.assembly import Assembly
    from lmconf.runtime.batch import (
        FINAL,
        CheckedItem,
        describe_error,
        describe_items,
        examine_items,
        not_sent,
    )
    from lmconf.runtime.call import Steps, warn_if_truncated
    from lmconf.runtime.connection import base_address, make_connection, stated_fields
    from lmconf.runtime.driver import adrive, drive
    from lmconf.runtime.forecast import CallForecast, ForecastStep, LMForecast, forecast_call
    from lmconf.runtime.history import History
    from lmconf.runtime.lm import LM
    from lmconf.runtime.progress import progress_reporter
    from lmconf.runtime.server import LaunchedServer, fingerprint_of
    from lmconf.runtime.stored import read_stored
    from lmconf.runtime.stream import AsyncStream, Stream
    from lmconf.runtime.usage import Tally, Usage, track_usage
    from lmconf.runtime.worker_pool import run_in_tasks

_HOMES = {
    "Answer": "answer",
    "Assembly": "assembly",
    "AsyncStream": "stream",
    "CallForecast": "forecast",
    "CheckedItem": "batch",
    "FINAL": "batch",
    "ForecastStep": "forecast",
    "History": "history",
    "LM": "lm",
    "LMForecast": "forecast",
    "LaunchedServer": "server",
    "Steps": "call",
    "Stream": "stream",
    "Tally": "usage",
    "TruncatedWarning": "answer",
    "Usage": "usage",
    "adrive": "driver",
    "base_address": "connection",
    "describe_error": "batch",
    "describe_items": "batch",
    "drive": "driver",
    "examine_items": "batch",
    "fingerprint_of": "server",
    "forecast_call": "forecast",
    "make_connection": "connection",
    "not_sent": "batch",
    "progress_reporter": "progress",
    "read_stored": "stored",
    "run_in_tasks": "worker_pool",
    "stated_fields": "connection",
    "texts_of": "answer",
    "track_usage": "usage",
    "warn_if_truncated": "call",
}

__all__ = [
    "FINAL",
    "LM",
    "Answer",
    "Assembly",
    "AsyncStream",
    "CallForecast",
    "CheckedItem",
    "ForecastStep",
    "History",
    "LMForecast",
    "LaunchedServer",
    "Steps",
    "Stream",
    "Tally",
    "TruncatedWarning",
    "Usage",
    "adrive",
    "base_address",
    "describe_error",
    "describe_items",
    "drive",
    "examine_items",
    "fingerprint_of",
    "forecast_call",
    "make_connection",
    "not_sent",
    "progress_reporter",
    "read_stored",
    "run_in_tasks",
    "stated_fields",
    "texts_of",
    "track_usage",
    "warn_if_truncated",
]

__getattr__ = lazy_attributes(__name__, _HOMES)
