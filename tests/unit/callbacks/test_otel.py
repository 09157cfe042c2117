"""Spans and metrics by OpenTelemetry's conventions, read back from its SDK's own memory."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from lmconf.callbacks import End, Start, otel, otel_semconv
from lmconf.callbacks.otel import OtelCallback
from lmconf.callbacks.otel_semconv import (
    identity_of,
    of_answer,
    of_request,
    of_request_content,
    of_server,
)
from lmconf.errors import AuthenticationFailed, ServerError
from lmconf.testing import Fake, fake

MARKER = "sk-live-0123456789abcdef"


class Sdk:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.metrics = MeterProvider([self.reader])

    def callback(self, *, content: bool = False) -> OtelCallback:
        return OtelCallback(
            content=content, tracer_provider=self.traces, meter_provider=self.metrics
        )

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    @property
    def points(self) -> dict[str, list[HistogramDataPoint]]:
        data = self.reader.get_metrics_data()
        found: dict[str, list[HistogramDataPoint]] = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = list(metric.data.data_points)  # type: ignore[arg-type]
        return found


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    made = Sdk()
    yield made
    made.traces.shutdown()
    made.metrics.shutdown()


def lm_of(server: Fake, callback: OtelCallback, **settings: Any) -> Any:
    return server.lm(callbacks=[callback], **settings)


def said(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def test_a_call_is_a_client_span_with_the_conventions_attributes(sdk: Sdk) -> None:
    with fake("Hello there.") as server:
        lm = lm_of(server, sdk.callback(), max_tokens=50, stop=["END"])
        lm("Hi", temperature=0.5)
        lm.close()
    [span] = sdk.spans
    attributes = said(span)
    assert span.kind is SpanKind.CLIENT
    assert span.name == f"chat {attributes['gen_ai.request.model']}"
    assert {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 1,
        "gen_ai.usage.output_tokens": 2,
        "server.address": "fake.invalid",
        "server.port": 443,
        "lmconf.cache_hit": False,
        "lmconf.attempts": 1,
    }.items() <= attributes.items()
    assert [event.name for event in span.events] == ["lmconf.attempt"]
    assert span.status.status_code is StatusCode.UNSET
    assert not [name for name in attributes if "messages" in name]
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time < span.end_time


def test_metrics_are_counted_with_the_conventions_buckets(sdk: Sdk) -> None:
    with fake("Hello there.", latency=0.02) as server:
        lm = lm_of(server, sdk.callback())
        lm("Hi")
        assert list(lm.stream("Hi"))
        lm.close()
    points = sdk.points
    [duration] = points["gen_ai.client.operation.duration"]
    assert duration.count == 2
    assert list(duration.explicit_bounds)[:3] == [0.01, 0.02, 0.04]
    [first] = points["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1
    tokens = {
        (point.attributes or {})["gen_ai.token.type"]: point
        for point in points["gen_ai.client.token.usage"]
    }
    assert tokens["input"].sum >= 1
    assert tokens["output"].sum >= 2
    assert list(tokens["input"].explicit_bounds)[-1] == 67108864
    assert (tokens["input"].attributes or {})["server.address"] == "fake.invalid"


def test_the_span_around_a_call_is_its_parent_in_tasks_as_well(sdk: Sdk) -> None:
    tracer = sdk.traces.get_tracer("test")
    with fake("Hello.") as server:
        lm = lm_of(server, sdk.callback())
        with tracer.start_as_current_span("outer") as outer:
            lm("Hi")

        async def ask(name: str) -> None:
            with tracer.start_as_current_span(name):
                await lm.acall("Hi")

        async def both() -> None:
            await asyncio.gather(ask("one"), ask("two"))

        asyncio.run(both())
        lm.close()
    calls = [span for span in sdk.spans if span.name.startswith("chat")]
    parents = {span.context.span_id: span.name for span in sdk.spans if span not in calls}
    assert sorted(parents[span.parent.span_id] for span in calls if span.parent) == [
        "one",
        "outer",
        "two",
    ]
    assert calls[0].context.trace_id == outer.get_span_context().trace_id


def test_a_failure_and_its_retries_are_told_without_what_they_quote(sdk: Sdk) -> None:
    failing = [ServerError(f"down {MARKER}", status=503), AuthenticationFailed(MARKER, status=401)]
    with fake(failing) as server, pytest.raises(AuthenticationFailed):
        lm_of(server, sdk.callback())("Hi")
    [span] = sdk.spans
    assert span.status.status_code is StatusCode.ERROR
    assert said(span)["error.type"] == "AuthenticationFailed"
    assert said(span)["http.response.status_code"] == 401
    assert [event.name for event in span.events] == [
        "lmconf.attempt",
        "lmconf.retry",
        "lmconf.attempt",
    ]
    assert dict(span.events[1].attributes or {})["error.type"] == "ServerError"
    [point] = sdk.points["gen_ai.client.operation.duration"]
    assert (point.attributes or {})["error.type"] == "AuthenticationFailed"
    assert MARKER not in span.to_json()


def test_a_stored_answer_has_a_span_and_counts_in_no_metric(sdk: Sdk) -> None:
    with fake("Hello.") as server:
        lm = lm_of(server, sdk.callback(), cache=True)
        lm("Hi")
        lm("Hi")
        lm.close()
    first, second = sdk.spans
    assert said(second)["lmconf.cache_hit"] is True
    assert "gen_ai.usage.input_tokens" not in said(second)
    assert [point.count for point in sdk.points["gen_ai.client.operation.duration"]] == [1]
    assert said(first)["lmconf.cache_hit"] is False


def test_content_is_told_where_it_is_asked_for(sdk: Sdk) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is ä?"},
    ]
    with fake("An umlaut.") as server:
        lm = lm_of(server, sdk.callback(content=True))
        lm(messages=messages)
        lm.close()
    attributes = said(sdk.spans[0])
    assert json.loads(attributes["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Be brief."}
    ]
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "What is ä?"}]}
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": "An umlaut."}],
            "finish_reason": "stop",
        }
    ]


def test_no_secret_is_in_a_span_or_a_metric(sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_BASE", f"https://user:{MARKER}@llm.example/{MARKER}")
    with fake("Hello.") as server:
        lm = lm_of(
            server,
            sdk.callback(content=True),
            api_key=MARKER,
            api_base={"$env": "SECRET_BASE"},
            headers={"X-Api-Key": {"$env": "SECRET_BASE"}},
        )
        lm("Hi")
        lm.close()
    assert said(sdk.spans[0])["server.address"] == "llm.example"
    assert MARKER not in sdk.spans[0].to_json()
    assert MARKER not in (sdk.reader.get_metrics_data() or sdk.points).__repr__()


def start(**settings: Any) -> Start:
    return Start(
        call_id="1",
        lm="gpt",
        model="azure/gpt-4o",
        time=0.0,
        request={"messages": [], "settings": settings},
        provider="azure",
    )


def test_every_name_is_one_of_the_conventions() -> None:
    """As the installed package of OpenTelemetry's names has them."""
    names = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    metrics = pytest.importorskip("opentelemetry.semconv._incubating.metrics.gen_ai_metrics")
    known = {value for each in (names, metrics) for value in vars(each).values()
             if isinstance(value, str)}  # fmt: skip
    text = "".join(Path(str(module.__file__)).read_text() for module in (otel_semconv, otel))
    used = set(re.findall(r'"(gen_ai\.[a-z_.]+[a-z])"', text))
    assert len(used) > 20
    assert used - known == set()


