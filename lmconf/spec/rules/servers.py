"""Rules of the server behind an LM: which kind it is, and whether it can answer for the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from lmconf import launchers, trainers
from lmconf.diagnostics.suggest import did_you_mean
from lmconf.launchers.rules import check_launch
from lmconf.providers.catalogue import PROVIDERS, provider_of
from lmconf.schema.check import Fault
from lmconf.spec.rules.fields import has_built_in_transport, is_launcher, is_trainer

__all__ = ["check_server"]

Data = Mapping[str, Any]


def check_server(data: Data) -> Iterator[Fault]:
    """Yield what is wrong with the server that an LM says it has, and with its `provider`."""
    provider = data.get("provider")
    if isinstance(provider, str) and not is_launcher(provider) and not is_trainer(provider):
        kinds = (*launchers.REGISTRY.names(), *trainers.REGISTRY.names())
        near = did_you_mean(provider, kinds)
        yield Fault(
            "unknown-value",
            ("provider",),
            f"`provider` cannot be `{provider}`",
            label=f"did you mean `{near}`?" if near else "",
            help=f"kinds of servers and trainers: {', '.join(dict.fromkeys(kinds))}",
        )
    server = data.get("launch_kwargs")
    if not isinstance(server, Mapping) or not server:
        return
    if "use" not in server and not is_launcher(provider):
        yield Fault(
            "missing-key",
            ("launch_kwargs",),
            "`launch_kwargs` does not state the kind of server",
            help=f"add `use: …` to it (one of {', '.join(launchers.REGISTRY.names())}), or `provider: …`",
            at_key=True,
        )
    for fault in check_launch(server, server.get("use", provider)):
        yield replace(fault, path=("launch_kwargs", *fault.path))
    yield from _check_server_is_used(data)
    if "api_base" in data:
        yield Fault(
            "contradiction",
            ("api_base",),
            "lmconf starts this LM's server and knows its address",
            help="leave `api_base` out, or `launch_kwargs` if the server is started elsewhere",
            at_key=True,
        )


def _check_server_is_used(data: Data) -> Iterator[Fault]:
    model = data.get("model")
    if not isinstance(model, str) or not has_built_in_transport(data):
        return
    provider, name = provider_of(model)
    if provider in PROVIDERS and not PROVIDERS[provider].launchable:
        yield Fault(
            "contradiction",
            ("launch_kwargs",),
            f"`{provider}` is a hosted service: lmconf cannot start a server for it",
            help=f"leave `launch_kwargs` out, or write `model: openai/{name}` for a server of"
            " one's own",
            at_key=True,
        )
