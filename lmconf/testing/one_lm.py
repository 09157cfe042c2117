"""Settings of one LM that obey the rules between its fields, by construction."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from lmconf.caches.specs import STORE, CachePolicy
from lmconf.callbacks.specs import CALLBACK
from lmconf.launchers.rules import field_applies, flags_of
from lmconf.launchers.specs import LaunchSpec
from lmconf.providers.catalogue import provider_of, record_of
from lmconf.providers.families import family_of, thinking_budget
from lmconf.providers.routes import MODEL_PARAMETERS, NOT_IN_RESPONSES, is_foreign
from lmconf.schema.declaration import fields
from lmconf.secrets.secret_names import is_secret_name
from lmconf.spec.build import make_from_stated
from lmconf.spec.compiled import CompiledLM
from lmconf.spec.lm import LM, LMSpec, SoleLMSpec
from lmconf.spec.policies import Budget
from lmconf.system.durations import parse_duration
from lmconf.testing.atoms import references, texts
from lmconf.testing.blocks import addresses, block, names, values, with_empty_blocks
from lmconf.testing.document_data import to_document_data
from lmconf.trainers.specs import TrainSpec

__all__ = ["Known", "compiled_lms", "lm_data", "lms", "pool_data", "settings", "ways"]

_HOSTED = [
    "openai/gpt-4o-mini",
    "anthropic/claude-3-opus-20240229",
    "openai/gpt-5-chat-latest",
    "ollama_chat/llama3.2",
    "bedrock/anthropic.claude-v2",
    "sagemaker/my-endpoint",
    "openai/{{ x }}",
    "groq/Null",
]
_OWN_ADDRESS = ["azure/prod", "databricks/dbrx", "litellm_proxy/x"]
_REASONING = ["openai/o3-mini", "openai/gpt-5", "azure/o1-2024-12-17"]
_UNKNOWN = ["replicate/meta/llama", "nebius/x"]
_LAUNCHED = ["llama_cpp", "sglang", "vllm", "transformers", "ollama"]

# What rules tie together is drawn by hand below; every other field is drawn from its shape.
_TIED = frozenset(
    "model base_model provider temperature max_tokens logprobs top_logprobs api_key api_base"
    " allow_http api_type azure_ad_token launch_kwargs transport cache callbacks fallbacks"
    " budget pool pick weights train_kwargs".split()
)


class Known(Struct, frozen=True):
    """The names that an LM of a profile may refer to."""

    stores: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    lms: tuple[str, ...] = ()


ALONE = Known()
"""What an LM by itself may refer to: nothing."""


@st.composite
def lm_data(draw: st.DrawFn, known: Known = ALONE, *, sole: bool = False) -> dict[str, Any]:
    """Draw valid plain data of an LM, with references as objects.

    Args:
        draw: Hypothesis passes it.
        known: the names that the profile around it defines.
        sole: whether the LM is a document by itself, which has no fallbacks.

    Returns:
        The fields of the LM.
    """
    declared = fields(SoleLMSpec if sole else LMSpec)
    free = [name for name in declared if name not in _TIED]
    chosen = draw(st.lists(st.sampled_from(free), unique=True, max_size=8))
    data = draw(_model())
    data |= draw(_probabilities())
    data |= {name: draw(_field(name)) for name in chosen}
    parts = {
        "cache": st.booleans() | _blocks_with_store(CachePolicy, known),
        "callbacks": _callbacks(known),
        "budget": budgets(known),
        "train_kwargs": _training(),
    }
    if not sole:
        parts["fallbacks"] = _fallbacks(known)
    for name in draw(st.lists(st.sampled_from(sorted(parts)), unique=True, max_size=2)):
        data[name] = draw(parts[name])
    if "cost_usd" in data.get("budget", {}) and "pricing" not in data:
        data["pricing"] = {"input": 1, "output": 2.5}
    data = _with_valid_times(_in_body(_answerable(_trainable(_thinking(data)))))
    # Key order is the document's: the rules must not depend on it.
    order = draw(st.permutations(list(data))) if draw(st.booleans()) else list(data)
    return {name: data[name] for name in order}


def budgets(known: Known) -> st.SearchStrategy[dict[str, Any]]:
    """Return budgets that say what they limit, and for which time if others are to know of it."""

    def whole(budget: dict[str, Any]) -> dict[str, Any]:
        if not {"cost_usd", "tokens"} & budget.keys():
            budget = {**budget, "tokens": 1000}
        if "store" in budget and budget.get("per", "run") == "run":
            budget = {**budget, "per": "day"}
        return budget

    return _blocks_with_store(Budget, known).map(whole)


def _thinking(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` so that a Claude that thinks is left its own temperature and limit."""
    family = family_of(data["model"], data.get("base_model"))
    if not family.claude or thinking_budget(data) is None:
        return data
    return {name: data[name] for name in data if name not in ("temperature", "max_tokens")}


