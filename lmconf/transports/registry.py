"""The transports of one's own: registered in code, or brought by an installed package.

A package brings one by an entry point of the group `lmconf.transports`:

    [project.entry-points."lmconf.transports"]
    acme = "acme_lm:Transport"

Entry points are listed only when a name is neither built in nor registered, and imported only when
the first request is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lmconf.errors import UsageError
from lmconf.system.imports import import_path
from lmconf.transports.transport import Transport

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "Names", "add", "drop", "installed_names", "is_registered", "make_own"]

GROUP = "lmconf.transports"
"""The entry points by which a package brings a transport."""

# What an application registers holds for the process, as the modules that it imports do.
_REGISTERED: dict[str, Callable[..., object]] = {}


def add(name: str, factory: Callable[..., object]) -> None:
    """Have `factory` make the transport `name`.

    What has the same module and name as the factory before it, as when a cell of a notebook runs
    again, takes its place.

    Raises:
        UsageError: the name is no name or stands for another factory, or the factory cannot make
            a transport.
    """
    if not name.replace("-", "_").isidentifier():
        raise UsageError(f"{name!r} is not a transport's name: letters, digits, `_` and `-`")
    if not callable(factory):
        raise UsageError(
            f"the transport `{name}` must be given as a class or a function that makes it, not as"
            f" an object of the type {type(factory).__name__}"
        )
    if isinstance(factory, type):
        from lmconf.transports.custom import check_methods

        check_methods(factory, name)
    before = _REGISTERED.get(name)
    if before is not None and _home(before) != _home(factory):
        raise UsageError(f"a transport is already registered as `{name}`")
    _REGISTERED[name] = factory


def drop(name: str) -> None:
    """Forget what is registered as `name`, if anything is."""
    _REGISTERED.pop(name, None)


def is_registered(name: str) -> bool:
    """Say whether code has registered a transport as `name`."""
    return name in _REGISTERED


def installed_names() -> tuple[str, ...]:
    """Return the names of the transports that installed packages bring; none is imported."""
    return tuple(dict.fromkeys(found.name for found in _entry_points()))


def make_own(
    name: str, arguments: Callable[[], Mapping[str, Any]], allow_imports: frozenset[str]
) -> Transport | None:
    """Return the transport `name`, made with `arguments`; None where there is none.

    `name` may be an import path that is among `allow_imports`.

    Raises:
        ProfileError: the import path is not allowed, or leads nowhere.
        UsageError: it cannot be imported, its arguments do not fit, or it is no transport.
    """
    factory: Callable[..., object] | None
    if ":" in name:
        factory = import_path(name, allow_imports)
    else:
        factory = _REGISTERED.get(name) or _load_entry_point(name)
    if factory is None:
        return None
    from lmconf.transports.custom import complete_transport

    return complete_transport(_call_factory(factory, name, arguments), name)


class Names(Collection[str]):
    """The transports that may be named: those known now, and those that are installed.

    What is installed is looked up when a name is not among the first, or when all are asked for.
    """

    def __init__(self, built_in: Collection[str]) -> None:
        self._known = (*built_in, *_REGISTERED)

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in installed_names()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._known, *installed_names())))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _entry_points(name: str | None = None) -> tuple[EntryPoint, ...]:
    from importlib.metadata import entry_points  # it takes 20 ms

    found = entry_points(group=GROUP)
    return tuple(point for point in found if name in (None, point.name))


def _load_entry_point(name: str) -> Callable[..., object] | None:
    found = {point.value: point for point in _entry_points(name)}
    if not found:
        return None
    if len(found) > 1:
        raise UsageError(
            f"several installed packages bring a transport `{name}`: {', '.join(sorted(found))}"
        )
    (point,) = found.values()
    try:
        factory: object = import_module(point.module)
        for step in point.attr.split(".") if point.attr else ():
            factory = getattr(factory, step)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"the transport `{name}` cannot be imported from `{point.value}`:"
            f" {type(error).__name__}: {error}"
        ) from None
    if not callable(factory):
        raise UsageError(f"`{point.value}` is no class or function that makes a transport")
    return factory


def _call_factory(
    factory: Callable[..., object], name: str, arguments: Callable[[], Mapping[str, Any]]
) -> object:
    """Return what `factory` makes; no frame of lmconf's keeps its arguments."""
    given = dict(arguments())
    failure: BaseException
    try:
        _check_fit(factory, name, given)
        return factory(**given)
    except BaseException as error:  # noqa: BLE001 - it passes through
        trace = error.__traceback__
        failure = error.with_traceback(trace.tb_next if trace is not None else None)
    del given
    raise failure


def _check_fit(factory: Callable[..., object], name: str, given: Mapping[str, Any]) -> None:
    import inspect  # it takes 10 ms

    try:
        declared = inspect.signature(factory)
    except (TypeError, ValueError):  # made in C: it says for itself what it takes
        return
    problem = ""
    try:
        declared.bind(**given)
    except TypeError as error:
        problem = str(error)
    del given
    if problem:
        raise UsageError(f"the arguments of the transport `{name}` do not fit: {problem}")


def _home(factory: object) -> tuple[object, object]:
    kind = factory if hasattr(factory, "__qualname__") else type(factory)
    return getattr(kind, "__module__", None), getattr(kind, "__qualname__", None)
