"""Law 9: no credential leaves for an origin that the profile does not pair with it.

What is right is worked out here anew, without nodes and places: a key belongs to the address that
the block which states it has, as of the document that states it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import CompileResult, compile_documents
from lmconf.diagnostics.model import Diagnostic
from lmconf.diagnostics.render import to_text
from lmconf.document.overrides import from_mapping
from lmconf.document.yaml.reader import read_document
from lmconf.document.yaml.writer import write
from lmconf.errors import ProfileError
from lmconf.secrets.references import Env
from lmconf.spec.build import change_lm, make_from_stated
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.state import dump_lm

Block = Mapping[str, Any]
Document = dict[str, Any]
UNSET = {"$unset": True}
OWN = "https://api.openai.com/v1"
BASES: tuple[Any, ...] = (
    "https://a.example/v1",
    "https://A.example:443/v2",
    "https://a.example:444/v1",
    "http://a.example/v1",
    "https://b.example/v1",
    OWN,
    "https://{{ vars.host }}.example/v1",
    {"$env": "BASE"},
    {"$env": "OTHER_BASE"},
    UNSET,
)
LMS = ("one", "two", "_three")
HOST = "a"


def origin_of(base: object) -> object:
    """What an address stands for: its origin, or the variable that holds it."""
    if base is None or base == UNSET:
        return origin_of(OWN)
    if not isinstance(base, str):
        return str(base)
    parts = urlsplit(base.replace("{{ vars.host }}", HOST))
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return parts.scheme, parts.hostname, port


# What is right


def chain(name: str, document: Document) -> list[str]:
    """The blocks of an LM, the lowest first: every parent before its children, each once."""
    found: list[str] = []

    def visit(each: str) -> None:
        for parent in document["lms"].get(each, {}).get("extends", ()):
            visit(parent)
        if each not in found:
            found.append(each)

    visit(name)
    return found


def folded(documents: Sequence[Document]) -> Document:
    lms: dict[str, Any] = {}
    for document in documents:
        for name, block in document.get("lms", {}).items():
            lms[name] = {**lms.get(name, {}), **block}
    defaults = [document.get("defaults", {}) for document in documents]
    return {"defaults": dict(itertools.chain(*(each.items() for each in defaults))), "lms": lms}


def effective(name: str, document: Document) -> Block:
    """What a block says in all; `defaults` is one, too."""
    blocks = [document["defaults"]]
    if name != "defaults":
        blocks += [document["lms"].get(each, {}) for each in chain(name, document)]
    return dict(itertools.chain(*(block.items() for block in blocks)))


def pairs(documents: Sequence[Document]) -> dict[str, object]:
    """The origin that each key belongs to, by the variable that it is."""
    found: dict[str, object] = {}
    for place, document in enumerate(documents):
        blocks = {"defaults": document.get("defaults", {}), **document.get("lms", {})}
        for name, block in blocks.items():
            if variables := named_in(block):
                said = effective(name, folded(documents[: place + 1]))
                found |= dict.fromkeys(variables, origin_of(said.get("api_base")))
    return found


def named_in(block: Block) -> list[str]:
    """The variables of a block's credentials."""
    values = (block.get("api_key"), *block.get("headers", {}).values())
    nested = block.get("extra", {}).get("login", {}).values()
    return [
        value["$env"] for value in (*values, *nested) if isinstance(value, dict) and "$env" in value
    ]


def strays(documents: Sequence[Document]) -> set[str]:
    """The LMs that would send a credential elsewhere than where it belongs."""
    paired, whole = pairs(documents), folded(documents)
    found = set()
    for name in whole["lms"]:
        said = effective(name, whole)
        there = origin_of(said.get("api_base"))
        if not name.startswith("_") and any(paired[each] != there for each in named_in(said)):
            found.add(name)
    return found


# What is drawn


def numbered(document: Any, prefix: str) -> Any:
    """Give each credential of a document a variable of its own."""
    numbers = itertools.count()

    def visit(node: Any) -> Any:
        if node == "KEY":
            return {"$env": f"{prefix}_KEY_{next(numbers)}"}
        if isinstance(node, dict):
            return {key: visit(value) for key, value in node.items()}
        return [visit(item) for item in node] if isinstance(node, list) else node

    return visit(document)


def blocks(name: str, *, extends: bool) -> st.SearchStrategy[dict[str, Any]]:
    optional: dict[str, st.SearchStrategy[Any]] = {
        "api_base": st.sampled_from(BASES),
        "api_key": st.sampled_from(["KEY", "KEY", "", UNSET]),
        "max_tokens": st.just(10),
    }
    if name != "defaults":
        # Headers and bodies merge over what is below, so that they are stated in one place only.
        optional["model"] = st.just("openai/other")
    if extends:
        parents = [each for each in LMS if each > name or each.startswith("_")]
        parents = [each for each in parents if each != name]
        optional["extends"] = st.lists(st.sampled_from(parents), unique=True, max_size=2)
    return st.fixed_dictionaries({}, optional=optional)


