"""Any server that speaks the OpenAI API: a program and its arguments."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from lmconf.errors import LaunchError
from lmconf.launchers.environments import server_environment
from lmconf.launchers.folders import new_run_folder
from lmconf.launchers.ports import address
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.python_modules import weights_of
from lmconf.launchers.server_protocol import PLAIN, Launcher, StartOptions
from lmconf.launchers.specs import LaunchSpec
from lmconf.launchers.start import start_listening
from lmconf.system.paths import with_home

__all__ = ["LAUNCHER", "AnyCommand", "fill_placeholders"]

_PLACE = re.compile(r"\{(port|host|model|weights)\}")


def fill_placeholders(words: tuple[str, ...], values: Mapping[str, str]) -> tuple[str, ...]:
    """Return `words` with `{port}`, `{host}`, `{model}` and `{weights}` replaced by `values`.

    Each stays one word, whatever stands in it; other braces are left alone.
    """
    return tuple(_PLACE.sub(lambda found: values[found[1]], word) for word in words)


class AnyCommand:
    """Starts the program that `command` names; no shell reads its arguments."""

    def start(
        self,
        spec: LaunchSpec,
        model: str,
        code_values: Mapping[str, str] | None = None,
        manner: StartOptions = PLAIN,
    ) -> ServerProcess:
        """Return a server that serves `model` under that name, ready to answer.

        Raises:
            LaunchError: there is no such program, the port is taken, or the server did not
                become ready.
        """
        if not spec.command:
            raise LaunchError("`use: command` needs `command`: the program and its arguments")
        env, secret = server_environment(spec, {} if code_values is None else code_values)
        name = str(with_home(spec.command[0]))
        program = shutil.which(name, path=env.get("PATH"))
        if program is None:
            raise LaunchError(_missing(name))
        command = (str(Path(program).absolute()), *spec.command[1:])

        def make(port: int) -> ServerCommand:
            values = {
                "port": str(port),
                "host": spec.host,
                "model": model,
                "weights": weights_of(spec, model),
            }
            return ServerCommand(
                kind="command",
                argv=fill_placeholders(command, values),
                model=model,
                folder=new_run_folder("command"),
                env=env,
                find=lambda: address(spec.host, port),
                ready_path=spec.ready.path or "/v1/models",
                ready_names=(model,) if spec.ready.model else (),
                hidden=secret,
            )

        return start_listening(make, spec, manner)


def _missing(name: str) -> str:
    if "/" not in name:
        return f"there is no program {name!r} on the PATH"
    path = Path(name)
    if path.is_dir():
        return f"{name} is a folder, not a program"
    return f"{name} {'may not be executed' if path.exists() else 'does not exist'}"


LAUNCHER: Launcher = AnyCommand()
