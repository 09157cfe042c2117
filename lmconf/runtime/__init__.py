"""Specs made live: `LM`, its calls, and what other rooms may use of them.

Nothing is imported before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lmconf.system.lazy import lazy_attributes

if TYPE_CHECKING:
    from lmconf.runtime.answer import Answer, TruncatedWarning, texts_of
    from lmconf.runtime.assembly import Assembly
    from lmconf.runtime.batch import BatchRun
    from lmconf.runtime.batch_items import (
        CheckedItem,
        describe_error,
        describe_items,
        examine_items,
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

_HOMES = {
    "Answer": "answer",
    "Assembly": "assembly",
    "AsyncStream": "stream",
    "BatchRun": "batch",
    "CallForecast": "forecast",
    "CheckedItem": "batch_items",
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
    "describe_error": "batch_items",
    "describe_items": "batch_items",
    "drive": "driver",
    "examine_items": "batch_items",
    "fingerprint_of": "server",
    "forecast_call": "forecast",
    "make_connection": "connection",
    "progress_reporter": "progress",
    "read_stored": "stored",
    "stated_fields": "connection",
    "texts_of": "answer",
    "track_usage": "usage",
    "warn_if_truncated": "call",
}

__all__ = [
    "LM",
    "Answer",
    "Assembly",
    "AsyncStream",
    "BatchRun",
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
    "progress_reporter",
    "read_stored",
    "stated_fields",
    "texts_of",
    "track_usage",
    "warn_if_truncated",
]

__getattr__ = lazy_attributes(__name__, _HOMES)
