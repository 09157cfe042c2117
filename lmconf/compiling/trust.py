"""What a document that is not trusted may not say: it is data, and data only.

Everything refused here is refused, never taken out: a document that lost a part would mean
something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

from lmconf.document.nodes import Change, Document, Map, Node, Path, Reference, Scalar, Seq
from lmconf.errors import Diagnostic, Mark
from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.secrets import Env

__all__ = ["distrust"]

_REFUSED_KEYS = {
    "launch_kwargs": "start a server",
    "train_kwargs": "start a training",
    "api_base": "choose where prompts are sent",
    "url": "choose where answers are kept",
    "transport": "choose what carries its requests",
    "allow_http": "allow unencrypted connections",
}


def distrust(documents: Sequence[Document], allow_env: frozenset[str]) -> list[Diagnostic]:
    """Return a diagnostic for everything in recognised `documents` that needs trust.

    `allow_env` are the environment variables that may be referred to all the same.
    """
    found = []
    for document in documents:
        path = document.source.path
        folder = FilePath(path).parent if path else FilePath.cwd()
        found += [
            Diagnostic(
                code="untrusted",
                message=f"an untrusted document may not {what}",
                mark=mark,
                path=place,
                help="load it without `untrusted=True` if you trust who wrote it",
            )
            for place, mark, what in _refusals(document.root, (), allow_env, folder)
        ]
    return found


def _refusals(
    node: Node, path: Path, allow_env: frozenset[str], folder: FilePath
) -> Iterator[tuple[Path, Mark, str]]:
    match node:
        case Map(entries=entries, keys=keys):
            for key, value in entries.items():
                here = (*path, key)
                what = _refused(key, value, folder)
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
    text = value.value if isinstance(value, Scalar) and isinstance(value.value, str) else ""
    if key == "use" and ":" in text:
        return "name code to import"
    if key == "provider" and (text in LAUNCHER_NAMES or "{{" in text):
        return "start a server"
    if key == "path" and text:
        if "{{" in text or text.startswith("~"):
            return "choose files outside its own folder"
        if not (folder / text).resolve().is_relative_to(folder.resolve()):
            return "choose files outside its own folder"
    return ""
