"""What an LM was asked and what it answered: the last calls, kept in memory."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TextIO, TypeAlias, overload

from lmconf.spec.policies import HistoryPolicy

__all__ = ["Entry", "History", "print_history"]

Entry: TypeAlias = dict[str, Any]
"""One call: `prompt`, `messages`, `kwargs`, `response`, `outputs`, `usage`, `cost`, and beside
these `timestamp` (seconds since 1970), `uuid`, `lm`, `model`, `model_type`, `response_model` (the
name that the server gave), `cache_hit`, `finish_reason`, `latency` (seconds), `attempts`, `waited`
(seconds), `causes` (of the attempts that failed) and `request_id`. `lm` and `model` are those that
answered: a fallback's where one did. It holds no secret and no header. Where the profile says
`history: {content: false}`, `prompt`, `messages`, `response` and `outputs` are None."""


_CONTENT = ("prompt", "messages", "response", "outputs")
"""What `content: false` leaves out of an entry."""


class EntrySource(Protocol):
    """Something that makes an entry when it is asked for it."""

    @property
    def entry(self) -> Entry:
        """The entry, the same one each time."""


def _read_entry(entry: Entry | EntrySource) -> Entry:
    return entry if isinstance(entry, dict) else entry.entry


class History(Sequence[Entry]):
    """The entries of the last calls, oldest first; safe to read while calls go on.

    `content` says whether prompts and answers are kept, `is_kept` whether anything is.
    """

    def __init__(self, policy: HistoryPolicy | None = None) -> None:
        policy = policy or HistoryPolicy()
        self.content = policy.content
        self.is_kept = policy.max > 0
        self._entries: deque[Entry | EntrySource] = deque(maxlen=policy.max)

    def append(self, source: EntrySource) -> None:
        """Add the entry of `source` at the end."""
        # What was said is put together when somebody reads it: most entries are never read.
        entry = source if self.content else source.entry | dict.fromkeys(_CONTENT)
        # One step for the interpreter, as `copy` is: no thread sees it half done.
        self._entries.append(entry)

    def clear(self) -> None:
        """Drop every entry."""
        self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...
    def __getitem__(self, place: int | slice) -> Entry | list[Entry]:
        if isinstance(place, slice):
            return [_read_entry(entry) for entry in list(self._entries.copy())[place]]
        return _read_entry(self._entries[place])

    def __iter__(self) -> Iterator[Entry]:
        return map(_read_entry, self._entries.copy())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, History | list):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<History of {len(self)} calls>"


def print_history(entries: Sequence[Entry], out: TextIO | None = None) -> None:
    """Write `entries` for a person to read, to standard output if nothing else is named."""
    stream = out or sys.stdout
    for entry in entries:
        stream.write(f"\n[{entry['model']}]\n")
        if entry["messages"] is None:
            stream.write("\nthe content is not recorded: the profile sets `content: false`\n")
            continue
        for message in entry["messages"]:
            stream.write(f"\n{message['role']}:\n{_show_content(message.get('content'))}\n")
        for output in entry["outputs"]:
            text = output if isinstance(output, str | None) else output.get("text")
            stream.write(f"\nanswer:\n{text or ''}\n")
            calls = output.get("tool_calls") if isinstance(output, Mapping) else None
            for call in calls or ():
                function = call.get("function") or {}
                stream.write(f"{function.get('name')}({function.get('arguments')})\n")


def _show_content(content: object) -> str:
    if not isinstance(content, list | tuple):
        return "" if content is None else str(content)
    parts = (part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in content)
    return "\n".join(map(str, parts))
