"""The package that the page about plug-ins shows is one: installed as shown, it does what is said."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from lmconf.caches import REGISTRY as CACHES
from lmconf.callbacks import REGISTRY as CALLBACKS
from lmconf.launchers import REGISTRY as LAUNCHERS
from lmconf.loader.profile_folders import REGISTRY as PROFILES
from lmconf.trainers import REGISTRY as TRAINERS
from lmconf.transports import REGISTRY as TRANSPORTS
from tests.installed import install
from tests.pages import with_assertions
from tests.programs import run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGE = (Path(__file__).parents[2] / "docs/plugins.md").read_text(encoding="utf-8")

USE = """
import acme_lm
assert acme_lm.Counter.ended == 1, acme_lm.Counter.ended
row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
assert lm.finetune([row]).result(30).model.endswith("acme-v2")
with lmconf.lm("acme/support:served") as served:
    assert served.launch().api_base == "http://127.0.0.1:7501/v1"
from lmconf import caches
assert caches.open_store(lm.spec.cache.store).size == 10
print("done")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_package_shown_brings_every_kind(tmp_path: Path) -> None:
    (project,) = blocks("toml")
    package, use = blocks("python")
    (profile,) = blocks("yaml")
    entry_points = tomllib.loads(project)["project"]["entry-points"]
    registries = (CACHES, CALLBACKS, LAUNCHERS, PROFILES, TRAINERS, TRANSPORTS)
    assert set(entry_points) == {registry.group for registry in registries}
    files = {"acme_lm/__init__.py": package, "acme_lm/profiles/support.yaml": profile}
    install(tmp_path, "acme-lm", entry_points, files)
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{with_assertions(use)}\n{USE}"
    ran = run(program)
    assert (ran.stdout.strip(), ran.stderr) == ("done", "")
    ran = run(
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nsys.argv = ['lmconf', 'list']\nimport lmconf.cli\nlmconf.cli.main()"
    )
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("acme/support")]
    assert line.split()[1] == "acme-lm"


def test_every_registry_is_in_the_table() -> None:
    for registry in (CACHES, CALLBACKS, LAUNCHERS, PROFILES, TRAINERS, TRANSPORTS):
        assert f"| `{registry.group}` |" in PAGE
        assert f"register_{registry.kind}`" in PAGE
