"""DSPy's adapters, typed outputs, tools and reasoning, as the server sees and answers them."""

from __future__ import annotations

import json
from typing import Any, Literal

import dspy
import pydantic
import pytest

import lmconf
from tests.dspy.formats import answers, in_json, marked, tool_call, xml
from tests.loopback import Loopback, chat, completion


class City(pydantic.BaseModel):
    name: str
    people: int | None = None


class Find(dspy.Signature):  # type: ignore[misc]
    """Find the cities."""

    question: str = dspy.InputField()
    cities: list[City] = dspy.OutputField()
    mood: Literal["good", "bad"] = dspy.OutputField()
    sure: float = dspy.OutputField()


FOUND = {"cities": [{"name": "Tokyo", "people": 9}, {"name": "Oslo"}], "mood": "good", "sure": 0.5}
TEXTS = {name: one if isinstance(one, str) else json.dumps(one) for name, one in FOUND.items()}


def check(prediction: Any) -> None:
    assert prediction.cities == [City(name="Tokyo", people=9), City(name="Oslo")]
    assert (prediction.mood, prediction.sure) == ("good", 0.5)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (dspy.ChatAdapter(), marked(**TEXTS)),
        (dspy.JSONAdapter(), json.dumps(FOUND)),
        (dspy.XMLAdapter(), xml(**TEXTS)),
    ],
    ids=["chat", "json", "xml"],
)
def test_typed_outputs_are_read(adapter: Any, said: str, lm: lmconf.LM, server: Loopback) -> None:
    server.answers(chat(said))
    with dspy.context(lm=lm.as_dspy(), adapter=adapter):
        check(dspy.Predict(Find)(question="?"))


