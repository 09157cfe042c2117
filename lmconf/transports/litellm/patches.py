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
from collections.abc import Coroutine
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from lmconf.system.fork import Mutex, register_forkable
from lmconf.system.interrupts import run_shielded
from lmconf.system.threads import run_in_thread
from lmconf.transports.http.attempt import has_attempt, lent_client
from lmconf.transports.http.http_request import PLACEHOLDER

__all__ = ["aimport_litellm", "import_litellm", "lend_clients", "log_nothing_unheard"]

_LENDING = Mutex()
_KINDS = ("httpx_client", "async_httpx_client")


class _Lender:
    """litellm's own store of clients, which answers with an attempt's client inside of one."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def get_cache(self, key: str, *args: Any, **kwargs: Any) -> Any:
        if str(key).startswith(_KINDS):
            client = lent_client()
            if client is not None:
                return client
        return self._store.get_cache(key, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def lend_clients(litellm: ModuleType) -> None:
    """Put the lender in the place of litellm's store of clients, once."""
    settings: Any = litellm
    with _LENDING:
        store = settings.in_memory_llm_clients_cache
        if not isinstance(store, _Lender):
            settings.in_memory_llm_clients_cache = _Lender(store)


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
        if not has_attempt():
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


READ_ONLY = r"Items? '.*' on TypedDict class '.*' (is|are) using the `ReadOnly` qualifier"
"""A warning that a user of litellm can do nothing about."""

CANCELLED = r"coroutine '\S*a(sync_)?(text_)?completion\S*' was never awaited"
"""A warning about a call that is cancelled while litellm prepares it, in a thread that then makes a
coroutine for nobody."""


class _LiteLLMImport:
    """One import a process; warnings are silenced meanwhile, which is nothing for two threads.

    A fork waits for its end: a child could neither finish a half-made import nor begin it anew.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.module: ModuleType | None = None

    def before_fork(self) -> None:
        self.lock.acquire()

    def after_fork(self, in_child: bool) -> None:
        self.lock.release()


_IMPORTING = _LiteLLMImport()


def import_litellm() -> ModuleType:
    """Return litellm, imported and made ready by the first call of all.

    No price map or tokenizer is fetched and no `.env` is read. Where the program had imported it before, its
    loggers are left as they are.
    """
    if _IMPORTING.module is not None:
        return _IMPORTING.module
    register_forkable(_IMPORTING)
    return run_shielded(_import_once)


async def aimport_litellm() -> ModuleType:
    """Return litellm; its first import, which takes seconds, does not hold up the event loop."""
    if _IMPORTING.module is not None:
        return _IMPORTING.module
    return await run_in_thread(import_litellm)


def _import_once() -> ModuleType:
    with _IMPORTING.lock:
        if _IMPORTING.module is None:
            _IMPORTING.module = _import_litellm()
        return _IMPORTING.module


def _forget_remains() -> None:
    """Forget what an import of litellm left that did not come to its end, a program's own, say.

    Its parts hold the module that was never finished, and an import anew would take them over.
    """
    if "litellm" not in sys.modules:
        for name in [name for name in sys.modules if name.startswith("litellm.")]:
            del sys.modules[name]


def _import_litellm() -> ModuleType:
    _forget_remains()
    ours = "litellm" not in sys.modules
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            litellm = importlib.import_module("litellm")
        except BaseException:
            _forget_remains()
            raise
    # Said by pydantic of types of litellm's own, whenever it builds one of their validators.
    warnings.filterwarnings("ignore", READ_ONLY, UserWarning)
    warnings.filterwarnings("ignore", CANCELLED, RuntimeWarning)
    # Where a program makes errors of warnings, litellm would take its own for failures.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="litellm")
    # mypy: what a module holds at run time is not known to it.
    settings: Any = litellm
    settings.suppress_debug_info = True
    settings.telemetry = False
    # Else a streamed answer of a model called like a Llama waits for a download from a hub.
    settings.disable_hf_tokenizer_download = True
    if ours:
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logger = logging.getLogger(name)
            logger.handlers = [logging.NullHandler()]
            logger.setLevel(logging.ERROR)
    with contextlib.suppress(ImportError, AttributeError):
        _spare_event_loops(settings)
    with contextlib.suppress(ImportError, AttributeError):
        log_nothing_unheard(settings)
    _keep_databricks_to_the_key()
    _ask_no_ollama(ours)
    return litellm


def _ask_no_ollama(ours: bool) -> None:
    """Keep litellm from asking an Ollama server what it knows of a model.

    It would do so for prices that there are none of, by a client of its own, with the key and at
    the address that OLLAMA_API_KEY and OLLAMA_API_BASE name. Where the program had imported
    litellm before, its own calls are left as they are.
    """
    ollama: Any = importlib.import_module("litellm.llms.ollama.common_utils")
    models, name = ollama.OllamaModelInfo, "get_runtime_model_info"
    if not hasattr(models, name):  # older versions
        completion: Any = importlib.import_module("litellm.llms.ollama.completion.transformation")
        models, name = completion.OllamaConfig, "get_model_info"
    asking = getattr(models, name)

    @functools.wraps(asking)
    def known(self: Any, model: str, *others: Any, **named: Any) -> Any:
        if not ours and not has_attempt():
            return asking(self, model, *others, **named)
        return {
            "key": model,
            "litellm_provider": "ollama",
            "mode": "chat",
            "supports_function_calling": True,
            "input_cost_per_token": 0.0,
            "output_cost_per_token": 0.0,
            "max_tokens": None,
            "max_input_tokens": None,
            "max_output_tokens": None,
        }

    setattr(models, name, known)


def _keep_databricks_to_the_key() -> None:
    """Keep litellm from asking for a token where it was given a credential of ours.

    With DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET in the environment it would, by a
    client of its own, send both to whatever address the profile states.
    """
    databricks: Any = importlib.import_module("litellm.llms.databricks.common_utils")
    base = databricks.DatabricksBase
    unasked = base.databricks_validate_environment

    @functools.wraps(unasked)
    def asked(self: Any, api_key: str | None, api_base: str | None, **others: Any) -> Any:
        if api_key != PLACEHOLDER:
            return unasked(self, api_key=api_key, api_base=api_base, **others)
        return api_base, {"Authorization": f"Bearer {api_key}"}

    base.databricks_validate_environment = asked


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
