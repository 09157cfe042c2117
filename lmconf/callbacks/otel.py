"""Calls as OpenTelemetry spans and metrics, by the conventions for generative AI.

The application sets up OpenTelemetry (providers, exporters, sampling); without that, nothing is
reported. A call's span is a child of the span that surrounds the call, and has an event for each
attempt, retry, wait and fallback. An answer from a store has a span with `lmconf.cache_hit`, and
counts in no metric: nothing was asked of a model.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from lmconf.callbacks import otel_semconv
from lmconf.callbacks.events import (
    Attempt,
    CacheHit,
    End,
    Event,
    Failure,
    Fallback,
    FirstToken,
    LimitWait,
    Retry,
    Start,
)
from lmconf.secrets.redaction import mask_key_shapes
from lmconf.system.fork import Mutex
from lmconf.system.optional import require

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["MOST_GATHERED", "CallRegistry", "OtelCallback"]

MOST_GATHERED = 10_000
"""Of how many calls at once something is kept; the oldest are forgotten."""

T = TypeVar("T")


class CallRegistry(Generic[T]):
    """Keeps something for each call by its id, until it is taken at the call's end."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, T] = OrderedDict()
        self._lock = Mutex()

    def keep(self, call_id: str, what: T) -> None:
        """Keep `what` for a call."""
        with self._lock:
            self._calls[call_id] = what
            if len(self._calls) > MOST_GATHERED:
                self._calls.popitem(last=False)

    def get(self, call_id: str) -> T | None:
        """Return what is kept for a call, if anything is."""
        return self._calls.get(call_id)

    def take(self, call_id: str) -> T | None:
        """Return what is kept for a call, and keep it no longer."""
        with self._lock:
            return self._calls.pop(call_id, None)


_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(float(4**power) for power in range(14))


class _Instruments(NamedTuple):
    tracer: Tracer
    tokens: Histogram
    duration: Histogram
    first_chunk: Histogram


class _OpenSpan(NamedTuple):
    span: Span
    identity: otel_semconv.Attributes


