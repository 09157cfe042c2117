"""Who is told, in which order, and what a callback cannot do to a call."""

from __future__ import annotations

import pytest

from lmconf.callbacks import CallbackWarning, Deferred, Dispatcher, End, Failure, Start
from lmconf.errors import Timeout, UsageError

START = Start(call_id="1", lm="gpt", model="m", time=0.0, request={})
END = End(
    call_id="1",
    lm="gpt",
    model="m",
    time=1.0,
    duration=1.0,
    cache_hit=True,
    attempts=0,
    usage=None,
    cost=None,
    response="hi",
    request={},
)
FAILURE = Failure(
    call_id="1", lm="gpt", model="m", time=1, duration=1, attempts=1, error=Timeout("t"), request={}
)


class Notes:
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def on_start(self, event: Start) -> None:
        self.notes.append(f"{self.name} start {event.call_id}")

    def on_end(self, event: End) -> None:
        self.notes.append(f"{self.name} end {event.response}")

    def on_error(self, event: Failure) -> None:
        self.notes.append(f"{self.name} error {type(event.error).__name__}")

    def close(self) -> None:
        self.notes.append(f"{self.name} close")


class OnlyEnds:
    def __init__(self) -> None:
        self.heard: list[End] = []

    def on_end(self, event: End) -> None:
        self.heard.append(event)


class Failing:
    def on_start(self, event: Start) -> None:
        raise RuntimeError("sk-live-0123456789")

    def on_end(self, event: End) -> None:
        raise RuntimeError("sk-live-0123456789")

    def close(self) -> None:
        raise RuntimeError("sk-live-0123456789")


def test_callbacks_are_told_in_their_order() -> None:
    notes: list[str] = []
    dispatcher = Dispatcher([Notes("a", notes), Notes("b", notes)])
    dispatcher.start(START)
    dispatcher.tell(END)
    dispatcher.tell(FAILURE)
    dispatcher.close()
    assert notes == [
        "a start 1",
        "b start 1",
        "a end hi",
        "b end hi",
        "a error Timeout",
        "b error Timeout",
        "a close",
        "b close",
    ]


def test_a_callback_hears_only_what_it_has_methods_for() -> None:
    callback = OnlyEnds()
    dispatcher = Dispatcher([callback])
    dispatcher.start(START)
    dispatcher.tell(END)
    dispatcher.tell(FAILURE)
    dispatcher.close()
    assert callback.heard == [END]


def test_a_failing_callback_harms_neither_the_call_nor_the_others() -> None:
    """One warning, with the exception's type and without its text."""
    heard = OnlyEnds()
    dispatcher = Dispatcher([Failing(), heard])
    with pytest.warns(CallbackWarning) as said:
        for _ in range(3):
            dispatcher.start(START)
            dispatcher.tell(END)
        dispatcher.close()
    assert heard.heard == [END] * 3
    assert [str(warning.message) for warning in said] == [
        "callback Failing raised RuntimeError; calls continue"
    ]


def test_what_ends_the_program_is_not_held_up() -> None:
    class Interrupted:
        inline = True

        def on_start(self, event: Start) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Dispatcher([Interrupted()]).start(START)


def test_a_dispatcher_without_callbacks_is_false() -> None:
    assert not Dispatcher([])
    assert Dispatcher([OnlyEnds()])
    Dispatcher([]).start(START)


def test_a_deferred_callback_is_made_once_when_the_first_call_begins() -> None:
    made: list[OnlyEnds] = []

    def make() -> OnlyEnds:
        made.append(OnlyEnds())
        return made[-1]

    dispatcher = Dispatcher([Deferred("acme", make)])
    assert made == []
    for _ in range(2):
        dispatcher.start(START)
        dispatcher.tell(END)
    assert [callback.heard for callback in made] == [[END, END]]


def test_a_deferred_callback_that_no_call_needed_is_never_made() -> None:
    def make() -> object:
        raise AssertionError("made")

    Dispatcher([Deferred("acme", make)]).close()


def test_a_callback_that_cannot_be_made_stops_the_first_call() -> None:
    """It is a mistake of the profile, and nothing has been sent yet."""

    def make() -> object:
        raise UsageError("no such argument")

    with pytest.raises(UsageError, match="no such argument"):
        Dispatcher([Deferred("acme", make)]).start(START)


@pytest.mark.parametrize("what", [object(), 3, Deferred("x", dict)])
def test_what_has_none_of_the_methods_is_no_callback(what: object) -> None:
    with pytest.raises(UsageError, match=r"has none of on_start, .* and on_event"):
        Dispatcher([what]).open()  # type: ignore[list-item]
