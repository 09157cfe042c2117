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
from types import CodeType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from lmconf.errors import BatchFailed, CallError, Error, LaunchError

__all__ = ["bare", "clear_frames", "without_frames"]

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)

# Python 3.10 has no groups.
_GROUP: tuple[type[Any], ...] = tuple(
    getattr(builtins, name) for name in ("BaseExceptionGroup",) if hasattr(builtins, name)
)
_IS_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the time that importing inspect takes


def bare(error: E) -> E:
    """Return `error` without its frames and without what it was raised in the course of.

    So are the errors of lmconf that it holds; others that it holds lose the locals of their frames.
    """
    error.__cause__ = error.__context__ = None
    for held in _held(error):
        if isinstance(held, Error):
            bare(held)
        else:
            clear_frames(held)
    return error.with_traceback(None)


def _held(error: BaseException) -> Iterator[BaseException]:
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
    frames of `error` itself may begin with one that does.
    """
    seen = {id(error)}
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        trace = one.__traceback__
        if one is not error and trace is not None and not _cleared(trace):
            continue
        while trace is not None:
            _cleared(trace)
            trace = trace.tb_next
        for other in (one.__cause__, one.__context__, *_held(one)):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)


def _cleared(trace: TracebackType) -> bool:
    """Drop the locals of a frame; False where it still runs."""
    try:
        trace.tb_frame.clear()
    except RuntimeError:
        return False
    return True


def without_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` raising lmconf's errors as if they had arisen where it was called.

    Whatever else it raises passes through as it is, and its frames keep no locals. For public
    functions, coroutine functions among them; the frame that they are called in is no concern of
    theirs.
    """
    code: CodeType | None = getattr(function, "__code__", None)
    if code is not None and code.co_flags & _IS_COROUTINE:
        return cast(
            "Callable[P, R]", _awaited(cast("Callable[P, Coroutine[Any, Any, Any]]", function))
        )

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Error as error:
            failure = bare(error)
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


def _awaited(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await function(*args, **kwargs)
        except Error as error:
            failure = bare(error)
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
