"""Imports litellm, and keeps it from printing, reporting and working beside the call."""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import threading
import warnings
from types import ModuleType
from typing import Any

__all__ = ["import_litellm"]


READ_ONLY = r"Items? '.*' on TypedDict class '.*' (is|are) using the `ReadOnly` qualifier"
"""A warning that a user of litellm can do nothing about."""

CANCELLED = r"coroutine '\S*a(sync_)?(text_)?completion\S*' was never awaited"
"""A warning about a call that is cancelled while litellm prepares it, in a thread that then makes a
coroutine for nobody."""

# One import a process: warnings are silenced meanwhile, and that is nothing for two threads.
_IMPORTING = threading.Lock()


def import_litellm() -> ModuleType:
    """Return litellm, imported and made ready by the first call of all.

    No price map is fetched and no `.env` is read. Where the program had imported it before, its
    loggers are left as they are.
    """
    with _IMPORTING:
        return _imported()


@functools.cache
def _imported() -> ModuleType:
    ours = "litellm" not in sys.modules
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        litellm = importlib.import_module("litellm")
    # Said by pydantic of types of litellm's own, whenever it builds one of their validators.
    warnings.filterwarnings("ignore", READ_ONLY, UserWarning)
    warnings.filterwarnings("ignore", CANCELLED, RuntimeWarning)
    # Where a program makes errors of warnings, litellm would take its own for failures.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="litellm")
    # mypy: what a module holds at run time is not known to it.
    settings: Any = litellm
    settings.suppress_debug_info = True
    settings.telemetry = False
    if ours:
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.setLevel(logging.ERROR)
    with contextlib.suppress(ImportError, AttributeError):
        _spare_event_loops(settings)
    return litellm


def _spare_event_loops(litellm: Any) -> None:
    """Keep litellm from running an event loop inside each synchronous call for nothing.

    It does so to tell its service callbacks how long the call took, and leaves the loop open; it
    does so even when there are none of these callbacks, and then this does nothing instead.
    """
    timing: Any = importlib.import_module("litellm.litellm_core_utils.logging_utils")
    logger: Any = importlib.import_module("litellm._service_logger").ServiceLogging

    class OnlyWhenHeard(logger):  # type: ignore[misc]
        def service_success_hook(self, *args: object, **kwargs: object) -> None:
            if litellm.service_callback:
                super().service_success_hook(*args, **kwargs)

    if timing._service_logger is None:  # noqa: SLF001 - there is no public place to set it
        timing._service_logger = OnlyWhenHeard()  # noqa: SLF001
