"""llama.cpp's HTTP server, from the `xllamacpp` package, for GGUF files."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from lmconf.diagnostics.suggest import did_you_mean
from lmconf.errors import LaunchError
from lmconf.launchers.environments import resolve_text, server_environment
from lmconf.launchers.flags_llama_cpp import ARGUMENTS, Kind
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.ports import claim_port, reserve_port
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.server_protocol import PLAIN, Launcher, StartOptions
from lmconf.launchers.specs import LaunchSpec
from lmconf.launchers.start import start
from lmconf.secrets.references import Env, File, Given, Public
from lmconf.system.optional import describe_missing
from lmconf.system.paths import with_home

__all__ = ["LAUNCHER", "LlamaCpp"]


def parameters(
    args: Mapping[str, object], code_values: Mapping[str, str]
) -> tuple[dict[str, object], tuple[str, ...]]:
    """Return the parameters that `args` set, and the values among them that are secret.

    Raises:
        LaunchError: an argument is not known or its value has the wrong type.
    """
    result: dict[str, object] = {}
    hidden: list[str] = []
    for name, value in args.items():
        argument = ARGUMENTS.get(name.replace("_", "-"))
        if argument is None:
            suggestion = did_you_mean(name, ARGUMENTS)
            hint = (
                f"did you mean {suggestion!r}?"
                if suggestion
                else f"known are {', '.join(ARGUMENTS)}"
            )
            raise LaunchError(f"llama_cpp has no argument {name!r}; {hint}")
        if isinstance(value, Env | File | Given):
            secret = resolve_text(value, code_values, hidden)
            result[argument.parameter] = convert_argument(name, argument.kind, secret)
        else:
            result[argument.parameter] = convert_argument(name, argument.kind, value)
    return result, tuple(hidden)


def convert_argument(name: str, kind: Kind, value: object) -> object:
    """Return `value` as an argument of that kind takes it.

    Raises:
        LaunchError: it is of another type. The value is not shown: it may be a secret.
    """
    plain = value.value if isinstance(value, Public) else value
    number = isinstance(plain, int | float) and not isinstance(plain, bool)
    match kind:
        case "switch" if isinstance(plain, bool):
            return plain
        case "integer" if isinstance(plain, int) and number:
            return plain
        case "number" if number:
            return plain
        case "text" if isinstance(plain, str):
            return plain
        case "texts" if isinstance(plain, str):
            return [plain]
        case "texts" if isinstance(plain, list | tuple):
            return [str(one) for one in plain]
        case _:
            descriptions = {"texts": "a text or a list of texts", "switch": "true or false"}
            article = "an" if kind == "integer" else "a"
            what = descriptions.get(kind, f"{article} {kind}")
    raise LaunchError(f"llama_cpp's argument {name!r} must be {what}")


def package_folder() -> str:
    """Return the folder that holds the installed `xllamacpp`.

    Raises:
        LaunchError: it is not installed.
    """
    module_spec = importlib.util.find_spec("xllamacpp")
    if module_spec is None or module_spec.origin is None:
        raise LaunchError(
            describe_missing("xllamacpp", extra="local", purpose="a llama_cpp server")
        )
    return str(Path(module_spec.origin).parent.parent)


def check_gguf(path: Path) -> None:
    """See that `path` is a GGUF file, as far as its first bytes tell.

    Raises:
        LaunchError: it is missing, cannot be read, or is something else.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except FileNotFoundError:
        problem = f"the model file {path} does not exist"
    except OSError as error:
        problem = f"the model file {path} cannot be read: {error.strerror}"
    else:
        problem = _gguf_problem(path, head)
    if problem:
        raise LaunchError(problem)


def _gguf_problem(path: Path, head: bytes) -> str:
    if head[:4] != b"GGUF" or len(head) < 24:
        return f"{path} is not a GGUF file: llama_cpp can load no other"
    version, tensors, _ = struct.unpack("<IQQ", head[4:])
    if version not in {2, 3}:
        return f"{path} is a GGUF file of version {version}; versions 2 and 3 are known"
    return "" if tensors else f"{path} is a GGUF file without tensors: it holds no model"


class LlamaCpp:
    """Serves a GGUF file with llama.cpp; the file is `weights`, or else the model's own name."""

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        code_values: Mapping[str, str] | None = None,
        manner: StartOptions = PLAIN,
    ) -> ServerProcess:
        """Return a server that serves `model` under that name, ready to answer.

        Raises:
            LaunchError: xllamacpp, the file or the port is not to be had, an argument is wrong,
                or the server did not become ready.
        """
        code_values = {} if code_values is None else code_values
        package = package_folder()
        weights = with_home(spec.weights if spec.weights is not None else model)
        check_gguf(weights)
        arguments, hidden = parameters(spec.args, code_values)
        env, secret = server_environment(spec, code_values)
        if spec.gpus == 0:
            arguments.setdefault("n_gpu_layers", 0)
        folder = new_run_folder("llama_cpp")
        settings = {
            "model": str(weights.absolute()),
            "alias": model,
            "host": spec.host,
            "port": spec.port,
            "parameters": arguments,
            "report": str(folder / "address"),
            "package": package,
        }
        server = Path(__file__).with_name("llama_cpp_server.py")
        command = ServerCommand(
            kind="llama_cpp",
            argv=(sys.executable, "-I", str(server)),
            model=model,
            folder=folder,
            env=env,
            find=lambda: _read_address(folder / "address"),
            input=json.dumps(settings),
            ready_path=spec.ready.path or "/v1/models",
            ready_names=(model,) if spec.ready.model else (),
            key=_first(arguments.get("api_keys")),
            hidden=hidden + secret,
        )
        # A free port is taken by the server itself, whose own words for a wrong host mislead.
        with claim_port(spec.host, spec.port) if spec.port else reserve_port(spec.host, hold=False):
            return start(command, spec, manner)


def _first(texts: object) -> str:
    return str(texts[0]) if isinstance(texts, list) and texts else ""


def _read_address(address: Path) -> str | None:
    try:
        return address.read_text("ascii").strip()
    except FileNotFoundError:
        return None


LAUNCHER: Launcher = LlamaCpp()
