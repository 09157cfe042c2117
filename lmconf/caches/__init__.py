"""Where answers are kept: stores in memory and on disk, and the keys under which they are found."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, cast

from lmconf.caches.keys import cache_key, request_key, spec_digest
from lmconf.caches.process_locks import ProcessLocks
from lmconf.caches.shared_stores import shared_resource
from lmconf.caches.specs import CustomStore, DiskStore, MemoryStore, RedisStore, StoreSpec
from lmconf.caches.store import CacheWarning, DatedStore, Stats, Store, StoredHit
from lmconf.caches.tiers import TieredStore
from lmconf.diagnostics.model import Mark
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import UsageError
from lmconf.secrets.references import (
    Env,
    File,
    Given,
    MissingReference,
    Public,
    convert_text,
    resolve,
)
from lmconf.system.registry import Registry, import_attribute, require_methods

__all__ = [
    "KINDS",
    "REGISTRY",
    "CacheWarning",
    "DatedStore",
    "ProcessLocks",
    "Stats",
    "Store",
    "StoredHit",
    "TieredStore",
    "address_of",
    "cache_key",
    "claims_folder",
    "default_folder",
    "live_store",
    "open_store",
    "override_from_environment",
    "place",
    "register_cache",
    "request_key",
    "shared_resource",
    "spec_digest",
    "unregister_cache",
]

Override = Literal["disabled", "memory", "disk"]
_OVERRIDES: dict[str, Override] = {"disabled": "disabled", "memory": "memory", "disk": "disk"}


def _memory(spec: StoreSpec) -> Store:
    from lmconf.caches.memory import MemoryCache

    assert isinstance(spec, MemoryStore)
    return MemoryCache(spec.max_entries, spec.max_size)


def _disk(spec: StoreSpec) -> Store:
    from lmconf.caches.disk import DiskCache
    from lmconf.caches.write_behind import WriteBehindStore

    assert isinstance(spec, DiskStore)
    folder, size = spec.path or default_folder(), spec.max_size
    return WriteBehindStore(lambda: DiskCache(folder, size), most=min(4 * 2**20, size // 8))


def _redis(spec: StoreSpec) -> Store:
    from lmconf.caches.redis import RedisCache
    from lmconf.caches.write_behind import WriteBehindStore
    from lmconf.system.redis import require_redis

    assert isinstance(spec, RedisStore)
    require_redis()
    address, namespace = functools.partial(address_of, spec), spec.namespace
    return WriteBehindStore(lambda: RedisCache(address, namespace))


KINDS: dict[str, Callable[[StoreSpec], Store]] = {
    "memory": _memory,
    "disk": _disk,
    "redis": _redis,
}
"""How a store of each `backend` is made; making one touches neither disk nor network."""


REGISTRY = Registry(
    "cache",
    KINDS,
    resolve=import_attribute,
    check=require_methods("get", "put", "close", "stats", "clear"),
)


def register_cache(name: str, factory: Callable[..., object]) -> None:
    """Register a kind of store for `backend: <name>` in profiles.

    Args:
        name: letters, digits, `_` and `-`.
        factory: a class or function that is called with the store's `args` as keywords and returns
            a `Store`.

    Raises:
        UsageError: the name is not valid, is a built-in kind or belongs to another factory, or
            the factory is not callable.
    """
    REGISTRY.register(name, factory)


def unregister_cache(name: str) -> None:
    """Remove a registered kind of store.

    Args:
        name: the kind's name. A name that is not registered has no effect.
    """
    REGISTRY.unregister(name)


def open_store(spec: StoreSpec) -> Store:
    """Return a new store as `spec` says; it opens its file or connection when it is first used.

    Raises:
        UsageError: it needs a package that is not installed, there is no such kind, it cannot be
            imported, its arguments do not fit, or a reference in them leads nowhere.
    """
    if not isinstance(spec, CustomStore):
        return KINDS[spec.backend](spec)
    made = REGISTRY.make(spec.backend, lambda: _resolve_values(spec.args))
    if made is None:
        raise UsageError(str(REGISTRY.unknown(spec.backend)))
    return cast("Store", made)


def _resolve_values(value: Any) -> Any:
    """Return `value` as plain data with its references resolved."""
    if isinstance(value, Public):
        return value.value
    if isinstance(value, Env | File):
        try:
            text = resolve(value)
        except MissingReference as error:
            raise UsageError(str(error)) from None
        if not isinstance(value, Env) or value.type == "str":
            return text
        found = convert_text(text, value.type)
        if found is None:
            raise UsageError(f"environment variable {value.name} is not of the type `{value.type}`")
        return found
    if isinstance(value, Given):
        raise UsageError("the arguments of a store are never given in code: name a variable")
    if isinstance(value, Mapping):
        return {key: _resolve_values(item) for key, item in value.items()}
    return [_resolve_values(item) for item in value] if isinstance(value, tuple) else value


def live_store(spec: StoreSpec, said: Mark | None = None) -> Store:
    """Return the store of this process for `spec`: equal specs share one.

    It is closed when the process ends; closing it earlier only lets go of its file. `said` is
    where a profile says so.

    Raises:
        UsageError: it needs a package that is not installed.
        ProfileError: another LM uses the same folder or the same server and namespace in another
            way.
    """
    folder = default_folder() if isinstance(spec, DiskStore) and spec.path is None else None
    return shared_resource((spec, folder), lambda: open_store(spec), place=place(spec), said=said)


def place(spec: StoreSpec) -> Hashable:
    """Return what two specs of one store have in common, None where each is a store of its own.

    The store that is used where nobody declares one stands beside whatever is declared.
    """
    if spec == DiskStore():
        return None
    if isinstance(spec, DiskStore):
        folder = spec.path or default_folder()
        return ("disk", os.path.realpath(os.path.expanduser(folder)))  # noqa: PTH111
    return ("redis", spec.url, spec.namespace) if isinstance(spec, RedisStore) else None


def address_of(spec: RedisStore) -> str:
    """Return the address that a store in Redis says, as it is now.

    Raises:
        UsageError: it is a reference that leads nowhere.
    """
    if isinstance(spec.url, str | Public):
        return str(spec.url if isinstance(spec.url, str) else spec.url.value)
    if isinstance(spec.url, Env | File):
        try:
            return resolve(spec.url)
        except MissingReference as error:
            raise UsageError(str(error)) from None
    raise UsageError(
        "code cannot pass the address of a store: use a reference to an environment variable"
    )


def claims_folder(spec: StoreSpec) -> str | None:
    """Return the folder where the processes that use `spec` meet; None where they share nothing."""
    if isinstance(spec, DiskStore):
        return spec.path or default_folder()
    return default_folder() if isinstance(spec, RedisStore) and spec.disk else None


def default_folder() -> str:
    """Return the folder of a disk store that names none: `$LMCONF_CACHE_DIR`, or the user's."""
    folder = os.environ.get("LMCONF_CACHE_DIR")
    if folder:
        return folder
    import platformdirs

    return platformdirs.user_cache_dir("lmconf", appauthor=False)


def override_from_environment() -> Override | None:
    """Return what `$LMCONF_CACHE` demands of every LM of this process; None where it is unset.

    Raises:
        UsageError: it is none of `disabled`, `memory` and `disk`.
    """
    said = os.environ.get("LMCONF_CACHE", "")
    if not said:
        return None
    override = _OVERRIDES.get(said)
    if override is None:
        near = did_you_mean(said, _OVERRIDES)
        raise UsageError(
            f"LMCONF_CACHE must be `disabled`, `memory` or `disk`, not `{said}`"
            + (f"; did you mean `{near}`?" if near else "")
        )
    return override
