"""Responses and chunks of the OpenAI API's shape, read and put together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmconf.errors import BadResponse, UsageError
from lmconf.runtime.answer import Answer, is_truncated, outputs_of, texts_of
from lmconf.runtime.assembly import Assembly, has_begun, text_of
from lmconf.runtime.history import History
from lmconf.runtime.messages import as_messages, as_prompt
from lmconf.runtime.stored import open_stored, read_stored, worth_keeping, write
from lmconf.spec.policies import HistoryPolicy
from tests.loopback import chat, chat_chunks, completion

TEXTS = st.lists(st.text(), max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=3), st.randoms())
def test_chunks_of_several_answers_come_together_in_any_interleaving(
    answers: list[list[str]], rng: Any
) -> None:
    queues = [
        [
            {"index": index, "delta": {"content": text}, "finish_reason": None}
            for text in texts
        ]
        + [{"index": index, "delta": {}, "finish_reason": "stop"}]
        for index, texts in enumerate(answers)
    ]  # fmt: skip
    assembly, first = Assembly(), ""
    while any(queues):
        queue = rng.choice([queue for queue in queues if queue])
        chunk = {"id": "x", "choices": [queue.pop(0)]}
        assembly.add(chunk)
        first += text_of(chunk)
    response = assembly.response()
    assert list(texts_of(response)) == ["".join(texts) for texts in answers]
    assert {choice["finish_reason"] for choice in response["choices"]} == {"stop"}
    assert first == assembly.text == "".join(answers[0])


def test_usage_and_names_of_a_stream_are_kept_whichever_chunk_says_them() -> None:
    assembly = Assembly()
    for chunk in chat_chunks("Hel", "lo."):
        assembly.add(chunk)
    response = assembly.response()
    whole = chat()
    assert response["usage"] == whole["usage"]
    assert (response["id"], response["model"]) == ("chatcmpl-1", "tiny")
    assert response["choices"][0]["message"] == whole["choices"][0]["message"]
    assert response["object"] == "chat.completion"


def test_streamed_completions_make_a_completion() -> None:
    assembly = Assembly()
    for text, reason in (("Hel", None), ("lo.", "stop")):
        assembly.add({"choices": [{"index": 0, "text": text, "finish_reason": reason}]})
    assert assembly.response()["choices"] == [
        {"index": 0, "text": "Hello.", "finish_reason": "stop"}
    ]
    assert assembly.response()["object"] == "text_completion"


def test_a_stream_without_choices_is_no_answer() -> None:
    assembly = Assembly()
    assembly.add({"choices": [], "usage": {"total_tokens": 1}})
    with pytest.raises(BadResponse):
        assembly.response()


@pytest.mark.parametrize(
    ("delta", "begun"),
    [
        ({"role": "assistant"}, False),
        ({"role": "assistant", "content": ""}, False),
        ({"content": "x"}, True),
        ({"reasoning_content": "x"}, True),
        ({"tool_calls": [{"index": 0}]}, True),
    ],
)
def test_an_answer_begins_with_its_first_content(delta: dict[str, Any], begun: bool) -> None:
    assert has_begun({"choices": [{"delta": delta}]}) is begun


def test_outputs_are_texts_or_all_mappings() -> None:
    assert outputs_of(chat("a")) == ["a"]
    assert outputs_of(completion("b")) == ["b"]
    two = chat("a")
    two["choices"].append({"index": 1, "message": {"content": "b"}, "logprobs": {"content": []}})
    assert outputs_of(two) == [{"text": "a"}, {"text": "b", "logprobs": {"content": []}}]


def test_what_is_kept_reads_back_equal_and_anew() -> None:
    response = chat("ä\u2028\x00")
    kept = write({**response, "_request_id": "r1"})
    assert read_stored(kept) == response
    assert read_stored(kept) is not read_stored(kept)
    for broken in (b"", b"{", b"[]", b'{"choices": []}', b'{"choices": 1}', b"\xff"):
        assert read_stored(broken) is None


@pytest.mark.parametrize(
    ("response", "worth"),
    [
        (chat(), True),
        (completion(), True),
        (chat(None, tool_calls=[{"id": "1"}], finish_reason="tool_calls"), True),
        (chat(""), False),
        (chat(None), False),
        (chat("x", finish_reason="length"), False),
        (chat("x", finish_reason="content_filter"), False),
        ({"choices": [*chat()["choices"], *chat("")["choices"]]}, False),
    ],
)
def test_only_whole_unfiltered_answers_are_worth_keeping(
    response: dict[str, Any], worth: bool
) -> None:
    assert worth_keeping(response, frozenset(("tool_calls",))) is worth


def test_a_hit_says_that_nothing_was_paid() -> None:
    answer = Answer.of(
        chat(), lm="a", model="b", cost=None, cache_hit=True, attempts=0, request_id=None
    )
    assert (answer.usage, answer.cost) == ({}, None)
    assert repr(answer) == "Answer('Hello.', lm='a', cache_hit=True)"


class Numbered:
    """Tells of a call by its number."""

    def __init__(self, number: int = 0) -> None:
        self.entry: dict[str, Any] = {"n": number, "prompt": "?", "outputs": ["!"]}


def test_the_history_drops_the_oldest_and_can_be_read_while_it_grows() -> None:
    history = History(HistoryPolicy(max=3))
    for number in range(5):
        history.append(Numbered(number))
    assert [entry["n"] for entry in history] == [2, 3, 4]
    assert history[-1]["n"] == 4
    assert [entry["n"] for entry in history[:2]] == [2, 3]
    for _ in history:
        history.append(Numbered())
    assert len(history) == 3
    history.clear()
    assert history == []


def test_a_history_without_content_keeps_no_word_of_a_call() -> None:
    history = History(HistoryPolicy(content=False))
    history.append(Numbered(7))
    entry = history[-1]
    assert entry["n"] == 7
    assert entry["prompt"] is entry["messages"] is entry["response"] is entry["outputs"] is None


@pytest.mark.parametrize("keep", [(), ("tool_calls",), ("truncated",)])
@pytest.mark.parametrize(
    "response",
    [
        chat(),
        completion("b"),
        {"choices": [*chat("a")["choices"], *chat("b")["choices"]]},
        {"choices": [{**chat("x")["choices"][0], "logprobs": {"content": []}}]},
        chat(None, tool_calls=[{"id": "1"}], finish_reason="tool_calls"),
        chat("", tool_calls=[{"id": "1"}]),
        chat(""),
        chat("x", finish_reason="length"),
        chat("half a pair \ud83d"),
        chat("x", content=["a", "list"]),
        {"choices": [{"index": 0, "message": None, "text": "t", "finish_reason": None}]},
    ],
)
def test_what_a_store_holds_is_told_as_if_it_were_read_whole(
    response: dict[str, Any], keep: tuple[str, ...]
) -> None:
    value = write(response)
    found = open_stored(value, keep)
    assert (found is not None) is worth_keeping(response, keep)
    if found is not None:
        assert found.outputs == outputs_of(response)
        assert found.truncated is is_truncated(response)
        assert found.response == response


@given(
    st.binary(max_size=80) | st.sampled_from([b'{"choices":[]}', b'{"choices":[{}]}', b"[" * 9999])
)
def test_what_is_no_answer_is_not_found(value: bytes) -> None:
    whole = read_stored(value)
    if whole is None:
        assert open_stored(value, ("empty",)) is None


def test_messages_of_a_call_are_its_own() -> None:
    given = [{"role": "user", "content": "hi"}]
    checked = as_messages(None, given)
    given[0]["content"] = "other"
    assert checked == [{"role": "user", "content": "hi"}]


def test_messages_become_one_text_only_if_they_are_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": parts},
    ]
    assert as_prompt(messages) == "s\n\nab"
    with pytest.raises(UsageError, match="messages\\[0\\]"):
        as_prompt([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}])
