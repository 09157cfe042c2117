"""What can happen to one call, worked out from specs alone: its attempts, its waits, its cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from lmconf.providers.catalogue import PROVIDERS, origin, provider_of
from lmconf.providers.prices import rates
from lmconf.retries.origins import COST
from lmconf.retries.policy import longest_delays
from lmconf.retries.specs import BUDGET
from lmconf.secrets.references import Env
from lmconf.spec.compiled import CompiledLM, compiled_fallback
from lmconf.spec.lm import LMSpec, SoleLMSpec
from lmconf.spec.policies import Pricing
from lmconf.system.durations import format_duration

__all__ = ["CallForecast", "ForecastStep", "LMForecast", "forecast_call"]


class ForecastStep(Struct, frozen=True, kw_only=True):
    """One thing that may happen, if everything before it fails.

    It takes `most` seconds at the longest and begins `latest` seconds after the call did, if all
    that comes before takes as long as it may. It is `reached` if that is before the deadline;
    what is not is reached where earlier attempts fail sooner.
    """

    kind: Literal["start", "attempt", "wait"]
    number: int
    of: int
    most: float
    latest: float
    reached: bool


class LMForecast(Struct, frozen=True, kw_only=True):
    """One LM that a call may ask, and what may happen there.

    `dollars` is the most that one attempt may cost, None where that is not known: `why` says so.
    """

    lm: str
    model: str
    server: str
    looks: tuple[str, ...]
    steps: tuple[ForecastStep, ...]
    notes: tuple[str, ...]
    dollars: float | None
    why: str = ""

    @property
    def attempts(self) -> int:
        """How many attempts there may be."""
        return sum(step.kind == "attempt" for step in self.steps)


class CallForecast(Struct, frozen=True, kw_only=True):
    """What can happen to one call.

    `seconds` is the longest that it may take and `dollars` the most that it may cost, if every
    attempt is billed in full; None where that is not known. `extends` says that it may take until
    the deadline where a server asks for longer waits, or a limit holds it up.
    """

    lm: str
    deadline: float
    after: tuple[str, ...]
    asked: tuple[LMForecast, ...]
    seconds: float
    extends: bool
    attempts: int
    prompt_tokens: int
    dollars: float | None


def forecast_call(compiled: CompiledLM, prompt_tokens: int) -> CallForecast:
    """Return what can happen to a call to the LM of `compiled` with a prompt of so many tokens."""
    spec = compiled.spec
    lms = [compiled, *(compiled_fallback(compiled, index) for index in range(len(spec.fallbacks)))]
    begun = 0.0
    asked = []
    for index, each in enumerate(lms):
        steps = tuple(_steps(each.spec, begun, spec.deadline))
        if steps:
            begun = steps[-1].latest + steps[-1].most
        asked.append(_forecast_lm(each, steps, prompt_tokens, guarded=index < len(lms) - 1))
    costs = [lm.dollars * lm.attempts for lm in asked if lm.dollars is not None]
    return CallForecast(
        lm=compiled.name,
        deadline=spec.deadline,
        after=spec.fallback_on,
        asked=tuple(asked),
        seconds=min(begun, spec.deadline),
        extends=begun < spec.deadline and any(_may_wait_longer(each.spec) for each in lms),
        attempts=sum(lm.attempts for lm in asked),
        prompt_tokens=prompt_tokens,
        dollars=sum(costs) if len(costs) == len(asked) else None,
    )


def _may_wait_longer(spec: LMSpec) -> bool:
    asked = spec.num_retries > 0 and spec.retry.respect_retry_after
    return asked or spec.limits is not None


def _steps(spec: LMSpec, begun: float, deadline: float) -> Iterator[ForecastStep]:
    latest = begun

    def step(kind: Literal["start", "attempt", "wait"], number: int, most: float) -> ForecastStep:
        nonlocal latest
        made = ForecastStep(
            kind=kind, number=number, of=of, most=most, latest=latest, reached=latest < deadline
        )
        latest += most
        return made

    of = spec.num_retries + 1
    if spec.launch_kwargs is not None:
        yield step("start", 1, spec.launch_kwargs.ready.timeout)
    for number, delay in enumerate(longest_delays(spec.retry, spec.num_retries), 1):
        yield step("attempt", number, spec.timeout.total)
        yield step("wait", number, delay)
    yield step("attempt", of, spec.timeout.total)


def _forecast_lm(
    compiled: CompiledLM, steps: tuple[ForecastStep, ...], prompt_tokens: int, *, guarded: bool
) -> LMForecast:
    spec = compiled.spec
    dollars, why = _dollars(spec, prompt_tokens)
    return LMForecast(
        lm=compiled.name,
        model=spec.model,
        server=_server(spec),
        looks=tuple(_stores_looked_in(spec)),
        steps=steps,
        notes=(*_notes(spec, guarded=guarded), *_budgets(compiled)),
        dollars=dollars,
        why=why,
    )


def _server(spec: LMSpec) -> str:
    """Return where requests go; what the environment says is named, not read."""
    if spec.pool:
        members = [item for item in spec.pool if isinstance(item, SoleLMSpec)]
        return f"a pool of {len(members)}: " + ", ".join(member.model for member in members)
    if spec.launch_kwargs is not None:
        return "a server of its own"
    base = spec.api_base
    if isinstance(base, str):
        return origin(base)
    provider = PROVIDERS.get(provider_of(spec.model)[0])
    if base is None:
        return origin(provider.base) if provider is not None and provider.base else "its provider"
    return f"the address in ${base.name}" if isinstance(base, Env) else "an address given elsewhere"


def _stores_looked_in(spec: LMSpec) -> Iterator[str]:
    """Yield the stores in which an answer is looked for, near to far."""
    store = spec.cache.store
    if spec.cache.mode in ("disabled", "refresh") or isinstance(store, str):
        return
    if spec.cache_in_memory and store.backend != "memory":
        yield "memory"
    yield store.backend


def _notes(spec: LMSpec, *, guarded: bool) -> Iterator[str]:
    retry = spec.retry
    if spec.pool and spec.num_retries:
        yield "tries another member at once if one fails; waits after all have failed"
    if spec.num_retries:
        yield f"tries again after {', '.join(retry.when) or 'nothing'}"
        if retry.respect_retry_after:
            yield "waits longer if the server requests it, within the deadline"
        if retry.budget is not False:
            budget = BUDGET if retry.budget is True else retry.budget
            yield (
                f"all calls to this server share a retry budget of {budget}: {budget // COST}"
                " attempts in an outage"
            )
    if guarded and retry.breaker.after:
        yield (
            f"after {retry.breaker.after} failures in a row the circuit breaker opens for"
            f" {format_duration(retry.breaker.rest)}"
        )
    if spec.limits is not None:
        yield "may wait for its turn under `limits` before each attempt, within the deadline"


def _budgets(compiled: CompiledLM) -> Iterator[str]:
    """Yield what each budget that the LM is charged to lets through."""
    whole = compiled.profile_budget
    for whose, budget in (
        ("its", compiled.spec.budget),
        ("the profile's", None if whole is None else whole[1]),
    ):
        if budget is not None:
            dollars = () if budget.cost_usd is None else (f"${budget.cost_usd:g}",)
            tokens = () if budget.tokens is None else (f"{budget.tokens:,} tokens",)
            most = " and ".join((*dollars, *tokens))
            yield f"sends nothing that may exceed {whose} budget of {most} per {budget.per}"


def _dollars(spec: LMSpec, prompt_tokens: int) -> tuple[float | None, str]:
    if spec.max_tokens is None:
        return None, "`max_tokens` is null: the length of the answer is not limited"
    answer = spec.max_tokens * (spec.n or 1)
    pricing = spec.pricing
    if isinstance(pricing, Pricing):
        return (prompt_tokens * pricing.input + answer * pricing.output) / 1_000_000, ""
    provider, model = provider_of(spec.model)
    found = rates(provider, model, spec.base_model, prompt_tokens)
    if found is None:
        own = " (of zeros where it costs nothing)" if spec.launch_kwargs is not None else ""
        return None, f"no price is known: state `pricing`{own}"
    return prompt_tokens * found[0] + answer * found[1], ""
