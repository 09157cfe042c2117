"""What holds for the registry of every room: how a kind is named, made, refused and forgotten."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import lmconf
from lmconf import caches, callbacks, launchers, trainers, transports
from lmconf.caches.specs import CustomStore
from lmconf.callbacks.specs import CustomCallback
from lmconf.errors import UsageError
from lmconf.launchers.specs import LAUNCHER_NAMES
from lmconf.loader import profile_folders
from lmconf.loader.discovery import find_packaged
from lmconf.system.registry import Registry
from lmconf.trainers.specs import TRAINER_NAMES
from lmconf.transports.specs import TransportSpec
from tests.installed import install
from tests.programs import run

CODE = '''
class Plugin:
    """Has what every room asks for."""

    def __init__(self, **arguments):
        self.arguments = arguments
        self.kept = {}

    def complete(self, request): return "Installed."
    def on_end(self, event): print("end")
    def start(self, spec, model, given=None, manner=None): return self
    def check(self, order): pass
    def advance(self, order, kept, keep, reach): pass
    def resume(self, order, kept): pass
    def cancel(self, order, kept, reach): pass
    def get(self, key): return self.kept.get(key)
    def put(self, key, value, *, ttl): self.kept[key] = value
    def close(self): pass
    def stats(self): return {"entries": len(self.kept), "bytes": 0}
    def clear(self): self.kept.clear()


NUMBER = 1
'''
PROFILE = "model: openai/gpt-4o-mini\n"


class Room(NamedTuple):
    """One room: its registry, its public functions, and how a profile names a kind in it."""

    registry: Registry[Any]
    register: Callable[[str, Any], object]
    unregister: Callable[[str], None]
    document: Callable[[str], dict[str, Any]]
    load: Callable[[str], object]
    built_in: str
    wrong: object
    """What has no method that the room asks for; None where anything will do."""


def _lm(**fields: object) -> dict[str, Any]:
    return {"model": "openai/gpt-4o-mini", **fields}


class Nothing:
    """Has no method that any room asks for."""


def _open_callback(name: str) -> object:
    made = callbacks.make(CustomCallback(use=name))
    assert isinstance(made, callbacks.Deferred)
    return made.open()


ROOMS = {
    "caches": Room(
        caches.REGISTRY,
        lmconf.register_cache,
        lmconf.unregister_cache,
        lambda name: _lm(cache={"store": {"backend": name, "args": {"size": 3}}}),
        lambda name: caches.open_store(CustomStore(backend=name)),
        "redis",
        Nothing,
    ),
    "callbacks": Room(
        callbacks.REGISTRY,
        lmconf.register_callback,
        lmconf.unregister_callback,
        lambda name: _lm(callbacks=[{"use": name, "args": {"size": 3}}]),
        _open_callback,
        "jsonl",
        None,
    ),
    "launchers": Room(
        launchers.REGISTRY,
        lmconf.register_launcher,
        lmconf.unregister_launcher,
        lambda name: _lm(launch_kwargs={"use": name, "args": {"size": 3}}),
        launchers.launcher,
        "vllm",
        Nothing,
    ),
    "trainers": Room(
        trainers.REGISTRY,
        lmconf.register_trainer,
        lmconf.unregister_trainer,
        lambda name: _lm(train_kwargs={"use": name, "args": {"size": 3}}),
        trainers.trainer,
        "local",
        Nothing,
    ),
    "transports": Room(
        transports.REGISTRY,
        lmconf.register_transport,
        lmconf.unregister_transport,
        lambda name: _lm(transport={"use": name, "args": {"size": 3}}),
        lambda name: transports.make(TransportSpec(use=name)),
        "litellm",
        Nothing,
    ),
}
REGISTRIES = {
    **{name: room.registry for name, room in ROOMS.items()},
    "profiles": profile_folders.REGISTRY,
}


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in REGISTRIES.values():
        monkeypatch.setattr(registry, "_registered", {})


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest) -> Room:
    return ROOMS[request.param]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("acme_lm", "acme_two"):
            del sys.modules[name]


def plugin() -> type:
    """Return the class of `CODE`, as a cell of a notebook defines it."""
    defined: dict[str, Any] = {"__name__": "__main__"}
    exec(CODE, defined)
    return defined["Plugin"]  # type: ignore[no-any-return]


# Registered in code


def test_a_registered_kind_is_accepted_wherever_a_built_in_one_is(room: Room) -> None:
    document = room.document("acme")
    with pytest.raises(lmconf.ProfileError, match=f"no {room.registry.kind} of the kind `acme`"):
        lmconf.load(document)
    room.register("acme", plugin())
    assert "acme" in room.registry.names()
    profile = lmconf.load(document)
    state = profile.lm.dump_state()
    again = lmconf.load_state(state)
    assert isinstance(again, lmconf.LM)
    assert again.dump_state() == state
    assert "acme" in str(state)
    with pytest.raises(lmconf.ProfileError, match="untrusted document may not"):
        lmconf.load(document, untrusted=True)
    room.unregister("acme")
    assert "acme" not in room.registry.names()
    room.unregister("acme")
    with pytest.raises(lmconf.ProfileError):
        lmconf.load(document)


def test_a_cell_that_runs_again_replaces_what_it_registered(room: Room) -> None:
    first, second = plugin(), plugin()
    room.register("acme", first)
    room.register("acme", second)
    assert room.registry.load("acme") is second
    with pytest.raises(UsageError, match=f"{room.registry.kind} is already registered as `acme`"):
        room.register("acme", type("Other", (second,), {}))
    assert room.registry.load("acme") is second


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a.b", "*", "-a", "1a"])
def test_what_is_no_name_is_refused(room: Room, name: str) -> None:
    with pytest.raises(UsageError, match="letters, digits, `_` and `-`"):
        room.register(name, plugin())


def test_a_built_in_kind_cannot_be_replaced(room: Room) -> None:
    with pytest.raises(UsageError, match=f"`{room.built_in}` is built-in"):
        room.register(room.built_in, plugin())


def test_what_can_make_nothing_is_refused_at_once(room: Room) -> None:
    with pytest.raises(UsageError, match="as a class or a function that makes it"):
        room.register("acme", plugin()())
    if room.wrong is not None:
        with pytest.raises(UsageError, match="Nothing has n"):
            room.register("acme", room.wrong)

        def make(**arguments: object) -> object:
            return Nothing()

        room.register("acme", make)
        with pytest.raises(UsageError, match="Nothing has n"):
            room.load("acme")


def test_arguments_that_do_not_fit_are_told_without_their_values(room: Room) -> None:
    def make(*, name: str) -> None: ...

    room.register("acme", make)
    with pytest.raises(UsageError, match=r"arguments of the \w+ `acme` do not fit: missing"):
        room.load("acme")


def test_a_misspelt_name_is_told_with_the_one_that_was_meant(room: Room) -> None:
    room.register("acmelike", plugin())
    with pytest.raises(lmconf.ProfileError) as refused:
        lmconf.load(room.document("acmelik"))
    (diagnostic,) = refused.value.diagnostics
    assert (diagnostic.code, diagnostic.label) == ("unknown-kind", "did you mean `acmelike`?")
    assert f"`lmconf.register_{room.registry.kind}`" in diagnostic.help
    with pytest.raises(lmconf.Error, match="did you mean `acmelike`"):
        room.load("acmelik")


# Brought by packages


def test_an_installed_kind_is_named_without_importing_it(room: Room, site: Path) -> None:
    install(
        site, "acme-lm", {room.registry.group: {"acme": "acme_lm:Plugin"}}, {"acme_lm.py": CODE}
    )
    lmconf.load(room.document("acme"))
    assert "acme" in [*room.registry.names()]
    assert "acme_lm" not in sys.modules
    assert room.load("acme") is not None
    assert "acme_lm" in sys.modules
    own = plugin()
    room.register("acme", own)
    assert room.registry.load("acme") is own


def test_an_installed_kind_cannot_stand_for_a_built_in_one(room: Room, site: Path) -> None:
    entries = {room.registry.group: {room.built_in: "acme_lm:Plugin"}}
    install(site, "acme-lm", entries, {"acme_lm.py": CODE})
    document = room.document(room.built_in)
    try:
        lmconf.load(document)
    except lmconf.ProfileError as error:  # the block lacks what the built-in kind needs
        assert all(found.code != "unknown-kind" for found in error.diagnostics)
    assert "acme_lm" not in sys.modules


def test_two_packages_with_one_name_are_told_with_both(room: Room, site: Path) -> None:
    for package, module in (("acme-lm", "acme_lm"), ("acme-two", "acme_two")):
        entries = {room.registry.group: {"acme": f"{module}:Plugin"}}
        install(site, package, entries, {f"{module}.py": CODE})
    lmconf.load(room.document("acme"))
    with pytest.raises(UsageError, match="several installed packages bring") as raised:
        room.load("acme")
    assert "acme-lm (`acme_lm:Plugin`), acme-two (`acme_two:Plugin`)" in str(raised.value)


@pytest.mark.parametrize(
    ("value", "code", "reason"),
    [
        ("acme_lm:Gone", CODE, "AttributeError: module 'acme_lm' has no attribute 'Gone'"),
        ("acme_lm:Plugin", "import acme_none", "ModuleNotFoundError: No module named 'acme_none'"),
        ("acme_lm:Plugin", "raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
        ("acme_lm:Plugin", "def (", "SyntaxError"),
        ("acme_lm:NUMBER", CODE, "TypeError: it is neither a class nor a function"),
        ("acme_lm", CODE, "TypeError: it is neither a class nor a function"),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_told_with_its_package_and_the_reason(
    room: Room, site: Path, value: str, code: str, reason: str
) -> None:
    install(site, "acme-lm", {room.registry.group: {"acme": value}}, {"acme_lm.py": code})
    with pytest.raises(UsageError) as raised:
        room.load("acme")
    assert str(raised.value).startswith(
        f"the {room.registry.kind} `acme` of the package acme-lm cannot be imported from"
        f" `{value}`: {reason}"
    )


def test_a_plug_in_that_is_of_another_kind_is_refused(room: Room, site: Path) -> None:
    if room.wrong is None:
        pytest.skip("anything may be a callback; its dispatcher checks it")
    entries = {room.registry.group: {"acme": "acme_lm:Plugin"}}
    install(site, "acme-lm", entries, {"acme_lm.py": "class Plugin: ..."})
    with pytest.raises(UsageError, match="Plugin has n"):
        room.load("acme")


def test_nothing_is_listed_for_kinds_that_come_with_lmconf() -> None:
    """A process of its own: nothing was imported or listed before."""
    documents = {
        "server": "{model: openai/a, provider: vllm, launch_kwargs: {port: 7501}}",
        "trained": "{model: openai/a, provider: openai, train_kwargs: {n_epochs: 3}}",
        "kept": "{model: openai/a, cache: {store: {backend: memory}}, callbacks: [{use: log}]}",
    }
    program = f"""
