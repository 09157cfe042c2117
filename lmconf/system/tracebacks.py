"""Errors that leave a public function without what the frames below it held.

The frames of reading, compiling, calling and starting hold documents, settings, requests and
environments, where a secret may stand: pasted by mistake, given in code, or resolved. Tools that
report errors show the locals of every frame, and whoever keeps an error keeps its frames alive.

| what is raised | what it keeps |
| --- | --- |
| an error of lmconf | its message alone: it says where and why |
| anything else (a bug, an interrupt, an error of a transport of one's own) | the lines that it passed, with no locals |
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Callable, Coroutine, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from lmconf.errors import BatchFailed, CallError, Error, LaunchError

__all__ = ["clear_frames", "hide_frames", "is_interrupt", "mark_interrupt", "strip_frames"]

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)

# Python 3.10 has no groups.
_GROUP: tuple[type[Any], ...] = tuple(
    getattr(builtins, name) for name in ("BaseExceptionGroup",) if hasattr(builtins, name)
)
_MARK = "_lmconf_interrupt"
_IS_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the time that importing inspect takes


def strip_frames(error: E) -> E:
    """Return `error` without its frames and without what it was raised in the course of.

    So are the errors of lmconf that it holds; others that it holds lose the locals of their frames.
    """
    error.__cause__ = error.__context__ = None
    for held in _held_errors(error):
        if isinstance(held, Error):
            strip_frames(held)
        else:
            clear_frames(held)
    return error.with_traceback(None)


def is_interrupt(error: BaseException) -> bool:
    """Say whether a signal handler raised `error`: see `lmconf.system.interrupts`."""
    if _MARK in vars(error):
        return True
    before: FrameType | None = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        frame = trace.tb_frame
        if before is not None and _is_given(frame, before):
            return True
        before, trace = frame, trace.tb_next
    return False


def mark_interrupt(error: BaseException) -> None:
    """Have `error` known for an interrupt, also when it has lost its frames."""
    vars(error)[_MARK] = True


def _is_given(frame: FrameType, caller: FrameType) -> bool:
    """Say whether `frame` was called with its caller's."""
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    values = frame.f_locals
    given = [values.get(name) for name in code.co_varnames[:count]]
    if code.co_flags & 0x04:  # *args (`inspect.CO_VARARGS`)
        given.extend(values.get(code.co_varnames[count]) or ())
    return any(value is caller for value in given)


def _held_errors(error: BaseException) -> Iterator[BaseException]:
    """Yield the failures that stand in `error` beside its causes."""
    if isinstance(error, CallError | LaunchError):
        yield from error.fallbacks
    if isinstance(error, BatchFailed):
        yield from error.errors.values()
    if isinstance(error, _GROUP):
        yield from error.exceptions


def clear_frames(error: BaseException) -> None:
    """Drop the locals of every frame that `error`, and what it was raised from, has left.

    The lines stay. What was caught in a frame that still runs belongs to whoever called: only the
    frames of `error` itself may begin with one that does. An interrupt is still known to be one.
    """
    if is_interrupt(error):
        mark_interrupt(error)
    seen = {id(error)}
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        trace = one.__traceback__
        if one is not error and trace is not None and not _clear_frame(trace):
            continue
        while trace is not None:
            _clear_frame(trace)
            trace = trace.tb_next
        for other in (one.__cause__, one.__context__, *_held_errors(one)):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


def _clear_frame(trace: TracebackType) -> bool:
    """Drop the locals of a frame; False where it still runs."""
    try:
        trace.tb_frame.clear()
    except RuntimeError:
        return False
    return True


def hide_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` raising lmconf's errors as if they had arisen where it was called.

    Whatever else it raises passes through as it is, and its frames keep no locals. For public
    functions, coroutine functions among them; the frame that they are called in is no concern of
    theirs.
    """
    code: CodeType | None = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _IS_COROUTINE:
        return cast(
            "Callable[P, R]",
            _hide_frames_async(cast("Callable[P, Coroutine[Any, Any, Any]]", function)),
        )

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Error as error:
            failure = strip_frames(error)
        except BaseException as error:
            clear_frames(error)
            del args, kwargs
            raise
        # This frame's own locals are shown, too.
        del args, kwargs
        try:
            raise failure
        finally:
            del failure  # which has this frame, and would be gone no sooner than the cycle is found

    return called


def _hide_frames_async(
    function: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except Error as error:
            failure = strip_frames(error)
        except BaseException as error:
            clear_frames(error)
            del args, kwargs
            raise
        del args, kwargs
        try:
            raise failure
        finally:
            del failure

    return called
