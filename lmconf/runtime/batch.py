"""Many prompts to one LM: checked before anything is sent, asked side by side, kept in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast, overload

from lmconf.errors import (
    AuthenticationFailed,
    BatchFailed,
    CallError,
    Closed,
    Error,
    LaunchError,
    NotCarriedOut,
    NotSent,
    ProfileError,
    UsageError,
)
from lmconf.runtime.answer import Answer
from lmconf.runtime.messages import Messages, as_messages
from lmconf.runtime.progress import Progress, Tell, progress_reporter
from lmconf.runtime.spec_memo import SpecMemo
from lmconf.runtime.worker_pool import run_in_tasks, run_in_threads
from lmconf.schema import Record
from lmconf.schema.declaration import Spec, fields
from lmconf.spec.build import ROW_FIELDS
from lmconf.spec.lm import LMSpec
from lmconf.system.tracebacks import hide_frames, strip_frames

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lmconf.runtime.lm import LM
    from lmconf.spec.keywords import CallSettings

__all__ = [
    "FINAL",
    "BatchMixin",
    "CheckedItem",
    "Item",
    "check_items",
    "describe_error",
    "describe_items",
    "examine_items",
    "not_sent",
]

Item: TypeAlias = str | Messages | Mapping[str, Any]
"""One input of a batch: a prompt, a list of messages, or a mapping with `prompt` or `messages` and
settings for this item alone."""

Outcome: TypeAlias = Answer | Exception

FINAL = (AuthenticationFailed, Closed, LaunchError, NotCarriedOut)
"""The failures that every other item would meet, too: after one, no further item is sent."""

_SHOWN = 3  # failures and faults that a message tells of; the others are counted


class CheckedItem(NamedTuple):
    """An item that was checked, with all of its settings."""

    prompt: str | None
    messages: Messages | None
    settings: Mapping[str, Any]


Check: TypeAlias = Callable[[str | None, Messages | None, dict[str, Any]], object]
"""Raises UsageError or ProfileError for what a call would raise them for, and sends nothing."""


class BatchLM(Protocol):
    """What a batch needs of an LM."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def ask(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> Answer:
        """Return the answer."""

    async def aask(
        self,
        prompt: str | None = None,
        messages: Messages | None = None,
        **settings: Unpack[CallSettings],
    ) -> Answer:
        """Return the answer, from an event loop."""

    def _steps(
        self,
        prompt: str | None,
        messages: Messages | None,
        settings: CallSettings,
        *,
        reading: bool,
    ) -> object: ...


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
        settings of its own, which are laid over the `settings` of all. It may come from data: it
        states no blocks, and nothing in it is looked for. The inputs are read to
        their end and checked before anything is sent. Then at most `max_concurrency` of them are
        in flight at any time, in threads that end with this call; each sees the context variables
        that hold here, `lmconf.context` among them.

        An item that fails does not disturb the others. With `errors="return"` its exception stands
        in its place: a `lmconf.Error`, or what a transport of one's own raised. With
        `errors="raise"` all are awaited, and then `BatchFailed` is raised, which holds the answers
        and the errors. After an error that every item would meet (`AuthenticationFailed`,
        `Closed`, `LaunchError`, `NotCarriedOut`), no further item is sent; `NotSent` stands in the
        place of those that were not.

        `progress=True` keeps one line on standard error up to date, if that is a terminal; a
        function is called in this thread with how many items have ended and how many there are,
        after each; what it raises stops the batch. An interrupt (Ctrl-C, or what any signal
        handler raises) stops it, too: nothing more is sent, calls in flight have half a
        second to end and are cut off then, and it is raised; a second one does not wait for them.

        Raises:
            UsageError: an argument, or an input (told with its index), does not fit.
            ProfileError: `settings` do not fit.
            BatchFailed: items failed, with `errors="raise"`.
        """
        width = _check_width(max_concurrency, errors)
        asked = check_items(
            partial(self._steps, reading=True), inputs, cast("dict[str, Any]", settings)
        )
        with progress_reporter(progress) as tell:
            run = _BatchRun(self.name, len(asked), tell)

            @hide_frames  # what it raises is kept as it leaves
            def ask(number: int) -> Answer:
                prompt, messages, own = asked[number]
                return self.ask(prompt, messages, **own)

            run_in_threads(ask, len(asked), width, run.ended, FINAL)
        return run.outcomes() if errors == "return" else run.answers()

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

        Never more than `max_concurrency` tasks exist. When this call is cancelled, they are
        cancelled, and it ends when they have.

        Raises:
            UsageError, ProfileError, BatchFailed: as `batch`.
        """
        width = _check_width(max_concurrency, errors)
        asked = check_items(
            partial(self._steps, reading=True), inputs, cast("dict[str, Any]", settings)
        )
        with progress_reporter(progress) as tell:
            run = _BatchRun(self.name, len(asked), tell)

            @hide_frames  # an interrupt leaves a task by the event loop
            async def ask(number: int) -> Answer:
                prompt, messages, own = asked[number]
                return await self.aask(prompt, messages, **own)

            await run_in_tasks(ask, len(asked), width, run.ended, FINAL)
        return run.outcomes() if errors == "return" else run.answers()


