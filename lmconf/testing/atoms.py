"""Texts, JSON values and references that are easily mistaken for something else."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from lmconf.secrets.references import Env, File, Given, Public
from lmconf.secrets.secret_names import is_secret_name

__all__ = ["json_maps", "json_values", "keys", "numbers", "references", "texts", "whole_numbers"]

_NASTY = (
    "off yes no on y N true FALSE null ~ << = - ? : # & * ! | > % @ ` [ ] { } , . ... --- 1 017 "
    "0o17 0x1F 1_000 +5 1e3 1e-3 .5 5. .inf -.INF .nan 12:30 1:59:59 2024-10-21 7d 2GiB 20s a:b "
    'don\'t "q" \\n {{ }} {{x}} {%x%} {#x#} $env $value $append $unset ${HOME} ~/.cache !!str ë'
).split()
_PIECES = [
    *_NASTY,
    *" \t\n\r\x85\xa0\u2028\ufeff😀",
    "{{ vars.tier }}",
    "a {{ 'b' }} c",
    " #",
    ": ",
    "line\nline\n",
    "x" * 120,
]


@functools.cache
def texts(*, empty: bool = False) -> st.SearchStrategy[str]:
    """Return texts that YAML, a template or a dollar word could be mistaken for."""
    strategy = st.one_of(
        st.sampled_from(_PIECES),
        st.lists(st.sampled_from(_PIECES), min_size=1, max_size=4).map("".join),
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    )
    return st.one_of(st.just(""), strategy) if empty else strategy


@functools.cache
def whole_numbers(low: int | None = None, high: int | None = None) -> st.SearchStrategy[int]:
    """Return whole numbers that a document can hold, within bounds."""
    return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)


@functools.cache
def numbers(low: float | None = None, high: float | None = None) -> st.SearchStrategy[float]:
    """Return finite numbers within bounds."""
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


@functools.cache
def keys(*, dollars: bool = True) -> st.SearchStrategy[str]:
    """Return keys that are no secret's name; those that look like dollar words with `dollars`."""
    words = ["$env", "$value", "$evn", "$ref", "default", "$append"] if dollars else ["a", "top_k"]
    strategy = st.one_of(st.sampled_from([*words, "off", "1", "max_tokens"]), texts(empty=True))
    return strategy.filter(lambda key: not is_secret_name(key) and (dollars or "$" not in key))


_atoms = st.one_of(st.none(), st.booleans(), whole_numbers(), numbers(), texts(empty=True))


@functools.cache
def _plain() -> st.SearchStrategy[Any]:
    return st.recursive(
        _atoms,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(keys(), inner, max_size=3)
        ),
        max_leaves=6,
    )


@functools.cache
def json_values() -> st.SearchStrategy[Any]:
    """Return JSON values in which text stands under no secret's name; references among them."""
    return st.one_of(_plain(), st.lists(references(), max_size=2), json_maps())


@functools.cache
def json_maps() -> st.SearchStrategy[dict[str, Any]]:
    """Return JSON mappings: with keys of any kind, or with references under names of secrets."""
    secret = st.sampled_from(["api_key", "clientSecret", "X-Api-Key", "hf_token"])
    return st.one_of(
        st.dictionaries(keys(), _plain(), max_size=3),
        st.builds(
            lambda plain, secrets: {**plain, **secrets},
            st.dictionaries(keys(dollars=False), _plain(), max_size=2),
            st.dictionaries(secret, references(secret=True), max_size=2),
        ),
    )


_VARIABLES = st.sampled_from(["OPENAI_API_KEY", "LMCONF_TEST_SECRET", "TEAM", "_x1"])


def _bare_environment() -> st.SearchStrategy[Env]:
    return st.one_of(
        st.builds(Env, name=_VARIABLES),
        st.builds(Env, name=_VARIABLES, format=st.sampled_from(["Bearer {}", "{}", "a: {} #"])),
        st.builds(Env, name=st.just("OPENAI_API_KEY"), default=st.just("")),
    )


def _environment() -> st.SearchStrategy[Env]:
    plain = st.sampled_from(["TEAM", "_x1", "AWS_REGION_NAME"])
    default = texts(empty=True).filter(lambda text: "{{" not in text)
    return st.one_of(
        _bare_environment(),
        st.builds(Env, name=plain, default=default),
        st.builds(Env, name=plain, type=st.just("int"), default=whole_numbers()),
        st.builds(Env, name=plain, type=st.just("float"), default=numbers()),
        st.builds(Env, name=plain, type=st.just("bool"), default=st.booleans()),
    )


@functools.cache
def references(*, secret: bool = False) -> st.SearchStrategy[Env | File | Given | Public]:
    """Return references of every kind, as a document may spell them.

    With `secret`, those that may stand in a secret's place: without a default.
    """
    folder = st.sampled_from(["/run/secrets/key", "~/key", "/a b/ë"])
    return st.one_of(
        _bare_environment() if secret else _environment(),
        st.builds(File, path=folder, format=st.sampled_from([None, "Bearer {}"])),
        st.builds(Given, name=st.sampled_from(["api_key", "headers.X-Api-Key"])),
        st.builds(Public, st.one_of(texts(empty=True), whole_numbers(), st.none(), st.booleans())),
    )
