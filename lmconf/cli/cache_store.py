"""The stores that `lmconf cache` looks after, and what they hold as data and as lines."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from lmconf.cli.terminal import fit, format_bytes
from lmconf.errors import Error, UsageError
from lmconf.system.durations import format_duration
from lmconf.system.paths import with_home

if TYPE_CHECKING:
    from lmconf.caches.specs import StoreSpec
    from lmconf.caches.store import Entry, OpenStore, StoredAnswer

__all__ = [
    "StoreUnusable",
    "line_of",
    "open_store",
    "plain",
    "read_line",
    "response_in",
    "summary",
    "texts_in",
]


class StoreUnusable(Error):
    """A store cannot be used, or does not hold what was asked for: the message says which."""


@contextmanager
def open_store(
    name: str | None, folder: str | None, *, make: bool = False
) -> Iterator[tuple[OpenStore | None, str]]:
    """Open the store of the LM `name`, or the one in `folder`, or this machine's default one.

    It comes with what messages call it, and is None where nothing was ever kept there, unless it
    is to `make` such a store.

    Raises:
        StoreUnusable: it cannot be used.
        UsageError: both are named, or the LM's answers end with its process.
        ProfileError: there is no such profile or LM, or it is not valid.
    """
    if name is not None and folder is not None:
        raise UsageError("NAME and --path each name a store: give one of them")
    if folder is not None and not make and not with_home(folder).exists():
        raise StoreUnusable(
            f"there is no folder {folder}: --path names the folder of a store on disk"
        )
    spec = _spec_of(name, folder)
    with warnings.catch_warnings(record=True) as records:
        warnings.simplefilter("always")
        store, label = _open(spec, make=make)
        try:
            yield store, label
        finally:
            if store is not None:
                store.close()
    troubles = [str(each.message) for each in records if _is_trouble(each)]
    if troubles:
        raise StoreUnusable(troubles[0].replace("; calls continue without it", ""))


def _is_trouble(message: warnings.WarningMessage) -> bool:
    from lmconf.caches import CacheWarning

    return issubclass(message.category, CacheWarning)


def _spec_of(name: str | None, folder: str | None) -> StoreSpec:
    from lmconf.caches.specs import DiskStore, MemoryStore

    if name is None:
        return DiskStore(path=folder)
    from lmconf.cli.select import choose

    selection = choose(name)
    store = selection.profile.lms[selection.lm].spec.cache.store
    assert not isinstance(store, str)
    if isinstance(store, MemoryStore):
        raise UsageError(
            f"the answers of {name} are in memory and are lost when their process ends"
        )
    return store


def _open(spec: StoreSpec, *, make: bool) -> tuple[OpenStore | None, str]:
    from lmconf.caches import default_folder, open_store
    from lmconf.caches.specs import DiskStore, RedisStore
    from lmconf.caches.write_behind import WriteBehindStore

    if isinstance(spec, DiskStore):
        from lmconf.caches.sqlite_file import FILE

        folder = with_home(spec.path or str(default_folder()))
        if folder.exists() and not folder.is_dir():
            raise StoreUnusable(
                f"{folder} is not a folder: give the folder that contains the store's file"
            )
        if not make and not (folder / FILE).exists():
            return None, str(folder)
        label = str(folder)
    else:
        label = (
            f"Redis, namespace {spec.namespace}" if isinstance(spec, RedisStore) else spec.backend
        )
    store = open_store(spec)
    if isinstance(store, WriteBehindStore):
        return store.store, label
    if not isinstance(store, OpenStore):
        raise UsageError(f"a store of the kind `{spec.backend}` does not show what it holds")
    return store, label


# --- answers as data ---


def plain(entry: StoredAnswer) -> dict[str, Any]:
    """Return what is known of an answer, without the answer, as data that json writes."""
    response = response_in(entry.value) or {}
    return {
        "key": entry.key,
        "model": response.get("model"),
        "created": entry.created,
        "used": entry.used,
        "expires": entry.expires,
        "size": len(entry.value),
        "words": _words(next(iter(texts_in(response)), "")),
    }


def texts_in(response: Mapping[str, Any]) -> list[str]:
    """Return the texts of a response; one that comes in parts is told as JSON."""
    from lmconf.runtime import texts_of

    texts: tuple[object, ...] = texts_of(response) if response else ()
    return [text if isinstance(text, str) else json.dumps(text) for text in texts]


def _words(text: str) -> str:
    """Return the first words of a text, on one line."""
    from lmconf.secrets.redaction import mask_key_shapes

    words = " ".join(mask_key_shapes(text).split())
    return words if len(words) <= 80 else f"{words[:79]}…"


def summary(entry: StoredAnswer, now: float) -> str:
    """Return the line of a list that tells of an answer."""
    facts = plain(entry)
    left = "for ever" if entry.expires is None else f"{format_duration(entry.expires - now)} left"
    return (
        f"{entry.key[:12]}  {_when(entry.created)}  {format_bytes(facts['size']):>9}  {left:<10}"
        f"  {fit(str(facts['model'] or '?')):<20}  {fit(facts['words'])}"
    )


def line_of(entry: StoredAnswer) -> str | None:
    """Return the line of an export: keys of credentials' shapes in an answer are masked.

    What no call would take for an answer has none.
    """
    from lmconf.secrets.redaction import mask_key_shapes, mask_texts

    response = mask_texts(response_in(entry.value), mask_key_shapes)
    if response is None:
        return None
    ttl = None if entry.expires is None else max(0.0, entry.expires - entry.created)
    line = {"key": entry.key, "created": entry.created, "ttl": ttl, "response": response}
    return msgspec.json.encode(line).decode()


def read_line(item: object) -> tuple[Entry | None, str]:
    """Return the answer that a line of an import says, or what is wrong with it."""
    from lmconf.caches.store import Entry

    if not isinstance(item, dict):
        return None, "it is not a JSON object"
    unknown = sorted(set(item) - {"key", "created", "ttl", "response"})
    missing = [name for name in ("key", "created", "ttl", "response") if name not in item]
    if unknown or missing:
        return None, f"it lacks `{missing[0]}`" if missing else f"unknown key `{fit(unknown[0])}`"
    key, created, ttl = item["key"], item["created"], item["ttl"]
    if not isinstance(key, str) or len(key) != 64 or not set(key) <= set("0123456789abcdef"):
        return None, "`key` is not 64 hexadecimal digits"
    if not _is_number(created):
        return None, "`created` is not a time in seconds since 1970"
    if ttl is not None and not _is_number(ttl):
        return None, "`ttl` is neither a number of seconds nor null"
    value = msgspec.json.encode(item["response"])
    if response_in(value) is None:
        return None, "`response` is not an answer with `choices` of messages or texts"
    return Entry(key, value, float(created), None if ttl is None else created + ttl), ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e11


def response_in(value: bytes) -> dict[str, Any] | None:
    """Return the response that `value` holds; None where a call would not take it for one."""
    from lmconf.errors import BadResponse
    from lmconf.runtime import read_stored
    from lmconf.transports.response_checks import check_response

    response = read_stored(value)
    if response is None:
        return None
    try:
        return check_response(response)
    except BadResponse:
        return None


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
