"""Starts a server under its supervisor, and returns it when it is ready to answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmconf.errors import LaunchError
from lmconf.launchers.environments import inherited_environment
from lmconf.launchers.exit_reasons import PORT_TAKEN
from lmconf.launchers.logs import log_tail, open_log
from lmconf.launchers.ports import claim_port, reserve_port
from lmconf.launchers.processes import ServerCommand, ServerProcess
from lmconf.launchers.records import write_record
from lmconf.launchers.server_protocol import PLAIN, StartOptions
from lmconf.launchers.specs import LaunchSpec
from lmconf.secrets.redaction import known_spellings, mask_secrets
from lmconf.system.paths import with_home
from lmconf.system.supervisor import supervisor_argv

if TYPE_CHECKING:
    from lmconf.system.supervisor import Order

__all__ = ["start", "start_listening"]


class _PortTaken(LaunchError):
    """The port that was free a moment ago no longer is."""


def start_listening(
    make: Callable[[int], ServerCommand], spec: LaunchSpec, manner: StartOptions = PLAIN
) -> ServerProcess:
    """Start the command that `make` returns for a port, and return it when it is ready.

    The port is that of `spec`, else a free one that nobody is given meanwhile; should a server
    not take one that is held for it, it gets another that is not.

    Raises:
        LaunchError: as `start`; or the port that `spec` states is taken.
    """
    if spec.port:
        with claim_port(spec.host, spec.port):
            return start(make(spec.port), spec, manner)
    reason = ""
    for attempt in range(3):
        try:
            with reserve_port(spec.host, hold=attempt == 0) as port:
                return start(make(port), spec, manner)
        except _PortTaken as error:  # noqa: PERF203 - each attempt is a process
            reason = str(error)
    raise LaunchError(reason)


def start(command: ServerCommand, spec: LaunchSpec, manner: StartOptions = PLAIN) -> ServerProcess:
    """Start `command` and return it when it is ready.

    Raises:
        LaunchError: it did not become ready; the message ends with the last lines of its log, and
            nothing of it is left running.
    """
    log = with_home(spec.log.path) if spec.log.path else command.folder / "server.log"
    supervisor = _start_supervisor(command, spec, log)
    server = ServerProcess(supervisor, command, log, spec.stop_grace, manner)
    if manner.on_log is not None:
        manner.on_log(log)
    reason = ""
    try:
        write_record(command.folder, server.record())
        server.wait_until_ready(spec.ready.timeout, spec.ready.interval)
        write_record(command.folder, server.record())
        if manner.detached:
            server.let_go()
    except LaunchError as error:
        server.stop()
        reason = mask_secrets(str(error), command.hidden)  # it may say what the server said
    except BaseException:
        server.stop()
        raise
    if reason:
        tail = log_tail(log, command.hidden)
        failure = _PortTaken if PORT_TAKEN.search(tail) else LaunchError
        raise failure(f"{reason}\nlog {log}:\n{tail}")
    return server


def _start_supervisor(
    command: ServerCommand, spec: LaunchSpec, log: Path
) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise LaunchError("a server needs a Python interpreter to watch it, and there is none")
    order: Order = {
        "argv": list(command.argv),
        "env": dict(command.env),
        "cwd": command.cwd,
        "input": command.input,
        "keep_stdin": False,
        "log": str(log.absolute()),
        "log_size": spec.log.size,
        "log_rotates": True,
        "hidden": sorted(known_spellings(command.hidden)),
        "pid_file": str(command.folder / "pid"),
        "lock": str(command.folder / "lock"),
        "child_lock": None,
        "grace": spec.stop_grace,
        "owner": os.getpid(),
        "timeout": None,
        "cancel": None,
        "exit_file": None,
        "report": None,
        "remove_on_success": [],
        "remove_on_failure": [],
    }
    own_log = open_log(log)
    try:
        supervisor = subprocess.Popen(
            supervisor_argv(),
            env=inherited_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=own_log,
            start_new_session=True,
        )
    finally:
        os.close(own_log)
    assert supervisor.stdin is not None
    try:
        supervisor.stdin.write(json.dumps(order).encode() + b"\n")
        supervisor.stdin.flush()
    except BrokenPipeError:
        # It ended at once: waiting for readiness finds that and shows its log.
        return supervisor
    return supervisor
