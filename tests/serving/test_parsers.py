"""The command lines and flag tables of SGLang and vLLM, held against those packages' own parsers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lmconf.launchers import LaunchSpec, flags_sglang, flags_vllm, sglang, vllm
from lmconf.launchers.flags import Flags, command_words
from lmconf.launchers.python_modules import PythonModule
from lmconf.launchers.server_protocol import Launcher
from lmconf.schema.frozen import FrozenMap
from tests.serving.servers import interpreter, launched

pytestmark = pytest.mark.slow
KINDS: dict[str, tuple[Launcher, Flags]] = {
    "sglang": (sglang.LAUNCHER, flags_sglang.FLAGS),
    "vllm": (vllm.LAUNCHER, flags_vllm.FLAGS),
}
ARGUMENTS: dict[str, dict[str, object]] = {
    "sglang": {"tp-size": 2, "mem-fraction-static": 0.5, "disable-radix-cache": True},
    "vllm": {"tensor_parallel_size": 2, "enforce-eager": False, "max-model-len": 1024},
}


def read_by(kind: str, said: tuple[str, ...]) -> dict[str, Any]:
    """What the server's own parser makes of a command line, and the flags that it knows."""
    parsers = Path(__file__).with_name("parsers.py")
    told = subprocess.run(
        [interpreter(kind), parsers, kind, *said],
        env=launched(kind)["env"],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    read: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return read


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_servers_own_parser_takes_what_is_written(kind: str) -> None:
    launcher, known = KINDS[kind]
    assert isinstance(launcher, PythonModule)
    spec = LaunchSpec(adapters=FrozenMap({"polite": "/adapters/polite"}))
    said = launcher.words(spec, "acme/tiny", "/models/tiny", 7501)
    said = tuple(word for word in said if word != "serve")
    answer = read_by(kind, (*said, *command_words(kind, ARGUMENTS[kind], known, str)))
    read = answer["read"]
    assert (read["host"], read["port"]) == ("127.0.0.1", 7501)
    assert "acme/tiny" in str(read["served_model_name"])
    assert "/models/tiny" in (read.get("model_path"), read.get("model_tag"), read.get("model"))
    assert "polite" in str(read.get("lora_paths") or read.get("lora_modules"))
    assert read["enable_lora"] is True
    assert 2 in (read.get("tp_size"), read.get("tensor_parallel_size"))
    theirs = answer["flags"]
    assert {name: takes for name, takes in known.items() if theirs.get(name) != takes} == {}
