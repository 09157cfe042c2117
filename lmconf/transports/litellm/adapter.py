"""The transport that sends through litellm, which shapes requests and reads answers.

litellm is imported when the first request is really sent, never before. It is told never to
retry, cache, print or report, and it sees neither the credential nor the profile's headers where
its HTTP client can be replaced (`lmconf.providers.routes`).
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from typing import Any

import anyio
import httpx

from lmconf.errors import (
    BadRequest,
    BadResponse,
    CallError,
    ConnectionFailed,
    NotCarriedOut,
    Timeout,
    UsageError,
)
from lmconf.providers.routes import CHAT, MODEL_PARAMETERS, TEXT, Client, client_of
from lmconf.schema.frozen import thaw
from lmconf.secrets.redaction import mask_secrets
from lmconf.system.interrupts import run_shielded
from lmconf.transports.clouds import afind_route, find_route, route_to
from lmconf.transports.http.attempt import Attempt, AttemptHalted, use_attempt
from lmconf.transports.http.direct_transport import Direct
from lmconf.transports.http.http_request import PLACEHOLDER
from lmconf.transports.litellm.clients import Clients
from lmconf.transports.litellm.error_mapping import failure_of
from lmconf.transports.litellm.params import check_parameters, is_as_stated, litellm_settings
from lmconf.transports.litellm.patches import aimport_litellm, import_litellm, lend_clients
from lmconf.transports.openai.chat import ChatApi
from lmconf.transports.openai.responses import ResponsesApi
from lmconf.transports.response_checks import (
    GIVEN_UP,
    check_chunk,
    check_response,
    complete_calls,
    end_of,
    gave_up,
    partial_text,
    plain,
)
from lmconf.transports.status_errors import LONGEST, Advice, no_advice
from lmconf.transports.transport import REQUEST_ID, Json, Request

__all__ = ["LiteLLM"]

# What belongs to other fields of a profile, or would break what they promise.
_RESERVED = frozenset(
    "api_base api_key base_url cache caching client custom_llm_provider extra_body extra_headers"
    " fallbacks headers max_retries messages model mock_response num_retries prompt"
    " retry_policy stream timeout".split()
)


# Where litellm would send by its own means, these of its arguments lead elsewhere, too.
_LEADING = frozenset(
    "aws_bedrock_runtime_endpoint aws_sts_endpoint azure_endpoint endpoint_url"
    " vertex_api_base".split()
)
_LEADS = re.compile(r"[A-Z0-9_]+_(API_BASE|BASE_URL|API_URL|ENDPOINT|ENDPOINT_URL|HOST|URL)\Z")
# AWS's SDK has settings of this form that lead to credentials and not to models.
_AWS_LEADS = re.compile(
    r"AWS_(ENDPOINT_URL(_BEDROCK_RUNTIME|_SAGEMAKER_RUNTIME|_STS)?|BEDROCK_RUNTIME_ENDPOINT"
    r"|STS_ENDPOINT)\Z"
)


class LiteLLM:
    """Sends requests through litellm; `arguments` are further keywords for its functions."""

    def __init__(self, arguments: Mapping[str, Any], advice: Advice = no_advice) -> None:
        taken = sorted((_RESERVED | _LEADING) & set(arguments))
        if taken:
            raise UsageError(f"transport.args: {taken[0]!r} has a place of its own in a profile")
        self._arguments = dict(arguments)
        self._advice = advice
        self._clients = Clients()
        self._responses = Direct(ResponsesApi(), self._clients, advice)
        self._stated = Direct(ChatApi(), self._clients, advice)

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        direct = self._direct(request)
        if direct is not None:
            return direct.complete(request)
        attempt = Attempt(request, self._advice)
        sent = _route_request(request, attempt)
        kind = _kind(sent)
        client = self._clients.sync(kind, sent) if kind else None
        failure: CallError | None = None
        try:
            function = _function(request)
            attempt.start()

            def ask() -> object:
                with use_attempt(attempt):
                    return function(**self._keywords(sent, client, attempt))

            # litellm passes over many an exception, and would over an interrupt.
            answer = run_shielded(ask, attempt.give_up)
        except AttemptHalted:
            failure = attempt.failure
        except Exception as error:  # noqa: BLE001 - whatever litellm raises becomes a CallError
            failure = _failure_of(error, attempt, request)
        return _finish(failure, lambda: plain(answer), attempt, request)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
        direct = self._direct(request)
        if direct is not None:
            return await direct.acomplete(request)
        attempt = Attempt(request, self._advice)
        sent = await _aroute_request(request, attempt)
        kind = _kind(sent)
        await aimport_litellm()
        client = await self._clients.on_loop(kind, sent) if kind else None
        failure: CallError | None = None
        answer: object = None
        try:
            function = _function(request, asynchronous=True)
            attempt.start()
            # Where the client is ours it ends in time, and says what it was waiting for.
            grace = 0.1 if kind else 0.0
            with use_attempt(attempt), anyio.fail_after(request.timeout.total + grace):
                answer = await function(**self._keywords(sent, client, attempt))
        except AttemptHalted:
            failure = attempt.failure
        except TimeoutError as error:
            attempt.note_interrupt(error)
            failure = attempt.failure or Timeout(
                f"no whole answer within {request.timeout.total:.3g}s"
            )
        except Exception as error:  # noqa: BLE001 - whatever litellm raises becomes a CallError
            failure = _failure_of(error, attempt, request)
        return _finish(failure, lambda: plain(answer), attempt, request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        direct = self._direct(request)
        return self._chunks(request) if direct is None else direct.stream(request)

    def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
        direct = self._direct(request)
        return self._achunks(request) if direct is None else direct.astream(request)

    def _chunks(self, request: Request) -> Iterator[Json]:
        attempt = Attempt(request, self._advice, streaming=True)
        sent = _route_request(request, attempt)
        kind = _kind(sent)
        client = self._clients.sync(kind, sent) if kind else None
        failure: CallError | None = None
        seen: list[Json] = []
        chunks: Iterator[object] | None = None

        function: Any = None

        def begin() -> Iterator[object]:
            with use_attempt(attempt):
                return iter(function(**self._streaming(sent, client, attempt)))

        try:
            while True:
                try:
                    if chunks is None:
                        function = _function(request)
                        attempt.start()
                        chunks = run_shielded(begin, attempt.give_up)
                    chunk = run_shielded(partial(_next, chunks, attempt), attempt.give_up)
                    if chunk is None:
                        break
                    piece = _piece(chunk, attempt)
                    failure = attempt.reported_error()
                    if failure is not None or _is_invented(piece, attempt, kind):
                        break
                    seen.append(piece)
                except AttemptHalted:
                    failure = attempt.failure
                except CallError as error:
                    failure = attempt.reported_error() or error.with_traceback(None)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    failure = _failure_of(error, attempt, request)
                if failure is not None or attempt.interrupt is not None:
                    break
                yield seen[-1]
        finally:
            if isinstance(attempt.body, httpx.SyncByteStream):
                attempt.body.close()
        _end(failure, seen, attempt, kind)

    async def _achunks(self, request: Request) -> AsyncIterator[Json]:
        attempt = Attempt(request, self._advice, streaming=True)
        sent = await _aroute_request(request, attempt)
        kind = _kind(sent)
        await aimport_litellm()
        client = await self._clients.on_loop(kind, sent) if kind else None
        failure: CallError | None = None
        seen: list[Json] = []
        chunks: AsyncIterator[object] | None = None
        try:
            while True:
                try:
                    with use_attempt(attempt):
                        if chunks is None:
                            function = _function(request, asynchronous=True)
                            attempt.start()
                            keywords = self._streaming(sent, client, attempt)
                            chunks = aiter(await function(**keywords))
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    piece = _piece(chunk, attempt)
                    failure = attempt.reported_error()
                    if failure is not None or _is_invented(piece, attempt, kind):
                        break
                    seen.append(piece)
                except AttemptHalted:
                    failure = attempt.failure
                except CallError as error:
                    failure = attempt.reported_error() or error.with_traceback(None)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    failure = _failure_of(error, attempt, request)
                if failure is not None or attempt.interrupt is not None:
                    break
                yield seen[-1]
        finally:
            if isinstance(attempt.body, httpx.AsyncByteStream):
                await attempt.body.aclose()
        _end(failure, seen, attempt, kind)

    def cost(
        self, provider: str, model: str, base_model: str | None, response: Json
    ) -> float | None:
        """Return what `response` cost in US dollars by litellm's price table, None if unknown."""
        from lmconf.providers.prices import cost

        return cost(provider, model, base_model, response)

    def close(self) -> None:
        """Close the connections that are kept open between calls."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close them, and wait until those of the running event loop are closed."""
        await self._clients.aclose()

    def _direct(self, request: Request) -> Direct | None:
        """Return what carries a request that needs no litellm; None: it is to shape it.

        Raises:
            UsageError: there are arguments for litellm's functions, which would not be called.
        """
        if request.route == "responses":
            found = self._responses
        elif is_as_stated(request):
            found = self._stated
        else:
            return None
        if self._arguments:
            raise UsageError(
                f"transport.args: requests to {request.provider}/ are sent as they are stated, and"
                " do not go through litellm"
            )
        return found

    def _keywords(self, request: Request, client: object, attempt: Attempt) -> dict[str, Any]:
        check_parameters(request)
        connection = request.connection
        keywords: dict[str, Any] = {
            **thaw(self._arguments),
            **litellm_settings(request),
            "model": _model_name(request),
            "api_base": _address(request),
            "max_retries": 0,
            "num_retries": 0,
            "timeout": request.timeout.total,
            "drop_params": False,
        }
        if (
            import_litellm().cache is not None
        ):  # a program may use litellm's cache for calls of its own
            keywords["cache"] = {"no-cache": True, "no-store": True}
        if _kind(request) == "openai":
            # A server behind an OpenAI API may know more than litellm knows of its model.
            keywords["allowed_openai_params"] = list(litellm_settings(request))
        if request.settings.get("tools"):
            # Otherwise litellm looks for MCP servers among them, and wants a package for that.
            keywords["_skip_mcp_handler"] = True
        if request.route == "text":
            keywords["prompt"] = request.prompt
        else:
            keywords["messages"] = thaw(list(request.messages))
        if client is not None:
            if _kind(request) == "lent":
                lend_clients(import_litellm())
                attempt.lent_client = client
            else:
                keywords["client"] = client
            told = {} if attempt.route is None else attempt.route.told
            keywords.update(told, api_key=PLACEHOLDER)
            if connection.other.get("api_version"):
                keywords["api_version"] = connection.other["api_version"]
        else:
            keywords.update(_openly(request))
        return keywords

    def _streaming(self, request: Request, client: object, attempt: Attempt) -> dict[str, Any]:
        # Without these options servers leave the usage out, or litellm keeps it to itself.
        usage = {"include_usage": True}
        keywords = self._keywords(request, client, attempt)
        return {**keywords, "stream": True, "stream_options": usage}


