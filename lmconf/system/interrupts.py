"""Exceptions that a signal handler raises in the middle of whatever is running.

Celery's soft time limit, RQ's job timeout and `signal.setitimer` with a handler of one's own raise
an exception between any two instructions of the main thread. It is no failure of what is running,
whatever its type: a `TimeoutError` of a handler's is not one of a socket's. So wherever "any
exception" is translated or passed over, it is first asked whether it is one of these.

A handler is called with the frame that it interrupts, which is its caller: no other function is
given its caller's frame. Where the exception was raised in a thread from outside
(`PyThreadState_SetAsyncExc`), there is no handler; its type then is nobody's whose code was called.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TypeVar

from lmconf.system.tracebacks import is_interrupt, mark_interrupt, strip_frames

__all__ = [
    "OnDemandThread",
    "bare_interrupt",
    "interrupt_behind",
    "is_interrupt",
    "run_shielded",
    "start_thread",
]

T = TypeVar("T")

_CALLED = frozenset(
    "_frozen_importlib _frozen_importlib_external aiohttp annotated_types anyio azure boto3 botocore"
    " certifi charset_normalizer databricks distro exceptiongroup fastuuid filelock google h11"
    " hf_xet hpack httpcore httpx huggingface_hub idna importlib_metadata jinja2 jiter jmespath"
    " jsonschema litellm lmconf markupsafe mcp msgspec openai orjson pkg_resources pydantic"
    " pydantic_core pydantic_settings referencing regex requests rpds s3transfer sniffio socksio"
    " sqlite3 ssl tenacity tiktoken tokenizers tqdm typing_extensions urllib3 uvloop yaml".split()
)
"""The packages that calls run in, beside the standard library."""


def bare_interrupt(error: BaseException) -> BaseException:
    """Return the interrupt `error` without the frames it fell into; it is still known to be one.

    These frames are any that were running, and a client's hold the credential.
    """
    mark_interrupt(error)
    return strip_frames(error)


def start_thread(thread: threading.Thread) -> None:
    """Start `thread`; what a signal handler raises meanwhile is raised as it is.

    CPython's `Thread.start` takes it for a failure to start and forgets the thread. Where the
    thread runs already, it has done so itself, and a `KeyError` comes in place of the interrupt
    (`threading.py` of 3.11 to 3.14, `del _limbo[self]`).

    Raises:
        RuntimeError: the process has too many threads, or ends.
    """
    interrupt: BaseException | None = None
    try:
        thread.start()
    except KeyError as error:
        interrupt = error.__context__
        if interrupt is None:
            raise
    if interrupt is not None:
        raise interrupt


class OnDemandThread:
    """A thread that runs `work` while there is some, and is started again when there is more.

    Where an interrupt falls into a start, the next use starts a thread: `work` ends at once where
    it finds, under `lock`, that its thread is not the `current` one.
    """

    def __init__(
        self,
        work: Callable[[], object],
        name: str,
        lock: contextlib.AbstractContextManager[object],
        *,
        daemon: bool,
    ) -> None:
        self._work = work
        self._name = name
        self._lock = lock
        self._daemon = daemon
        self.current: threading.Thread | None = None

    def start(self) -> bool:
        """See that there is a thread; say whether one could be had. Not for who has the lock."""
        thread: threading.Thread | None = None
        try:
            with self._lock:
                if self.current is not None:
                    return True
                thread = self.current = threading.Thread(
                    target=self._work, name=self._name, daemon=self._daemon
                )
            start_thread(thread)
        except BaseException as error:
            with self._lock:
                # What has an ident runs; what has none yet will see that it is not the one.
                if thread is not None and self.current is thread and thread.ident is None:
                    self.current = None
            if isinstance(error, RuntimeError) and not is_interrupt(error):
                return False  # the process ends, or has too many threads
            raise
        return True

    def adopt(self) -> None:
        """Have the calling thread be the one."""
        self.current = threading.current_thread()

    def is_current(self) -> bool:
        """Say whether the calling thread is the one."""
        return self.current is threading.current_thread()

    def end(self) -> None:
        """Note that the thread ends."""
        self.current = None


def run_shielded(work: Callable[[], T], give_up: Callable[[], object] = lambda: None) -> T:
    """Return what `work` returns, or raise what it raises; no signal handler runs in the middle.

    Handlers run in the main thread alone, so there `work` is done by another one, with the context
    of the caller. An interrupt ends the waiting: `give_up` is called, and `work` goes on to its end
    without anybody who waits for it. So other people's code is neither left half done, as an import
    would be for ever, nor can it swallow the interrupt.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    found: list[T] = []
    failed: list[BaseException] = []
    done = threading.Lock()
    done.acquire()

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            failed.append(error)
        finally:
            done.release()

    context = copy_context()
    worker = threading.Thread(target=context.run, args=(run,), name="lmconf-shield", daemon=True)
    try:
        worker.start()
    except RuntimeError:  # the process ends
        return work()
    try:
        done.acquire()
    except BaseException:
        with contextlib.suppress(Exception):  # a connection may be closed already
            give_up()
        raise
    if failed:
        error = failed.pop()
        raise error
    return found.pop()


def interrupt_behind(
    error: BaseException, handled: BaseException | None = None
) -> BaseException | None:
    """Return the exception from outside that `error` is or was raised for; None: there is none.

    `handled` was being handled when what failed was begun, and is no part of it. What may have run
    code of a user's own is not to ask this but `is_interrupt`.
    """
    seen: list[BaseException] = [] if handled is None else [handled]
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or any(one is other for other in seen):
            continue
        if is_interrupt(one) or _is_from_outside(one):
            return one
        seen.append(one)
        # Tasks that run side by side fail with a group.
        waiting += [*getattr(one, "exceptions", ()), one.__context__, one.__cause__]
    return None


def _is_from_outside(error: BaseException) -> bool:
    """Say whether `error` is of nobody's type whose code was called, and arose in that code."""
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return True
    trace = error.__traceback__
    if trace is None or _is_called(type(error).__module__):
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return _is_called(str(trace.tb_frame.f_globals.get("__name__", "")))


def _is_called(module: str) -> bool:
    root = module.partition(".")[0]
    return root in _CALLED or root in sys.stdlib_module_names
