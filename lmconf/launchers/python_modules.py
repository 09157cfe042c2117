"""Servers that are modules of a Python package: `python -m sglang.launch_server …`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from lmconf.errors import LaunchError
from lmconf.launchers.environments import resolve_text, server_environment
from lmconf.launchers.flags import Flags, command_words
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.ports import address
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.server_protocol import PLAIN, StartOptions
from lmconf.launchers.specs import LaunchSpec
from lmconf.launchers.start import start_listening
from lmconf.system.paths import with_home

__all__ = ["PythonModule", "served_name", "weights_of"]

SAFE = {"PYTHONSAFEPATH": "1"}
"""Keeps Python from 3.11 on from importing what lies in the folder where it is started."""

Words = Callable[[LaunchSpec, str, str, int], tuple[str, ...]]
"""Returns the words for a model's name, its weights and a port, beside those of `args`."""


def weights_of(spec: LaunchSpec, model: str) -> str:
    """Return what is loaded: a path, whole, or the name of a model."""
    weights = spec.weights if spec.weights is not None else model
    return str(with_home(weights)) if weights.startswith("~") else weights


def served_name(spec: LaunchSpec, model: str) -> str:
    """Return the name of the model itself, where `model` may name one of its adapters.

    `base:adapter` is an adapter of `base`; a bare `adapter` is one of what `weights` names.
    """
    base, colon, adapter = model.rpartition(":")
    if colon and adapter in spec.adapters:
        return base
    return weights_of(spec, model) if model in spec.adapters else model


class PythonModule(Struct, frozen=True, kw_only=True):
    """A kind of server that is started as `python -m module`.

    `package` is what must be installed and `install` says how; `flags` are what `args` may name
    and `words` returns the other words of the command line. `ready_path` lists the models, or with
    `lists_models` false answers 200 when all is well. A server that is `named_by_weights` knows its
    model by nothing but what it loads.
    """

    kind: str
    module: str
    package: str
    install: str
    flags: Callable[[], Flags]
    words: Words
    ready_path: str = "/v1/models"
    lists_models: bool = True
    named_by_weights: bool = False
    environment: Mapping[str, str] = {}

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        code_values: Mapping[str, str] | None = None,
        manner: StartOptions = PLAIN,
    ) -> ServerProcess:
        """Return a server that serves `model` under that name, ready to answer.

        Raises:
            LaunchError: the package, the weights or the port is not to be had, an argument is
                wrong, or the server did not become ready.
        """
        code_values = {} if code_values is None else code_values
        env, secret = server_environment(spec, code_values)
        env = {**SAFE, **self.environment, **env}
        hidden: list[str] = []

        def text(value: object) -> str:
            return resolve_text(value, code_values, hidden)

        args = command_words(self.kind, spec.args, self.flags(), text)
        python = self._interpreter(spec, env)
        weights = weights_of(spec, model)
        _check_weights(weights)
        if self.named_by_weights and weights != model and not Path(weights).exists():
            raise LaunchError(
                f"{self.kind} serves {weights!r} only under its own name: use that as the LM's model"
            )
        key = spec.args.get("api-key", spec.args.get("api_key", ""))

        def make(port: int) -> ServerCommand:
            folder = new_run_folder(self.kind)
            is_linked = self.named_by_weights and weights != model
            if is_linked:
                _link(folder, model, weights)
            words = self.words(spec, model, model if is_linked else weights, port)
            argv = (*words, *args, *spec.raw_args)
            return ServerCommand(
                kind=self.kind,
                argv=self._argv(python, argv, secrets=bool(hidden)),
                input=json.dumps(argv) if hidden else "",
                model=model,
                folder=folder,
                cwd=str(folder) if is_linked else None,
                env=env,
                find=lambda: address(spec.host, port),
                ready_path=spec.ready.path or self.ready_path,
                ready_names=_names(spec, model) if self._lists(spec) else (),
                key=resolve_text(key, code_values),
                hidden=(*hidden, *secret),
            )

        return start_listening(make, spec, manner)

    def _lists(self, spec: LaunchSpec) -> bool:
        return spec.ready.model and (self.lists_models or spec.ready.path is not None)

    def _argv(self, python: str, argv: tuple[str, ...], *, secrets: bool) -> tuple[str, ...]:
        if secrets:
            return (python, str(Path(__file__).with_name("hidden_arguments.py")), self.module)
        return (python, "-m", self.module, *argv)

    def _interpreter(self, spec: LaunchSpec, env: Mapping[str, str]) -> str:
        """Return the interpreter that has the package.

        Raises:
            LaunchError: there is none, or it lacks the package.
        """
        program = str(with_home(spec.python)) if spec.python else sys.executable
        python = shutil.which(program, path=env.get("PATH"))
        if python is None:
            raise LaunchError(f"there is no Python interpreter {program!r} (`python`)")
        look = (
            "import importlib.util, sys;"
            f"sys.exit(3 if importlib.util.find_spec({self.package!r}) is None else 0)"
        )
        try:
            # Not from its own folder: a file beside the caller is no installed package.
            process = subprocess.run(
                [python, "-c", look],
                env=dict(env),
                cwd="/",
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = f"the Python interpreter {python} cannot be run: {error}"
        else:
            if process.returncode == 0:
                return python
            if process.returncode == 3:
                problem = (
                    f"{python} lacks the package {self.package}: {self.install}, or set"
                    " `python` to an interpreter that has it"
                )
            else:
                problem = f"{python} is not a working Python interpreter"
        raise LaunchError(problem)


def _names(spec: LaunchSpec, model: str) -> tuple[str, ...]:
    """Return the names of which one must be listed: an adapter may be listed by its own."""
    adapter = model.rpartition(":")[2]
    return (model, adapter) if adapter in spec.adapters else (model,)


def _check_weights(weights: str) -> None:
    """See that weights that are written as a path are there.

    Raises:
        LaunchError: they are not.
    """
    if weights.startswith(("/", "./", "../")) and not Path(weights).exists():
        raise LaunchError(f"the model file or folder {weights} does not exist")


def _link(folder: Path, model: str, weights: str) -> None:
    """Have `weights` found under the name `model` by a server that starts in `folder`.

    Raises:
        LaunchError: the name is none that a folder can have.
    """
    link = folder / model
    if ".." in link.parts or folder not in link.parents:
        raise LaunchError(f"{model!r} is not a name that a model can have on a server")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path(weights).absolute())
