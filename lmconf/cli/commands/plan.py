"""`lmconf plan`: what can happen to one call, before any is made."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from lmconf.cli.app import command as make_command
from lmconf.cli.options import format_option, name_argument
from lmconf.cli.profile_options import Choose, profile_options
from lmconf.cli.terminal import say
from lmconf.runtime import CallForecast, ForecastStep, LMForecast
from lmconf.system.durations import format_duration

__all__ = ["command", "to_text"]


@make_command(
    "plan",
    (
        ("lmconf plan support:gpt", "attempts, waits, fallbacks, the worst case"),
        ("lmconf plan support:gpt --prompt-tokens 20000", "what a long prompt may cost"),
        ("lmconf plan support --set num_retries=2", "as it would be"),
        ("lmconf plan support --format json", "for programs"),
    ),
)
@name_argument(required=False)
@click.option(
    "--prompt-tokens",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="The length of the prompt to assume, in tokens.",
)
@format_option("text", "json", help="Output format.")
@profile_options
def command(
    *,
    name: str | None,
    prompt_tokens: int,
    form: str,
    choose: Choose,
) -> None:
    """Print what can happen to one call: every attempt, wait and fallback, and the worst case.

    Nothing is sent, started or imported. Costs are upper bounds: every attempt counts as billed,
    with a prompt of --prompt-tokens and an answer of `max_tokens`.
    """
    import msgspec

    from lmconf.runtime import forecast_call

    foreseen = forecast_call(choose(one_lm=True).compiled, prompt_tokens)
    if form == "json":
        say(json.dumps(msgspec.to_builtins(foreseen), indent=2, ensure_ascii=False))
    else:
        say(to_text(foreseen), newline=False)


def to_text(foreseen: CallForecast) -> str:
    """Return what is foreseen for a person to read."""
    lines: list[str] = []
    for index, lm in enumerate(foreseen.asked):
        if index:
            lines += ["", f"then, after {', '.join(foreseen.after) or 'no failure at all'}:"]
        lines += _describe_lm(lm)
    return "\n".join([*lines, "", *_worst(foreseen)]) + "\n"


def _describe_lm(forecast: LMForecast) -> Iterator[str]:
    model = "" if forecast.model == forecast.lm else f" ({forecast.model})"
    yield f"{forecast.lm}{model} at {forecast.server}"
    if forecast.looks:
        yield f"  looks in the cache: {', then '.join(forecast.looks)}"
    for step in forecast.steps:
        yield f"  {_what(step):<18} up to {format_duration(step.most):<8} {_when(step)}".rstrip()
    for note in forecast.notes:
        yield f"  - {note}"
    cost = (
        forecast.why if forecast.dollars is None else f"up to {_money(forecast.dollars)} an attempt"
    )
    yield f"  - {cost}"


def _what(step: ForecastStep) -> str:
    match step.kind:
        case "start":
            return "start its server"
        case "attempt":
            return f"attempt {step.number} of {step.of}"
        case "wait":
            return "wait"


def _when(step: ForecastStep) -> str:
    if step.kind == "wait":
        return ""
    if step.reached:
        return f"begins within {format_duration(step.latest)}"
    return "only if earlier attempts fail sooner: the deadline may pass first"


def _worst(foreseen: CallForecast) -> Iterator[str]:
    ends = " (the deadline)" if foreseen.seconds >= foreseen.deadline else ""
    yield "worst case"
    yield f"  time      {format_duration(foreseen.seconds)}{ends}"
    if foreseen.extends:
        yield f"            up to {format_duration(foreseen.deadline)} where servers or limits ask to wait"
    yield f"  attempts  {foreseen.attempts}"
    if foreseen.dollars is None:
        yield "  cost      not known"
    else:
        yield (
            f"  cost      {_money(foreseen.dollars)}, for {foreseen.prompt_tokens} tokens of"
            " prompt and every attempt billed in full"
        )


def _money(dollars: float) -> str:
    return f"${dollars:.4f}" if dollars >= 0.0001 or not dollars else f"${dollars:.2g}"
