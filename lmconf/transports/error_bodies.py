"""What the body of an error says, in the many forms that providers give it.

OpenAI, Azure, Groq, Together, vLLM, llama.cpp   {"error": {"message", "type", "code", "param"}}
Anthropic      {"type": "error", "error": {"type", "message"}, "request_id"}
OpenRouter     {"error": {"code": 429, "message", "metadata": {"provider_name", "raw"}}}
Google         [{"error": {"code": 429, "message", "status", "details": […]}}]
Mistral, vLLM  {"object": "error", "message", "type", "code"}
FastAPI        {"detail": [{"loc": ["body", "temperature"], "msg"}]}
Databricks     {"error_code", "message"}
AWS            {"__type": "…#ThrottlingException", "message"}
Ollama         {"error": "text"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct, structs

from lmconf.system.tracebacks import is_interrupt

__all__ = ["ErrorBody", "find_error", "read_error_body", "read_error_line"]


class ErrorBody(Struct, frozen=True):
    """What a server says of an error; `codes` are in lower case.

    `status` is the HTTP status that the body itself states, `wait` the seconds that it asks for,
    and `setting` the parameter of the request that it complains of.
    """

    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    request_id: str | None = None
    wait: float | None = None
    setting: str = ""


def read_error_body(body: bytes) -> ErrorBody:
    """Return what the body of an answer with an error's status says; it may be anything."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        text = " ".join(body.decode("utf-8", "replace").split())
        return ErrorBody("" if text.startswith("<") else text)
    return _read_error(found)


def find_error(body: bytes) -> ErrorBody | None:
    """Return the error that an answer of a success's status holds; None where it holds none."""
    try:
        found: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        if is_interrupt(error):
            raise
        return None
    return _find_nested(found)


def read_error_line(line: bytes) -> ErrorBody | None:
    """Return the error that one line of a stream holds; None where it holds none."""
    return find_error(line.strip().removeprefix(b"data:"))


def _find_nested(found: Any) -> ErrorBody | None:
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return None
    # Servers also write `"error": null` beside an answer.
    if found.get("error") or found.get("object") == "error":
        return _read_error(found)
    choices = found.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("error"):
            return _read_error(choice)
    return None


def _read_error(found: Any) -> ErrorBody:
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, dict):
        return ErrorBody(str(found) if found else "")
    error = found.get("error", found)
    if not isinstance(error, dict):
        outer = found.get("external_model_message")
        if isinstance(outer, dict):
            return _read_error(outer)
        # Text alone: Ollama, and gateways that put a word here and the sentence beside it.
        beside = found.get("message")
        said = beside if isinstance(beside, str) and beside else str(error)
        return ErrorBody(said, frozenset(_words([error, found.get("code")])))
    # A wrapper of Anthropic's has the type "error", which says nothing.
    outer_codes = [found.get("code"), found.get("error_code")] if error is not found else []
    return _with_provider(
        ErrorBody(
            message=_message(error),
            codes=frozenset(_words([*_codes_of(error), *outer_codes])),
            status=_status(error) or _status(found),
            request_id=_text(found.get("request_id")) or _text(error.get("request_id")),
            wait=_wait(error),
            setting=_setting(error),
        ),
        error.get("metadata"),
    )


def _codes_of(error: Mapping[str, Any]) -> Iterator[object]:
    for key in ("code", "type", "status", "error_code"):
        yield error.get(key)
    kind = error.get("__type")
    if isinstance(kind, str):
        yield kind.rpartition("#")[2]
    inner = error.get("innererror")
    if isinstance(inner, dict):
        yield inner.get("code")
    for detail in _dicts(error.get("details")):
        yield detail.get("reason")


def _with_provider(said: ErrorBody, metadata: object) -> ErrorBody:
    """Return `said` with what a gateway repeats of the provider behind it."""
    if not isinstance(metadata, dict):
        return said
    if "flagged_input" in metadata:
        return structs.replace(said, codes=said.codes | {"content_policy_violation"})
    raw, name = metadata.get("raw"), metadata.get("provider_name")
    if not raw:
        return said
    behind = read_error_body(raw.encode()) if isinstance(raw, str) else _read_error(raw)
    shown = f"{name}: {behind.message}" if isinstance(name, str) and name else behind.message
    return structs.replace(
        said,
        message=f"{said.message} ({shown})" if behind.message else said.message,
        codes=said.codes | behind.codes,
        wait=said.wait if said.wait is not None else behind.wait,
        setting=said.setting or behind.setting,
    )


def _message(error: Mapping[str, Any]) -> str:
    said = error.get("message") or error.get("Message") or error.get("detail") or ""
    if isinstance(said, dict) and "detail" in said:
        said = said["detail"]
    if isinstance(said, str):
        return said
    told = [
        f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}"
        for item in _dicts(said)
        if isinstance(item.get("loc"), list) and isinstance(item.get("msg"), str)
    ]
    return "; ".join(told) or json.dumps(said)


def _setting(error: Mapping[str, Any]) -> str:
    named = error.get("param")
    if not isinstance(named, str):
        said = error.get("detail") or error.get("message")
        if isinstance(said, dict):
            said = said.get("detail")
        named = next((str(item["loc"][-1]) for item in _dicts(said) if item.get("loc")), "")
    found = re.match(r"[a-z][a-z_]{0,39}(?![A-Za-z0-9_-])", named)
    return found[0] if found else ""


def _status(error: Mapping[str, Any]) -> int | None:
    for key in ("code", "status", "status_code", "statusCode", "raw_status_code"):
        value = error.get(key)
        if isinstance(value, str) and re.fullmatch(r"[45][0-9][0-9]", value):
            value = int(value)
        if type(value) is int and 400 <= value <= 599:
            return value
    return None


def _wait(error: Mapping[str, Any]) -> float | None:
    """Return the seconds that Google's `RetryInfo` asks for."""
    for detail in _dicts(error.get("details")):
        delay = _text(detail.get("retryDelay")) or ""
        if found := re.fullmatch(r"([0-9]{1,6}(\.[0-9]{1,9})?)s", delay):
            return float(found[1])
    return None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _words(codes: list[object]) -> Iterator[str]:
    return (code.lower() for code in codes if isinstance(code, str) and code)
