"""Law 8: compiling has no effect. Nothing is written, connected to, started or imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import json, sys
from pathlib import Path
from lmconf.compiler.inputs import CompilerInputs
from lmconf.compiler.pipeline import compile_documents
from lmconf.document import read_document
from lmconf.spec.state import dump_lm, dump_profile

document = read_document(Path("profile.yaml").read_bytes(), "profile.yaml", path=str(Path.cwd() / "p.yaml"))
compile_documents([document], CompilerInputs(name="warm", allow_imports=frozenset({"acme_lm.hooks"})))

seen = []
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if not isinstance(path, int) and ((mode and set(mode) & set("wax+")) or flags & 0o3):
            seen.append(["write", str(path)])
        elif isinstance(path, str) and not path.startswith(sys.prefix):
            seen.append(["read", path])
    elif event == "import":
        if arguments[0].partition(".")[0] not in ("lmconf", "msgspec") and "acme" in arguments[0]:
            seen.append(["import", arguments[0]])
    elif event.split(".")[0] in ("socket", "subprocess", "shutil", "tempfile", "ctypes"):
        seen.append([event, ""])
    elif event in ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.mkdir", "os.remove",
                   "os.rename", "os.listdir", "os.putenv", "os.chmod", "exec", "pty.spawn"):
        if event != "exec":
            seen.append([event, ""])
sys.addaudithook(hook)
outcome = compile_documents(
    [document], CompilerInputs(name="p", allow_imports=frozenset({"acme_lm.hooks"}))
)
assert outcome.profile is not None, outcome.diagnostics
dump_profile(outcome.profile.spec, outcome.profile.stated)
for lm in outcome.profile.lms.values():
    dump_lm(lm)
print(json.dumps({"seen": seen, "litellm": "litellm" in sys.modules,
                  "acme": [name for name in sys.modules if "acme" in name]}))
"""
PROFILE = """
vars: {home: {$env: SOME_HOME, default: here}}
stores:
  disk: {backend: disk, path: cache}
  team: {backend: redis, url: {$env: REDIS_URL}, namespace: n}
callbacks:
  audit: {use: jsonl, path: runs/calls.jsonl}
  meter: {use: "acme_lm.hooks:CostMeter"}
defaults: {callbacks: [audit, meter], cache: {store: disk}}
lms:
  gpt: {model: openai/gpt-4o-mini, metadata: {at: "{{ vars.home }}"}}
  kept: {model: openai/gpt-4o, cache: {store: team}, api_key: {$file: secret.txt}}
  llama: {model: openai/llama, launch_kwargs: {use: command, command: [touch, ran, "{port}"]}}
"""


def test_compiling_a_profile_touches_nothing(tmp_path: Path) -> None:
    (tmp_path / "profile.yaml").write_text(PROFILE)
    module = tmp_path / "acme_lm"
    module.mkdir()
    (module / "__init__.py").write_text("")
    (module / "hooks.py").write_text("open('imported', 'w')\nCostMeter = object\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    root = Path(__file__).parents[2]
    path = f"import sys; sys.path[:0] = [{str(root)!r}, {str(tmp_path)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", path + SCRIPT],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"seen": [], "litellm": False, "acme": []}
    assert sorted(path.name for path in tmp_path.iterdir()) == before