def _trainable(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` so that what is trained is no model of another provider."""
    trained = data.get("finetuning_model")
    if not isinstance(trained, str) or provider_of(trained)[0] in (
        "",
        provider_of(data["model"])[0],
    ):
        return data
    return {**data, "finetuning_model": provider_of(trained)[1] or "off"}


def _answerable(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` so that its model's provider has the API that it asks for."""
    if data.get("model_type") != "responses" or "transport" in data:
        return data
    if record_of(provider_of(data["model"])[0]).responses is None:
        return {**data, "model_type": "chat"}
    left_out = NOT_IN_RESPONSES.keys() | {"api_version"}
    kept = {name: value for name, value in data.items() if name not in left_out}
    return {**kept, **dict.fromkeys(NOT_IN_RESPONSES)}  # null, where they would be inherited


def _in_body(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` with an `extra` that its model's provider can be sent."""
    provider = provider_of(data["model"])[0]
    foreign = is_foreign(provider, data.get("model_type", "chat"))
    if not foreign or not data.get("extra") or "transport" in data:
        return data
    return {
        **data,
        "extra": dict(zip(sorted(MODEL_PARAMETERS), data["extra"].values(), strict=False)),
    }


def _with_valid_times(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` so that its times are some, and its deadline leaves the time for one attempt."""
    data = dict(data)
    timeout = data.get("timeout")
    if isinstance(timeout, Mapping):
        timeout = data["timeout"] = {phase: _some_time(time) for phase, time in timeout.items()}
        total = timeout.get("total")
    elif timeout is not None:
        total = data["timeout"] = _some_time(timeout)
    else:
        total = None
    if "deadline" in data:
        least = _some_time(data["deadline"])
        if total is not None and parse_duration(total) > parse_duration(least):
            least = parse_duration(total)
        data["deadline"] = least
    retry = data.get("retry", {})
    if parse_duration(retry.get("initial", 0)) > parse_duration(retry.get("max", 20)):
        data["retry"] = {**retry, "max": retry["initial"]}
    return data


def _some_time(written: str | float) -> str | float:
    return written if parse_duration(written) else 1


def pool_data() -> st.SearchStrategy[dict[str, Any]]:
    """Return the plain data of a pool whose members stand in place."""
    members = st.lists(lm_data(sole=True), min_size=1, max_size=3)
    return members.flatmap(lambda pool: ways(len(pool)).map(lambda way: {"pool": pool, **way}))


def ways(count: int) -> st.SearchStrategy[dict[str, Any]]:
    """Return what is said of how one of `count` members is picked, and of calls to their pool."""
    weights = st.lists(st.sampled_from([1, 2.5, 3]), min_size=count, max_size=count)
    pick = st.one_of(
        _some(pick=st.sampled_from(["least_busy", "round_robin"])),
        _with({"pick": st.just("weighted"), "weights": weights}),
    )
    return st.tuples(
        pick, _some(endpoint=texts(), num_retries=st.integers(0, 9), cache=st.booleans())
    ).map(lambda parts: {**parts[0], **parts[1]})


def settings() -> st.SearchStrategy[dict[str, Any]]:
    """Return the settings of one LM, now and then a pool, as a document spells them.

    Blocks that say nothing are left out, or stand there and are empty.
    """
    drawn = st.one_of(lm_data(), lm_data(), lm_data(), pool_data()).map(to_document_data)
    return st.one_of(drawn, drawn.flatmap(lambda said: with_empty_blocks(LM, said)))


def compiled_lms() -> st.SearchStrategy[CompiledLM]:
    """Return LMs, checked and built, with what was said of them."""
    return settings().map(make_from_stated)


def lms() -> st.SearchStrategy[LMSpec]:
    """Return the specs of LMs."""
    return compiled_lms().map(lambda compiled: compiled.spec)


@functools.cache
def _model() -> st.SearchStrategy[dict[str, Any]]:
    """Return a model with what must be said beside it: a key, an address, a server."""
    return st.one_of(
        _hosted_lms(),
        _reasoning(),
        _addressed_lms(),
        _launched_lms(),
        _command_servers(),
        _custom_transports(),
    )


def _some(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


def _with(
    required: dict[str, st.SearchStrategy[Any]], *others: st.SearchStrategy[dict[str, Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Return mappings with `required` and whatever `others` draw."""
    return st.tuples(st.fixed_dictionaries(required), *others).map(
        lambda parts: {key: value for part in parts for key, value in part.items()}
    )


@functools.cache
def _ordinary() -> st.SearchStrategy[dict[str, Any]]:
    declared = fields(LMSpec)
    return _some(
        temperature=values(declared["temperature"].shape),
        max_tokens=values(declared["max_tokens"].shape),
        base_model=st.sampled_from(["openai/gpt-4o", "off"]),
        provider=st.sampled_from(["openai", "databricks", "local"]),
        allow_http=st.booleans(),
    )


_HEADERS = st.dictionaries(
    st.sampled_from(["X-Team", "off", "x-1", "Max_Tokens"]),
    st.one_of(texts(empty=True).filter(str.isprintable), references()),
    max_size=3,
) | st.one_of(
    st.dictionaries(
        st.sampled_from(["X-Api-Key", "Authorization"]), references(secret=True), max_size=2
    ),
    st.dictionaries(st.sampled_from(["$a", "$env", "x"]), st.sampled_from(["", "off"]), max_size=2),
)


_TOOLS = st.one_of(
    st.builds(
        lambda name, more: {"type": "function", "function": {"name": name, **more}},
        names(),
        st.sampled_from([{}, {"description": "{{ x }}"}, {"parameters": {"type": "object"}}]),
    ),
    st.builds(lambda kind: {"type": kind}, st.sampled_from(["web_search", "custom"])),
)


def _name_of_tool(tool: dict[str, Any]) -> str:
    name: str = tool.get("function", tool).get("name", tool["type"])
    return name


@functools.cache
def _field(name: str) -> st.SearchStrategy[Any]:
    """Return values of a field that a call can send."""
    if name == "headers":
        return _HEADERS
    if name == "tools":
        return st.none() | st.lists(_TOOLS, max_size=2, unique_by=_name_of_tool)
    if name == "tool_choice":
        return st.none() | st.sampled_from(["auto", "none", "required", {"type": "web_search"}])
    found = values(fields(LMSpec)[name].shape)
    if fields(LMSpec)[name].role != "connection":
        return found
    return found.filter(lambda value: not isinstance(value, str) or value.isprintable())


@functools.cache
def _key() -> st.SearchStrategy[Any]:
    return values(fields(LMSpec)["api_key"].shape)


@functools.cache
def _hosted_lms() -> st.SearchStrategy[dict[str, Any]]:
    return st.one_of(
        _with({"model": st.sampled_from(_HOSTED)}, _ordinary(), _some(api_key=_key())),
        _with({"model": st.sampled_from(_OWN_ADDRESS)}, _ordinary(), _some(api_key=_key())),
        _with(
            {"model": st.just("azure/prod"), "azure_ad_token": _key()},
            _ordinary(),
            _some(api_base=references(), api_type=st.sampled_from(["azure", "azure_ad"])),
        ),
        _with({"model": st.sampled_from(_UNKNOWN), "api_key": _key()}, _ordinary()),
    )


@functools.cache
def _reasoning() -> st.SearchStrategy[dict[str, Any]]:
    rules = _some(
        temperature=st.sampled_from([1, 1.0, None]), max_tokens=st.sampled_from([None, 5000, 10**6])
    )
    return st.one_of(
        _with({"model": st.sampled_from(_REASONING)}, rules),
        _with({"model": st.just("azure/x"), "base_model": st.sampled_from(_REASONING)}, rules),
    )


@functools.cache
def _addressed_lms() -> st.SearchStrategy[dict[str, Any]]:
    base = st.one_of(addresses(loopback=True), addresses(loopback=False), references())
    away = st.sampled_from(["http://llm.acme.example/v1", "http://10.0.0.7:8000"])
    model = st.sampled_from([*_HOSTED, *_UNKNOWN])
    required = {"model": model, "api_key": _key()}
    return st.one_of(
        _with({**required, "api_base": base}, _ordinary()),
        _with({**required, "api_base": away}, _ordinary()).map(lambda d: {**d, "allow_http": True}),
    )


@functools.cache
def _launched_lms() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(_LAUNCHED).flatmap(_launched_by)


@functools.cache
def _launched_by(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    drawn = block(LaunchSpec, use=st.just(kind), args=_arguments(kind))
    server = drawn.map(
        lambda data: {name: data[name] for name in data if field_applies(name, kind)}
    )
    unsaid = server.map(lambda data: {name: data[name] for name in data if name != "use"})
    required = {"model": st.just("openai/meta-llama/Llama-3")}
    return st.one_of(
        _with({**required, "launch_kwargs": server}),
        _with({**required, "provider": st.just(kind)}, _some(launch_kwargs=unsaid, api_key=_key())),
    )


@functools.cache
def _arguments(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    if not field_applies("args", kind):
        return st.just({})
    known = {name: takes for name, takes in flags_of(kind).items() if not is_secret_name(name)}
    number, text = st.integers(-(2**31), 2**31), texts()
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "switch": st.booleans(),
        "toggle": st.booleans(),
        "integer": number,
        "number": st.one_of(number, st.floats(-1e6, 1e6)),
        "list": st.one_of(text, st.lists(text, max_size=2)),
        "value": st.one_of(text, number, st.dictionaries(st.just("mode"), number, max_size=1)),
    }
    return st.lists(st.sampled_from(sorted(known)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: drawn[known[name]] for name in names})
    )


@functools.cache
def _words() -> st.SearchStrategy[list[str]]:
    """Return what a program may be given: none of its words holds a NUL."""
    return st.lists(texts().map(lambda word: word.replace("\0", " ")), min_size=1, max_size=3)


@functools.cache
def _command_servers() -> st.SearchStrategy[dict[str, Any]]:
    words = _words().map(lambda said: [*said, "{port}"])
    drawn = block(LaunchSpec, use=st.just("command"), command=words)
    server = drawn.map(
        lambda data: {name: data[name] for name in data if field_applies(name, "command")}
    )
    return _with({"model": st.just("openai/house"), "launch_kwargs": server})


@functools.cache
def _custom_transports() -> st.SearchStrategy[dict[str, Any]]:
    declared = fields(LMSpec)["transport"].shape
    named = values(declared).map(lambda data: {**data, "use": "acme"})
    return _with({"model": texts(), "transport": named}, _some(api_key=_key()))


@functools.cache
def _probabilities() -> st.SearchStrategy[dict[str, Any]]:
    declared = fields(LMSpec)
    return st.one_of(
        st.just({}),
        _some(logprobs=values(declared["logprobs"].shape), top_logprobs=st.none()),
        _with(
            {
                "logprobs": st.one_of(st.just(True), st.integers(1, 20)),
                "top_logprobs": values(declared["top_logprobs"].shape),
            }
        ),
    )


@functools.cache
def _blocks_with_store(type_: type[Struct], known: Known) -> st.SearchStrategy[Any]:
    """Return blocks of `type_`, whose `store` is a known name, a block, or left out."""
    store = values(STORE)
    if known.stores:
        store = st.sampled_from(known.stores) | store
    without = block(type_).map(lambda data: {k: data[k] for k in data if k != "store"})
    return block(type_, store=store) | without


@functools.cache
def _training() -> st.SearchStrategy[Any]:
    """Return what is said of a training: the kind, and what belongs to it."""
    commanded = block(TrainSpec, use=st.just("command"), command=_words()).map(_belonging)
    return st.one_of(_training_by("openai"), _training_by("local"), commanded)


def _training_by(kind: str) -> st.SearchStrategy[Any]:
    return block(TrainSpec, use=st.just(kind)).map(_belonging)


def _belonging(data: dict[str, Any]) -> dict[str, Any]:
    """Return `data` without what is for trainers of other kinds, or said twice."""
    declared, use = fields(TrainSpec), data["use"]
    kept = {k: v for k, v in data.items() if use in (declared[k].kinds or (use,))}
    if "max_steps" in kept:
        kept.pop("n_epochs", None)
    return kept


@functools.cache
def _callbacks(known: Known) -> st.SearchStrategy[Any]:
    item = values(CALLBACK)
    if known.callbacks:
        item = st.one_of(st.sampled_from(known.callbacks), item)
    return st.one_of(item, st.lists(item, max_size=3))


@functools.cache
def _fallbacks(known: Known) -> st.SearchStrategy[Any]:
    item: st.SearchStrategy[Any] = lm_data(Known(known.stores, known.callbacks), sole=True)
    if known.lms:
        item = st.one_of(st.sampled_from(known.lms), item)
    alike = st.one_of(item, st.lists(item, max_size=2))
    return alike.filter(lambda found: not isinstance(found, list) or not _twice(found))


def _twice(listed: list[Any]) -> bool:
    names = [item for item in listed if isinstance(item, str)]
    return len(names) > len(set(names))
