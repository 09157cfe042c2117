"""What a document that is not trusted may not say: it is data, and data only.

Everything refused here is refused, never taken out: a document that lost a part would mean
something else. It is judged twice: as it is written, where everything wrong is found at its place,
and by what it came to, which no way of writing gets around.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath

from msgspec import Struct

from lmconf.caches.specs import DiskStore, MemoryStore
from lmconf.callbacks.specs import CustomCallback, JsonlCallback, LiteLLMLogger, MeterCallback
from lmconf.compiling.pipeline import CompiledProfile
from lmconf.document.nodes import (
    Change,
    Document,
    Map,
    Node,
    Path,
    Reference,
    Scalar,
    Seq,
    Verbatim,
    from_plain,
)
from lmconf.errors import Diagnostic, Mark
from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.profile.lm import SoleLMSpec
from lmconf.profile.providers import PROVIDERS, provider_of
from lmconf.secrets import Env, File, Given
from lmconf.spec.declaring import fields
from lmconf.transports.specs import TransportSpec

__all__ = ["distrust", "distrust_profile"]

_REFUSED_KEYS = {
    "launch_kwargs": "start a server",
    "train_kwargs": "start a training",
    "api_base": "choose where prompts are sent",
    "url": "choose where answers are kept",
    "transport": "choose what carries its requests",
    "allow_http": "allow unencrypted connections",
    "endpoint": "answer for other addresses",
    "aws_profile_name": "choose an account of this machine",
}
# Under these keys stands what a model is told, or what is only kept: names mean nothing there.
_DATA = frozenset(
    "extra metadata logit_bias provenance response_format thinking tool_choice tools vars".split()
)
# Fields that one layer states as a whole: their place tells whose they are.
_WHOLE = frozenset(
    "allow_http api_base api_key aws_access_key_id aws_profile_name aws_region_name"
    " aws_secret_access_key aws_session_token azure_ad_token endpoint organization project"
    " vertex_credentials vertex_location vertex_project".split()
)
_FILES = "choose files outside its own folder"


def distrust(documents: Sequence[Document], allow_env: frozenset[str]) -> list[Diagnostic]:
    """Return a diagnostic for everything in recognised `documents` that needs trust.

    `allow_env` are the environment variables that may be referred to all the same.
    """
    found = []
    for document in documents:
        path = document.source.path
        folder = FilePath(path).parent if path else FilePath.cwd()
        found += [
            _refusal(what, place, mark)
            for place, mark, what in _refusals(document.root, (), allow_env, folder)
        ]
    return found


def distrust_profile(
    profile: CompiledProfile, documents: Sequence[Document], allow_env: frozenset[str]
) -> list[Diagnostic]:
    """Return a diagnostic for everything in `profile` that needs trust.

    `documents` are those that it was compiled from, the lowest layer first. What follows from the
    model is no demand: the provider's usual variables, which go to the provider's own address
    alone. Neither is a field that the application laid over the documents as a whole.
    """
    path = documents[-1].source.path
    folder = FilePath(path).parent.resolve() if path else FilePath.cwd()
    theirs = {id(document.source) for document in documents}
    found = []
    for name, compiled in profile.lms.items():
        above: Path = () if profile.flat else ("lms", name)
        for place, what in _demands(compiled.spec, allow_env, folder):
            mark = compiled.place(*place)
            if place[0] in _WHOLE and mark is not None and id(mark.source) not in theirs:
                continue
            found.append(_refusal(what, (*above, *place), mark))
    return found


def _refusal(what: str, path: Path, mark: Mark | None) -> Diagnostic:
    return Diagnostic(
        code="untrusted",
        message=f"an untrusted document may not {what}",
        mark=mark,
        path=path,
        help="load it without `untrusted=True` if you trust who wrote it",
    )


# --- what it came to ----------------------------------------------------------------------------


def _demands(
    spec: SoleLMSpec, allow_env: frozenset[str], folder: FilePath
) -> Iterator[tuple[Path, str]]:
    provider = PROVIDERS.get(provider_of(spec.model)[0])
    own_base = provider is not None and spec.api_base == Env(name=provider.base_env or "")
    for name, asked in (
        ("launch_kwargs", spec.launch_kwargs is not None or spec.provider in LAUNCHER_NAMES),
        ("train_kwargs", spec.train_kwargs is not None),
        ("api_base", spec.api_base is not None and not own_base),
        ("transport", spec.transport != TransportSpec()),
        ("allow_http", spec.allow_http),
        ("endpoint", spec.endpoint is not None),
        ("aws_profile_name", spec.aws_profile_name is not None),
    ):
        if asked:
            yield (name,), _REFUSED_KEYS[name]
    yield from _places(spec, folder)
    for name in fields(type(spec)):
        if name in ("fallbacks", "pool"):
            continue
        usual = provider is not None and (
            (name == "api_key" and spec.api_key == Env(name=provider.key_env or ""))
            or (name == "api_base" and own_base)
        )
        if not usual:
            for what in _references(getattr(spec, name), allow_env):
                yield (name,), what
    for field in ("fallbacks", "pool"):
        for index, other in enumerate(getattr(spec, field, ())):
            if isinstance(other, SoleLMSpec):
                for path, what in _demands(other, allow_env, folder):
                    yield (field, index, *path), what


def _places(spec: SoleLMSpec, folder: FilePath) -> Iterator[tuple[Path, str]]:
    """Yield what stores and callbacks would write to, or run."""
    for name, block in (("cache", spec.cache), ("budget", spec.budget)):
        store = getattr(block, "store", None)
        if isinstance(store, DiskStore):
            if store.path is not None and not _is_inside(store.path, folder):
                yield (name, "store"), _FILES
        elif isinstance(store, Struct) and not isinstance(store, MemoryStore):
            yield (name, "store"), _REFUSED_KEYS["url"]
    for index, callback in enumerate(spec.callbacks):
        if isinstance(callback, JsonlCallback | MeterCallback):
            if callback.path is None or not _is_inside(callback.path, folder):
                yield ("callbacks", index), _FILES
        elif isinstance(callback, LiteLLMLogger):
            yield ("callbacks", index), "send what is said to another service"
        elif isinstance(callback, CustomCallback) and ":" in callback.use:
            yield ("callbacks", index), "name code to import"


def _references(value: object, allow_env: frozenset[str]) -> Iterator[str]:
    """Yield what each reference in a value of a spec would read."""
    if isinstance(value, Env):
        if value.name not in allow_env:
            yield f"read the environment variable {value.name}"
    elif isinstance(value, File | Given):
        yield "read files or values given in code"
    elif isinstance(value, Struct):
        for name in value.__struct_fields__:
            yield from _references(getattr(value, name), allow_env)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _references(item, allow_env)
    elif isinstance(value, tuple):
        for item in value:
            yield from _references(item, allow_env)


def _is_inside(path: str, folder: FilePath) -> bool:
    """Say whether `path` lies below `folder`, and neither is nor lies in anything hidden there."""
    whole = (folder / FilePath(path).expanduser()).resolve()
    if not whole.is_relative_to(folder):
        return False
    return not any(step.startswith(".") for step in whole.relative_to(folder).parts)


# --- as it is written ---------------------------------------------------------------------------


def _refusals(
    node: Node, path: Path, allow_env: frozenset[str], folder: FilePath
) -> Iterator[tuple[Path, Mark, str]]:
    match node:
        case Map(entries=entries, keys=keys):
            for key, value in entries.items():
                here = (*path, key)
                # In `lms: {tools: …}` the key is an LM's name.
                is_name = path in (("lms",), ("stores",), ("callbacks",))
                data = any(step in _DATA for step in path[:1] + path[2:])
                what = "" if data or is_name else _refused(key, value, folder)
                if what:
                    yield here, keys[key], what
                else:
                    yield from _refusals(value, here, allow_env, folder)
        case Seq(items=items):
            for index, item in enumerate(items):
                yield from _refusals(item, (*path, index), allow_env, folder)
        case Change(base=base, prepend=prepend, append=append):
            for item in (*([base] if base is not None else []), *prepend, *append):
                yield from _refusals(item, path, allow_env, folder)
        case Verbatim(value=value, mark=mark) if isinstance(value, dict | list):
            # Nothing in it is a reference, and all else means what it says.
            yield from _refusals(from_plain(value, mark), path, allow_env, folder)
        case Reference(to=Env(name=name), mark=mark) if name not in allow_env:
            yield path, mark, f"read the environment variable {name}"
        case Reference(to=to, mark=mark) if not isinstance(to, Env):
            yield path, mark, "read files or values given in code"
        case _:
            return


def _refused(key: str, value: Node, folder: FilePath) -> str:
    """Return what `key: value` would do that needs trust, or nothing."""
    if key in _REFUSED_KEYS:
        return _REFUSED_KEYS[key]
    stated = value.value if isinstance(value, Scalar | Verbatim) else None
    text = stated if isinstance(stated, str) else ""
    template = isinstance(value, Scalar) and "{{" in text
    if key == "use" and ":" in text:
        return "name code to import"
    if key == "provider" and (text in LAUNCHER_NAMES or template):
        return "start a server"
    if key == "path" and text and (template or not _is_inside(text, folder.resolve())):
        return _FILES
    return ""
