"""The registry of one room: the kinds that are built in, registered in code, or brought by packages.

A package brings a kind by an entry point of the group of its room:

    [project.entry-points."lmconf.transports"]
    acme = "acme_lm:Transport"

A name means the built-in kind, else what code has registered, else what a package brings. Entry
points are listed only for a name that is neither built in nor registered, or when all names are
asked for, and are imported only when the kind is used. What is registered holds for the process, as
imported modules do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import UsageError
from lmconf.system.interrupts import is_interrupt

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = [
    "Factory",
    "Names",
    "Registry",
    "UnknownKind",
    "describe_unknown_kind",
    "import_attribute",
    "require_methods",
]

Factory = Callable[..., object]
"""A class or a function that makes something of a kind."""

T = TypeVar("T")

_NAME = re.compile(r"[^\W\d][\w-]*")


class UnknownKind(NamedTuple):
    """What is said of a name that nothing provides, as the parts of a diagnostic."""

    message: str
    label: str
    help: str

    def __str__(self) -> str:
        return f"{self.message}; {self.label or self.help}"


def describe_unknown_kind(kind: str, name: str, known_names: Collection[str]) -> UnknownKind:
    """Return what is said where there is no `kind` (such as `transport`) of the kind `name`."""
    near = did_you_mean(name, known_names)
    return UnknownKind(
        f"there is no {kind} of the kind `{name}`",
        f"did you mean `{near}`?" if near else "",
        f"known kinds: {', '.join(known_names)}; register your own with `lmconf.register_{kind}`",
    )


def import_attribute(path: str) -> Factory:
    """Return the class or function at `path`, which is written `module:attribute`.

    Raises:
        TypeError: it is neither a class nor a function.
    """
    module, _, attribute = (part.strip() for part in path.partition(":"))
    attribute_value: object = import_module(module)
    for step in attribute.split(".") if attribute else ():
        attribute_value = getattr(attribute_value, step)
    if not callable(attribute_value):
        raise TypeError("it is neither a class nor a function")
    return attribute_value


def require_methods(*methods: str) -> Callable[[object, str, str], None]:
    """Return a check that an object, or the class of one, has all of `methods`."""

    def check(value: object, kind: str, name: str) -> None:
        missing = [method for method in methods if not callable(getattr(value, method, None))]
        if missing:
            type_ = value if isinstance(value, type) else type(value)
            raise UsageError(
                f"the {kind} `{name}` cannot be used: {type_.__name__} has no method `{missing[0]}`"
            )

    return check


class Registry(Generic[T]):
    """The kinds of one room by name.

    Args:
        kind: What messages call one of them, such as `transport`. The entry points are those of the
            group `lmconf.<kind>s`, and the public function is `lmconf.register_<kind>`.
        built_in: The names that come with lmconf; nothing else can take them.
        check: Raises a `UsageError` for a class, or for what a factory has made, that is not of the
            kind. It is called with the object, the kind and the name.
        resolve: Returns what the value of an entry point stands for.
    """

    def __init__(
        self,
        kind: str,
        built_in: Collection[str],
        *,
        resolve: Callable[[str], T],
        check: Callable[[object, str, str], None] | None = None,
    ) -> None:
        self.kind = kind
        self.built_in = built_in
        self.group = f"lmconf.{kind}s"
        self._check = check
        self._resolve = resolve
        self._registered: dict[str, T] = {}

    def register(self, name: object, value: T) -> None:
        """Have `name` stand for `value`.

        A class or function that has the same module and name as the one before it, as when a cell
        of a notebook runs again, takes its place.

        Raises:
            UsageError: the name is no name, is built in or stands for something else; or `value`
                is not of the kind.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not a {self.kind}'s name: letters, digits, `_` and `-`")
        if name in self.built_in:
            raise UsageError(
                f"the {self.kind} `{name}` is built-in: it comes with lmconf and cannot be replaced"
            )
        factory: object = value
        if not isinstance(factory, str) and not callable(factory):
            raise UsageError(
                f"the {self.kind} `{name}` must be given as a class or a function that makes it,"
                f" not as an object of the type {type(value).__name__}"
            )
        if self._check is not None and isinstance(value, type):
            self._check(value, self.kind, name)
        before = self._registered.setdefault(name, value)
        if _home(before) != _home(value):
            raise UsageError(f"a {self.kind} is already registered as `{name}`")
        self._registered[name] = value

    def unregister(self, name: str) -> None:
        """Forget what code has registered as `name`, if anything is."""
        self._registered.pop(name, None)

    def names(self) -> Names:
        """Return the names that may be used now; see `Names`."""
        return Names(self)

    def registered_names(self) -> tuple[str, ...]:
        """Return the names that code has registered."""
        return tuple(self._registered)

    def installed_names(self) -> tuple[str, ...]:
        """Return the names that installed packages bring; none is imported."""
        return tuple(dict.fromkeys(point.name for point in self._entry_points()))

    def package_of(self, name: str) -> str | None:
        """Return the package that brings `name`; None if code has registered it, or nothing does."""
        points = () if name in self._registered else self._entry_points()
        return next((_package(point) for point in points if point.name == name), None)

    def unknown(self, name: str) -> UnknownKind:
        """Return what is said of `name`, which nothing provides."""
        return describe_unknown_kind(self.kind, name, self.names())

    def load(self, name: str) -> T | None:
        """Return what is registered as `name`, or what a package brings; None if nothing is.

        Raises:
            UsageError: several packages bring it, or it cannot be imported.
        """
        if name in self._registered:
            return self._registered[name]
        points = {point.value: point for point in self._entry_points() if point.name == name}
        if not points:
            return None
        if len(points) > 1:
            packages = ", ".join(
                sorted(f"{_package(point)} (`{value}`)" for value, point in points.items())
            )
            raise UsageError(f"several installed packages bring a {self.kind} `{name}`: {packages}")
        (point,) = points.values()
        try:
            return self._resolve(point.value)
        except Exception as error:  # importing a package may raise anything
            if is_interrupt(error):
                raise
            reason = f"{type(error).__name__}: {error}"
        raise UsageError(
            f"the {self.kind} `{name}` of the package {_package(point)} cannot be imported from"
            f" `{point.value}`: {reason}"
        )

    def make(self, name: str, arguments: Callable[[], Mapping[str, Any]] = dict) -> object | None:
        """Return what the factory `name` makes of `arguments()`; None if there is no such factory.

        Raises:
            UsageError: as `load`; or the arguments do not fit, or what was made is not of the kind.
        """
        factory = self.load(name)
        if factory is None:
            return None
        assert callable(factory)
        return self.make_by(factory, name, arguments)

    def make_by(
        self, factory: Factory, name: str, arguments: Callable[[], Mapping[str, Any]]
    ) -> object:
        """Return what `factory`, which messages call `name`, makes of `arguments()`.

        Raises:
            UsageError: the arguments do not fit, or what was made is not of the kind.
        """
        result = _call_factory(factory, self.kind, name, arguments)
        if self._check is not None:
            self._check(result, self.kind, name)
        return result

    def _entry_points(self) -> tuple[EntryPoint, ...]:
        from importlib.metadata import entry_points  # it takes 20 ms

        return tuple(entry_points(group=self.group))