def _route_request(request: Request, attempt: Attempt) -> Request:
    """Return the request as litellm is told of it, and lead `attempt` to where it goes."""
    way = route_to(request, streaming=attempt.streaming)
    if way is None:
        return request
    left = attempt.left
    found = find_route(way, left)
    attempt.follow(found, left - attempt.left)
    return found.request


async def _aroute_request(request: Request, attempt: Attempt) -> Request:
    way = route_to(request, streaming=attempt.streaming)
    if way is None:
        return request
    left = attempt.left
    found = await afind_route(way, left)
    attempt.follow(found, left - attempt.left)
    return found.request


def _address(request: Request) -> str | None:
    """Return the base as litellm wants it: for Cohere, the whole address of a chat API."""
    base = request.connection.base
    if request.provider not in ("cohere", "cohere_chat") or not base or base.endswith("/chat"):
        return base
    version = "v1" if request.model.startswith("v1/") else "v2"
    return f"{base}/chat" if base.endswith(("/v1", "/v2")) else f"{base}/{version}/chat"


def _kind(request: Request) -> Client | None:
    if request.route == "chat" and request.provider in TEXT.keys() - CHAT.keys():
        raise BadRequest(
            f"{request.provider}/ is an API for completions", help="set `model_type: text`"
        )
    kind = client_of(request.provider, request.route)
    if kind == "bare":
        kind = "openai"  # a cloud's own way of serving the OpenAI API, which litellm shapes
    if kind is None and request.connection.key == "":
        raise NotCarriedOut(
            f"litellm lets no client of ours send to {request.provider}/, so lmconf cannot ensure"
            " that no credential is sent",
            help=f"name the credential that {request.provider} is to be sent",
        )
    if kind is not None and not request.connection.base:
        raise BadRequest(f"{request.provider}/ has no address of its own", help="state `api_base`")
    return kind


