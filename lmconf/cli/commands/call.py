"""`lmconf call`: a prompt to an LM, and its answer."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.json_lines import plain
from lmconf.cli.options import name_argument
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import fit, say, tell, visible
from lmconf.system.durations import format_duration

if TYPE_CHECKING:
    from lmconf.runtime import LM, Answer

__all__ = ["command"]


@make_command(
    "call",
    (
        ('lmconf call support "Say hello."', "the profile's main LM"),
        ('lmconf call support:claude "Say hello."', "another LM of it"),
        ("git diff | lmconf call support:gpt --system 'Review this change.'", ""),
        ('lmconf call support "…" --set temperature=1 --no-cache', ""),
        ('lmconf call support "…" --json', "the answer with its metadata"),
        ('lmconf call support -- "-1 + 3 = ?"', "a prompt that begins with a dash"),
    ),
    dash="Put `--` before a prompt that begins with a dash.",
)
@name_argument(required=True)
@click.argument("prompt", required=False, metavar="[PROMPT]")
@click.option("--system", metavar="TEXT", help="A system message before the prompt.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON object.")
@click.option(
    "--stream/--no-stream",
    default=None,
    help="Print the answer as it arrives, or when it is complete.  [default: --stream on a terminal]",
)
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Print tokens, cost and time on standard error."
)
@profile_options
def command(
    *,
    name: str,
    prompt: str | None,
    system: str | None,
    as_json: bool,
    stream: bool | None,
    no_cache: bool,
    verbose: bool,
    choose: Choose,
) -> None:
    """Send PROMPT to an LM and print its answer.

    If PROMPT is `-`, or is missing while input is piped in, it is read from standard input. The
    answer goes to standard output, everything else to standard error. A server that the LM starts
    is stopped at the end, also after Ctrl-C. The exit code is 3 if the call fails.
    """
    if stream and as_json:
        raise click.UsageError(
            "--stream cannot be combined with --json: the object is printed at the end."
        )
    text = _prompt(prompt)
    compiled = choose(one_lm=True).compiled
    from lmconf.runtime import LM

    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": text})
    settings: dict[str, Any] = {"cache": False} if no_cache else {}
    # Only one answer can be shown while it comes.
    live = (sys.stdout.isatty() if stream is None else stream) and (compiled.spec.n or 1) == 1
    started_at = time.monotonic()
    with LM.of(compiled) as lm:
        if live and not as_json:
            answer = _print_stream(lm, messages, settings)
        else:
            answer = lm.ask(messages=messages, **settings)
            _print_whole(answer, as_json=as_json)
    if verbose:
        tell(_summary(answer, time.monotonic() - started_at))


def _prompt(argument: str | None) -> str:
    """Return the prompt that was given, or what is piped in.

    Raises:
        click.UsageError: there is none.
    """
    if argument is not None and argument != "-":
        if not argument.strip():
            raise click.UsageError("The prompt is empty.")
        return argument
    if argument is None and sys.stdin.isatty():
        raise click.UsageError(
            "There is no prompt: give one, pipe one in, or pass `-` to type it (end with Ctrl-D)."
        )
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(
            f"The piped input is not UTF-8 text (byte {error.start + 1})."
        ) from None
    if not text.strip():
        raise click.UsageError("The piped prompt is empty.")
    # `echo` and editors end the last line; that break is no part of the prompt.
    return text.removesuffix("\n").removesuffix("\r")


def _print_stream(lm: LM, messages: list[dict[str, str]], settings: dict[str, Any]) -> Answer:
    """Print the answer while it comes, and return it."""
    escape = visible if sys.stdout.isatty() else str
    last = ""
    try:
        with lm.stream(messages=messages, **settings) as stream:
            for piece in stream:
                # Noted first: a signal may come right after the terminal has it.
                last = piece or last
                say(escape(piece), newline=False)
            answer = stream.answer
            _print_tool_calls(answer)
    finally:
        # What is told next, if only the shell's prompt, begins on a line of its own.
        if last and not last.endswith("\n"):
            say("")
    return answer


def _print_whole(answer: Answer, *, as_json: bool) -> None:
    if as_json:
        say(json.dumps(plain(answer), indent=2, ensure_ascii=False))
        return
    escape = visible if sys.stdout.isatty() else str
    text = "\n".join(answer.texts)
    if text:
        say(escape(text), newline=not text.endswith("\n"))
    _print_tool_calls(answer)


def _print_tool_calls(answer: Answer) -> None:
    if answer.tool_calls:
        say(json.dumps(plain(answer)["tool_calls"], indent=2, ensure_ascii=False))


def _summary(answer: Answer, seconds: float) -> str:
    """Return one line that says what the answer took."""
    facts = [f"{answer.lm} ({answer.model})"]
    if answer.cache_hit:
        facts.append("from the cache")
    else:
        prompt, completion = (
            answer.usage.get(key) for key in ("prompt_tokens", "completion_tokens")
        )
        facts.append(f"{_count(prompt)} + {_count(completion)} tokens")
        facts.append("cost unknown" if answer.cost is None else f"${answer.cost:.6f}")
        if answer.attempts > 1:
            facts.append(f"{answer.attempts} attempts")
    facts.append(format_duration(seconds))
    if answer.finish_reason not in (None, "stop"):
        facts.append(f"ended by {answer.finish_reason}")
    if answer.request_id:
        facts.append(f"request id {answer.request_id}")
    return fit(", ".join(facts))


def _count(tokens: object) -> str:
    return f"{tokens:,}" if isinstance(tokens, int) else "?"
