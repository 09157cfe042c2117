"""Hands calls to one of LiteLLM's named loggers, as LiteLLM hands it calls of its own.

The logger reads its settings from the environment, as LiteLLM's documentation says of it. It is
told what callbacks are told: no key, no header and no address is in that. LiteLLM installs no
package: what a logger needs must be there when the first call begins.
"""

from __future__ import annotations

import copy
import importlib
import logging
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from lmconf.callbacks.events import End, Failure, Start
from lmconf.callbacks.litellm_names import LITELLM_LOGGERS
from lmconf.callbacks.otel import CallRegistry
from lmconf.errors import UsageError
from lmconf.secrets.redaction import mask_key_shapes
from lmconf.system.fork import Mutex
from lmconf.system.optional import is_installed

__all__ = ["LiteLLMCallback"]


def _import_litellm() -> object:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
    return importlib.import_module("litellm")


class LiteLLMCallback:
    """Tells LiteLLM's logger `name` of answers and failures; `litellm` imports LiteLLM."""

    leaving = 10.0
    """Seconds that the end of the program waits for it: LiteLLM takes some to be imported."""

    def __init__(self, name: str, litellm: Callable[[], object] = _import_litellm) -> None:
        module = LITELLM_LOGGERS[name]
        if module and not is_installed(module):
            package = {"opentelemetry.sdk": "opentelemetry-sdk", "sentry_sdk": "sentry-sdk"}
            raise UsageError(
                f"LiteLLM's logger `{name}` needs the package"
                f" {package.get(module, module.replace('_', '-'))}, which is not installed"
            )
        self._name = name
        self._import = litellm
        self._logger: Any = None
        self._lock = Mutex()
        self._started: CallRegistry[Start] = CallRegistry()

    def on_start(self, event: Start) -> None:
        """Note what is asked."""
        self._started.keep(event.call_id, event)

    async def on_end(self, event: End) -> None:
        """Hand over an answer."""
        logged, start, end = self._log_call(event)
        litellm: Any = importlib.import_module("litellm")
        response = dict(event.response) if isinstance(event.response, Mapping) else {}
        result = litellm.ModelResponse(**response)
        if event.cost is not None:
            result._hidden_params["response_cost"] = event.cost  # noqa: SLF001 - where it looks
        if self._logger is not None:
            await logged.async_success_handler(result, start, end, cache_hit=event.cache_hit)
        else:
            logged.success_handler(result, start, end, cache_hit=event.cache_hit)

    async def on_error(self, event: Failure) -> None:
        """Hand over a failure."""
        logged, start, end = self._log_call(event)
        # Without its traceback, whose frames hold more than a logger may see.
        error = _bare(event.error)
        if self._logger is not None:
            await logged.async_failure_handler(error, "", start, end)
        else:
            logged.failure_handler(error, "", start, end)

    async def flush(self) -> None:
        """Have the logger send what it has gathered."""
        flush = getattr(self._logger, "flush_queue", None)
        if flush is not None:
            await flush()

    def _log_call(self, event: End | Failure) -> tuple[Any, datetime, datetime]:
        self._open()
        start = self._started.take(event.call_id)
        request = event.request
        settings = request.get("settings")
        provider, _, model = event.model.partition("/")
        begun = datetime.fromtimestamp(event.time - event.duration, timezone.utc)
        logged = _logging_of(self._logger or self._name)(
            model=model or event.model,
            messages=request.get("messages"),
            stream=False,
            call_type="acompletion",
            start_time=begun,
            litellm_call_id=event.call_id,
            function_id="",
        )
        logged.update_environment_variables(
            model=model or event.model,
            user=None,
            optional_params=dict(settings) if isinstance(settings, Mapping) else {},
            litellm_params={
                "acompletion": self._logger is not None,
                "litellm_call_id": event.call_id,
                "metadata": {"lm": event.lm, "attempts": event.attempts},
            },
            custom_llm_provider=start.provider if start is not None else provider,
        )
        logged.model_call_details["input"] = request.get("messages")
        return logged, begun, datetime.fromtimestamp(event.time, timezone.utc)

    def _open(self) -> None:
        with self._lock:
            if self._logger is not None:
                return
            litellm: Any = self._import()
            machinery = _machinery()
            if self._name in litellm._known_custom_logger_compatible_callbacks:  # noqa: SLF001
                self._logger = _make_logger(machinery, self._name)
            elif self._name != "s3":  # which LiteLLM makes by itself
                machinery.set_callbacks([self._name])


def _machinery() -> Any:
    return importlib.import_module("litellm.litellm_core_utils.litellm_logging")


def _make_logger(machinery: Any, name: str) -> Any:
    """Return a logger of our own: one that LiteLLM shares would belong to another event loop."""
    said = _WarningCapture()
    logger = logging.getLogger("LiteLLM")
    logger.addHandler(said)
    shared = machinery._in_memory_loggers  # noqa: SLF001 - there is no other way to ask for one
    machinery._in_memory_loggers = []  # noqa: SLF001
    try:
        made = machinery._init_custom_logger_compatible_class(name, None, None)  # noqa: SLF001
    finally:
        machinery._in_memory_loggers = shared  # noqa: SLF001
        logger.removeHandler(said)
    if made is None:
        raise UsageError(f"LiteLLM's logger `{name}` cannot be set up{said.why}")
    return made


class _WarningCapture(logging.Handler):
    """Why LiteLLM made no logger, which it only logs."""

    why = ""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text = str(error).splitlines()[0] if str(error) else ""
            self.why = f": {type(error).__name__}: {mask_key_shapes(text)[:300]}"


def _logging_of(logger: object) -> Callable[..., Any]:
    """Return what makes LiteLLM's account of a call that `logger` alone is told of."""
    base: Any = _machinery().Logging

    class Logged(base):  # type: ignore[misc]
        def get_combined_callback_list(self, *_: object, **__: object) -> list[object]:
            return [logger]

    return Logged


def _bare(error: BaseException) -> BaseException:
    try:
        copied = copy.copy(error)
    except Exception:  # noqa: BLE001 - whatever a stranger's error does when it is copied
        copied = RuntimeError(type(error).__name__)
    return copied.with_traceback(None)
