"""The few HTTP requests of a fine-tuning API: bounded, without redirects, the key in one header."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from lmconf.errors import TrainError
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.redaction import mask_secrets
from lmconf.trainers.trainer_protocol import ApiAccess

__all__ = ["TrainerRefused", "TrainerUnreachable", "delete", "get", "post", "show_text", "upload"]

TIMEOUT = 60.0
UPLOAD_TIMEOUT = 1800.0
LARGEST = 16 * 2**20
"""What an answer may hold at most."""
TRIES = 4
RETRYABLE = frozenset((408, 409, 429, 500, 502, 503, 504, 529))


class TrainerUnreachable(TrainError):
    """The server could not be asked now; later it may answer."""


class TrainerRefused(TrainError):
    """The server refused; `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _ApiRequest(Struct, frozen=True, kw_only=True):
    """What is asked: a path below the base, with a query, a JSON body, or a file with its name."""

    method: str
    path: str
    query: Mapping[str, str] = FrozenMap()
    body: Mapping[str, Any] | None = None
    file: Path | None = None
    name: str = ""


class _ApiResponse(Struct, frozen=True):
    status: int
    body: bytes
    wait: float | None = None


def get(access: ApiAccess, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON object at `path`.

    Raises:
        TrainerUnreachable: the server did not answer, or was busy, each of a few times.
        TrainerRefused: it answered that it will not.
    """
    return _request(access, _ApiRequest(method="GET", path=path, query=query or {}))


def post(access: ApiAccess, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Send `body` and return the JSON object that comes back.

    It is sent again only after answers that say that nothing was done.

    Raises:
        TrainerUnreachable, TrainerRefused: as `get`.
    """
    return _request(access, _ApiRequest(method="POST", path=path, body=body))


def delete(access: ApiAccess, path: str) -> None:
    """Delete what is at `path`.

    Raises:
        TrainerUnreachable, TrainerRefused: as `get`.
    """
    _request(access, _ApiRequest(method="DELETE", path=path))


def upload(access: ApiAccess, file: Path, name: str) -> dict[str, Any]:
    """Send a file of training data, and return what the server says of it.

    Raises:
        TrainerUnreachable, TrainerRefused: as `get`.
    """
    return _request(access, _ApiRequest(method="POST", path="files", file=file, name=name))


def _request(access: ApiAccess, question: _ApiRequest) -> dict[str, Any]:
    what = f"{question.method} {access.base}/{question.path}"
    # Whether a request without an answer was carried out is not known.
    repeatable = question.method != "POST"
    problem = ""
    for number in range(TRIES):
        pause = min(0.5 * 2**number, 8.0)
        answer = _send(access, question)
        if isinstance(answer, str):
            problem = answer
            if not repeatable:
                break
        elif answer.status < 300:
            return _object(what, answer)
        else:
            problem = f"{what} was refused ({answer.status}): {_reason(access, answer)}"
            if answer.status not in RETRYABLE:
                raise TrainerRefused(problem, answer.status)
            if answer.status >= 500 and not repeatable:
                raise TrainerUnreachable(problem)
            pause = pause if answer.wait is None else min(answer.wait, 30.0)
        if number + 1 < TRIES:
            time.sleep(pause)
    raise TrainerUnreachable(f"{what} did not succeed: {problem}")


def _send(access: ApiAccess, question: _ApiRequest) -> _ApiResponse | str:
    """Return the answer to one request, or why there is none."""
    import httpx

    query = dict(question.query)
    if access.api_version is not None:
        query["api-version"] = access.api_version
    wait = TIMEOUT if question.file is None else UPLOAD_TIMEOUT
    content: dict[str, Any] = {} if question.body is None else {"json": question.body}
    try:
        with contextlib.ExitStack() as open_:
            timeout = httpx.Timeout(wait, connect=15.0)
            client = open_.enter_context(
                httpx.Client(trust_env=False, follow_redirects=False, timeout=timeout)
            )
            if question.file is not None:
                file = open_.enter_context(question.file.open("rb"))
                content["files"] = {"file": (question.name, file, "application/jsonl")}
                content["data"] = {"purpose": "fine-tune"}
            request = client.build_request(
                question.method,
                f"{access.base}/{question.path}",
                params=query,
                headers=_headers(access),
                **content,
            )
            return _read_response(client.send(request, stream=True))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError) as error:
        return show_text(access, f"{type(error).__name__}: {error}")


def _read_response(response: Any) -> _ApiResponse | str:
    body = bytearray()
    try:
        for piece in response.iter_bytes():
            body += piece
            if len(body) > LARGEST:
                return "its answer is larger than 16 MiB"
    finally:
        response.close()
    wait = response.headers.get("retry-after", "")
    return _ApiResponse(
        response.status_code, bytes(body), float(wait) if re.fullmatch(r"\d{1,6}", wait) else None
    )


def _headers(access: ApiAccess) -> dict[str, str]:
    headers = {"Accept": "application/json", "User-Agent": "lmconf"}
    if access.key:
        azure = access.api_version is not None and not access.by_token
        headers |= {"api-key": access.key} if azure else {"Authorization": f"Bearer {access.key}"}
    if access.organization:
        headers["OpenAI-Organization"] = access.organization
    if access.project:
        headers["OpenAI-Project"] = access.project
    return {**headers, **access.headers}


def _object(what: str, answer: _ApiResponse) -> dict[str, Any]:
    try:
        value = json.loads(answer.body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise TrainerUnreachable(f"{what} answered something that is no JSON object")


def _reason(access: ApiAccess, answer: _ApiResponse) -> str:
    text = answer.body.decode("utf-8", "replace")
    try:
        data = json.loads(text)
        error = data.get("error", data)
        text = str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return show_text(access, text)[:500]
    return show_text(access, text)[:1000]


def show_text(access: ApiAccess, text: str) -> str:
    """Return `text`, which comes from outside, without anything secret."""
    return mask_secrets(text, (access.key, *access.hidden))
