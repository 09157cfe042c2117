"""Requests that are sent through litellm, which shapes requests and reads answers.

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
    CallError,
    ConnectionFailed,
    NotCarriedOut,
    Timeout,
    UsageError,
)
from lmconf.providers import Client
from lmconf.providers.catalogue import record_of
from lmconf.providers.routes import MODEL_PARAMETERS, client_of
from lmconf.schema.frozen import thaw
from lmconf.system.durations import format_duration
from lmconf.system.interrupts import run_shielded
from lmconf.transports.clouds import afind_route, find_route, route_to
from lmconf.transports.http.attempt import Attempt, AttemptHalted, use_attempt
from lmconf.transports.http.http_request import PLACEHOLDER
from lmconf.transports.litellm.answers import check_end, finish, is_invented, read_chunk
from lmconf.transports.litellm.clients import Clients
from lmconf.transports.litellm.error_mapping import failure_of
from lmconf.transports.litellm.params import check_parameters, litellm_settings
from lmconf.transports.litellm.patches import aimport_litellm, import_litellm, lend_clients
from lmconf.transports.response_checks import (
    plain,
)
from lmconf.transports.status_errors import Advice
from lmconf.transports.transport import Json, Request

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
    """Sends requests through litellm.

    Args:
        arguments: Further keywords for litellm's functions.
        clients: What litellm is given in place of its own clients.
        advice: Reads from a refusal's headers whether and when to try again.

    Raises:
        UsageError: An argument has a place of its own in a profile.
    """

    def __init__(self, arguments: Mapping[str, Any], clients: Clients, advice: Advice) -> None:
        taken = sorted((_RESERVED | _LEADING) & set(arguments))
        if taken:
            raise UsageError(f"transport.args: {taken[0]!r} has a place of its own in a profile")
        self._arguments = dict(arguments)
        self._advice = advice
        self._clients = clients

    def complete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
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
            failure = failure_of(error, attempt, request)
        return finish(failure, lambda: plain(answer), attempt, request)

    async def acomplete(self, request: Request) -> Json:
        """Send `request` once and return the response."""
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
                f"no whole answer within {format_duration(request.timeout.total)}"
            )
        except Exception as error:  # noqa: BLE001 - whatever litellm raises becomes a CallError
            failure = failure_of(error, attempt, request)
        return finish(failure, lambda: plain(answer), attempt, request)

    def stream(self, request: Request) -> Iterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
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
                    piece = read_chunk(chunk, attempt)
                    failure = attempt.reported_error()
                    if failure is not None or is_invented(piece, attempt, kind):
                        break
                    seen.append(piece)
                except AttemptHalted:
                    failure = attempt.failure
                except CallError as error:
                    failure = attempt.reported_error() or error.with_traceback(None)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    failure = failure_of(error, attempt, request)
                if failure is not None or attempt.interrupt is not None:
                    break
                yield seen[-1]
        finally:
            if isinstance(attempt.body, httpx.SyncByteStream):
                attempt.body.close()
        check_end(failure, seen, attempt, kind)

    async def astream(self, request: Request) -> AsyncIterator[Json]:
        """Send `request` once and yield the chunks of the response as they come."""
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
                    piece = read_chunk(chunk, attempt)
                    failure = attempt.reported_error()
                    if failure is not None or is_invented(piece, attempt, kind):
                        break
                    seen.append(piece)
                except AttemptHalted:
                    failure = attempt.failure
                except CallError as error:
                    failure = attempt.reported_error() or error.with_traceback(None)
                except Exception as error:  # noqa: BLE001 - becomes a CallError
                    failure = failure_of(error, attempt, request)
                if failure is not None or attempt.interrupt is not None:
                    break
                yield seen[-1]
        finally:
            if isinstance(attempt.body, httpx.AsyncByteStream):
                await attempt.body.aclose()
        check_end(failure, seen, attempt, kind)

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
    house = record_of(request.provider).api.house
    if house != "cohere" or not base or base.endswith("/chat"):
        return base
    version = "v1" if request.model.startswith("v1/") else "v2"
    return f"{base}/chat" if base.endswith(("/v1", "/v2")) else f"{base}/{version}/chat"


def _kind(request: Request) -> Client | None:
    record = record_of(request.provider)
    if request.route == "chat" and record.chat is None and record.text is not None:
        raise BadRequest(
            f"{request.provider}/ is an API for completions", help="set `model_type: text`"
        )
    kind = client_of(request.provider, request.route, "litellm")
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
    if record_of(provider).cloud == "aws":
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
