"""A failed call is lmconf's failure and DSPy's at once, and DSPy acts on it as on its own."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from typing import Any

import dspy
import pytest

import lmconf
from lmconf.dspy.failures import to_dspy_error
from tests.dspy.formats import answers
from tests.loopback import Loopback, Reply

SECRET = "sk-this-is-a-secret-0123456789"
QUICK: dict[str, Any] = {"num_retries": 0}
TOO_LONG = Reply(
    status=400,
    json={
        "error": {
            "message": "This model's maximum context length is 10 tokens. Please shorten it.",
            "type": "invalid_request_error",
            "code": "context_length_exceeded",
        }
    },
)


def refusal(status: int, code: str = "x") -> Reply:
    return Reply(status=status, json={"error": {"message": "no", "type": code, "code": code}})


@pytest.mark.parametrize(
    ("reply", "ours", "theirs"),
    [
        (refusal(401), lmconf.AuthenticationFailed, dspy.LMAuthError),
        (refusal(403), lmconf.PermissionDenied, dspy.LMAuthError),
        (refusal(404), lmconf.NotFound, dspy.LMUnsupportedModelError),
        (refusal(422), lmconf.BadRequest, dspy.LMInvalidRequestError),
        (refusal(429), lmconf.RateLimited, dspy.LMRateLimitError),
        (refusal(429, "insufficient_quota"), lmconf.RateLimited, dspy.LMBillingError),
        (refusal(500), lmconf.ServerError, dspy.LMServerError),
        (Reply(drop=True), lmconf.ConnectionFailed, dspy.LMTransportError),
        (TOO_LONG, lmconf.ContextWindowExceeded, dspy.ContextWindowExceededError),
    ],
)
def test_a_failure_is_of_both_kinds(
    reply: Reply,
    ours: type[lmconf.CallError],
    theirs: type[Exception],
    lm: lmconf.LM,
    server: Loopback,
) -> None:
    server.answers(reply)
    adapted = lm.as_dspy(**QUICK)
    with pytest.raises(ours) as caught:
        adapted("Hello")
    assert isinstance(caught.value, theirs)
    assert caught.value.attempts == 1
    assert caught.value.model == "openai/tiny"  # type: ignore[attr-defined]
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    with pytest.raises(theirs):
        asyncio.run(adapted.acall("Hello"))
    assert len(server.received) == 2


def test_no_adapter_asks_in_another_format_after_a_failure(lm: lmconf.LM, server: Loopback) -> None:
    for reply in (refusal(400), TOO_LONG):
        server.answers(reply)
        server.received.clear()
        with dspy.context(lm=lm.as_dspy(**QUICK)), pytest.raises(lmconf.BadRequest):
            dspy.Predict("question -> answer")(question="?")
        assert len(server.received) == 1


def test_an_agent_forgets_its_first_steps_when_the_context_is_full(
    lm: lmconf.LM, server: Loopback
) -> None:
    def look(place: str) -> str:
        return f"nothing in {place}"

    step = {"next_thought": "On.", "next_tool_name": "look"}
    server.answers(
        answers(**step, next_tool_args='{"place": "one"}'),
        answers(**step, next_tool_args='{"place": "two"}'),
        TOO_LONG,
        answers(next_thought="Done.", next_tool_name="finish", next_tool_args="{}"),
        answers(reasoning="I looked.", answer="nothing"),
    )
    with dspy.context(lm=lm.as_dspy()):
        got = dspy.ReAct("question -> answer", tools=[look])(question="?")
    assert got.answer == "nothing"
    assert "nothing in one" in server.received[2].text
    assert "nothing in one" not in server.received[3].text
    assert "nothing in two" in server.received[3].text


def test_a_failure_says_the_same_and_can_be_pickled() -> None:
    error = lmconf.ContextWindowExceeded("too long", lm="gpt", attempts=2, status=400)
    both = to_dspy_error(error, "openai/tiny")
    again = pickle.loads(pickle.dumps(both))
    for one in (both, again):
        assert str(one) == str(error)
        assert isinstance(one, lmconf.ContextWindowExceeded)
        assert isinstance(one, dspy.ContextWindowExceededError)
        assert (one.lm, one.attempts, one.status) == ("gpt", 2, 400)
    assert to_dspy_error(both, "openai/tiny") is both


def shown(error: BaseException) -> str:
    """A traceback with the values of all names below the caller's, as error trackers show it."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(frames.format())


def test_a_failure_shows_no_secret_in_any_frame(server: Loopback) -> None:
    server.answers(Reply(status=401, json={"error": {"message": f"{SECRET}: no"}}))
    lm = lmconf.LM("openai/tiny", api_base=server.v1, api_key=SECRET)
    adapted = lm.as_dspy()

    def changed(how: Any) -> None:
        how(api_key=SECRET, temperature=77)

    for fail in (
        lambda: adapted("Hello"),
        lambda: asyncio.run(adapted.acall("Hello")),
        lambda: changed(adapted.copy),
        lambda: changed(lm.as_dspy),
    ):
        with pytest.raises(lmconf.Error) as caught:
            fail()
        assert SECRET not in shown(caught.value)


def test_every_error_of_lmconf_has_a_counterpart() -> None:
    def below(kind: type[lmconf.Error]) -> list[type[lmconf.Error]]:
        return [kind, *(one for sub in kind.__subclasses__() for one in below(sub))]

    for kind in below(lmconf.Error):
        # Those of single rooms, and what tests make of them, are never what a call raises.
        if kind.__module__ != "lmconf.errors" or issubclass(kind, dspy.LMError):
            continue
        what: Any = () if issubclass(kind, lmconf.ProfileError) else "it failed"
        both = to_dspy_error(kind(what), "openai/tiny")
        assert isinstance(both, kind)
        assert isinstance(both, dspy.LMError)
