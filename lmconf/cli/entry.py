"""Running the command line: from arguments to an exit code, with every failure told in words."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

import click

from lmconf.cli.app import COMPLETE, PROGRAM, group
from lmconf.cli.terminal import Terminal, fit, tell
from lmconf.errors import CallError, Error, LaunchError, ProfileError, UsageError
from lmconf.system.tracebacks import hide_frames

__all__ = ["InvalidArgument", "Stopped", "main", "run"]

WRONG_INPUT, WRONG_USAGE, CALL_FAILED, LAUNCH_FAILED = 1, 2, 3, 4
# As shells count a program that a signal ended.
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 141


class InvalidArgument(ProfileError):
    """An argument such as `--set` is wrong by itself: told with its place, and exit code 2."""


class Stopped(BaseException):
    """A signal asks the program to end; what was opened is closed on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> NoReturn:
    """Run the command line with the arguments of this process, and exit with its code."""
    _open_closed_streams()
    warnings.formatwarning = _warning
    for number in (signal.SIGTERM, *_hang_up()):
        signal.signal(number, _stop)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _abandon_output()
    sys.exit(code)


def _open_closed_streams() -> None:
    """Give each standard stream that the program was started without (`>&-`) the null device.

    Otherwise a file that is opened later gets its number, and what a child prints with it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _warning(message: Warning | str, *_: object, **__: object) -> str:
    """Return how the command line prints a warning: its words, without a line of Python."""
    return _print_error(f"warning: {str(message).strip()}\n")


@hide_frames
def run(arguments: Sequence[str]) -> int:
    """Run the command line `arguments` and return the exit code; a bug raises."""
    _keep_unencodable(sys.stdout)
    if COMPLETE in os.environ:
        from lmconf.cli.commands.completion import complete

        return complete(group, PROGRAM, COMPLETE, os.environ[COMPLETE])
    terminal = Terminal()
    try:
        with group.make_context(PROGRAM, list(arguments), obj=terminal) as ctx:
            group.invoke(ctx)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted")
        return INTERRUPTED
    except Stopped as stop:
        return 128 + stop.number
    except BrokenPipeError:
        return _abandon_output()
    except OSError as error:
        tell(_print_error(f"error: {_os_error(error)}"))
        return WRONG_INPUT
    except Error as error:
        return _tell_error(error, terminal)
    return 0


def _tell_error(error: Error, terminal: Terminal) -> int:
    if isinstance(error, ProfileError):
        from lmconf.diagnostics.render import to_text

        tell(to_text(error.diagnostics, color=terminal.colors(sys.stderr)))
        return WRONG_USAGE if isinstance(error, InvalidArgument) else WRONG_INPUT
    tell(_print_error(f"error: {error}"))
    if isinstance(error, CallError):
        return CALL_FAILED
    if isinstance(error, LaunchError):
        return LAUNCH_FAILED
    return WRONG_USAGE if isinstance(error, UsageError) else WRONG_INPUT


def _print_error(text: str) -> str:
    return fit(text)


def _os_error(error: OSError) -> str:
    reason = (error.strerror or type(error).__name__).lower()
    if error.filename is None:
        return reason
    return f"{os.fsdecode(error.filename)}: {reason}"


def _keep_unencodable(stream: TextIO) -> None:
    """Have characters that `stream` cannot hold written as escapes instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _abandon_output() -> int:
    """Return the exit code of a program whose reader went away, and write no more."""
    # Python would complain again when it flushes the stream at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE


def _stop(number: int, _: FrameType | None) -> NoReturn:
    raise Stopped(number)


def _hang_up() -> list[int]:
    # Windows has no such signal.
    number = getattr(signal, "SIGHUP", None)
    # `nohup lmconf …` asks not to be ended by it.
    return [number] if number is not None and signal.getsignal(number) == signal.SIG_DFL else []