class OtelCallback:
    """Reports to the providers given, else to those that the application has set.

    With `content`, spans hold prompts, answers and the texts of errors.
    """

    def __init__(
        self,
        *,
        content: bool = False,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        require("opentelemetry.metrics", "otel", "the otel callback", package="opentelemetry-api")
        self._content = content
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        self._instruments: _Instruments | None = None
        self._going: CallRegistry[_OpenSpan] = CallRegistry()

    def on_start(self, event: Start) -> None:
        """Begin the span of a call."""
        from opentelemetry.trace import SpanKind

        identity = otel_semconv.identity_of(event)
        attributes = {**identity, **otel_semconv.of_request(event), "lmconf.lm": event.lm}
        if self._content:
            attributes |= otel_semconv.of_request_content(event)
        span = self._opened().tracer.start_span(
            f"{identity['gen_ai.operation.name']} {identity['gen_ai.request.model']}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=_nanoseconds(event.time),
        )
        self._going.keep(event.call_id, _OpenSpan(span, identity))

    def on_attempt(self, event: Attempt) -> None:
        """Note where the request goes."""
        going = self._going.get(event.call_id)
        if going is not None:
            server = otel_semconv.of_server(event.origin)
            going.identity.update(server)
            going.span.set_attributes(server)
        self._add(event, "lmconf.attempt", {"lmconf.attempt": event.number, "lmconf.lm": event.lm})

    def on_retry(self, event: Retry) -> None:
        """Note why the request is sent again."""
        said: otel_semconv.Attributes = {"error.type": event.error, "lmconf.wait": event.wait}
        if event.status is not None:
            said["http.response.status_code"] = event.status
        self._add(event, "lmconf.retry", {**said, "lmconf.reason": event.reason})

    def on_limit_wait(self, event: LimitWait) -> None:
        """Note what the call waited for."""
        said: otel_semconv.Attributes = {"lmconf.wait": event.seconds, "lmconf.limit": event.limit}
        self._add(event, "lmconf.limit_wait", said)

    def on_fallback(self, event: Fallback) -> None:
        """Note which LM stands in for which."""
        said: otel_semconv.Attributes = {
            "lmconf.source": event.source,
            "lmconf.target": event.target,
        }
        self._add(event, "lmconf.fallback", {**said, "lmconf.reason": event.reason})

    def on_cache_hit(self, event: CacheHit) -> None:
        """Note which store has the answer."""
        self._add(event, "lmconf.cache_hit", {"lmconf.store": event.store})

    def on_first_token(self, event: FirstToken) -> None:
        """Note that a stream has begun."""
        self._add(event, "lmconf.first_token", {})

    def on_end(self, event: End) -> None:
        """End the span of a call that was answered, and count."""
        going = self._going.take(event.call_id)
        if going is None:
            return
        answer = otel_semconv.of_answer(event)
        span = going.span
        span.set_attributes(answer)
        span.set_attributes(
            {"lmconf.cache_hit": event.cache_hit, "lmconf.attempts": event.attempts}
        )
        if event.cost is not None:
            span.set_attribute("lmconf.cost", event.cost)
        if self._content:
            span.set_attributes(otel_semconv.of_answer_content(event))
        if not event.cache_hit:
            self._count(event, going.identity, answer)
        span.end(end_time=_nanoseconds(event.time))

    def _count(
        self, event: End, identity: otel_semconv.Attributes, answer: otel_semconv.Attributes
    ) -> None:
        instruments = self._opened()
        model = answer.get("gen_ai.response.model")
        attributes = {**identity} if model is None else {**identity, "gen_ai.response.model": model}
        instruments.duration.record(event.duration, attributes)
        if event.first_token is not None:
            instruments.first_chunk.record(event.first_token, attributes)
        for kind in ("input", "output"):
            tokens = answer.get(f"gen_ai.usage.{kind}_tokens")
            if isinstance(tokens, int):
                instruments.tokens.record(tokens, {**attributes, "gen_ai.token.type": kind})

    def on_error(self, event: Failure) -> None:
        """End the span of a call that failed."""
        from opentelemetry.trace import Status, StatusCode

        going = self._going.take(event.call_id)
        if going is None:
            return
        error = {"error.type": type(event.error).__name__}
        text = (
            mask_key_shapes(str(event.error)) if self._content else None
        )  # it may quote the prompt
        going.span.set_status(Status(StatusCode.ERROR, text))
        going.span.set_attributes({**error, "lmconf.attempts": event.attempts})
        status = getattr(event.error, "status", None)
        if isinstance(status, int):
            going.span.set_attribute("http.response.status_code", status)
        going.span.end(end_time=_nanoseconds(event.time))
        self._opened().duration.record(event.duration, {**going.identity, **error})

    def _add(self, event: Event, name: str, attributes: otel_semconv.Attributes) -> None:
        going = self._going.get(event.call_id)
        if going is not None:
            going.span.add_event(name, attributes, timestamp=_nanoseconds(event.time))

    def _opened(self) -> _Instruments:
        if self._instruments is None:
            from opentelemetry import metrics, trace

            meter = metrics.get_meter("lmconf", meter_provider=self._meter_provider)
            self._instruments = _Instruments(
                trace.get_tracer("lmconf", tracer_provider=self._tracer_provider),
                meter.create_histogram(
                    "gen_ai.client.token.usage",
                    unit="{token}",
                    description="Number of input and output tokens used.",
                    explicit_bucket_boundaries_advisory=_TOKENS,
                ),
                meter.create_histogram(
                    "gen_ai.client.operation.duration",
                    unit="s",
                    description="GenAI operation duration.",
                    explicit_bucket_boundaries_advisory=_SECONDS,
                ),
                meter.create_histogram(
                    "gen_ai.client.operation.time_to_first_chunk",
                    unit="s",
                    description="Time to receive the first chunk.",
                    explicit_bucket_boundaries_advisory=_SECONDS,
                ),
            )
        return self._instruments


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
