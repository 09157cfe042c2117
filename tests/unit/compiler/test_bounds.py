"""Short documents that would come to very much are refused at once; large ones still load."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

import lmconf
from lmconf.errors import ProfileError

MOST_SECONDS = 5  # of CPU; unbounded, each of these took 6 s to minutes


def _each(count: int, body: str = "{}") -> str:
    return "lms:\n" + "\n".join(f"  l{i}: {body.replace('#', str(i))}" for i in range(count))


def _listed(text: str, count: int) -> str:
    return ", ".join(text.replace("#", str(i)) for i in range(count))


def _aliases(leaf: str, around: str, use: str) -> str:
    lines = [f"x-a: &a {leaf}"]
    for below, name in zip("abc", "bcd", strict=True):
        lines.append(f"x-{name}: &{name} " + around.replace("#", _listed(f"*{below}", 10)))
    return "\n".join([*lines, use])


TOO_LARGE: dict[str, str] = {
    "aliases of lists in defaults": _aliases(
        "[1, 2, 3]", "[#]", f"defaults: {{model: openai/x, extra: {{y: *d}}}}\n{_each(60)}"
    ),
    "aliases in a parent": _aliases(
        "[1, 2, 3]",
        "[#]",
        f"{_each(60, '{extends: _p}')}\n  _p: {{model: openai/x, extra: {{y: *d}}}}",
    ),
    "aliases in what is stated verbatim": _aliases(
        "[1, 2, 3]",
        "[#]",
        f"defaults: {{model: openai/x, extra: {{y: {{$value: *d}}}}}}\n{_each(60)}",
    ),
    "tools": "defaults: {model: openai/x, tools: ["
    + _listed("{type: function, function: {name: f#}}", 100)
    + f"]}}\n{_each(1500)}",
    "headers": "defaults: {model: openai/x, headers: {"
    + _listed("h#: {$env: A#}", 400)
    + f"}}}}\n{_each(400)}",
    "lists that grow": "lms:\n  l0: {model: openai/x, stop: [a]}\n"
    + "\n".join(f"  l{i}: {{extends: l{i - 1}, stop: {{$append: [b]}}}}" for i in range(1, 600)),
    "a very long chain": "lms:\n  l0: {model: openai/x}\n"
    + "\n".join(f"  l{i}: {{extends: l{i - 1}}}" for i in range(1, 3000)),
    "keys of many in each": "defaults: {model: openai/x, extra: {"
    + _listed("k#: 1", 1000)
    + f"}}}}\n{_each(10_000, '{n: 1}')}",
    "fallbacks": f"defaults: {{model: openai/x, fallbacks: [{_listed('l#', 400)}]}}\n{_each(400)}",
    "fallbacks in place": "defaults: {model: openai/x, fallbacks: ["
    + _listed("{model: openai/y}", 300)
    + f"]}}\n{_each(300)}",
}


@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize("what", TOO_LARGE)
def test_what_comes_to_too_much_is_refused_once(tmp_path: Path, what: str, untrusted: bool) -> None:
    error = _refused(tmp_path, TOO_LARGE[what], untrusted=untrusted)
    if untrusted and {said.code for said in error.diagnostics} == {"untrusted"}:
        return  # it is not composed at all
    (said,) = error.diagnostics
    assert said.code == "too-large"
    assert said.mark is not None
    assert said.mark.line
    assert said.help


MANY: dict[str, str] = {
    "unknown keys of one LM": "model: openai/x\n" + "\n".join(f"k{i}: 1" for i in range(30_000)),
    "unknown keys of defaults": "defaults: {model: openai/x, "
    + _listed("k#: 1", 150)
    + f"}}\n{_each(200)}",
    "wrong values": _each(3000, "{model: openai/x, temperature: a, max_tokens: b, top_p: c}"),
    "unknown providers": _each(3000, "{model: nope/x}"),
    "unknown fallbacks": _each(2000, "{model: openai/x, fallbacks: [u#, z#]}"),
    "inherited unknown fallbacks": "defaults: {model: openai/x, fallbacks: ["
    + _listed("u#", 200)
    + f"]}}\n{_each(200)}",
    "unknown parents": _each(3000, "{extends: u#}"),
    "unknown variables": f"model: openai/x\nstop: [{_listed(chr(34) + '{{ vars.a# }}' + chr(34), 3000)}]",
    "unknown LMs in place": f"model: openai/x\nfallbacks: [{_listed('z#', 3000)}]",
    "names of many letters": f"main: {'a' * 20_000}b\nlms: {{{'a' * 20_000}: {{model: openai/x}}}}",
}


@pytest.mark.parametrize("what", MANY)
def test_very_many_mistakes_are_not_all_looked_for(tmp_path: Path, what: str) -> None:
    error = _refused(tmp_path, MANY[what])
    *told, last = error.diagnostics
    assert len(told) <= 200
    if what != "names of many letters":
        assert last.code == "too-many-mistakes"
        assert all(said.severity == "error" and said.code != last.code for said in told)


def _refused(folder: Path, text: str, *, untrusted: bool = False) -> ProfileError:
    path = folder / "lmconf.yaml"
    path.write_text(text)
    errors: list[ProfileError] = []

    def load() -> None:
        with pytest.raises(ProfileError) as caught:
            lmconf.load(path, untrusted=untrusted)
        assert str(caught.value)
        errors.append(caught.value)

    assert _seconds(load) < MOST_SECONDS
    return errors[0]


def _seconds(do: Callable[[], object]) -> float:
    begun = time.process_time()
    do()
    return time.process_time() - begun


@pytest.mark.filterwarnings("ignore::lmconf.ProfileWarning")
def test_large_profiles_load(tmp_path: Path) -> None:
    path = tmp_path / "lmconf.yaml"
    path.write_text(
        "defaults:\n  temperature: 0.1\n  api_key: {$env: KEY}\n  cache: {ttl: 7d}\n"
        "  retry: {initial: 0.5s, max: 10s, jitter: full}\n  timeout: {connect: 5s, total: 1min}\n"
        "  tools: [{type: function, function: {name: f, parameters: {type: object}}}]\n"
        + _each(1000, "{model: openai/gpt-4o-mini, max_tokens: 100}")
    )
    assert len(list(lmconf.load(path))) == 1000


@pytest.mark.filterwarnings("ignore::lmconf.ProfileWarning")
def test_circles_of_very_many_fallbacks_cost_little(tmp_path: Path) -> None:
    path = tmp_path / "lmconf.yaml"
    lms = [f"  l{i}: {{model: openai/x, fallbacks: [l{(i + 1) % 2000}]}}" for i in range(2000)]
    path.write_text("\n".join(["lms:", *lms]))
    assert _seconds(lambda: lmconf.load(path)) < MOST_SECONDS


def test_warnings_end_no_search(tmp_path: Path) -> None:
    path = tmp_path / "lmconf.yaml"
    pairs = [
        f"  {name}{i}: {{model: openai/x, fallbacks: [{other}{i}]}}"
        for i in range(300)
        for name, other in ("ab", "ba")
    ]
    path.write_text("\n".join(["lms:", *pairs]))
    with pytest.warns(lmconf.ProfileWarning, match="300 warnings"):
        assert len(list(lmconf.load(path))) == 600