import importlib.metadata
import lmconf

def never(**criteria):
    raise AssertionError("entry points were listed")

importlib.metadata.entry_points = never
lmconf.load({{"model": "openai/gpt-4o-mini", "transport": "litellm"}}).lm
for text in {[*documents.values()]!r}:
    import yaml
    lmconf.load(yaml.safe_load(text)).lm
print("done")
"""
    ran = run(program)
    assert (ran.stdout.strip(), ran.stderr) == ("done", "")


def test_every_registry_has_the_names_of_its_room() -> None:
    assert {registry.group for registry in REGISTRIES.values()} == {
        f"lmconf.{name}" for name in REGISTRIES
    }
    assert set(caches.REGISTRY.built_in) == set(caches.KINDS)
    assert set(launchers.REGISTRY.built_in) == set(LAUNCHER_NAMES)
    assert set(trainers.REGISTRY.built_in) == set(TRAINER_NAMES)
    for registry in REGISTRIES.values():
        assert callable(getattr(lmconf, f"register_{registry.kind}"))
        assert callable(getattr(lmconf, f"unregister_{registry.kind}"))


# Stores of one's own


def test_answers_are_kept_in_a_store_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    own = plugin()

    def make(**arguments: object) -> object:
        made.append(own(**arguments))
        return made[-1]

    lmconf.register_cache("acme", make)
    monkeypatch.setenv("ACME_KEY", "sk-acme-123456")
    arguments = {"api_key": {"$env": "ACME_KEY"}, "sizes": [{"$env": "SIZE", "type": "int"}]}
    monkeypatch.setenv("SIZE", "7")
    from lmconf.testing import fake

    store_spec = {"backend": "acme", "args": arguments}
    document = _lm(cache={"mode": "read_write", "store": store_spec}, cache_in_memory=False)
    with fake("Hello.") as server:
        lm = lmconf.load(document, overrides=server.overrides).lm.copy(
            cache=document["cache"], cache_in_memory=False
        )
        assert [lm("hi"), lm("hi")] == [["Hello."], ["Hello."]]
        assert len(server.requests) == 1
    (store,) = made
    assert store.arguments == {"api_key": "sk-acme-123456", "sizes": [7]}
    assert len(store.kept) == 1
    assert "sk-acme" not in str(lm.dump_state())


def test_what_is_spent_is_not_kept_in_a_store_of_ones_own() -> None:
    lmconf.register_cache("acme", plugin())
    with pytest.raises(lmconf.ProfileError, match="cannot keep what is spent"):
        lmconf.load(_lm(budget={"tokens": 5, "store": {"backend": "acme"}}))


# Profiles of packages


@pytest.mark.parametrize("value", ["acme_lm:profiles", "acme_lm.profiles"])
def test_a_package_brings_profiles_and_is_not_imported(site: Path, value: str) -> None:
    files = {"acme_lm/__init__.py": "raise RuntimeError", "acme_lm/profiles/support.yaml": PROFILE}
    install(site, "acme-lm", {"lmconf.profiles": {"acme": value}}, files)
    assert lmconf.load("acme/support").lm.model == "openai/gpt-4o-mini"
    assert lmconf.lm("acme/support").model == "openai/gpt-4o-mini"
    ((found,), failures) = find_packaged()
    assert (found.name, found.place, failures) == ("acme/support", "acme-lm", [])
    assert "acme_lm" not in sys.modules
    with pytest.raises(lmconf.ProfileError, match="has no profile `suport`") as refused:
        lmconf.load("acme/suport")
    assert refused.value.diagnostics[0].help == "did you mean `acme/support`?"


def test_a_profile_may_extend_that_of_a_package(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"acme_lm/__init__.py": "", "acme_lm/base.yaml": PROFILE + "temperature: 0.5\n"}
    install(site, "acme-lm", {"lmconf.profiles": {"acme": "acme_lm"}}, files)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (work / "own.yaml").write_text("extends: acme/base\nmax_tokens: 7\n")
    spec = lmconf.load("own.yaml").lm.spec
    assert (spec.temperature, spec.max_tokens) == (0.5, 7)
    with pytest.raises(lmconf.ProfileError, match=r"untrusted|outside"):
        lmconf.load("own.yaml", untrusted=True)


def test_a_folder_of_profiles_is_registered_and_forgotten(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "support.yaml").write_text(PROFILE)
    lmconf.register_profile("acme", tmp_path / "one")
    lmconf.register_profile("acme", tmp_path / "one")
    assert lmconf.load("acme/support").lm.model == "openai/gpt-4o-mini"
    ((found,), _) = find_packaged()
    assert (found.name, found.place) == ("acme/support", "registered")
    with pytest.raises(UsageError, match="a profile is already registered as `acme`"):
        lmconf.register_profile("acme", tmp_path / "two")
    with pytest.raises(UsageError, match="letters, digits"):
        lmconf.register_profile("a/b", tmp_path / "two")
    with pytest.raises(UsageError, match="have no folder"):
        lmconf.register_profile("other", tmp_path / "three")
    lmconf.unregister_profile("acme")
    with pytest.raises(lmconf.ProfileError, match="there is no file"):
        lmconf.load("acme/support")


def test_profiles_that_cannot_be_found_are_told_with_their_package(site: Path) -> None:
    for package in ("acme-lm", "acme-two"):
        name = package.replace("-", "_")
        entries = {"broken": f"{name}:gone", name: f"{name}:gone"}
        install(site, package, {"lmconf.profiles": entries}, {f"{name}/__init__.py": ""})
    with pytest.raises(UsageError, match="several installed packages bring a profile `broken`"):
        lmconf.load("broken/x")
    with pytest.raises(
        UsageError, match="profile `acme_lm` of the package acme-lm cannot be imported from"
    ):
        lmconf.load("acme_lm/x")
    found, failures = find_packaged()
    assert (found, len(failures)) == ([], 3)