# --- before: what is asked ----------------------------------------------------------------------


@hide_frames
def check_items(
    check: Check, inputs: Iterable[Item], settings: dict[str, Any]
) -> list[CheckedItem]:
    """Return every one of `inputs`, checked, with `settings` under its own.

    Raises:
        UsageError: an input does not fit; the first few are told, with their indexes.
        ProfileError: `settings` do not fit.
    """
    if isinstance(inputs, str | bytes | Mapping) or not isinstance(inputs, Iterable):
        raise UsageError(f"inputs must be a list or other iterable, not {type(inputs).__name__}")
    check("any prompt", None, settings)
    found = [_examine_item(check, item, settings) for item in inputs]
    faults = {index: each for index, each in enumerate(found) if isinstance(each, str)}
    if faults:
        raise UsageError(
            _first_lines([f"inputs[{index}]: {fault}" for index, fault in faults.items()])
        )
    return [each for each in found if isinstance(each, CheckedItem)]


def examine_items(
    lm: BatchLM, inputs: Iterable[object], settings: Mapping[str, Any]
) -> list[CheckedItem | str]:
    """Return what each of `inputs` asks, with `settings` under its own; or what is wrong with it.

    Raises:
        Closed, NotCarriedOut: the LM answers none of them.
    """
    check = partial(lm._steps, reading=True)  # noqa: SLF001 - what an LM does before each call
    return [_examine_item(check, item, settings) for item in inputs]


def describe_items(lm: LM, asked: Iterable[CheckedItem]) -> list[Mapping[str, Any]]:
    """Return for each of `asked`, by name, the settings of `lm` that steer its answer.

    Raises:
        CallError: an address or an account leads nowhere.
    """
    parts = lm._parts()  # noqa: SLF001 - what an LM does before each call
    descriptions: SpecMemo[Mapping[str, Any]] = SpecMemo()
    described = []
    for each in asked:
        spec = parts.spec_of(each.settings)
        description = descriptions.get(spec)
        if description is None:
            description = descriptions.set(spec, parts.identity.describe(spec))
        described.append(description)
    return described


def _examine_item(check: Check, item: object, settings: Mapping[str, Any]) -> CheckedItem | str:
    try:
        return _check_item(check, item, settings)
    except (UsageError, ProfileError) as error:
        return describe_error(error)


def _check_item(check: Check, item: object, settings: Mapping[str, Any]) -> CheckedItem:
    if isinstance(item, str):
        return CheckedItem(item, None, settings)
    if not isinstance(item, Mapping):
        return CheckedItem(None, as_messages(None, item), settings)  # type: ignore[arg-type]
    if "role" in item and "messages" not in item:
        raise UsageError("a message stands in a list: [{role: …, content: …}]")
    own = {key: value for key, value in item.items() if key not in ("prompt", "messages")}
    for name, value in own.items():
        _check_setting(name, value)
    prompt, messages = item.get("prompt"), item.get("messages")
    checked = as_messages(prompt, messages)
    if not own:
        return CheckedItem(prompt, None if messages is None else checked, settings)
    merged = {**settings, **own}
    check(prompt, messages, merged)
    return CheckedItem(prompt, None if messages is None else checked, merged)


