"""`lmconf launch`: starts the server behind an LM, and keeps it running."""

from __future__ import annotations

import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option, name_argument
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import fit, say, tell
from lmconf.system.durations import format_duration

if TYPE_CHECKING:
    from lmconf.diagnostics.model import Diagnostic, Mark
    from lmconf.launchers.server_protocol import Server
    from lmconf.launchers.specs import LaunchSpec
    from lmconf.runtime import LaunchedServer

__all__ = ["command"]

_ERASE = "\x1b[K"


@make_command(
    "launch",
    (
        ("lmconf launch support:llama", "until Ctrl-C"),
        ("lmconf launch support:llama --detach", "until `lmconf kill support:llama`"),
        ("lmconf launch support:llama --set launch_kwargs.port=7501", ""),
    ),
)
@name_argument(required=True)
@click.option("-d", "--detach", is_flag=True, help="Return when it is ready, and leave it running.")
@format_option("text", "json", help="Output format.")
@profile_options
def command(
    *,
    name: str,
    detach: bool,
    form: str,
    choose: Choose,
) -> None:
    """Start the server behind an LM, and keep it running for all your processes.

    The command prints the server's address when the model is loaded. LMs that need an equal server
    use this one instead of starting their own. If the server runs already, its address is printed.
    Ctrl-C stops it, and the exit code is 0 then; it is 4 if the server does not start.
    """
    from lmconf.cli.entry import InvalidArgument
    from lmconf.providers.catalogue import provider_of
    from lmconf.runtime import LaunchedServer

    compiled = choose(one_lm=True).compiled
    spec = compiled.spec.launch_kwargs
    if spec is None:
        raise InvalidArgument([_no_server(name, compiled.place("model"))])
    launch = LaunchedServer(spec, provider_of(compiled.spec.model)[1], compiled.given, name)
    _check_no_other_runs(name, spec, launch.model)
    server, ours = _start_or_attach(launch, name, detach=detach)
    show = functools.partial(_show, server, name, form, ours=ours, detach=detach)
    if ours and not detach:
        _serve_until_ended(launch, server, name, show)
    else:
        show()


def _no_server(name: str, mark: Mark | None) -> Diagnostic:
    from lmconf.diagnostics.model import Diagnostic

    return Diagnostic(
        code="missing-key",
        message=f"{name} has no server of its own",
        mark=mark,
        help="nothing is to be started for it: `lmconf call` asks its provider; a server that lmconf"
        " starts is stated as `launch_kwargs: {use: llama_cpp, weights: …}`",
    )


def _check_no_other_runs(name: str, spec: LaunchSpec, model: str) -> None:
    """See that no server of that name runs with other arguments, or loads.

    Raises:
        LaunchError: one does.
    """
    from lmconf.errors import LaunchError
    from lmconf.launchers.records import running_records
    from lmconf.runtime import fingerprint_of

    fingerprint = fingerprint_of(spec, model)
    for record in running_records():
        if not record.shared or record.name != name:
            continue
        if record.fingerprint != fingerprint:
            where = f"at {record.url}" if record.url else "and is loading"
            raise LaunchError(
                f"{name} runs with other arguments {where}: `lmconf kill {name}` first"
            )
        if record.loads:
            raise LaunchError(
                f"{name} is already being started by process {record.owner}: `lmconf logs -f"
                f" {name}` shows the progress"
            )


def _start_or_attach(launch: LaunchedServer, name: str, *, detach: bool) -> tuple[Server, bool]:
    """Return the running server, and whether it was started now."""
    from lmconf.launchers.records import AttachedServer
    from lmconf.launchers.server_protocol import StartOptions

    with _loading(name) as indicator:
        manner = StartOptions(
            name=name, detached=detach, shared=True, on_log=indicator, on_progress=indicator.hear
        )
        server = launch.start(manner=manner)
    return server, not isinstance(server, AttachedServer)


def _show(server: Server, name: str, form: str, *, ours: bool, detach: bool) -> None:
    if form == "json":
        import json

        facts = {"name": name, "model": server.model, "url": server.url}
        facts |= {"api_base": server.api_base, "log": str(server.log)}
        say(json.dumps({**facts, "pid": server.pid, "started": ours}, indent=2))
        return
    tell(f"{name} is ready" if ours else f"{name} is already running")
    tell(f"  model {fit(server.model)}, pid {server.pid}, log {server.log}")
    say(server.api_base)
    if detach or not ours:
        tell(f"  `lmconf kill {name}` stops it")
    else:
        tell("  Ctrl-C stops it")
    sys.stdout.flush()


def _serve_until_ended(
    launch: LaunchedServer, server: Server, name: str, show: Callable[[], None]
) -> None:
    """Show the server, and keep it until it ends, or until this program is told to end.

    Raises:
        LaunchError: it ended by itself.
    """
    from lmconf.errors import LaunchError
    from lmconf.launchers.records import running_records, was_ended

    folder = next((Path(each.folder) for each in running_records() if each.pid == server.pid), None)
    try:
        show()  # whoever reads the address may send Ctrl-C at once
        while server.status() == "running":
            time.sleep(0.2)
    except KeyboardInterrupt:
        tell("ending it")
        return
    finally:
        launch.kill()
    if folder is None or not was_ended(folder):
        raise LaunchError(f"the server of {name} ended\nlog {server.log}:\n{server.logs()}")
    tell(f"{name} was stopped by `lmconf kill`")


@contextmanager
def _loading(name: str) -> Iterator[_LoadingIndicator]:
    """Show, on a terminal, how long it takes and the last line of the log; elsewhere one line."""
    indicator = _LoadingIndicator(name)
    thread = threading.Thread(target=indicator.run, daemon=True)
    thread.start()
    try:
        yield indicator
    finally:
        indicator.over.set()
        thread.join()
        indicator.clear()


class _LoadingIndicator:
    def __init__(self, name: str) -> None:
        self._name = name
        self._log: Path | None = None
        self._heard = ""
        self._begun = time.monotonic()
        self._live = sys.stderr.isatty()
        self.over = threading.Event()

    def __call__(self, log: Path) -> None:
        """Take note of the log, which there is from now on."""
        self._log = log
        if not self._live:
            tell(f"starting {self._name}, log {log}")

    def hear(self, progress: str) -> None:
        """Take note of how far a download is, which the log does not tell."""
        self._heard = progress

    def run(self) -> None:
        while not self.over.wait(0.2):
            if self._live and self._log is not None:
                self._write(self._line())

    def _line(self) -> str:
        from lmconf.launchers.logs import log_tail

        assert self._log is not None
        seconds = time.monotonic() - self._begun
        last = self._heard or "".join(log_tail(self._log, lines=1).splitlines()[-1:])
        text = fit(f"starting {self._name} ({format_duration(round(seconds))}) {last}")
        return text.replace("\n", " ").replace("\t", " ")[: _width() - 1]

    def clear(self) -> None:
        """Take the line away."""
        if self._live and self._log is not None:
            self._write("")

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(f"\r{text}{_ERASE}")
            sys.stderr.flush()
        except (OSError, ValueError):
            self._live = False  # the terminal went away


def _width() -> int:
    import shutil

    return max(shutil.get_terminal_size().columns, 20)
