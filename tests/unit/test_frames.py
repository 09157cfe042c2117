"""What an error keeps when it leaves a public function, and what stays the caller's own."""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from lmconf.errors import BatchFailed, CallError, UsageError
from lmconf.system.tracebacks import clear_frames, hide_frames, strip_frames

SECRET = "blue-moon-4242"


def breaking(kind: type[BaseException], secret: str) -> None:
    inner = f"Bearer {secret}"
    raise kind(len(inner))


@hide_frames
def public(kind: type[BaseException], secret: str) -> None:
    breaking(kind, secret)


@hide_frames
async def apublic(kind: type[BaseException], secret: str) -> None:
    breaking(kind, secret)


def names(error: BaseException) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


def local_texts(error: BaseException) -> str:
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return repr([frame.locals for frame in shown.stack[1:]])


def test_an_error_of_lmconf_arises_where_the_function_was_called() -> None:
    with pytest.raises(UsageError) as raised:
        public(UsageError, SECRET)
    assert names(raised.value)[1:] == ["called"]
    assert SECRET not in local_texts(raised.value)


async def test_so_it_does_from_a_coroutine() -> None:
    with pytest.raises(UsageError) as raised:
        await apublic(UsageError, secret=SECRET)
    assert names(raised.value)[1:] == ["called"]
    assert SECRET not in local_texts(raised.value)


@pytest.mark.parametrize("kind", [TypeError, KeyboardInterrupt, SystemExit])
async def test_anything_else_tells_its_lines_and_no_locals(kind: type[BaseException]) -> None:
    with pytest.raises(kind) as raised:
        public(kind, SECRET)
    assert names(raised.value)[1:] == ["called", "public", "breaking"]
    assert SECRET not in local_texts(raised.value)
    with pytest.raises(kind) as again:
        await apublic(kind, SECRET)
    assert names(again.value)[1:] == ["called", "apublic", "breaking"]
    assert SECRET not in local_texts(again.value)


def test_it_is_the_very_error_with_its_causes() -> None:
    cause, raised_error = OSError("cause"), ValueError("it")

    @hide_frames
    def failing(secret: str) -> None:
        try:
            breaking(OSError, secret)
        except OSError:
            raise raised_error from cause

    with pytest.raises(ValueError, match="it") as raised:
        failing(SECRET)
    assert raised.value is raised_error
    assert raised.value.__cause__ is cause
    context = raised.value.__context__
    assert isinstance(context, OSError)
    assert names(context) == ["failing", "breaking"]
    assert SECRET not in local_texts(context)


def test_what_the_caller_was_handling_keeps_its_frames() -> None:
    kept = "owned by the caller"
    with pytest.raises(TypeError) as raised:
        try:
            breaking(KeyError, kept)
        except KeyError:
            public(TypeError, SECRET)
    handled = raised.value.__context__
    assert isinstance(handled, KeyError)
    assert kept in local_texts(handled)


def test_arguments_that_do_not_fit_are_not_kept() -> None:
    with pytest.raises(TypeError, match="unexpected keyword") as raised:
        public(UsageError, api_key=SECRET)  # type: ignore[call-arg]
    assert SECRET not in local_texts(raised.value)


def test_the_errors_within_an_error_are_bare_too() -> None:
    def caught(kind: type[BaseException]) -> BaseException:
        try:
            breaking(kind, SECRET)
        except BaseException as error:  # noqa: BLE001 - any kind
            return error
        raise AssertionError

    inner, bug = caught(CallError), caught(ValueError)
    failed = BatchFailed("both", results=[inner, bug])
    failed.fallbacks = (UsageError("none"),)
    strip_frames(failed)
    assert inner.__traceback__ is None
    assert names(bug) == ["caught", "breaking"]
    assert SECRET not in local_texts(bug)
    if sys.version_info >= (3, 11):
        other = caught(ValueError)
        clear_frames(ExceptionGroup("group", [other]))  # type: ignore[list-item]  # noqa: F821
        assert SECRET not in local_texts(other)


def test_an_error_goes_with_the_last_who_has_it() -> None:
    class Held:
        pass

    held = Held()
    gone = weakref.ref(held)

    def work(held: Held) -> None:
        raise UsageError("no")

    gc.disable()
    try:
        kept: BaseException = UsageError("another")
        try:
            hide_frames(work)(held)
        except UsageError as error:
            kept = error
        del held
        assert gone() is None
        dead = weakref.ref(kept)
        del kept
        assert dead() is None
    finally:
        gc.enable()


async def test_iterators_end_as_they_do() -> None:
    class Numbers(Iterator[int]):
        def __init__(self) -> None:
            self.left = [1, 2]

        @hide_frames
        def __next__(self) -> int:
            if not self.left:
                raise StopIteration
            return self.left.pop(0)

    class Later(AsyncIterator[int]):
        def __init__(self) -> None:
            self.left = [1, 2]

        @hide_frames
        async def __anext__(self) -> int:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert list(Numbers()) == [1, 2]
    assert [number async for number in Later()] == [1, 2]
