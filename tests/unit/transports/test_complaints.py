"""Errors as each provider writes them, and what each of them becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    BadResponse,
    CallError,
    ContentPolicy,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from lmconf.transports import Connection, Request, Transport, make
from lmconf.transports.error_bodies import find_error, read_error_line
from lmconf.transports.specs import TransportSpec
from lmconf.transports.status_errors import error_for_status, error_in_answer, no_advice
from tests.loopback import Loopback, Reply, chat, chat_chunks, serving, sse


def openai(message: str, type: str | None, code: object, param: object = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def anthropic(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}, "request_id": "req_011"}


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> list[dict[str, Any]]:
    error: dict[str, Any] = {"code": code, "message": message, "status": status}
    return [{"error": {**error, "details": list(details)} if details else error}]


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    return {"error": {**error, "metadata": metadata} if metadata else error, "user_id": "user_2x"}


Case = tuple[str, int, Any, type[CallError], bool]

CASES: list[Case] = [
    # OpenAI
    ("openai: key", 401,
     openai("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
     AuthenticationFailed, False),
    ("openai: rate", 429,
     openai("Rate limit reached for gpt-4o", "requests", "rate_limit_exceeded"), RateLimited, True),
    ("openai: quota", 429,
     openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
     RateLimited, False),
    ("openai: model", 404,
     openai("The model `x` does not exist", "invalid_request_error", "model_not_found"),
     NotFound, False),
    ("openai: model not for this project", 403,
     openai("Project `p` does not have access", "invalid_request_error", "model_not_found"),
     PermissionDenied, False),
    ("openai: length", 400,
     openai("This model's maximum context length is 8192 tokens.", "invalid_request_error",
            "context_length_exceeded", "messages"), ContextWindowExceeded, False),
    ("openai: parameter", 400,
     openai("Unsupported value", "invalid_request_error", "unsupported_value", "temperature"),
     BadRequest, False),
    ("openai: flagged prompt", 400,
     openai("Invalid prompt: your prompt was flagged", "invalid_request_error", "invalid_prompt"),
     ContentPolicy, False),
    ("openai: server", 500,
     openai("The server had an error while processing", "server_error", None), ServerError, True),
    ("openai: overload", 503,
     openai("The engine is currently overloaded", "service_unavailable", None), ServerError, True),
    # Azure
    ("azure: key", 401,
     {"error": {"code": "401", "message": "Access denied due to invalid subscription key"}},
     AuthenticationFailed, False),
    ("azure: gateway", 401, {"statusCode": 401, "message": "Unauthorized."},
     AuthenticationFailed, False),
    ("azure: deployment", 404,
     {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}},
     NotFound, False),
    ("azure: rate", 429,
     {"error": {"code": "429", "message": "Please retry after 26 seconds."}}, RateLimited, True),
    ("azure: filter", 400,
     {"error": {"message": "The response was filtered", "type": None, "param": "prompt",
                "code": "content_filter", "status": 400,
                "innererror": {"code": "ResponsibleAIPolicyViolation",
                               "content_filter_result": {"hate": {"filtered": True}}}}},
     ContentPolicy, False),
    # Anthropic
    ("anthropic: request", 400, anthropic("invalid_request_error", "max_tokens: field required"),
     BadRequest, False),
    ("anthropic: length", 400,
     anthropic("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
     ContextWindowExceeded, False),
    ("anthropic: credit", 400,
     anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
     PermissionDenied, False),
    ("anthropic: key", 401, anthropic("authentication_error", "invalid x-api-key"),
     AuthenticationFailed, False),
    ("anthropic: billing", 402, anthropic("billing_error", "Billing issue"),
     PermissionDenied, False),
    ("anthropic: permission", 403, anthropic("permission_error", "no permission"),
     PermissionDenied, False),
    ("anthropic: model", 404, anthropic("not_found_error", "model: x"), NotFound, False),
    ("anthropic: size", 413, anthropic("request_too_large", "Request exceeds the maximum size"),
     BadRequest, False),
    ("anthropic: rate", 429, anthropic("rate_limit_error", "This request would exceed your limit"),
     RateLimited, True),
    ("anthropic: server", 500, anthropic("api_error", "Internal server error"), ServerError, True),
    ("anthropic: timeout", 504, anthropic("timeout_error", "timed out"), ServerError, True),
    ("anthropic: overload", 529, anthropic("overloaded_error", "Overloaded"), ServerError, True),
    # Mistral
    ("mistral: key", 401, {"message": "Unauthorized", "request_id": "0b1"},
     AuthenticationFailed, False),
    ("mistral: rate", 429,
     {"object": "error", "message": "Rate limit exceeded", "type": "rate_limited", "param": None,
      "code": "1300", "raw_status_code": 429}, RateLimited, True),
    ("mistral: capacity", 503,
     {"object": "error", "message": "Service tier capacity exceeded for this model.",
      "type": "invalid_request_error", "param": None, "code": None}, ServerError, True),
    ("mistral: validation", 422,
     {"object": "error", "type": "invalid_request_error",
      "message": {"detail": [{"type": "less_than_equal", "loc": ["body", "temperature"],
                              "msg": "Input should be less than or equal to 1.5", "input": 2}]}},
     BadRequest, False),
    ("mistral: length", 400,
     {"object": "error", "message": "Prompt contains 40000 tokens, too large for model with 32768"
      " maximum context length", "type": "invalid_request_error", "code": "3051"},
     ContextWindowExceeded, False),
    # Groq
    ("groq: rate", 429, openai("Rate limit reached for model", "tokens", "rate_limit_exceeded"),
     RateLimited, True),
    ("groq: larger than the rate allows", 413,
     openai("Request too large for model", "tokens", "rate_limit_exceeded"), BadRequest, False),
    ("groq: flex", 498, openai("Flex tier capacity exceeded", "capacity", "capacity_exceeded"),
     RateLimited, True),
    ("groq: retired model", 400,
     openai("The model `x` has been decommissioned", "invalid_request_error",
            "model_decommissioned"), NotFound, False),
    ("groq: length", 400,
     openai("Please reduce the length of the messages", "invalid_request_error",
            "context_length_exceeded", "messages"), ContextWindowExceeded, False),
    # Together
    ("together: key", 401,
     {"id": "o1", **openai("Invalid API key", "invalid_request_error", "invalid_api_key")},
     AuthenticationFailed, False),
    ("together: length", 422,
     openai("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097",
            "invalid_request_error", None), ContextWindowExceeded, False),
    # OpenRouter
    ("openrouter: credits", 402, openrouter(402, "Insufficient credits"), PermissionDenied, False),
    ("openrouter: moderation", 403,
     openrouter(403, "Your input was flagged", reasons=["violence"], flagged_input="a…z",
                provider_name="OpenAI", model_slug="openai/gpt-4o"), ContentPolicy, False),
    ("openrouter: timeout", 408, openrouter(408, "Timed out"), ServerError, True),
    ("openrouter: rate", 429,
     openrouter(429, "Provider returned error", provider_name="Google",
                raw="x is temporarily rate-limited upstream"), RateLimited, True),
    ("openrouter: length behind it", 400,
     openrouter(400, "Provider returned error", provider_name="OpenAI",
                raw=json.dumps(openai("too long", "x", "context_length_exceeded"))),
     ContextWindowExceeded, False),
    ("openrouter: model down", 502, openrouter(502, "Provider returned error"), ServerError, True),
    # Ollama
    ("ollama: model", 404, {"error": 'model "x" not found, try pulling it first'}, NotFound, False),
    ("ollama: length", 400, {"error": "the input length exceeds the context length"},
     ContextWindowExceeded, False),
    ("ollama: server", 500, {"error": "llama runner process has terminated"}, ServerError, True),
    # Google
    ("google: key", 400,
     google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.",
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}),
     AuthenticationFailed, False),
    ("google: rate", 429,
     google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota",
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}),
     RateLimited, True),
    ("google: length", 400,
     google(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of"
            " tokens allowed (8)."), ContextWindowExceeded, False),
    ("google: permission", 403, google(403, "PERMISSION_DENIED", "denied"),
     PermissionDenied, False),
    ("google: overload", 503, google(503, "UNAVAILABLE", "The model is overloaded."),
     ServerError, True),
    # Databricks
    ("databricks: rate", 429,
     {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "Exceeded workspace rate limit"},
     RateLimited, True),
    ("databricks: endpoint", 404,
     {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "The given endpoint does not exist"},
     NotFound, False),
    ("databricks: model behind it", 400,
     {"error": "Received error from databricks-model-serving",
      "external_model_message": {"error_code": "INVALID_PARAMETER_VALUE", "message": "Missing"}},
     BadRequest, False),
    ("databricks: permission", 403, {"error_code": "PERMISSION_DENIED", "message": "no"},
     PermissionDenied, False),
    # AWS
    ("aws: throttled", 400,
     {"__type": "com.amazonaws.sagemaker#ThrottlingException", "message": "Rate exceeded"},
     RateLimited, True),
    ("aws: expired token", 400,
     {"__type": "ExpiredTokenException", "message": "The security token is expired"},
     AuthenticationFailed, False),
    ("aws: signature", 403,
     {"__type": "UnrecognizedClientException", "message": "The security token is invalid."},
     AuthenticationFailed, False),
    ("aws: access", 403, {"__type": "AccessDeniedException", "Message": "not authorized"},
     PermissionDenied, False),
    ("aws: length", 400,
     {"__type": "ValidationException", "message": "Input is too long for requested model."},
     ContextWindowExceeded, False),
    # vLLM, llama.cpp, LiteLLM's proxy
    ("vllm: model", 404,
     {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError",
      "param": None, "code": 404}, NotFound, False),
    ("vllm: length", 400,
     {"error": {"message": "This model's maximum context length is 2048 tokens.",
                "type": "BadRequestError", "param": None, "code": 400}},
     ContextWindowExceeded, False),
    ("llama.cpp: length", 400,
     {"error": {"code": 400, "message": "the request exceeds the available size",
                "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8}},
     ContextWindowExceeded, False),
    ("llama.cpp: loading", 503,
     {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
     ServerError, True),
    ("llama.cpp: unknown", 501,
     {"error": {"code": 501, "message": "not here", "type": "not_supported_error"}},
     ServerError, False),
    ("litellm proxy: key", 401,
     {"error": {"message": "Authentication Error, Invalid proxy server token passed.",
                "type": "auth_error", "param": "None", "code": "401"}},
     AuthenticationFailed, False),
    ("litellm proxy: budget", 400,
     {"error": {"message": "Budget has been exceeded!", "type": "budget_exceeded", "param": None,
                "code": "400"}}, PermissionDenied, False),
    ("litellm proxy: length", 400,
     {"error": {"message": "litellm.ContextWindowExceededError: too long", "type": None,
                "param": None, "code": "400"}}, ContextWindowExceeded, False),
    ("litellm proxy: policy", 400,
     {"error": {"message": "litellm.ContentPolicyViolationError: flagged", "type": None,
                "param": None, "code": "400"}}, ContentPolicy, False),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind", "retryable"), [case[1:] for case in CASES],
                         ids=[case[0] for case in CASES])  # fmt: skip
def test_each_providers_error_is_told_apart(
    status: int, body: Any, kind: type[CallError], retryable: bool
) -> None:
    error = error_for_status(status, {}, json.dumps(body).encode(), (), no_advice)
    assert (type(error), error.retryable, error.status) == (kind, retryable, status)
    assert error.message
    assert not error.message.startswith(("{", "["))


def of(name: str, headers: Mapping[str, str] | None = None) -> CallError:
    """The error of the case of this name."""
    status, body = next((case[1], case[2]) for case in CASES if case[0] == name)
    return error_for_status(status, headers or {}, json.dumps(body).encode(), (), no_advice)


def test_what_a_body_says_beside_its_message_is_kept() -> None:
    assert of("anthropic: overload").request_id == "req_011"
    assert of("anthropic: overload", {"request-id": "req_9"}).request_id == "req_9"
    assert of("google: rate").retry_after == 34.07
    assert of("openai: parameter").setting == "temperature"
    assert of("mistral: validation").setting == "temperature"
    assert of("mistral: validation").message == (
        "body.temperature: Input should be less than or equal to 1.5"
    )
    assert of("openrouter: rate").message == (
        "Provider returned error (Google: x is temporarily rate-limited upstream)"
    )
    assert "a…z" not in str(of("openrouter: moderation"))
    assert "quota is used up" in of("anthropic: credit").help
    assert of("azure: filter").setting == "prompt"


def test_aws_says_the_kind_in_a_header_alone() -> None:
    headers = {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"}
    error = error_for_status(400, headers, b'{"message": "Rate exceeded"}', (), no_advice)
    assert (type(error), error.retryable) == (RateLimited, True)


WITHIN: list[tuple[Any, type[CallError], bool, int]] = [
    (openrouter(429, "slow down"), RateLimited, True, 429),
    (openrouter(502, "down"), ServerError, True, 502),
    (openrouter(402, "no credits"), PermissionDenied, False, 402),
    (anthropic("overloaded_error", "Overloaded"), ServerError, True, 200),
    (anthropic("invalid_request_error", "no"), BadRequest, False, 200),
    (anthropic("rate_limit_error", "no"), RateLimited, True, 200),
    (anthropic("authentication_error", "no"), AuthenticationFailed, False, 200),
    (openai("quota", "insufficient_quota", "insufficient_quota"), RateLimited, False, 200),
    (openai("long", None, "context_length_exceeded"), ContextWindowExceeded, False, 200),
    (openai("x", "content_filter", None), ContentPolicy, False, 200),
    (openai("down", "server_error", None), ServerError, True, 200),
    (google(503, "UNAVAILABLE", "overloaded"), ServerError, True, 503),
    ({"error": "the model stopped"}, BadResponse, True, 200),
    ({"error": {"message": "overloaded"}}, BadResponse, True, 200),
    ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400},
     BadRequest, False, 400),
    ({"choices": [{"error": {"code": 502, "message": "cut"}, "finish_reason": "error"}]},
     ServerError, True, 502),
    (openrouter(700, "a code that is no status"), BadResponse, True, 200),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "retryable", "status"), WITHIN)
def test_an_error_in_an_answer_of_status_200_is_told_by_its_own_code(
    body: Any, kind: type[CallError], retryable: bool, status: int
) -> None:
    found = find_error(json.dumps(body).encode())
    assert found is not None
    error = error_in_answer(found, 200, ())
    assert (type(error), error.retryable, error.status) == (kind, retryable, status)
    line = b"data: " + json.dumps(body).encode() + b"\r"
    assert read_error_line(line) == found


@pytest.mark.parametrize(
    "body",
    [
        chat(),
        {**chat(), "error": None},
        {**chat(), "error": {}},
        chat('{"error": {"message": "said by the model"}}'),
        {"choices": [{"message": {"content": "x"}, "content_filter_results": {"error": {"a": 1}}}]},
        [],
        "error",
        None,
    ],
)
def test_an_answer_that_only_speaks_of_errors_is_none(body: Any) -> None:
    assert find_error(json.dumps(body).encode()) is None


# Over a socket


@pytest.fixture
def transport() -> Iterator[Transport]:
    made = make(TransportSpec())
    yield made
    made.close()


def ask(transport: Transport, server: Loopback, way: str, provider: str) -> Any:
    request = Request(
        route="chat",
        provider=provider,
        model="tiny",
        connection=Connection(base=server.v1, key="sk-the-key-0123456789"),
        messages=[{"role": "user", "content": "Say hello."}],
    )

    async def read() -> list[Any]:
        return [chunk async for chunk in transport.astream(request)]

    async def awaited() -> Any:
        return await transport.acomplete(request)

    match way:
        case "complete":
            return transport.complete(request)
        case "acomplete":
            return asyncio.run(awaited())
        case "stream":
            return list(transport.stream(request))
        case _:
            return asyncio.run(read())


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
@pytest.mark.parametrize("way", ["complete", "acomplete"])
def test_a_whole_answer_that_is_an_error(transport: Transport, way: str, provider: str) -> None:
    for body, kind in (
        (openrouter(429, "slow down"), RateLimited),
        (openrouter(402, "no credits"), PermissionDenied),
        ({**chat("partial"), **openrouter(502, "cut")}, ServerError),
        ({"error": "the model stopped"}, BadResponse),
    ):
        reply = Reply(json=body, headers={"x-request-id": "r-7"})
        with serving(reply) as server, pytest.raises(CallError) as raised:
            ask(transport, server, way, provider)
        error = raised.value
        assert type(error) is kind
        assert error.request_id == "r-7"
        assert error.__context__ is None
        assert "slow down no credits cut the model stopped".find(error.message) >= 0


@pytest.mark.parametrize("provider", ["openai", "openrouter", "hosted_vllm"])
@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("begun", [True, False])
def test_a_stream_that_ends_in_an_error(
    transport: Transport, way: str, provider: str, begun: bool
) -> None:
    failing = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tiny",
        "error": {"code": 429, "message": "slow down"},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
    }
    chunks = chat_chunks("Hel", "lo.", finish=None, usage=False) if begun else []
    with (
        serving(Reply(pieces=sse(*chunks, failing))) as server,
        pytest.raises(RateLimited, match="slow down") as raised,
    ):
        ask(transport, server, way, provider)
    assert raised.value.retryable
    assert raised.value.partial in (("Hello.", "Hel") if begun else ("",))
