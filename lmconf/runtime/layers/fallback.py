"""The layer that asks another LM when one cannot answer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from lmconf.callbacks import Fallback
from lmconf.errors import BadRequest, CallError, CircuitOpen, LaunchError, ProfileError, UsageError
from lmconf.providers.catalogue import provider_of
from lmconf.providers.families import family_of
from lmconf.retries.reasons import reason_of
from lmconf.runtime.call import Call, Command, Next, Reply, Steps
from lmconf.runtime.error_context import add_context
from lmconf.schema.declaration import field_names
from lmconf.secrets.references import REFERENCES
from lmconf.spec.lm import LMSpec
from lmconf.spec.response_format import reader_for_request

if TYPE_CHECKING:
    from lmconf.runtime.resources import LMResources

__all__ = ["call_on_fallback", "fall_back"]

_OF_ONE_SERVER = frozenset(field_names(LMSpec, lambda field: field.on_fallback == "drop"))
"""Settings of a call that mean something to one server or model alone."""

_ESSENTIAL = frozenset(field_names(LMSpec, lambda field: field.on_fallback == "require"))
"""Settings of a call without which its answer would be another thing."""


def call_on_fallback(
    call: Call, other: Callable[[], LMResources]
) -> tuple[Call, None] | tuple[None, CallError]:
    """Return `call` as the LM `other` makes it, or why it cannot.

    The messages and the deadline are the call's, and so are its settings where they fit; where
    one does not, the other LM's own takes its place. What belongs to one server, and whatever
    holds a reference, goes to no other.
    """
    failure: CallError
    try:
        parts = other()
        spec = _fallback_spec(call, parts)
    except CallError as error:
        failure = error
        return None, failure
    read = call.read
    stated_format = call.settings.get("response_format")
    if read is not None and stated_format is None:
        stated = spec.response_format
        read = None if stated is None else reader_for_request(None, stated)
    return call.made_by(parts, spec, read), None


def _fallback_spec(call: Call, parts: LMResources) -> LMSpec:
    """Return the spec of `parts` with what fits of the settings of `call` laid over it.

    Raises:
        BadRequest: something does not fit without which the answer would be another thing.
    """
    same = _is_one_server(call.spec, parts.spec)
    settings: dict[str, Any] = dict(call.settings)
    if not same:
        _drop_settings(
            settings,
            {
                name
                for name in settings
                if name in _OF_ONE_SERVER or _holds_reference(settings[name])
            },
            parts,
        )
    settings["deadline"] = call.spec.deadline
    most = settings.get("max_tokens")
    floor = family_of(parts.spec.model, parts.spec.base_model).token_floor
    if isinstance(most, int) and most < floor:
        # Meant for a model that does not think: this one would answer nothing.
        del settings["max_tokens"]
    while True:
        wrong: set[str] = set()
        try:
            return parts.spec_of(settings)
        except ProfileError as error:
            wrong = {str(each.path[0]) for each in error.diagnostics if each.path}
        except UsageError:
            wrong = {name for name in settings if isinstance(settings[name], Mapping)}
        if not wrong & settings.keys():
            raise BadRequest("the call's settings do not fit this LM", lm=parts.name)
        _drop_settings(settings, wrong, parts)


def _drop_settings(settings: dict[str, Any], names: set[str], parts: LMResources) -> None:
    needed = sorted(names & _ESSENTIAL & settings.keys())
    if needed:
        raise BadRequest(
            f"it was not asked: the call's `{needed[0]}` does not fit it",
            lm=parts.name,
            setting=needed[0],
        )
    for name in names:
        settings.pop(name, None)


def _is_one_server(one: LMSpec, other: LMSpec) -> bool:
    if one.launch_kwargs is not None or other.launch_kwargs is not None:
        return False
    return provider_of(one.model)[0] == provider_of(other.model)[0] and (
        one.api_base == other.api_base and one.transport == other.transport
    )


def _holds_reference(value: object) -> bool:
    """Say whether a reference stands somewhere in a setting as it was given."""
    if isinstance(value, Mapping):
        return any(map(_holds_reference, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_reference, value))
    return isinstance(value, REFERENCES)


Failed: TypeAlias = CallError | LaunchError
Tried: TypeAlias = Generator[Command, Any, tuple[Reply | None, Failed | None]]


def fall_back(call: Call, following: Next) -> Steps:
    """Ask the LM's fallbacks, one after the other, where it fails in a way that they may mend.

    Each crosses the layers below with its own settings, connection and stores, until the one
    deadline; so a stream goes elsewhere only until its answer begins.
    """
    others = call.parts.others
    # No generator of its own: an LM without fallbacks does not pay for one.
    return _fall_back(call, others, following) if others else following(call)


def _fall_back(call: Call, others: Sequence[Callable[[], LMResources]], following: Next) -> Steps:
    call.guarded = True
    reply, failure = yield from _try_call(call, following)
    if failure is None:
        assert reply is not None
        return reply
    refusals: list[Failed] = []
    last, last_name = failure, call.parts.name
    for index, other in enumerate(others):
        if call.left <= 0 or not _may_fall_back(last, call):
            break
        standing, unable = call_on_fallback(call, other)
        if standing is None:
            assert unable is not None
            refusals.append(unable)
            continue
        _tell(call, last, last_name, standing)
        last_name = standing.parts.name
        standing.guarded = index < len(others) - 1
        try:
            reply, refusal = yield from _try_call(standing, following)
        finally:
            call.attempts += standing.attempts
            call.waited += standing.waited
            call.causes += standing.causes
        if refusal is None:
            assert reply is not None
            reply.by = reply.by or standing
            return reply
        last = refusal
        refusals.append(last)
    failure.fallbacks = tuple(refusals)
    raise failure


def _try_call(call: Call, following: Next) -> Tried:
    failure: Failed
    try:
        return (yield from following(call)), None
    except (CallError, LaunchError) as error:
        failure = error
    if isinstance(failure, CallError):
        _complete(failure, call)
    return None, failure


def _complete(failure: CallError, call: Call) -> None:
    failure.causes = failure.causes or tuple(call.causes)
    add_context(
        failure,
        call.parts.compiled,
        call.spec,
        attempts=call.attempts,
        waited=call.waited,
        late=call.left <= 0,
    )


def _tell(call: Call, failure: Failed, source: str, standing: Call) -> None:
    if call.dispatcher:
        call.tell(
            Fallback,
            source=source,
            target=standing.parts.name,
            reason=_reason(failure),
            error=type(failure).__name__,
            status=failure.status if isinstance(failure, CallError) else None,
        )


def _reason(failure: Failed) -> str:
    # A server of one's own that does not start is one that cannot be reached.
    return "connection" if isinstance(failure, LaunchError) else reason_of(failure)


def _may_fall_back(failure: Failed, call: Call) -> bool:
    """Say whether another LM may be asked after `failure`, by the policy of the LM called."""
    if isinstance(failure, CircuitOpen):
        return True
    return _reason(failure) in call.parts.spec.fallback_on
