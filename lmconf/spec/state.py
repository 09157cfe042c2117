"""Specs as states: what `dump_state` writes and `load_state` reads, in lmconf's form and DSPy's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

from lmconf.caches.specs import CachePolicy
from lmconf.errors import UsageError
from lmconf.providers.catalogue import PROVIDERS, provider_of
from lmconf.schema import Json
from lmconf.schema.declaration import fields
from lmconf.schema.frozen import freeze, thaw
from lmconf.secrets.references import REFERENCES, Env
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LM, LMSpec
from lmconf.spec.policies import TimeoutSpec
from lmconf.spec.profile import FORMAT_VERSION, PROFILE, ProfileSpec
from lmconf.spec.rules.pools import SHARED
from lmconf.trainers.specs import TRAIN, TrainSpec

__all__ = ["StateWarning", "Style", "dump_lm", "dump_profile", "from_dspy", "is_dspy_state"]

Style: TypeAlias = Literal["resolved", "minimal"]


class StateWarning(UserWarning):
    """A state could not carry something; the message names it."""


def dump_lm(compiled: CompiledLM, style: Style | Literal["dspy"] = "resolved") -> dict[str, Any]:
    """Return the state of one LM as plain data: a document that is whole by itself.

    Args:
        compiled: the LM.
        style: `resolved` writes every value that has an effect, `minimal` what was stated, and `dspy`
            the keyword arguments of `dspy.LM`; what that form cannot say is named in a
            `StateWarning` warning.

    Raises:
        UsageError: there is no such style.
    """
    if style == "dspy":
        return _dump_dspy(compiled.spec)
    _check_style(style, (*get_args(Style), "dspy"))
    if compiled.live:
        kinds = ", ".join(type(callback).__name__ for callback in compiled.live)
        warnings.warn(
            f"callbacks given as objects are not part of the state: {kinds};"
            " register them with lmconf.register_callback and name them instead",
            StateWarning,
            stacklevel=3,
        )
    stated = compiled.stated if style == "minimal" else None
    state = LM.write(compiled.spec, stated)
    if stated is None:
        state |= _pool_differences(compiled.spec, {}, state)
    return {"lmconf": FORMAT_VERSION, **state}


def dump_profile(
    spec: ProfileSpec, stated: Mapping[str, Any], style: Style = "resolved"
) -> dict[str, Any]:
    """Return the state of a profile as plain data: composed, rendered, self-contained.

    Args:
        spec: the profile.
        stated: what its documents state together.
        style: `resolved` writes every value that has an effect, `minimal` what was stated.

    Raises:
        UsageError: there is no such style.
    """
    _check_style(style, get_args(Style))
    state = PROFILE.write(spec, stated if style == "minimal" else None)
    if style == "resolved":
        for name, lm in spec.lms.items():
            state["lms"][name] |= _pool_differences(lm, spec.lms, state["lms"][name])
    return {"lmconf": FORMAT_VERSION, **state}


def _pool_differences(
    spec: LMSpec, lms: Mapping[str, LMSpec], written: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what a pool has as nothing, and its first member not: unsaid, it would have that."""
    first = spec.pool[0] if spec.pool else None
    member = lms[first] if isinstance(first, str) else first
    return {
        name: None if getattr(spec, name) is None else field.shape.write(getattr(spec, name))
        for name, field in fields(LMSpec).items()
        if member is not None
        and name in SHARED - written.keys()
        and getattr(spec, name) != getattr(member, name)
    }


def _check_style(style: str, styles: Sequence[str]) -> None:
    if style not in styles:
        raise UsageError(f"a state is dumped as {' or '.join(styles)}, not {style!r}")


# Keys of `dspy.LM.dump_state()` in releases before 3.4, which had no class marker.
_OLD_DSPY_KEYS = frozenset(
    ("model", "model_type", "cache", "num_retries", "finetuning_model", "launch_kwargs")
)
_DSPY_CLASS = "_dspy_lm_class"
# Keys of a DSPy state that name parts of DSPy itself.
_DSPY_ONLY = frozenset(
    (_DSPY_CLASS, "engine", "async_engine", "prompt_cache", "use_developer_role", "api_key")
)


