"""A field is declared once: what follows from that is done without a further list to add it to.

docs/contributing/field.md is walked: two fields are declared in a copy of the package, and nothing
else in it changes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

DECLARATIONS = """\
    zest: Annotated[
        float | None,
        setting(nullable(Number(0, 1)), "How lively answers are.", on_fallback="require"),
    ] = None
    pace: Annotated[float | None, operations(Number(0), "Something of which nothing is said.")] = (
        None
    )
"""

PROGRAM = """
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import find

import lmconf
import lmconf.testing
from lmconf.errors import ProfileError, UsageError
from lmconf.runtime.identity import identity_digest, identity_facts
from lmconf.runtime.layers.fallback import _ESSENTIAL
from lmconf.runtime.request import kwargs_of
from lmconf.spec.document_schemas import authored_schema, resolved_schema
from lmconf.spec.lm import LM
from lmconf.testing.one_lm import lm_data
from tools.generate_keywords import keywords_module
from tools.generate_reference import reference, untrusted_fields


def identity_of(lm):
    return identity_digest(lm.spec, identity_facts(lm.spec, lm._compiled))


# What a person reads, in an editor, in the docs and in code
for schema in (authored_schema(), resolved_schema()):
    declared = schema["$defs"]["SoleLMSpec"]["properties"]
    assert declared["zest"]["description"].startswith("How lively answers are.")
    assert declared["zest"]["x-lmconf-class"] == "identity"
assert "| `zest` | " in reference() and "| `pace` | " in reference()
of_calls, of_lms = keywords_module().split("class LMSettings")
assert "    zest: float | None" in of_calls and "    pace: float | None" in of_lms

# Checks, quick and thorough
assert LM.quick_check({"model": "openai/tiny", "zest": 0.5})
assert not LM.quick_check({"model": "openai/tiny", "zest": 2})
for wrong, message in [({"zest": 2}, "zest"), ({"zst": 0.5}, "did you mean `zest`")]:
    with pytest.raises(ProfileError, match=message):
        lmconf.LM("openai/tiny", **wrong)

# Calls: the wire, keywords, keys, digests, dumps
with lmconf.testing.fake("ok") as fake:
    lm = fake.lm(zest=0.5)
    lm("hi")
    lm("hi", zest=0.7)
    assert [asked.settings["zest"] for asked in fake.requests] == [0.5, 0.7]
    with pytest.raises(UsageError, match="`pace` belongs to the LM"):
        lm("hi", pace=1)
    assert identity_of(lm.copy(zest=0.6)) != identity_of(lm) == identity_of(lm.copy(pace=1))
    assert kwargs_of(lm.spec)["zest"] == 0.5
    state = lm.dump_state()
    assert state["zest"] == 0.5 and lmconf.load_state(state).spec == lm.spec
    assert lm.dump_state("dspy")["zest"] == 0.5
    jsonschema.validate(state, resolved_schema())
assert "zest" in _ESSENTIAL
assert find(lm_data(), lambda data: data.get("zest") is not None)

# Trust: what is said to be allowed, and nothing of which nothing is said
assert "`zest`" in untrusted_fields() and "`pace`" not in untrusted_fields()
page = Path(sys.argv[1])
page.write_text("model: openai/tiny\\nzest: 0.5\\n")
assert lmconf.load(page, untrusted=True).lm.spec.zest == 0.5
page.write_text("model: openai/tiny\\npace: 0.5\\n")
assert lmconf.load(page).lm.spec.pace == 0.5
with pytest.raises(ProfileError, match="may not state `pace`"):
    lmconf.load(page, untrusted=True)
"""


def test_a_field_that_is_declared_is_known_everywhere(tmp_path: Path) -> None:
    copy = tmp_path / "lmconf"
    shutil.copytree(ROOT / "lmconf", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    module = copy / "spec/generation_fields.py"
    text, count = re.subn(
        r"^    seed: ",
        lambda found: DECLARATIONS + found[0],
        module.read_text(),
        flags=re.MULTILINE,
    )
    assert count == 1
    module.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "page.yaml")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
