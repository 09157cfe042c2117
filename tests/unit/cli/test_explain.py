"""`lmconf explain`: the codes of diagnostics."""

from __future__ import annotations

from lmconf.diagnostics.codes import all_codes
from tests.unit.cli.running import Lmconf


def test_a_code_is_explained_with_its_example_and_its_fix(lmconf: Lmconf) -> None:
    ran = lmconf("explain", "unknown-key")
    assert ran.code == 0
    assert ran.out.startswith("unknown-key: A key is not known here\n")
    assert "    temprature: 0.7\n" in ran.out
    assert "\nFix: Correct the name" in ran.out
    live = lmconf("explain", "is-there").out
    assert "Raised when `lmconf init` runs in a folder" in live
    assert "Example:" not in live


def test_without_a_code_all_are_listed(lmconf: Lmconf) -> None:
    out = lmconf("explain").out
    names = [code.name for codes in all_codes().values() for code in codes]
    assert [name for name in names if f"\n  {name} " not in out] == []
    assert out.startswith("Reading\n  yaml-syntax ")


def test_codes_are_written_as_json(lmconf: Lmconf) -> None:
    one = lmconf("explain", "unknown-key", "--json").json
    assert set(one) == {"name", "title", "explanation", "fix", "example", "when"}
    every = lmconf("explain", "--format", "json").json
    assert one in every
    assert len(every) == sum(map(len, all_codes().values()))


def test_a_misspelt_code_is_answered_with_the_nearest(lmconf: Lmconf) -> None:
    ran = lmconf("explain", "unknown-kye")
    assert (ran.code, ran.out) == (2, "")
    assert "There is no code `unknown-kye`. Did you mean `unknown-key`?" in ran.err
    assert "`lmconf explain` lists all codes." in lmconf("explain", "zzz").err
