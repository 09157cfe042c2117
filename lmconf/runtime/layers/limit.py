"""The layer that lets no more requests pass at once than `limits` allows."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any

from lmconf import limits
from lmconf.callbacks import LimitWait
from lmconf.errors import (
    BadResponse,
    CallError,
    RateLimited,
    ServerError,
    Timeout,
)
from lmconf.limits import Permit, Share, answer_tokens, prompt_tokens
from lmconf.limits.gate import End
from lmconf.providers.catalogue import origin, provider_of
from lmconf.runtime.call import Call, Command, Next, Steps, Wait
from lmconf.runtime.connection import base_address, resolve_field
from lmconf.schema.declaration import field_names
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.system.durations import format_duration
from lmconf.system.signal import OneShotEvent
from lmconf.system.tracebacks import hide_frames
from lmconf.transports import Json

__all__ = ["GateShares", "apply_limits"]

MOST_SHARES = 16
"""In how many gates one LM has a share at once, should its credential change from call to call."""

_CREDENTIALS = field_names(LMSpec, lambda field: field.role == "secret")
# What tells accounts and places of clouds apart, which have no address of their own.
_PLACES = field_names(LMSpec, lambda field: field.cloud and field.role == "connection")


class GateShares:
    """The shares of one LM that states `limits`."""

    def __init__(self, compiled: CompiledLM) -> None:
        self._compiled = compiled
        self._shares: dict[bytes, Share] = {}

    def share_of(self, spec: LMSpec) -> Share:
        """Return the LM's share in the gate that a call with `spec` passes.

        Raises:
            CallError: an address or a credential leads nowhere.
        """
        mark = self._mark_of(spec)
        share = self._shares.get(mark)
        if share is None:
            assert spec.limits is not None
            if len(self._shares) >= MOST_SHARES:
                self._shares = {}
            share = self._shares.setdefault(mark, limits.gate_of(mark).share(spec.limits))
        return share

    @hide_frames
    def _mark_of(self, spec: LMSpec) -> bytes:
        return limits.gate_key(self._origin_facts(spec))

    def _origin_facts(self, spec: LMSpec) -> Iterator[str]:
        """Yield what tells origins and credentials apart."""
        compiled, server = self._compiled, spec.launch_kwargs
        base = None if server is not None else base_address(spec, compiled)
        if server is not None:
            yield f"server {server.use} {hash(server)} {spec.model}"
        elif base is not None:
            yield origin(base)
        else:
            yield provider_of(spec.model)[0]
            for name in _PLACES:
                yield resolve_field(getattr(spec, name), compiled, (name,)) or ""
        for name in _CREDENTIALS:
            yield resolve_field(getattr(spec, name), compiled, (name,)) or ""
        for name, value in spec.headers.items():
            if is_secret_name(name):
                yield f"{name.lower()}: {resolve_field(value, compiled, ('headers', name))}"


# A clock that is set, or a sleep of the machine, is noticed after so many seconds.
_LONGEST_WAIT = 600.0


def apply_limits(call: Call, following: Next) -> Steps:
    """Send when the gate of the call's origin and credential lets it pass."""
    # No generator of its own: an LM without limits does not pay for them.
    return following(call) if call.parts.gating is None else _apply_limits(call, following)


def _apply_limits(call: Call, following: Next) -> Steps:
    gating = call.parts.gating
    assert gating is not None
    permit = gating.share_of(call.spec).permit(estimate_tokens(call))
    try:
        yield from _wait_for_permit(call, permit)
        reply = yield from following(call)
    except BaseException as error:
        _end_failed_permit(permit, error)
        raise
    reply.when_done(
        lambda response: permit.end("answered", _tokens_used(response)),
        lambda error: _end_failed_permit(permit, error),
    )
    return reply


def estimate_tokens(call: Call) -> int:
    """Return how many tokens the prompt and the answers of `call` may come to."""
    spec = call.spec
    prompt = prompt_tokens(call.messages, spec.tools, spec.response_format)
    return prompt + answer_tokens(spec.max_tokens, spec.n)


def _wait_for_permit(call: Call, permit: Permit) -> Generator[Command, Any, None]:
    """Wait for the permit, until the call's deadline at most."""
    began = time.monotonic()
    has_waited = False
    while True:
        signal = OneShotEvent()
        seconds = permit.ask(signal)
        if seconds is None:
            break
        left = call.left
        if left <= 0:
            raise Timeout(
                f"the call's deadline of {format_duration(call.spec.deadline)} passed while it waited"
                f" {format_duration(time.monotonic() - began)} for its turn under `limits.{permit.held_by}`",
                retryable=False,
                setting="deadline",
                help="raise `limits` or `deadline`, or send fewer requests at once",
            )
        has_waited = True
        yield Wait(signal, min(seconds, left, _LONGEST_WAIT))
    if has_waited:
        call.tell(LimitWait, seconds=time.monotonic() - began, limit=permit.held_by)


def _end_failed_permit(permit: Permit, error: BaseException) -> None:
    end: End = "other"
    tokens: int | None = None
    retry_after = None
    if isinstance(error, RateLimited):
        end, retry_after = "refused" if error.retryable else "other", error.retry_after
    elif isinstance(error, ServerError) and error.status not in _NOT_LOADED:
        end = "failed"
    if isinstance(error, CallError) and not isinstance(error, _PERHAPS_ANSWERED):
        tokens = 0  # nothing was read, and nothing written
    if isinstance(error, CallError) and error.partial:
        tokens = None
    permit.end(end, tokens, retry_after)


# Statuses of a single request that came too late, or came between others.
_NOT_LOADED = (408, 409)

# The server may have done the work all the same: what was estimated stands.
_PERHAPS_ANSWERED = (Timeout, ServerError, BadResponse)


def _tokens_used(response: Json) -> int | None:
    usage = response.get("usage")
    if not isinstance(usage, Mapping):
        return None
    total = usage.get("total_tokens")
    if not total:
        total = (usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0)
    return total if isinstance(total, int) and total > 0 else None
