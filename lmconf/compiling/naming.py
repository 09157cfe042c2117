"""Names in a profile: what they may refer to, and writing in place what they mean."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from lmconf.caches.specs import CachePolicy
from lmconf.callbacks.specs import CallbackSpec
from lmconf.profile.document import ProfileSpec
from lmconf.profile.lm import LMSpec, SoleLMSpec
from lmconf.spec.checking import Fault
from lmconf.spelling import did_you_mean

Data = Mapping[str, Any]


def unknown_names(
    data: Data, stores: Collection[str], callbacks: Collection[str], lms: Collection[str]
) -> Iterator[Fault]:
    """Yield a fault for each name in one LM's data that nothing in its profile has."""
    cache = data.get("cache")
    store = cache.get("store") if isinstance(cache, Mapping) else None
    if isinstance(store, str):
        yield from _unknown(store, ("cache", "store"), stores, "store", "stores")
    for name, what, known, block in (
        ("callbacks", "callback", callbacks, "callbacks"),
        ("fallbacks", "LM", lms, "lms"),
    ):
        for index, item in enumerate(data.get(name) or ()):
            if isinstance(item, str):
                yield from _unknown(item, (name, index), known, what, block)


def unknown_main(main: object, lms: Collection[str]) -> Iterator[Fault]:
    """Yield a fault when `main` names no LM of the profile."""
    if isinstance(main, str):
        yield from _unknown(main, ("main",), lms, "LM", "lms")


def _unknown(
    name: str, path: tuple[str | int, ...], known: Collection[str], what: str, block: str
) -> Iterator[Fault]:
    if name in known:
        return
    near = did_you_mean(name, known)
    if name.startswith("_"):
        help_ = "an LM whose name begins with `_` is only extended, never called"
    elif known:
        help_ = f"`{block}` has: {', '.join(known)}"
    else:
        help_ = f"define it under `{block}`"
    yield Fault(
        "unknown-name",
        path,
        f"there is no {what} named `{name}`",
        label=f"did you mean `{near}`?" if near else "",
        help=help_,
    )


def inline(profile: ProfileSpec, name: str) -> LMSpec:
    """Return the LM `name` with everything that it names written in place.

    A fallback is inlined without fallbacks of its own: each runs its own LM's inner layers only.
    """
    lm = profile.lms[name]
    fallbacks = tuple(
        item if isinstance(item, SoleLMSpec) else _alone(profile, profile.lms[item])
        for item in lm.fallbacks
    )
    return msgspec.structs.replace(lm, **_definitions(profile, lm), fallbacks=fallbacks)


def _alone(profile: ProfileSpec, lm: LMSpec) -> SoleLMSpec:
    kept = {name: getattr(lm, name) for name in SoleLMSpec.__struct_fields__}
    return SoleLMSpec(**{**kept, **_definitions(profile, lm)})


def _definitions(profile: ProfileSpec, lm: SoleLMSpec) -> dict[str, object]:
    cache: CachePolicy = lm.cache
    if isinstance(cache.store, str):
        cache = msgspec.structs.replace(cache, store=profile.stores[cache.store])
    callbacks: tuple[str | CallbackSpec, ...] = tuple(
        profile.callbacks[item] if isinstance(item, str) else item for item in lm.callbacks
    )
    return {"cache": cache, "callbacks": callbacks}


def inline_stated(stated: Data, name: str) -> dict[str, Any]:
    """Return what was said of the LM `name`, with what was said of the things it names."""
    return _stated(stated, stated["lms"][name], with_fallbacks=True)


def _stated(profile: Data, lm: Data, *, with_fallbacks: bool) -> dict[str, Any]:
    said = dict(lm)
    cache = said.get("cache")
    if isinstance(cache, Mapping) and isinstance(cache.get("store"), str):
        said["cache"] = {**cache, "store": profile["stores"][cache["store"]]}
    if "callbacks" in said:
        said["callbacks"] = [
            profile["callbacks"][item] if isinstance(item, str) else item
            for item in said["callbacks"]
        ]
    fallbacks = said.pop("fallbacks", None)
    if fallbacks is not None and with_fallbacks:
        said["fallbacks"] = [
            _stated(profile, profile["lms"][item], with_fallbacks=False)
            if isinstance(item, str)
            else item
            for item in fallbacks
        ]
    return said
