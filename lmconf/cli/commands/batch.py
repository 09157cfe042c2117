"""`lmconf batch`: a file of prompts to an LM, and a file of its answers."""

from __future__ import annotations

import os
import shlex
import stat
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.entry import CALL_FAILED, LAUNCH_FAILED
from lmconf.cli.event_loop import run_on_loop
from lmconf.cli.options import name_argument, not_empty
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import fit, tell
from lmconf.errors import NotSent

if TYPE_CHECKING:
    from lmconf.cli.json_lines import InputLine, Writer
    from lmconf.runtime import LM, Answer, CheckedItem

__all__ = ["command"]


@make_command(
    "batch",
    (
        ("lmconf batch support questions.jsonl -o answers.jsonl", ""),
        ("lmconf batch support questions.jsonl -o answers.jsonl --resume", "what is missing"),
        ("lmconf batch support:gpt - < questions.jsonl | jq -r .text", ""),
        ("lmconf batch support q.jsonl -o a.jsonl --max-concurrency 64", ""),
    ),
)
@name_argument(required=True)
@click.argument("source", metavar="INPUT", callback=not_empty)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE: each answer as it arrives, and all in order at the end.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Send only prompts without an answer in FILE; refused if the settings changed.",
)
@click.option("--force", is_flag=True, help="Start over: replace an existing FILE.")
@click.option(
    "--max-concurrency",
    "width",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many prompts may be in flight at once.",
)
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache.")
@profile_options
@click.pass_context
def command(
    ctx: click.Context,
    *,
    name: str,
    source: str,
    output: Path | None,
    resume: bool,
    force: bool,
    width: int,
    no_cache: bool,
    choose: Choose,
) -> None:
    """Send every line of INPUT to an LM, many at once, and write a line for each.

    A line of INPUT is JSON: a prompt ("…"), a list of messages, or an object with `prompt` or
    `messages` and settings for it alone ({"prompt": "…", "temperature": 1}). With `-`, standard
    input is read. Every line is checked before anything is sent.

    A line of the output is an object with `index` (from 0), `text` and the rest of the answer, or
    with `index` and `error`. A failed line does not affect the others; the exit code is 3 then.
    `fingerprint` and `asked` identify the request. With `--resume`, an answer is kept if a line of
    INPUT has the same request, whatever its number. Answers to different settings are never mixed.
    """
    _check_output(source, output, resume=resume, force=force)
    compiled = choose(one_lm=True).compiled
    from lmconf.cli import json_lines as jsonl
    from lmconf.cli.batch_output import KeptRows, keep_aside, read_kept_rows
    from lmconf.cli.entry import Stopped
    from lmconf.cli.terminal import SoleWriter
    from lmconf.runtime import LM, describe_items

    lines, faults = jsonl.read(source)
    with LM.of(compiled) as lm:
        asked = _check_lines(lm, lines, faults, {"cache": False} if no_cache else {})
        jsonl.refuse_lines(source, faults)
        steering = describe_items(lm, asked)
        sole = SoleWriter(output) if output else None
        with sole or nullcontext():
            kept = KeptRows({}, {}, ())
            if output is not None and output.stat().st_size:
                # Another may have written it since this began.
                _check_output(source, output, resume=resume, force=force)
            if resume and output:
                kept = read_kept_rows(output, source, lines, steering)
            missing = [index for index in range(len(lines)) if index not in kept.answers]
            launch = compiled.spec.launch_kwargs
            if missing and launch is not None and launch.auto != "manual":
                # Here and not by the first call: a thread that starts it could not be interrupted.
                lm.launch()
            aside = keep_aside(output, kept.others) if output and kept.others else None
            writer: Writer = jsonl.OrderedWriter()
            if output is not None and sole is not None:
                writer = jsonl.FileWriter(output, {**kept.errors, **kept.answers})
                sole.renew()
            run = _SentLines(
                lm,
                lines,
                asked=asked,
                steering=steering,
                writer=writer,
                missing=missing,
                failed_before=kept.errors.keys(),
            )
            try:
                run_on_loop(run.send(width))
            except (KeyboardInterrupt, Stopped):
                if output is not None:
                    tell(_how_to_go_on(ctx, output, len(kept.answers) + run.answered))
                raise
            finally:
                writer.finish()
    tell(run.summary(output, len(kept.answers)))
    if aside is not None:
        tell(
            f"{len(kept.others):,} of its rows no longer match a line of {source}: moved to {aside}"
        )
    if run.failed:
        ctx.exit(run.code)


def _check_output(source: str, output: Path | None, *, resume: bool, force: bool) -> None:
    """See that no file is written that is not to be.

    Raises:
        click.UsageError: the options do not fit each other, or FILE is there already.
    """
    if output is None:
        if resume or force:
            option = "--resume" if resume else "--force"
            raise click.UsageError(f"{option} has no meaning without -o FILE.")
        return
    if resume and force:
        raise click.UsageError("--resume adds to FILE, --force replaces it: use one of them.")
    if str(output) == "-":
        raise click.UsageError("leave -o out to print the answers.")
    if not output.exists():
        return
    if not output.is_file():
        raise click.UsageError(
            f"{output} is not a regular file: leave -o out to print the answers."
        )
    if _is_input(output, source):
        raise click.UsageError(f"{output} is the input.")
    if not resume and not force:
        raise click.UsageError(
            f"{output} already exists: --resume adds the missing answers, --force replaces it."
        )