def _model_name(request: Request) -> str:
    return f"{request.provider}/{request.model}" if request.provider else request.model


def _openly(request: Request) -> dict[str, Any]:
    """Return what litellm must be told where it sends by its own means."""
    connection = request.connection
    taken = sorted(request.extra.keys() - MODEL_PARAMETERS)
    if taken:
        raise BadRequest(
            f"litellm sends to {request.provider}/ by its own client, and might act on"
            f" `extra.{taken[0]}` in place of sending it",
            help="write what is meant for litellm under `transport: {use: litellm, args: …}`",
        )
    variable = None if connection.base else _ambient_address(request.provider)
    if variable:
        raise ConnectionFailed(
            f"the environment variable {variable} would change the address of the request",
            retryable=False,
            help=f"write `api_base: {{$env: {variable}}}` to allow this, or unset it",
        )
    told: dict[str, Any] = {**connection.other, **thaw(request.extra)}
    told["api_key"] = connection.key
    if connection.headers:
        told["extra_headers"] = dict(connection.headers)
    if connection.organization:
        told["organization"] = connection.organization
    return told


def _ambient_address(provider: str) -> str | None:
    """Return the variable by which the environment would choose the address of `provider`."""
    if provider.startswith(("bedrock", "sagemaker", "amazon_nova")):
        form, first = _AWS_LEADS, "AWS_"
    else:
        form, first = _LEADS, re.split(r"[_-]", provider.upper())[0]
    names = [name for name in os.environ if name.startswith(first) and form.match(name)]
    return min(names, default=None)


