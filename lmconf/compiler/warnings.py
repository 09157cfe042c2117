"""What a valid profile asks for and does not get: warnings, for whoever counts on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmconf.compiler.parts import ProfileParts
from lmconf.diagnostics.model import Diagnostic, Note
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.document.nodes import Map, Node, Path, Scalar, at
from lmconf.providers.catalogue import provider_of
from lmconf.providers.families import EFFORTS, efforts_refused, family_of
from lmconf.providers.routes import client_of
from lmconf.schema.declaration import field_names, fields
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LMSpec
from lmconf.spec.policies import TimeoutSpec
from lmconf.system.durations import format_duration
from lmconf.transports.specs import BUILT_IN

__all__ = ["find_ineffective_settings"]


def find_ineffective_settings(
    lms: Mapping[str, CompiledLM], parts: ProfileParts
) -> Iterator[Diagnostic]:
    """Yield a warning for everything that a profile asks for and does not get.

    Args:
        lms: the compiled LMs of the profile by name.
        parts: what they were compiled from.
    """
    lms_as_written = parts.entries if parts.as_written is None else parts.as_written.entries
    for name, compiled in lms.items():
        foreign = _foreign_wire(compiled.spec)
        if foreign is not None:
            yield _foreign_diagnostic(compiled, parts.path(name), *foreign)
        for path, message, help_ in _ineffective_fields(compiled.spec):
            # What an LM has from `defaults` or from a parent is meant for others.
            node = at(lms_as_written[name], path)
            if node is not None:
                yield _no_effect(node, (*parts.path(name), *path), message, help_)
        for field, message, help_ in _against_the_family(compiled.spec):
            node = at(lms_as_written[name], (field,))
            if node is not None:
                yield Diagnostic(
                    code="family-rule",
                    severity="warning",
                    message=message,
                    mark=node.mark,
                    path=(*parts.path(name), field),
                    help=help_,
                )
    yield from _unused_ttls({**parts.abstract, **lms_as_written}, parts)
    if parts.as_written is not None and not parts.as_written.entries:
        yield Diagnostic(
            code="no-lms",
            severity="warning",
            message="this profile has no LM",
            mark=parts.as_written.mark,
            path=("lms",),
            help="add one: `lms: {name: {model: provider/name}}`",
        )


def _ineffective_fields(spec: LMSpec) -> Iterator[tuple[Path, str, str]]:
    """Yield path, message and help of whatever the other settings of an LM leave no effect."""
    declared = fields(LMSpec)
    if not spec.fallbacks and spec.fallback_on != declared["fallback_on"].default:
        yield ("fallback_on",), "`fallback_on` has no effect without `fallbacks`", "add some"
    elif "budget" in spec.fallback_on and not any(
        lm.budget for lm in (spec, *spec.fallbacks) if not isinstance(lm, str)
    ):
        yield (
            ("fallback_on",),
            "`budget` has no effect here: neither this LM nor a fallback has one of its own",
            "add a `budget` to this LM; the budget of a whole profile does not trigger a fallback",
        )
    yield from _ineffective_in_pools(spec)
    times = spec.timeout
    for phase in field_names(TimeoutSpec, lambda field: field.name != "total"):
        most = getattr(times, phase)
        if most is not None and most > times.total and most != TimeoutSpec().connect:
            yield (
                ("timeout", phase),
                f"`{phase}` may take {format_duration(most, 6)}, and the whole attempt no more than {format_duration(times.total, 6)}",
                "raise `total`, or leave it out",
            )


def _against_the_family(spec: LMSpec) -> Iterator[tuple[str, str, str]]:
    """Yield field, message and help of what a model may well refuse, or answer with nothing."""
    model = spec.base_model or spec.model
    floor = family_of(spec.model, spec.base_model).token_floor
    if spec.max_tokens is not None and spec.max_tokens < floor:
        yield (
            "max_tokens",
            f"`{model}` may spend all of {spec.max_tokens} tokens on thinking and return no answer",
            f"raise it to {floor} or more, or lower `reasoning_effort`",
        )
    effort = spec.reasoning_effort
    if effort is not None and effort not in EFFORTS:
        near = did_you_mean(effort, EFFORTS)
        efforts = ", ".join(f"`{each}`" for each in EFFORTS)
        yield (
            "reasoning_effort",
            f"no known model supports the effort `{effort}`",
            f"did you mean `{near}`?" if near else f"models support some of {efforts}",
        )
    elif effort is not None and effort in efforts_refused(spec.model, spec.base_model):
        yield (
            "reasoning_effort",
            f"`{model}` is not known to support the effort `{effort}`",
            "LiteLLM's table of models does not list it; it is sent anyway",
        )


def _ineffective_in_pools(spec: LMSpec) -> Iterator[tuple[Path, str, str]]:
    declared = fields(LMSpec)
    if not spec.pool:
        for name in ("pick", "weights"):
            if getattr(spec, name) != declared[name].default:
                yield (name,), f"`{name}` has no effect: this LM is no `pool`", "leave it out"
    elif spec.weights and spec.pick != "weighted":
        yield ("weights",), f"`weights` have no effect on `{spec.pick}`", "add `pick: weighted`"
    for index, member in enumerate(spec.pool):
        if spec.budget is None and not isinstance(member, str) and member.budget is not None:
            yield (
                ("pool", index),
                "what this pool spends is not charged to the `budget` of its member",
                "add a `budget` to the pool, or to the whole profile",
            )


def _no_effect(node: Node, path: Path, message: str, help_: str, *notes: Note) -> Diagnostic:
    return Diagnostic(
        code="no-effect",
        severity="warning",
        message=message,
        mark=node.mark,
        path=path,
        help=help_,
        notes=notes,
    )


def _unused_ttls(lms: Mapping[str, Node], parts: ProfileParts) -> Iterator[Diagnostic]:
    """Yield a warning for each `ttl` that stands beside `mode: disabled`."""
    for name, node in lms.items():
        cache = at(node, ("cache",))
        if not isinstance(cache, Map):
            continue
        mode, ttl = cache.get("mode"), cache.get("ttl")
        if not isinstance(mode, Scalar) or mode.value != "disabled" or ttl is None:
            continue
        if mode.mark.source.name != ttl.mark.source.name:
            continue
        yield _no_effect(
            ttl,
            (*parts.path(name), "cache", "ttl"),
            "`ttl` has no effect where the cache is off",
            "leave it out, or choose another `mode`",
            Note("it is turned off here", mode.mark),
        )


def _foreign_diagnostic(compiled: CompiledLM, path: Path, provider: str, help_: str) -> Diagnostic:
    return Diagnostic(
        code="foreign-wire",
        severity="warning",
        message=f"requests to {provider} are sent by LiteLLM's own client: the size of an answer is not"
        " limited, redirects are followed, and `timeout` holds as a whole only",
        mark=compiled.place("model"),
        path=(*path, "model"),
        help=help_,
    )


def _foreign_wire(spec: LMSpec) -> tuple[str, str] | None:
    """Return how a provider is named whose requests lmconf's own client cannot carry, and help."""
    provider = provider_of(spec.model)[0]
    if spec.transport.use not in BUILT_IN or spec.launch_kwargs is not None:
        return None
    use = spec.transport.use
    if spec.model_type == "responses" or client_of(provider, spec.model_type, use) is not None:
        return None
    if spec.model_type == "chat" and client_of(provider, "text") is not None:
        return None  # an API for completions alone: a call is refused
    if spec.model_type == "text" and client_of(provider, "chat") is not None:
        return f"{provider}/ for completions", "leave `model_type: text` out"
    return (
        f"{provider}/",
        "a server that speaks the OpenAI API is `openai/<model>` with its `api_base`",
    )
