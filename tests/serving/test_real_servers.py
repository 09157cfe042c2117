"""The servers that are too large for every run, as they are: `make test-serving`.

`LMCONF_SERVING_PYTHON` names an interpreter with torch and `transformers[serving]`; what of
SGLang and vLLM is installed there is asked, too. Without the variable nothing here runs.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lmconf.errors import LaunchError
from lmconf.launchers import LaunchSpec
from lmconf.launchers.contract import Launcher
from lmconf.launchers.flags import Flags, words
from lmconf.launchers.python_modules import PythonModule
from lmconf.runtime import LM
from lmconf.spec.frozen import FrozenMap
from tests.unit.launchers.scripted import alive, eventually

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "models/tiny/checkpoint"
PYTHON = os.environ.get("LMCONF_SERVING_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="LMCONF_SERVING_PYTHON names no interpreter"),
]


def has(package: str) -> bool:
    look = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    return bool(PYTHON) and subprocess.run([PYTHON, "-c", look], check=False).returncode == 0


@pytest.mark.filterwarnings("ignore::lmconf.TruncatedWarning")
def test_transformers_serves_answers_streams_and_ends() -> None:
    server = {
        "use": "transformers",
        "python": PYTHON,
        "weights": str(CHECKPOINT),
        "args": {"device": "cpu", "default-seed": 0},
        "env": {"HF_HUB_OFFLINE": "1"},
    }
    with LM("openai/acme/tiny", launch_kwargs=server, max_tokens=20, cache=False) as lm:
        assert lm("Say this is a test!") == ["This is a test!"]
        with lm.stream("Say this is a test!") as stream:
            assert "".join(stream) == "This is a test!"
        assert lm.copy(model_type="text")("Once upon a time")[0]
        running = lm.server
        assert running is not None
        pid = running.pid
    assert eventually(lambda: not alive(pid), within=2.0)


def test_transformers_tells_why_it_cannot_serve(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    server = {
        "use": "transformers",
        "python": PYTHON,
        "weights": str(tmp_path),
        "env": {"HF_HUB_OFFLINE": "1"},
    }
    lm = LM("openai/acme/tiny", launch_kwargs=server)
    with pytest.raises(LaunchError, match="ended with status 1 before it was ready"):
        lm.launch()


def kinds() -> dict[str, tuple[Launcher, Flags]]:
    from lmconf.launchers import flags_sglang, flags_vllm, sglang, vllm

    return {
        "sglang": (sglang.LAUNCHER, flags_sglang.FLAGS),
        "vllm": (vllm.LAUNCHER, flags_vllm.FLAGS),
    }


def read_by(kind: str, said: tuple[str, ...]) -> dict[str, Any]:
    """What the server's own parser makes of a command line, and the flags that it knows."""
    parsers = Path(__file__).with_name("parsers.py")
    told = subprocess.run(
        [PYTHON, parsers, kind, *said], capture_output=True, text=True, check=True, timeout=300
    )
    read: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return read


@pytest.mark.parametrize("kind", ["sglang", "vllm"])
def test_the_servers_own_parser_takes_what_is_written(kind: str) -> None:
    if not has(kind):
        pytest.skip(f"{kind} is not installed there")
    launcher, known = kinds()[kind]
    assert isinstance(launcher, PythonModule)
    both: dict[str, dict[str, object]] = {
        "sglang": {"tp-size": 2, "mem-fraction-static": 0.5, "disable-radix-cache": True},
        "vllm": {"tensor_parallel_size": 2, "enforce-eager": False, "max-model-len": 1024},
    }
    args = both[kind]
    spec = LaunchSpec(adapters=FrozenMap({"polite": "/adapters/polite"}))
    said = launcher.told(spec, "acme/tiny", "/models/tiny", 7501)
    said = tuple(word for word in said if word != "serve")
    answer = read_by(kind, (*said, *words(kind, args, known, str)))
    read = answer["read"]
    assert (read["host"], read["port"]) == ("127.0.0.1", 7501)
    assert "acme/tiny" in str(read["served_model_name"])
    assert "/models/tiny" in (read.get("model_path"), read.get("model_tag"), read.get("model"))
    assert "polite" in str(read.get("lora_paths") or read.get("lora_modules"))
    assert read["enable_lora"] is True
    assert 2 in (read.get("tp_size"), read.get("tensor_parallel_size"))
    theirs = answer["flags"]
    assert {name: takes for name, takes in known.items() if theirs.get(name) != takes} == {}