def _is_input(output: Path, source: str) -> bool:
    if source != "-":
        return Path(source).exists() and output.samefile(source)
    try:
        piped = os.fstat(sys.stdin.fileno())
    except (OSError, ValueError):  # there is none
        return False
    return stat.S_ISREG(piped.st_mode) and os.path.samestat(piped, output.stat())


def _how_to_go_on(ctx: click.Context, output: Path, answers: int) -> str:
    """Return what is told of a batch that was stopped: what is kept, and how it goes on."""
    words = ["lmconf", "batch", ctx.params["name"], ctx.params["source"], "-o", str(output)]
    if ctx.params["width"] != 16:
        words += ["--max-concurrency", str(ctx.params["width"])]
    words += ["--no-cache"] if ctx.params["no_cache"] else []
    for option, values in (
        ("--set", ctx.params["sets"]),
        ("--var", ctx.params["variables"]),
        ("--allow-import", ctx.params["allow_imports"]),
    ):
        words += [word for value in values for word in (option, value)]
    kept = "1 answer is" if answers == 1 else f"{answers:,} answers are"
    return fit(
        f"stopped: {kept} kept in {output}; continue with: {shlex.join([*words, '--resume'])}"
    )


def _check_lines(
    lm: LM, lines: Sequence[InputLine], faults: dict[int, str], settings: Mapping[str, Any]
) -> list[CheckedItem]:
    """Return what `lines` ask of `lm`; what is wrong with a line is added to `faults`."""
    from lmconf.runtime import CheckedItem, examine_items

    found = examine_items(lm, [line.item for line in lines], settings)
    wrong = {line.number: each for line, each in zip(lines, found, strict=True)}
    faults.update({number: fit(each) for number, each in wrong.items() if isinstance(each, str)})
    return [each for each in found if isinstance(each, CheckedItem)]


class _SentLines:
    """The lines that are sent, and what came of them."""

    def __init__(
        self,
        lm: LM,
        lines: Sequence[InputLine],
        *,
        asked: Sequence[CheckedItem],
        steering: Sequence[Mapping[str, Any]],
        writer: Writer,
        missing: Sequence[int],
        failed_before: Collection[int],
    ) -> None:
        self._lm = lm
        self._lines = lines
        self._asked = asked
        self._steering = steering
        self._failed_before = failed_before
        self._writer = writer
        self._missing = missing
        self._ended: set[int] = set()
        self._cut = 0
        self.failed: dict[int, Exception] = {}

    async def send(self, width: int) -> None:
        """Send what is missing, never more than `width` at once, and write what comes."""
        from lmconf.runtime import BatchRun, TruncatedWarning, progress_reporter

        items = {index: self._asked[index] for index in self._missing}
        with progress_reporter(True) as tell_progress:
            warnings.simplefilter("ignore", TruncatedWarning)  # the summary counts them
            await BatchRun(self._lm, items, self._note, tell_progress).arun(width)

    @property
    def answered(self) -> int:
        """How many lines have got an answer."""
        return len(self._ended) - len(self.failed)

    @property
    def code(self) -> int:
        """The exit code, where lines have failed."""
        from lmconf.errors import LaunchError

        final = any(isinstance(error, LaunchError) for error in self.failed.values())
        return LAUNCH_FAILED if final else CALL_FAILED

    def _note(self, index: int, found: Answer | Exception) -> None:
        from lmconf.cli.batch_output import fingerprint
        from lmconf.cli.json_lines import outcome_row

        line, asked = self._lines[index], self._steering[index]
        # What was not sent says less than the error of an earlier run.
        if not (isinstance(found, NotSent) and index in self._failed_before):
            mark = fingerprint(line.digest, asked)
            self._writer.put(index, outcome_row(index, line, asked, mark, found))
        self._ended.add(index)
        if isinstance(found, Exception):
            self.failed[index] = found
        elif found.finish_reason == "length":
            self._cut += 1

    def summary(self, output: Path | None, kept: int) -> str:
        """Return what is told at the end: how many were answered, and the first that failed."""
        from lmconf.runtime import describe_error

        facts = [f"{self.answered:,} answered"]
        if self._cut:
            facts[0] += f" ({self._cut:,} truncated by `max_tokens`)"
        if kept:
            facts.append(f"{kept:,} there already")
        if self.failed:
            facts.append(f"{len(self.failed):,} failed")
        head = f"wrote {output}: {', '.join(facts)}" if output else ", ".join(facts)
        shown = [
            f"  line {self._lines[index].number}: {fit(describe_error(self.failed[index]))}"
            for index in sorted(self.failed)[:3]
        ]
        if len(self.failed) > len(shown):
            shown.append(f"  and {len(self.failed) - len(shown):,} more")
        return "\n".join([head, *shown])