def is_dspy_state(state: Mapping[str, Any]) -> bool:
    """Say whether `state` was dumped by `dspy.LM`, of an old or a new release."""
    if "lmconf" in state:
        return False
    return _DSPY_CLASS in state or state.keys() >= _OLD_DSPY_KEYS


def from_dspy(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document that says what a DSPy state says; unknown keys go to `extra`.

    Nothing is lost silently: what has no counterpart is named in a `StateWarning` warning.
    """
    declared = fields(LMSpec)
    document: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    dropped = [key for key in _DSPY_ONLY if state.get(key) and key != _DSPY_CLASS]
    for key, value in state.items():
        if key in _DSPY_ONLY:
            continue
        if key == "max_completion_tokens":
            document["max_tokens"] = value
        elif key in declared and declared[key].kind_from:
            document.update(_server_block(key, value, dropped))
        elif key in declared:
            field = declared[key]
            # Null is said where it means something else than leaving the field out.
            if value is not None or (field.default is not None and field.shape.fits(None)):
                document[key] = value
        elif value is not None:
            extra[key] = value
    if extra:
        document["extra"] = {**document.get("extra", {}), **extra}
    # DSPy knows no templates and no dollar words: whatever looks like one is data.
    document = {key: Json().write(freeze(value)) for key, value in document.items()}
    if "api_base" in document and "api_key" not in document:
        # A state excludes keys: the call says which one is missing.
        document["api_key"] = {"$given": "api_key"}
    if dropped:
        warnings.warn(
            f"the DSPy state's {', '.join(sorted(dropped))} has no counterpart here",
            StateWarning,
            stacklevel=3,
        )
    return document


def _server_block(key: str, value: Any, dropped: list[str]) -> dict[str, Any]:
    """Return `value` under `key`; DSPy's launch arguments without a kind cannot be launched."""
    if not value:
        return {}
    if key == "launch_kwargs" and "use" not in value:
        dropped.append(key)
        return {"provenance": {"dspy_launch_kwargs": _without_secrets(value)}}
    if key == "train_kwargs" and (unknown := value.keys() - fields(TrainSpec).keys()):
        dropped += [f"{key}.{name}" for name in unknown]
        value = {name: item for name, item in value.items() if name not in unknown}
    return {key: value} if value else {}


def _without_secrets(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if not is_secret_name(key)}


_SWITCH = (CachePolicy(mode="read_write"), CachePolicy(mode="disabled"))


def _dump_dspy(spec: LMSpec) -> dict[str, Any]:
    """Return the keyword arguments of `dspy.LM` that say what `spec` says."""
    state: dict[str, Any] = {"cache": spec.cache.mode != "disabled"}
    dropped: list[str] = [] if spec.cache in _SWITCH else ["cache"]
    if spec.timeout != TimeoutSpec():
        state["timeout"] = spec.timeout.total
        dropped += [] if spec.timeout == TimeoutSpec(total=spec.timeout.total) else ["timeout"]
    for name, field in fields(LMSpec).items():
        value = getattr(spec, name)
        if name == "extra" or name in state or name in dropped:
            continue
        if field.role == "secret" or _refers(value):
            # A state never holds a secret: DSPy reads the provider's usual variable by itself.
            if value == "":
                state[name] = value
            elif value is not None and not _is_usual(spec, value):
                dropped.append(name)
        elif field.in_dspy:
            if field.required or value != field.default or field.in_dspy == "always":
                state[name] = thaw(value) if name != "train_kwargs" else TRAIN.write(value)
        elif value != field.default:
            dropped.append(name)
    for key, value in spec.extra.items():
        if _refers(value):
            dropped.append(f"extra.{key}")
        else:
            state[key] = thaw(value)
    if dropped:
        warnings.warn(f"dspy.LM cannot be told: {', '.join(dropped)}", StateWarning, stacklevel=4)
    return state


def _refers(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_refers(item) for item in value.values())
    if isinstance(value, tuple):
        return any(_refers(item) for item in value)
    return isinstance(value, REFERENCES)


def _is_usual(spec: LMSpec, value: object) -> bool:
    provider = PROVIDERS.get(provider_of(spec.model)[0])
    return provider is not None and value in (
        Env(name=provider.key_env or ""),
        Env(name=provider.base_env or ""),
    )
