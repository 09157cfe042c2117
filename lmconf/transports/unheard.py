"""Keeps litellm from logging what nobody hears.

After each call it queues reports of it, for a pool of threads and for a task of each event loop:
tasks that stay behind when the call is over, threads whose locks no forked child can take, and a
third of what a call costs. Where the program has registered callbacks with litellm, or calls it
by itself, all this stays as it is.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from lmconf.transports.exchange import is_exchanging

__all__ = ["log_nothing_unheard"]

_HEARING = (
    "callbacks",
    "input_callback",
    "success_callback",
    "failure_callback",
    "service_callback",
    "_async_success_callback",
    "_async_failure_callback",
)


def log_nothing_unheard(litellm: Any) -> None:
    """Have calls of lmconf's reported to nobody as long as nobody has asked for it.

    Raises:
        ImportError, AttributeError: this litellm has no such queues.
    """

    def unheard() -> bool:
        if not is_exchanging():
            return False
        heard = (one for name in _HEARING for one in getattr(litellm, name, None) or ())
        # Some of litellm's clients enter its cache there, which nobody has switched on.
        return all(one == "cache" and litellm.cache is None for one in heard)

    pool: Any = importlib.import_module("litellm.litellm_core_utils.thread_pool_executor").executor
    submit = pool.submit

    @functools.wraps(submit)
    def submitted(work: Any, /, *args: Any, **named: Any) -> Future[Any]:
        if not unheard():
            queued: Future[Any] = submit(work, *args, **named)
            return queued
        nothing: Future[Any] = Future()
        nothing.cancel()
        return nothing

    pool.submit = submitted
    worker: Any = importlib.import_module("litellm.litellm_core_utils.logging_worker")
    worker = worker.GLOBAL_LOGGING_WORKER
    enqueue = worker.ensure_initialized_and_enqueue

    @functools.wraps(enqueue)
    def enqueued(async_coroutine: Coroutine[Any, Any, Any]) -> None:
        if unheard():
            async_coroutine.close()
        else:
            enqueue(async_coroutine)

    worker.ensure_initialized_and_enqueue = enqueued