def test_the_two_step_adapter_asks_both_lms(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(chat("Tokyo has 9, and Oslo. I am half sure and happy."), chat(marked(**TEXTS)))
    adapter = dspy.TwoStepAdapter(extraction_model=lm.as_dspy(temperature=0.3))
    with dspy.context(lm=lm.as_dspy(), adapter=adapter):
        check(dspy.Predict(Find)(question="?"))
    assert [received.json["temperature"] for received in server.received] == [0.0, 0.3]


def test_a_schema_is_sent_where_the_model_keeps_to_schemas(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(in_json(**FOUND))
    with dspy.context(adapter=dspy.JSONAdapter()):
        check(dspy.Predict(Find)(question="?", lm=lm.as_dspy(supports_response_schema=True)))
    sent = server.received[0].json["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    schema = sent["json_schema"]["schema"]
    assert schema["required"] == ["cities", "mood", "sure"]
    assert schema["$defs"]["City"]["additionalProperties"] is False


def test_what_a_model_can_do_is_known_or_said(lm: lmconf.LM) -> None:
    adapted = lm.as_dspy()
    assert not adapted.supports_function_calling
    assert not adapted.supports_response_schema
    assert not adapted.supports_reasoning
    said = adapted.copy(supports_function_calling=True, supports_reasoning=True)
    assert said.supports_function_calling
    assert said.supports_reasoning
    assert "tools" in said.supported_params
    assert not said.supports_response_schema
    known = lmconf.LM("openai/gpt-4o-mini").as_dspy()
    assert known.supports_function_calling
    assert known.supports_response_schema
    assert {"response_format", "temperature"} <= known.supported_params


def test_json_that_is_nearly_right_is_mended(lm: lmconf.LM, server: Loopback) -> None:
    """It would be no answer in the LM's own form: reading it is the adapter's part."""
    server.answers(chat("Here you are: " + json.dumps(FOUND)[:-1]))
    with dspy.context(lm=lm.as_dspy(supports_response_schema=True), adapter=dspy.JSONAdapter()):
        check(dspy.Predict(Find)(question="?"))


def test_an_answer_in_the_wrong_format_is_asked_for_again_in_json(
    lm: lmconf.LM, server: Loopback
) -> None:
    server.answers(chat("I would say Tokyo."), in_json(answer="Tokyo"))
    with dspy.context(lm=lm.as_dspy()):
        assert dspy.Predict("question -> answer")(question="?").answer == "Tokyo"
    assert len(server.received) == 2


def test_the_adapter_inferred_is_the_one_set_in_dspy(lm: lmconf.LM) -> None:
    assert isinstance(lm.infer_adapter(), dspy.ChatAdapter)
    with dspy.context(adapter=dspy.XMLAdapter()):
        assert lm.infer_adapter() is lm.as_dspy().infer_adapter() is dspy.settings.adapter


def test_a_model_of_the_older_api_answers_too(server: Loopback) -> None:
    lm = lmconf.LM("openai/tiny", model_type="text", api_base=server.v1, api_key="", cache=False)
    server.answers(completion(marked(answer="Tokyo")))
    with dspy.context(lm=lm.as_dspy()):
        assert dspy.Predict("question -> answer")(question="?").answer == "Tokyo"
    assert server.received[0].path == "/v1/completions"


# Tools


def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"rain in {city}"


class Act(dspy.Signature):  # type: ignore[misc]
    question: str = dspy.InputField()
    tools: list[dspy.Tool] = dspy.InputField()
    calls: dspy.ToolCalls = dspy.OutputField()


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter, dspy.JSONAdapter])
def test_native_function_calls_come_back_as_tool_calls(
    adapter: Any, lm: lmconf.LM, server: Loopback
) -> None:
    call = tool_call("weather", city="Oslo")
    server.answers(chat(None, tool_calls=[call], finish_reason="tool_calls"))
    adapted = lm.as_dspy(supports_function_calling=True)
    with dspy.context(lm=adapted, adapter=adapter(use_native_function_calling=True)):
        got = dspy.Predict(Act)(question="?", tools=[dspy.Tool(weather)])
    (asked,) = got.calls.tool_calls
    assert (asked.name, asked.args) == ("weather", {"city": "Oslo"})
    (sent,) = server.received[0].json["tools"]
    assert sent["function"]["name"] == "weather"
    assert sent["function"]["parameters"]["properties"] == {"city": {"type": "string"}}


def test_an_agent_uses_its_tools(lm: lmconf.LM, server: Loopback) -> None:
    step = {"next_thought": "I look.", "next_tool_name": "weather"}
    server.answers(
        answers(**step, next_tool_args='{"city": "Oslo"}'),
        answers(next_thought="Done.", next_tool_name="finish", next_tool_args="{}"),
        answers(reasoning="I looked.", answer="rain"),
    )
    agent = dspy.ReAct("question -> answer", tools=[weather])
    with dspy.context(lm=lm.as_dspy()):
        got = agent(question="How is Oslo?")
    assert got.answer == "rain"
    assert got.trajectory["observation_0"] == "rain in Oslo"
    assert "rain in Oslo" in server.received[1].text


# Reasoning, images and files


class Think(dspy.Signature):  # type: ignore[misc]
    question: str = dspy.InputField()
    reasoning: dspy.Reasoning = dspy.OutputField()
    answer: str = dspy.OutputField()


def test_native_reasoning_fills_its_field(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(chat(marked(answer="Tokyo"), reasoning_content="It is known."))
    with dspy.context(lm=lm.as_dspy(supports_reasoning=True)):
        got = dspy.Predict(Think)(question="?")
    assert (got.reasoning.content, got.answer) == ("It is known.", "Tokyo")
    assert server.received[0].json["reasoning_effort"] == "low"


def test_images_and_named_files_are_sent_as_they_are(lm: lmconf.LM, server: Loopback) -> None:
    server.answers(answers(answer="a cat"))
    image = dspy.Image("data:image/png;base64,iVBORw0KGgo=")
    file = dspy.File(file_data="data:text/plain;base64,aGk=", filename="hi.txt")
    with dspy.context(lm=lm.as_dspy()):
        dspy.Predict("picture: dspy.Image, note: dspy.File -> answer")(picture=image, note=file)
    content = server.received[0].json["messages"][-1]["content"]
    kinds = [part["type"] for part in content]
    assert "image_url" in kinds
    (sent,) = [part["file"] for part in content if part["type"] == "file"]
    assert sent["filename"] == "hi.txt"