def _function(request: Request, *, asynchronous: bool = False) -> Any:
    litellm = import_litellm()
    if request.route == "text":
        return litellm.atext_completion if asynchronous else litellm.text_completion
    return litellm.acompletion if asynchronous else litellm.completion


def _next(chunks: Iterator[object], attempt: Attempt) -> object:
    with use_attempt(attempt):
        return next(chunks, None)


def _failure_of(error: Exception, attempt: Attempt, request: Request) -> CallError:
    """Return the failure behind whatever litellm raised.

    Of an interrupt, which litellm wraps like any failure, it is taken note in `attempt`.
    """
    attempt.note_interrupt(error)
    if attempt.failure is not None:
        return attempt.failure
    if isinstance(error, CallError):
        return error.with_traceback(None)
    complaint = attempt.reported_error()
    if complaint is not None:
        return complaint
    if attempt.response.finish_reasons and attempt.response.finish_reasons[-1].lower() in GIVEN_UP:
        return gave_up(attempt.response.finish_reasons[-1])
    # Some of litellm's messages hold the whole traceback of what they are raised for.
    reason = str(error).partition("Traceback (most recent call last)")[0].rstrip()
    said = mask_secrets(reason, attempt.secrets)[:LONGEST]
    if attempt.response.status is not None:
        return BadResponse(
            f"the answer is not one that {request.provider}/ gives: {said}",
            status=attempt.response.status,
            request_id=attempt.response.request_id,
        )
    if client_of(request.provider, request.route) is None:
        return failure_of(error, said)
    if names := _unknown_to(error):
        return BadRequest(
            f"litellm knows no {names} for {request.provider}/{request.model}",
            help="leave it out, or write it under `extra` if the server takes it",
        )
    return BadRequest(f"litellm refused the request: {said}")


def _unknown_to(error: Exception) -> str:
    """Return the settings that litellm would not map, as a message names them."""
    if type(error).__name__ != "UnsupportedParamsError":
        return ""
    found = re.search(r"does not support parameters: \[([^\]]*)\]", str(error))
    return ", ".join(f"`{name}`" for name in re.findall(r"'(\w+)'", found[1])) if found else ""


def _finish(failure: CallError | None, read: Any, attempt: Attempt, request: Request) -> Json:
    attempt.check_interrupt()
    if failure is None:
        failure = attempt.reported_error()
    if failure is None:
        try:
            response: Json = complete_calls(check_response(_as_ended(read(), attempt)))
        except CallError as error:
            failure = error.with_traceback(None)
        else:
            if attempt.response.request_id:
                response[REQUEST_ID] = attempt.response.request_id
            if isinstance(response.get("model"), str):
                # litellm writes the provider before some servers' own names.
                response["model"] = response["model"].removeprefix(f"{request.provider}/")
            return response
    assert failure is not None
    raise attempt.response.add_to(failure)


def _piece(chunk: object, attempt: Attempt) -> Json:
    """Return one piece of a stream, with the name that the server gave its model."""
    piece = check_chunk(_as_ended(plain(chunk), attempt))
    return piece if attempt.response.model is None else {**piece, "model": attempt.response.model}


# What litellm knows for another end than `stop`: of several choices, another one ended so.
_KNOWN_ENDS = frozenset(
    "content_filter function_call length max_tokens MAX_TOKENS tool_calls tool_use".split()
)


def _as_ended(response: Json, attempt: Attempt) -> Json:
    """Return `response` with the server's word for an end of which litellm made `stop`."""
    choices = response.get("choices")
    choices = choices if isinstance(choices, list) else []
    words = attempt.response.finish_reasons[-max(len(choices), 1) :]
    for choice, word in zip(choices, words, strict=False):
        ended = isinstance(choice, dict) and choice.get("finish_reason") == "stop"
        if ended and end_of(word) is not None and word not in _KNOWN_ENDS:
            choice["finish_reason"] = word
    return response


def _is_invented(chunk: Json, attempt: Attempt, kind: Client | None) -> bool:
    """Say whether litellm made up that the answer is complete: the server never said so."""
    if kind is None or attempt.response.finished:
        return False
    return any(choice.get("finish_reason") for choice in chunk["choices"])


def _end(
    failure: CallError | None, seen: list[Json], attempt: Attempt, kind: Client | None
) -> None:
    attempt.check_interrupt()
    if failure is None:
        failure = attempt.reported_error()
    if failure is None and kind is not None and not attempt.response.finished:
        failure = BadResponse("the stream was truncated: the server did not mark its end")
    if failure is None and not any(chunk["choices"] for chunk in seen):
        failure = BadResponse("the stream holds no answer")
    if failure is not None:
        failure.partial = partial_text(seen)
        raise attempt.response.add_to(failure)