def _check_setting(name: object, value: object) -> None:
    """See that one input may state the setting `name` with `value`: it may come from data.

    Raises:
        UsageError: it may not, as where answers are kept, or who is asked.
    """
    if not isinstance(name, str):
        raise UsageError(f"the name of a setting must be text, not {type(name).__name__}")
    declared = fields(LMSpec).get(name)
    if declared is not None and name not in ROW_FIELDS:
        may = ", ".join(sorted(ROW_FIELDS))
        raise UsageError(f"`{name}` belongs to the LM: an input may state {may}")
    shape = None if declared is None else declared.shape
    if isinstance(shape, Record) and shape.short is not None and isinstance(value, Mapping | Spec):
        raise UsageError(
            f"`{name}` of an input is {shape.short.describe()}: a block belongs to the LM"
        )


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


# --- after: what came of it ---------------------------------------------------------------------


class _BatchRun:
    """What has come of the items so far."""

    def __init__(self, lm: str, total: int, tell: Tell) -> None:
        self._lm = lm
        self._tell = tell
        self._found: list[Outcome | None] = [None] * total
        self._done = 0
        self._final: tuple[int, Exception] | None = None

    def ended(self, index: int, outcome: Outcome) -> None:
        """Note what came of one item."""
        if isinstance(outcome, FINAL) and self._final is None:
            self._final = (index, outcome)
        # Frames would keep what thousands of calls have worked on; a bug's tell where it is.
        self._found[index] = strip_frames(outcome) if isinstance(outcome, Error) else outcome
        self._done += 1
        self._tell(self._done, len(self._found))

    def outcomes(self) -> list[Answer | Exception]:
        """Return the answers and errors of all items."""
        return [
            not_sent(self._lm, self._final) if outcome is None else outcome
            for outcome in self._found
        ]

    def answers(self) -> list[Answer]:
        """Return the answers to all items.

        Raises:
            BatchFailed: there is an error among them.
        """
        found = self.outcomes()
        answers = [outcome for outcome in found if isinstance(outcome, Answer)]
        if len(answers) < len(found):
            raise _batch_failed(self._lm, found)
        return answers


def not_sent(lm: str, final: tuple[int, Exception] | None) -> NotSent:
    """Return what stands for an item that was not sent, because of an item that failed."""
    why = f", because item {final[0]} failed: {describe_error(final[1])}" if final else ""
    return NotSent(f"not sent: the batch stopped{why}", lm=lm)


def _batch_failed(lm: str, found: list[Outcome]) -> BatchFailed:
    failed = {index: each for index, each in enumerate(found) if isinstance(each, Exception)}
    sent = {index: each for index, each in failed.items() if not isinstance(each, NotSent)}
    what = f"{len(sent):,} of {len(found):,} items failed"
    if len(sent) < len(failed):
        what += f" and {len(failed) - len(sent):,} were not sent"
    told_of = [f"item {index}: {describe_error(error)}" for index, error in sent.items()]
    return BatchFailed(
        f"{what}: {_first_lines(told_of)}",
        lm=lm,
        results=found,
        retryable=any(isinstance(e, CallError) and e.retryable for e in sent.values()),
        help="`results` holds the answers and the errors in order, `errors` the errors by index",
    )


def describe_error(error: Exception) -> str:
    """Return one line that says what `error` is."""
    if isinstance(error, ProfileError):
        first = error.diagnostics[0]
        hint = first.label or first.help
        return f"{first.message}{f': {hint}' if hint else ''}"
    text = error.message if isinstance(error, CallError) else str(error)
    kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
    return kind + (text.splitlines() or [""])[0][:300]


def _first_lines(lines: list[str]) -> str:
    """Return the first few of `lines`, and how many there are beside them."""
    shown = "; ".join(lines[:_SHOWN])
    return shown if len(lines) <= _SHOWN else f"{shown}; and {len(lines) - _SHOWN:,} more"
