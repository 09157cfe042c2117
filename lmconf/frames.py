"""Errors that leave a public function without the frames below it.

The frames of reading, compiling and starting hold documents, settings and environments, where a
secret may stand: pasted by mistake, or given in code. Tools that report errors show the locals of
every frame, and whoever keeps an error keeps its frames alive.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from lmconf.errors import Error

__all__ = ["bare", "without_frames"]

P = ParamSpec("P")
R = TypeVar("R")
E = TypeVar("E", bound=BaseException)


def bare(error: E) -> E:
    """Return `error` without its frames and without what it was raised in the course of."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def without_frames(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` raising lmconf's errors as if they had arisen where it was called.

    Other exceptions are mistakes of the code, and keep the frames that tell where.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        failure: Error
        try:
            return function(*args, **kwargs)
        except Error as error:
            failure = bare(error)
        # This frame's own locals are shown, too.
        del args, kwargs
        raise failure

    return called