def test_providers_and_settings_have_the_conventions_names() -> None:
    assert identity_of(start())["gen_ai.provider.name"] == "azure.ai.openai"
    assert identity_of(start())["gen_ai.request.model"] == "gpt-4o"
    assert of_request(
        start(n=3, seed=7, top_p=1, stop="END", response_format={}, extra={"top_k": 4})
    ) == {
        "gen_ai.request.choice.count": 3,
        "gen_ai.request.seed": 7,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.top_k": 4.0,
        "gen_ai.output.type": "json",
    }
    assert of_server("http://localhost") == {"server.address": "localhost", "server.port": 80}
    assert of_server(None) == {}


def test_tools_and_images_are_told_as_the_conventions_have_them() -> None:
    call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    event = Start(
        call_id="1",
        lm="gpt",
        model="m",
        time=0.0,
        request={
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What is it?"},
                        {"type": "image_url", "image_url": {"url": "https://a.example/x.png"}},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                },
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "3"},
            ],
            "settings": {"tools": [{"type": "function", "function": {"name": "add"}}]},
        },
    )
    content = of_request_content(event)
    user, assistant, tool = json.loads(str(content["gen_ai.input.messages"]))
    assert user["parts"][1:] == [
        {"type": "uri", "modality": "image", "uri": "https://a.example/x.png"},
        {"type": "image_url"},
    ]
    assert assistant["parts"] == [
        {"type": "tool_call", "id": "c1", "name": "add", "arguments": "{}"}
    ]
    assert tool["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "3"}]
    assert json.loads(str(content["gen_ai.tool.definitions"])) == [
        {"type": "function", "name": "add"}
    ]


def test_cached_and_reasoning_tokens_are_told_apart() -> None:
    ended = End(
        call_id="1",
        lm="gpt",
        model="m",
        time=1.0,
        duration=1.0,
        cache_hit=False,
        attempts=1,
        usage={
            "prompt_tokens": 9,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4},
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
        cost=None,
        response={"id": "r1", "model": "gpt-4o-2024", "choices": []},
        request={},
        first_token=0.25,
    )
    assert of_answer(ended) == {
        "gen_ai.response.id": "r1",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.response.time_to_first_chunk": 0.25,
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "gen_ai.usage.reasoning.output_tokens": 3,
    }
