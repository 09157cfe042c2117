"""The items of a batch: checked before anything is sent, and described."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from lmconf.errors import CallError, ProfileError, UsageError
from lmconf.runtime.messages import Messages, as_messages
from lmconf.runtime.spec_memo import SpecMemo
from lmconf.schema.declaration import Spec, fields
from lmconf.schema.description import describe
from lmconf.schema.shapes import Record
from lmconf.spec.build import ROW_FIELDS
from lmconf.spec.lm import LMSpec
from lmconf.system.tracebacks import hide_frames

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from lmconf.runtime.answer import Answer
    from lmconf.runtime.lm import LM
    from lmconf.spec.keywords import CallSettings

__all__ = [
    "BatchLM",
    "CheckedItem",
    "Item",
    "check_items",
    "describe_error",
    "describe_items",
    "examine_items",
    "first_lines",
]

Item: TypeAlias = str | Messages | Mapping[str, Any]
"""One input of a batch: a prompt, a list of messages, or a mapping with `prompt` or `messages` and
settings for this item alone."""

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
    results = [_examine_item(check, item, settings) for item in inputs]
    faults = {index: each for index, each in enumerate(results) if isinstance(each, str)}
    if faults:
        raise UsageError(
            first_lines([f"inputs[{index}]: {fault}" for index, fault in faults.items()])
        )
    return [each for each in results if isinstance(each, CheckedItem)]


def examine_items(
    lm: BatchLM, inputs: Iterable[object], settings: Mapping[str, Any]
) -> list[CheckedItem | str]:
    """Return what each of `inputs` asks, with `settings` under its own; or what is wrong with it.

    Raises:
        Closed, NotCarriedOut: the LM answers none of them.
    """
    check = partial(lm._steps, reading=True)  # noqa: SLF001 - what an LM does before each call
    return [_examine_item(check, item, settings) for item in inputs]


def describe_items(lm: LM, items: Iterable[CheckedItem]) -> list[Mapping[str, Any]]:
    """Return for each of `items`, by name, the settings of `lm` that steer its answer.

    Raises:
        CallError: an address or an account leads nowhere.
    """
    parts = lm._parts()  # noqa: SLF001 - what an LM does before each call
    descriptions: SpecMemo[Mapping[str, Any]] = SpecMemo()
    result = []
    for each in items:
        spec = parts.spec_of(each.settings)
        description = descriptions.get(spec)
        if description is None:
            description = descriptions.set(spec, parts.identity.describe(spec))
        result.append(description)
    return result


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
        raise UsageError("messages must be in a list: [{role: …, content: …}]")
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
            f"`{name}` of an input is {describe(shape.short)}: a block belongs to the LM"
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


def first_lines(lines: list[str]) -> str:
    """Return the first few of `lines`, and how many there are beside them."""
    head = "; ".join(lines[:_SHOWN])
    return head if len(lines) <= _SHOWN else f"{head}; and {len(lines) - _SHOWN:,} more"
