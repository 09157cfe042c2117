"""A call to one LM made over into the same call to another, which stands in for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lmconf.errors import BadRequest, CallError, ProfileError, UsageError
from lmconf.profile.families import family_of
from lmconf.profile.formats import reader_of
from lmconf.profile.lm import LMSpec
from lmconf.profile.providers import provider_of
from lmconf.runtime.call import Call
from lmconf.spec.navigating import REFERENCES

if TYPE_CHECKING:
    from lmconf.runtime.parts import Parts

__all__ = ["stand_in"]

_OF_ONE_SERVER = frozenset(("headers", "extra", "service_tier", "logit_bias", "thinking"))
"""Settings of a call that mean something to one server or model alone."""

_ESSENTIAL = frozenset(("tools", "tool_choice", "response_format", "n", "modalities"))
"""Settings of a call without which its answer would be another thing."""


def stand_in(call: Call, other: Callable[[], Parts]) -> tuple[Call, None] | tuple[None, CallError]:
    """Return `call` as the LM `other` makes it, or why it cannot.

    The messages and the deadline are the call's, and so are its settings where they fit; where
    one does not, the other LM's own takes its place. What belongs to one server, and whatever
    holds a reference, goes to no other.
    """
    failure: CallError
    try:
        parts = other()
        spec = _spec(call, parts)
    except CallError as error:
        failure = error
        return None, failure
    read = call.read
    said = call.settings.get("response_format")
    if read is not None and said is None:
        stated = spec.response_format
        read = None if stated is None else reader_of(None, stated)
    return call.made_by(parts, spec, read), None


def _spec(call: Call, parts: Parts) -> LMSpec:
    """Return the spec of `parts` with what fits of the settings of `call` laid over it.

    Raises:
        BadRequest: something does not fit without which the answer would be another thing.
    """
    same = _is_one_server(call.spec, parts.spec)
    kept: dict[str, Any] = dict(call.settings)
    if not same:
        _drop(kept, {name for name in kept if name in _OF_ONE_SERVER or _refers(kept[name])}, parts)
    kept["deadline"] = call.spec.deadline
    most = kept.get("max_tokens")
    floor = family_of(parts.spec.model, parts.spec.base_model).token_floor
    if isinstance(most, int) and most < floor:
        # Meant for a model that does not think: this one would answer nothing.
        del kept["max_tokens"]
    while True:
        wrong: set[str] = set()
        try:
            return parts.spec_of(kept)
        except ProfileError as error:
            wrong = {str(said.path[0]) for said in error.diagnostics if said.path}
        except UsageError:
            wrong = {name for name in kept if isinstance(kept[name], Mapping)}
        if not wrong & kept.keys():
            raise BadRequest("the call's settings do not fit this LM", lm=parts.name)
        _drop(kept, wrong, parts)


def _drop(settings: dict[str, Any], names: set[str], parts: Parts) -> None:
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


def _refers(value: object) -> bool:
    """Say whether a reference stands somewhere in a setting as it was given."""
    if isinstance(value, Mapping):
        return any(map(_refers, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_refers, value))
    return isinstance(value, REFERENCES)
