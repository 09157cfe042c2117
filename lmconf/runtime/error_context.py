"""Completes a failure before it leaves an LM: which LM, where in the profile, and what to do."""

from __future__ import annotations

from lmconf.diagnostics.model import Mark
from lmconf.errors import (
    AuthenticationFailed,
    BadRequest,
    CallError,
    ConnectionFailed,
    ContextWindowExceeded,
    NotFound,
    PermissionDenied,
    RateLimited,
    Timeout,
)
from lmconf.schema.declaration import field_names, fields
from lmconf.secrets.references import Env, File, Given
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.durations import format_duration

__all__ = ["add_context"]

_CREDENTIALS = (*field_names(LMSpec, lambda field: field.role == "secret"), "headers")

# The fields that matter most for each kind of failure. The place of the first one that the profile
# states is told, else that of the model.
_FIELDS: tuple[tuple[type[CallError], tuple[str, ...]], ...] = (
    (AuthenticationFailed, _CREDENTIALS),
    (PermissionDenied, _CREDENTIALS),
    (ConnectionFailed, ("api_base", "launch_kwargs")),
    (ContextWindowExceeded, ("max_tokens",)),
    (RateLimited, ("limits",)),
)

# Names of the OpenAI and Anthropic APIs for what a profile calls otherwise.
_OURS = {"max_completion_tokens": "max_tokens", "stop_sequences": "stop"}


def add_context(
    error: CallError,
    compiled: CompiledLM,
    spec: LMSpec,
    *,
    attempts: int = 0,
    waited: float = 0.0,
    late: bool = False,
) -> None:
    """Add to `error` what it does not say yet.

    `spec` is that of the call, which may say otherwise than the profile does; `late` says that
    the call's deadline has passed.
    """
    error.lm = error.lm or compiled.name
    error.attempts = error.attempts or attempts
    error.waited = error.waited or waited
    setting = _OURS.get(error.setting, error.setting)
    if isinstance(error, Timeout) and not setting:
        setting = "deadline" if late else "timeout"
    error.setting = setting if setting in fields(LMSpec) else ""
    error.place = error.place or _place(error, compiled, spec)
    if not error.help or error.help == error.default_help:
        error.help = _next_step(error, spec) or error.help


def _place(error: CallError, compiled: CompiledLM, spec: LMSpec) -> Mark | None:
    setting_names = next((names for kind, names in _FIELDS if isinstance(error, kind)), ())
    for name in (error.setting, *setting_names, "model"):
        if (name,) in compiled.places and getattr(spec, name) == getattr(compiled.spec, name):
            return compiled.places[name,]
    return compiled.place()


def _next_step(error: CallError, spec: LMSpec) -> str:
    """Return the next step where more is known of it than the kind of failure; else nothing."""
    match error:
        case AuthenticationFailed():
            return _help_with_key(spec.api_key)
        case Timeout():
            now = spec.deadline if error.setting == "deadline" else spec.timeout.total
            return f"raise `{error.setting}` (now {format_duration(now)}), or ask for fewer tokens"
        case RateLimited() if error.retryable:
            return f"lower the rate of calls, or raise `num_retries` (now {spec.num_retries})"
        case ContextWindowExceeded() if spec.max_tokens is not None:
            return f"shorten the prompt or lower `max_tokens` (now {spec.max_tokens})"
        case NotFound():
            beside = " and `api_base`" if spec.api_base is not None else ""
            return f"check `model` ({spec.model}){beside}"
        case ConnectionFailed() if spec.launch_kwargs is not None:
            return "see the log of the LM's own server: it may have ended"
        case BadRequest() if error.setting:
            return f"change `{error.setting}`: the same request would fail again"
    return ""


def _help_with_key(key: object) -> str:
    match key:
        case "":
            return "the server requires a key, but `api_key` is empty and none is sent"
        case Env(name=name):
            return f"check the key that the variable {name} holds"
        case File(path=path):
            return f"check the key that the file {path} holds"
        case Given():
            return "pass another key: lm.copy(api_key=…)"
        case _:
            return ""