@st.composite
def layers(draw: st.DrawFn) -> list[Document]:
    """Documents of which each is laid over the one before, and overrides at the end."""
    many = draw(st.integers(1, 3))
    found = []
    for place in range(many):
        lms = {
            name: draw(blocks(name, extends=(place == 0 and name == "one") or name == "two"))
            for name in draw(st.lists(st.sampled_from(LMS), unique=True, min_size=1))
        }
        document: dict[str, Any] = {"lms": lms}
        if draw(st.booleans()):
            document["defaults"] = draw(blocks("defaults", extends=False))
        found.append(numbered(document, f"L{place}"))
    for name in LMS:
        found[0]["lms"].setdefault(name, {})
        found[0]["lms"][name] = {"model": "openai/x", "allow_http": True, **found[0]["lms"][name]}
    secrets = draw(st.sampled_from(["headers", "login", None]))
    if secrets is not None:
        where = draw(st.sampled_from(["defaults", *LMS]))
        holder = found[0].setdefault("defaults", {}) if where == "defaults" else None
        holder = found[0]["lms"][where] if holder is None else holder
        holder |= {
            "headers": {"headers": {"X-Team": {"$env": "TEAM"}, "X-Plain": "plain"}},
            "login": {"extra": {"login": {"token": {"$env": "TEAM"}}, "top_k": 4}},
        }[secrets]
    return found


def read_all(documents: Sequence[Document], *, overridden: bool) -> CompileResult:
    found: list[Diagnostic] = []
    assignments = tuple(from_mapping(documents[-1], found)) if overridden else ()
    files = [*documents[:-1]] if overridden else [*documents]
    if "lms" in files[0]:
        files[0] = {"vars": {"host": HOST}, **files[0]}
    texts = [
        read_document(write(file), f"{place}.yaml", path=f"/srv/{place}.yaml")
        for place, file in enumerate(files)
    ]
    return compile_documents(texts, CompilerInputs(name="drawn", assignments=assignments))


def sent(compiled: CompiledLM) -> tuple[list[str], object]:
    """The variables of what an LM sends as credentials, and where it sends them."""
    spec = compiled.spec
    login = spec.extra.get("login", {})
    values = (spec.api_key, *spec.headers.values(), *login.values())
    base = spec.api_base
    return (
        [value.name for value in values if isinstance(value, Env)],
        origin_of(base if base is None or isinstance(base, str) else dict(base.written())),
    )


def codes(outcome: CompileResult) -> set[str]:
    return {each.code for each in outcome.diagnostics if each.severity == "error"}


@given(layers(), st.booleans())
def test_a_credential_stays_at_the_origin_beside_which_it_was_stated(
    documents: list[Document], overridden: bool
) -> None:
    outcome = read_all(documents, overridden=overridden and len(documents) > 1)
    wrong = strays(documents)
    said = codes(outcome)
    # A key that was unset beside an address of the profile's own is asked for.
    assert said <= {"credential-crosses", "no-credential"}, to_text(outcome.diagnostics)
    assert ("credential-crosses" in said) is bool(wrong), (wrong, to_text(outcome.diagnostics))
    event("refused" if wrong else "right")
    if outcome.profile is None:
        return
    paired = {**pairs(documents), "OPENAI_API_KEY": origin_of(OWN)}
    for compiled in outcome.profile.lms.values():
        variables, origin = sent(compiled)
        assert all(paired[each] == origin for each in variables)
        # A state has each key beside its address, so that it is right by itself.
        again = read_all([dump_lm(compiled)], overridden=False).profile
        assert again is not None
        assert again.lms["main"].spec == compiled.spec


@given(
    st.sampled_from([None, *BASES[:-4], {"$env": "BASE"}]),
    st.sampled_from(["KEY", ""]),
    st.fixed_dictionaries(
        {},
        optional={
            "api_base": st.sampled_from([None, *BASES[:-4], *BASES[-3:]]),
            "api_key": st.sampled_from([{"$env": "OTHER"}, ""]),
            "max_tokens": st.just(10),
            "model": st.just("openai/y"),
        },
    ),
)
def test_a_copy_sends_a_key_where_it_was_stated_for(
    base: Any, key: str, settings: dict[str, Any]
) -> None:
    said = {"model": "openai/x", "allow_http": True, "api_key": key and {"$env": "KEY"}}
    compiled = make_from_stated(said if base is None else {**said, "api_base": base})
    # None leaves the address out, as `$unset` does.
    there = origin_of(settings.get("api_base", base))
    if key and "api_key" not in settings and there != origin_of(base):
        with pytest.raises(ProfileError, match="credential-crosses") as caught:
            change_lm(compiled, settings)
        assert "beside the new address" in str(caught.value)
    else:
        changed = change_lm(compiled, settings)
        assert sent(changed)[1] == there