class Names(Collection[str]):
    """The names of a registry: those known now, and those that are installed.

    What is installed is looked up when a name is not among the first, or when all are asked for.
    """

    def __init__(self, registry: Registry[Any]) -> None:
        self._registry = registry
        self._known = (*registry.built_in, *registry.registered_names())

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._registry.installed_names()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._known, *self._registry.installed_names())))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _package(point: EntryPoint) -> str:
    return "of an unknown name" if point.dist is None else str(point.dist.name)


def _call_factory(
    factory: Factory, kind: str, name: str, arguments: Callable[[], Mapping[str, Any]]
) -> object:
    """Return what `factory` makes; no frame of lmconf's keeps its arguments."""
    keywords = dict(arguments())
    failure: BaseException
    try:
        _check_fit(factory, kind, name, keywords)
        return factory(**keywords)
    except BaseException as error:  # noqa: BLE001 - it passes through
        trace = error.__traceback__
        failure = error.with_traceback(trace.tb_next if trace is not None else None)
    del keywords
    raise failure


def _check_fit(factory: Factory, kind: str, name: str, keywords: Mapping[str, Any]) -> None:
    import inspect  # it takes 10 ms

    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # made in C: it says for itself what it takes
        return
    problem = ""
    try:
        signature.bind(**keywords)
    except TypeError as error:
        problem = str(error)
    del keywords
    if problem:
        raise UsageError(f"the arguments of the {kind} `{name}` do not fit: {problem}")


def _home(value: object) -> object:
    if isinstance(value, str):
        return value
    kind = value if hasattr(value, "__qualname__") else type(value)
    return getattr(kind, "__module__", None), getattr(kind, "__qualname__", None)
