"""`lmconf batch`: a file of prompts to an LM, and a file of its answers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmconf.cli.command import command as make_command
from lmconf.cli.looping import run_on_loop
from lmconf.cli.options import (
    allow_import_option,
    name_argument,
    not_empty,
    set_option,
    var_option,
)
from lmconf.cli.running import CALL_FAILED, LAUNCH_FAILED
from lmconf.cli.terminal import fit, tell

if TYPE_CHECKING:
    from lmconf.cli.lines import Line, Writer
    from lmconf.runtime.answer import Answer
    from lmconf.runtime.batching import Asked
    from lmconf.runtime.lm import LM

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
    help="Write to FILE: each answer when it comes, and all in order at the end.",
)
@click.option("--resume", is_flag=True, help="Ask what FILE has no answer to yet, and add to it.")
@click.option("--force", is_flag=True, help="Replace a FILE that is there already.")
@click.option(
    "--max-concurrency",
    "width",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    metavar="N",
    help="How many prompts may be in flight at once.",
)
@click.option("--no-cache", is_flag=True, help="Ask anew, and keep nothing of the answers.")
@set_option()
@var_option()
@allow_import_option()
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
    sets: tuple[str, ...],
    variables: tuple[str, ...],
    allow_imports: tuple[str, ...],
) -> None:
    """Send every line of INPUT to an LM, many at once, and write a line for each.

    A line of INPUT is JSON: a prompt ("…"), a list of messages, or an object with `prompt` or
    `messages` and settings for it alone ({"prompt": "…", "temperature": 1}). With `-`, standard
    input is read. Every line is checked before anything is sent.

    A line of the output is an object with `index` (from 0), `text` and the rest of the answer, or
    with `index` and `error`: a line that fails loses none of the others. The exit code is 3 then.
    """
    _check_output(source, output, resume=resume, force=force)
    from lmconf.cli.choosing import choose, warn

    chosen = choose(name, sets=sets, variables=variables, allow_imports=allow_imports, one_lm=True)
    compiled = chosen.profile.lms[chosen.lm]
    warn(ctx, chosen.warnings)
    from lmconf.cli import lines as jsonl
    from lmconf.runtime.lm import LM

    lines, faults = jsonl.read(source)
    with LM.of(compiled) as lm:
        asked = _asked(lm, lines, faults, {"cache": False} if no_cache else {})
        jsonl.refuse(source, faults)
        kept = jsonl.kept(output, lines) if resume and output else {}
        missing = [index for index in range(len(lines)) if index not in kept]
        launch = compiled.spec.launch_kwargs
        if missing and launch is not None and launch.auto != "manual":
            # Here and not by the first call: a thread that starts it could not be interrupted.
            lm.launch()
        writer = jsonl.InOrder() if output is None else jsonl.InFile(output, kept)
        run = _Run(lm, lines, asked, writer, missing)
        try:
            run_on_loop(run.send(width))
        finally:
            writer.finish()
    tell(run.summary(output, len(kept)))
    if run.failed:
        from lmconf.errors import LaunchError

        final = any(isinstance(error, LaunchError) for error in run.failed.values())
        ctx.exit(LAUNCH_FAILED if final else CALL_FAILED)


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
        raise click.UsageError("--resume adds to FILE, --force replaces it: say one of them.")
    if not output.exists():
        return
    if source != "-" and Path(source).exists() and output.samefile(source):
        raise click.UsageError(f"{output} is the input.")
    if not resume and not force:
        raise click.UsageError(
            f"{output} is there already: --resume adds what it lacks, --force replaces it."
        )


def _asked(
    lm: LM, lines: Sequence[Line], faults: dict[int, str], settings: Mapping[str, Any]
) -> list[Asked]:
    """Return what `lines` ask of `lm`; what is wrong with a line is added to `faults`."""
    from lmconf.runtime.batching import Asked, examined

    found = examined(lm, [line.item for line in lines], settings)
    wrong = {line.number: each for line, each in zip(lines, found, strict=True)}
    faults.update({number: fit(each) for number, each in wrong.items() if isinstance(each, str)})
    return [each for each in found if isinstance(each, Asked)]


class _Run:
    """The lines that are sent, and what came of them."""

    def __init__(
        self,
        lm: LM,
        lines: Sequence[Line],
        asked: Sequence[Asked],
        writer: Writer,
        missing: Sequence[int],
    ) -> None:
        self._lm = lm
        self._lines = lines
        self._asked = asked
        self._writer = writer
        self._missing = missing
        self._final: tuple[int, Exception] | None = None
        self._ended: set[int] = set()
        self._cut = 0
        self.failed: dict[int, Exception] = {}

    async def send(self, width: int) -> None:
        """Send what is missing, never more than `width` at once, and write what comes."""
        from lmconf.runtime.answer import TruncatedWarning
        from lmconf.runtime.batching import FINAL, not_sent
        from lmconf.runtime.pooling import in_tasks
        from lmconf.runtime.progress import telling

        with telling(True) as tell_progress:

            def ended(place: int, found: Answer | Exception) -> None:
                index = self._missing[place]
                if isinstance(found, FINAL) and self._final is None:
                    self._final = (index, found)
                self._note(index, found)
                tell_progress(len(self._ended), len(self._missing))

            warnings.simplefilter("ignore", TruncatedWarning)  # the summary counts them
            await in_tasks(self._ask, len(self._missing), width, ended, FINAL)
        if self._final is not None:
            for index in self._missing:
                if index not in self._ended:
                    self._note(index, not_sent(self._lm.name, self._final))

    async def _ask(self, place: int) -> Answer:
        prompt, messages, settings = self._asked[self._missing[place]]
        return await self._lm.aask(prompt, messages, **settings)

    def _note(self, index: int, found: Answer | Exception) -> None:
        from lmconf.cli.lines import outcome

        self._writer.put(index, outcome(index, self._lines[index], found))
        self._ended.add(index)
        if isinstance(found, Exception):
            self.failed[index] = found
        elif found.finish_reason == "length":
            self._cut += 1

    def summary(self, output: Path | None, kept: int) -> str:
        """Return what is told at the end: how many were answered, and the first that failed."""
        from lmconf.runtime.batching import told

        facts = [f"{len(self._ended) - len(self.failed):,} answered"]
        if self._cut:
            facts[0] += f" ({self._cut:,} cut short by `max_tokens`)"
        if kept:
            facts.append(f"{kept:,} there already")
        if self.failed:
            facts.append(f"{len(self.failed):,} failed")
        head = f"wrote {output}: {', '.join(facts)}" if output else ", ".join(facts)
        shown = [
            f"  line {self._lines[index].number}: {fit(told(self.failed[index]))}"
            for index in sorted(self.failed)[:3]
        ]
        if len(self.failed) > len(shown):
            shown.append(f"  and {len(self.failed) - len(shown):,} more")
        return "\n".join([head, *shown])
