"""Many prompts to one LM: checked before anything is sent, asked side by side, kept in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

from lmconf.errors import (
    AuthenticationFailed,
    BatchFailed,
    CallError,
    Closed,
    Error,
    LaunchError,
    NotCarriedOut,
    NotSent,
    UsageError,
)
from lmconf.runtime.answer import Answer
from lmconf.runtime.batch_items import (
    BatchLM,
    CheckedItem,
    Item,
    check_items,
    describe_error,
    first_lines,
)
from lmconf.runtime.progress import Progress, Tell, progress_reporter
from lmconf.runtime.worker_pool import run_in_tasks, run_in_threads
from lmconf.system.tracebacks import hide_frames, strip_frames

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lmconf.spec.keywords import CallSettings

__all__ = ["BatchMixin", "BatchRun"]

Outcome: TypeAlias = Answer | Exception

FINAL = (AuthenticationFailed, Closed, LaunchError, NotCarriedOut)
"""The failures that every other item would meet, too: after one, no further item is sent."""


class BatchMixin:
    """How an LM answers many prompts at once."""

    @overload
    def batch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = ...,
        errors: Literal["raise"] = ...,
        progress: Progress = ...,
        **settings: Unpack[CallSettings],
    ) -> list[Answer]: ...
    @overload
    def batch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = ...,
        errors: Literal["return"],
        progress: Progress = ...,
        **settings: Unpack[CallSettings],
    ) -> list[Answer | Exception]: ...
    @hide_frames
    def batch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = 16,
        errors: Literal["raise", "return"] = "raise",
        progress: Progress = False,
        **settings: Unpack[CallSettings],
    ) -> list[Answer] | list[Answer | Exception]:
        """Return the answer to each of `inputs`, in their order.

        An input is a prompt, a list of messages, or a mapping with `prompt` or `messages` and
        settings of its own, which override the `settings` of all. Inputs are data: they contain
        no blocks, and references in them are not resolved. All inputs are read and checked before
        anything is sent. The calls run in threads that end with this call; each sees the context
        variables of the caller, `lmconf.context` among them.

        An item that fails does not affect the others. After an error that every item would meet
        (`AuthenticationFailed`, `Closed`, `LaunchError`, `NotCarriedOut`), no further item is
        sent, and `NotSent` is the error of the rest. An interrupt (Ctrl-C, or what any signal
        handler raises) stops the batch: nothing more is sent, calls in flight have half a second
        to end and are then cancelled, and the interrupt is raised; a second one does not wait.

        Args:
            inputs: prompts, lists of messages, or mappings.
            max_concurrency: how many calls are in flight at once, at most.
            errors: `raise` waits for all items, then raises `BatchFailed`, which has the answers
                and the errors; `return` puts the exception in the place of its answer: a
                `lmconf.Error`, or what a custom transport raised.
            progress: True updates a line on standard error, if that is a terminal. A function is
                called in this thread after each item with the number of items that have ended and
                the number of all; what it raises stops the batch.
            settings: fields of the spec that hold for these calls alone.

        Raises:
            UsageError: an argument or an input is not valid; the message has the input's index.
            ProfileError: `settings` are not valid.
            BatchFailed: items failed, with `errors="raise"`.
        """
        width = _check_width(max_concurrency, errors)
        asked = check_items(
            partial(self._steps, reading=True), inputs, cast("dict[str, Any]", settings)
        )
        found: dict[int, Outcome] = {}
        with progress_reporter(progress) as tell:
            BatchRun(self, dict(enumerate(asked)), found.__setitem__, tell).run(width)
        return _results(self.name, found, errors)

    @overload
    async def abatch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = ...,
        errors: Literal["raise"] = ...,
        progress: Progress = ...,
        **settings: Unpack[CallSettings],
    ) -> list[Answer]: ...
    @overload
    async def abatch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = ...,
        errors: Literal["return"],
        progress: Progress = ...,
        **settings: Unpack[CallSettings],
    ) -> list[Answer | Exception]: ...
    @hide_frames
    async def abatch(
        self: BatchLM,
        inputs: Iterable[Item],
        *,
        max_concurrency: int = 16,
        errors: Literal["raise", "return"] = "raise",
        progress: Progress = False,
        **settings: Unpack[CallSettings],
    ) -> list[Answer] | list[Answer | Exception]:
        """Return what `batch` returns, from an event loop.

        At most `max_concurrency` tasks exist at once. When this call is cancelled, it cancels them
        and ends after them.

        Args:
            inputs: prompts, lists of messages, or mappings.
            max_concurrency: how many calls are in flight at once, at most.
            errors: `raise` or `return`, as for `batch`.
            progress: True, or a function that is called after each item, as for `batch`.
            settings: fields of the spec that hold for these calls alone.

        Raises:
            UsageError, ProfileError, BatchFailed: as for `batch`.
        """
        width = _check_width(max_concurrency, errors)
        asked = check_items(
            partial(self._steps, reading=True), inputs, cast("dict[str, Any]", settings)
        )
        found: dict[int, Outcome] = {}
        with progress_reporter(progress) as tell:
            await BatchRun(self, dict(enumerate(asked)), found.__setitem__, tell).arun(width)
        return _results(self.name, found, errors)


def _check_width(max_concurrency: object, errors: object) -> int:
    """Return `max_concurrency`.

    Raises:
        UsageError: it is no number of calls, or `errors` is no way to treat errors.
    """
    if type(max_concurrency) is not int or max_concurrency < 1:
        raise UsageError(
            f"max_concurrency must be a whole number of 1 or more, not {max_concurrency!r}"
        )
    if errors not in ("raise", "return"):
        raise UsageError(f"errors must be 'raise' or 'return', not {errors!r}")
    return max_concurrency


class BatchRun:
    """Sends `items` by `lm`, side by side.

    Args:
        lm: who answers.
        items: what is asked, by its number.
        note: is called with the number of each item and what came of it, `NotSent` included.
        tell: is called after each item that was sent.
    """

    def __init__(
        self,
        lm: BatchLM,
        items: Mapping[int, CheckedItem],
        note: Callable[[int, Outcome], object],
        tell: Tell,
    ) -> None:
        self._lm = lm
        self._items = tuple(items.items())
        self._note = note
        self._tell = tell
        self._noted: set[int] = set()
        self._final: tuple[int, Exception] | None = None

    def run(self, width: int) -> None:
        """Send the items, in at most `width` threads."""
        run_in_threads(self._ask, len(self._items), width, self._ended, FINAL)
        self._note_unsent()

    async def arun(self, width: int) -> None:
        """Send the items, in at most `width` tasks."""
        await run_in_tasks(self._aask, len(self._items), width, self._ended, FINAL)
        self._note_unsent()

    @hide_frames  # what it raises is kept as it leaves
    def _ask(self, place: int) -> Answer:
        prompt, messages, settings = self._items[place][1]
        return self._lm.ask(prompt, messages, **settings)

    @hide_frames  # an interrupt leaves a task by the event loop
    async def _aask(self, place: int) -> Answer:
        prompt, messages, settings = self._items[place][1]
        return await self._lm.aask(prompt, messages, **settings)

    def _ended(self, place: int, outcome: Outcome) -> None:
        number = self._items[place][0]
        if isinstance(outcome, FINAL) and self._final is None:
            self._final = (number, outcome)
        # Frames would keep what thousands of calls have worked on; a bug's tell where it is.
        self._note(number, strip_frames(outcome) if isinstance(outcome, Error) else outcome)
        self._noted.add(number)
        self._tell(len(self._noted), len(self._items))

    def _note_unsent(self) -> None:
        if self._final is None:
            return
        failed, error = self._final
        why = f"not sent: the batch stopped, because item {failed} failed: {describe_error(error)}"
        for number, _ in self._items:
            if number not in self._noted:
                self._note(number, NotSent(why, lm=self._lm.name))


def _results(
    lm: str, found: Mapping[int, Outcome], errors: Literal["raise", "return"]
) -> list[Answer] | list[Answer | Exception]:
    """Return what came of all items, in their order.

    Raises:
        BatchFailed: there is an error among them, and `errors` says "raise".
    """
    outcomes = [found[number] for number in range(len(found))]
    answers = [outcome for outcome in outcomes if isinstance(outcome, Answer)]
    if errors == "raise" and len(answers) < len(outcomes):
        raise _batch_failed(lm, outcomes)
    return outcomes if errors == "return" else answers


def _batch_failed(lm: str, found: list[Outcome]) -> BatchFailed:
    failed = {index: each for index, each in enumerate(found) if isinstance(each, Exception)}
    sent = {index: each for index, each in failed.items() if not isinstance(each, NotSent)}
    what = f"{len(sent):,} of {len(found):,} items failed"
    if len(sent) < len(failed):
        what += f" and {len(failed) - len(sent):,} were not sent"
    told_of = [f"item {index}: {describe_error(error)}" for index, error in sent.items()]
    return BatchFailed(
        f"{what}: {first_lines(told_of)}",
        lm=lm,
        results=found,
        retryable=any(isinstance(e, CallError) and e.retryable for e in sent.values()),
        help="`results` holds the answers and the errors in order, `errors` the errors by index",
    )
