"""A credential that several LMs share by inheritance must belong to one provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lmconf.document.nodes import Map, Node, Reference, Scalar, Verbatim
from lmconf.errors import Diagnostic, Mark, Note
from lmconf.profile.pools import is_pool
from lmconf.profile.providers import provider_of
from lmconf.profile.rules import CREDENTIALS
from lmconf.secrets import is_secret_name

__all__ = ["shared_credentials"]


def shared_credentials(entries: Mapping[str, Node], data: Mapping[str, object]) -> list[Diagnostic]:
    """Return a diagnostic for each credential that would go to several providers.

    Values are told apart by where they stand: one place that reaches several LMs is inherited.
    """
    first: dict[tuple[str, int, int], tuple[str, str]] = {}
    reported: set[tuple[str, int, int]] = set()
    found = []
    for name, node in entries.items():
        model = _model(data.get(name))
        if model is None or not isinstance(node, Map):
            continue
        provider = provider_of(model)[0]
        for path, value in _credentials(node):
            # A value made in code has no place of its own, and is one object where it is inherited.
            key = value.mark.key if value.mark.line else ("", 0, id(value))
            if key in reported:
                continue
            heir, known = first.setdefault(key, (name, provider))
            if known != provider:
                reported.add(key)
                found.append(_shared(path, value.mark, (heir, known), (name, provider), node))
    return found


def _model(data: object) -> str | None:
    if not isinstance(data, Mapping) or is_pool(data):
        return None
    model = data.get("model")
    return model if isinstance(model, str) else None


def _credentials(lm: Map) -> Iterator[tuple[tuple[str, ...], Node]]:
    """Yield path and node of each value that must not reach another provider."""
    for key in sorted(CREDENTIALS):
        value = lm.get(key)
        if isinstance(value, Map):
            for header, inner in value:
                if isinstance(inner, Reference) or is_secret_name(header):
                    yield (key, header), inner
        elif isinstance(value, Reference) or (isinstance(value, Scalar | Verbatim) and value.value):
            yield (key,), value


def _shared(
    path: tuple[str, ...],
    mark: Mark,
    first: tuple[str, str],
    second: tuple[str, str],
    lm: Map,
) -> Diagnostic:
    name = ".".join(path)
    return Diagnostic(
        code="credential-crosses",
        message=f"`{name}` would be sent to {first[1]} (by `{first[0]}`) and to {second[1]}"
        f" (by `{second[0]}`)",
        mark=mark,
        path=("lms", second[0], *path),
        help=f"state `{name}` in each LM, or in a parent that LMs of one provider extend",
        notes=(Note(f"`{second[0]}` is served by {second[1]}", lm.entries["model"].mark),),
    )
