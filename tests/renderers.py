"""The tools that people have print their errors, as they are: each shows the locals of frames."""

from __future__ import annotations

import importlib
import io
import json
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import rich.console
import rich.traceback
import sentry_sdk
import sentry_sdk.transport
import sentry_sdk.utils
import structlog
from sentry_sdk.envelope import Envelope

from lmconf.errors import BatchFailed, Error
from lmconf.runtime import LM
from lmconf.secrets.references import Masked

__all__ = ["RENDERERS", "errors_of", "held_in_locals", "unmasked"]

_WIDE = 4000  # no secret is broken by the end of a line
_TESTS = f"{Path(__file__).parent}/"


def _info(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    return type(error), error, error.__traceback__


def _structlog_console(error: BaseException) -> str:
    """What `log.exception(…)` prints where nothing is configured, once rich is installed."""
    formatter = structlog.dev.RichTracebackFormatter(width=_WIDE)
    out = io.StringIO()
    formatter(out, _info(error))
    renderer = structlog.dev.ConsoleRenderer(colors=False)
    return out.getvalue() + renderer(None, "error", {"event": "failed", "exc_info": _info(error)})


def _structlog_dicts(error: BaseException) -> str:
    made = structlog.processors.dict_tracebacks(None, "error", {"exc_info": _info(error)})
    plain = structlog.tracebacks.ExceptionDictTransformer(
        locals_max_string=None,  # type: ignore[arg-type]  # nothing is cut
        locals_max_length=None,  # type: ignore[arg-type]
        use_rich=False,
    )
    return json.dumps([made, plain(_info(error))])


def _rich(error: BaseException) -> str:
    out = io.StringIO()
    shown = rich.traceback.Traceback.from_exception(
        *_info(error),
        show_locals=True,
        locals_max_length=_WIDE,
        locals_max_string=10**6,
        width=_WIDE,
    )
    rich.console.Console(file=out, width=_WIDE).print(shown)
    return out.getvalue()


class _Memory(sentry_sdk.transport.Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize())


def _sentry(error: BaseException) -> str:
    memory = _Memory()
    client = sentry_sdk.Client(
        dsn="http://key@127.0.0.1:9/1",
        transport=memory,
        default_integrations=False,
        max_value_length=10**6,
    )
    event, hint = sentry_sdk.utils.event_from_exception(error, client_options=client.options)
    client.capture_event(event, hint)
    client.close()
    assert memory.sent
    return b"".join(memory.sent).decode()


def _traceback(error: BaseException) -> str:
    shown = traceback.TracebackException(*_info(error), capture_locals=True)
    return "".join(shown.format())


def _cgitb(error: BaseException) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cgitb: Any = importlib.import_module("cgitb")
    out = io.StringIO()
    for form in ("text", "html"):
        cgitb.Hook(file=out, format=form, context=9).handle(_info(error))
    return out.getvalue()


RENDERERS: dict[str, Callable[[BaseException], str]] = {
    "structlog's console": _structlog_console,
    "structlog's dict_tracebacks": _structlog_dicts,
    "rich with locals": _rich,
    "sentry": _sentry,
    "traceback with locals": _traceback,
    "cgitb": _cgitb,
}
if importlib.util.find_spec("cgitb") is None:  # it left Python with 3.13
    del RENDERERS["cgitb"]


# --- everything at once ---------------------------------------------------------------------------


def errors_of(error: BaseException) -> list[BaseException]:
    """Return `error` and every error that can be reached from it."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, BaseException) or any(one is other for other in found):
            continue
        found.append(one)
        waiting += [one.__cause__, one.__context__]
        waiting += getattr(one, "exceptions", ())
        waiting += getattr(one, "fallbacks", ()) if isinstance(one, Error) else ()
        waiting += one.results if isinstance(one, BatchFailed) else ()
    return found


def without_callers(error: BaseException) -> BaseException:
    """Return `error` without the frames of the test that called: it knows the secret."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_TESTS):
        trace = trace.tb_next
    return error.with_traceback(trace)


def held_in_locals(error: BaseException, parts: list[str]) -> list[str]:
    """Return the locals, in any frame of any error reached from `error`, that hold one of `parts`.

    What only a masked object holds is not held.
    """
    held = []
    for one in errors_of(error):
        trace = one.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            for name, value in frame.f_locals.items():
                if any(part in text for text in unmasked(value) for part in parts):
                    held.append(f"{frame.f_code.co_name}: {name}")
            trace = trace.tb_next
        held += [
            f"{type(one).__name__}.{name}"
            for name, value in {**vars(one), "args": one.args}.items()
            if any(part in text for text in unmasked(value) for part in parts)
        ]
    return held


_ATOMS = (type, types.ModuleType, types.FunctionType, int, float, type(None))


def unmasked(value: object) -> Iterator[str]:
    """Yield every text that can be reached from `value`, and is not behind a mask."""
    seen: set[int] = set()
    waiting: list[object] = [value]
    while waiting and len(seen) < 20_000:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (*_ATOMS, Masked, LM)):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one
        elif isinstance(one, bytes | bytearray | memoryview):
            yield bytes(one).decode("latin-1")
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        elif isinstance(one, BaseException):
            waiting += [vars(one), one.args]
        else:
            waiting += [vars(one)] if hasattr(one, "__dict__") else []
            for kind in type(one).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                names = (slots,) if isinstance(slots, str) else slots
                waiting += [getattr(one, name, None) for name in names]
            waiting += [getattr(one, n, None) for n in getattr(one, "__struct_fields__", ())]
