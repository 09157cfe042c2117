"""What a trainer is told of an LM: what is to be done, and how its provider is reached."""

from __future__ import annotations

from pathlib import Path

from lmconf.errors import TrainError
from lmconf.providers.catalogue import provider_of, record_of
from lmconf.runtime import base_address, make_connection, stated_fields
from lmconf.spec.compiled import CompiledLM
from lmconf.trainers.specs import TrainSpec
from lmconf.trainers.trainer_protocol import ApiAccess, Format, TrainingOrder

__all__ = ["access_of", "order_of"]


def order_of(compiled: CompiledLM, folder: Path, format: Format, rows: int) -> TrainingOrder:
    """Return what a trainer is to do for the LM `compiled`."""
    spec = compiled.spec
    full_name = spec.finetuning_model or spec.model
    provider, model = provider_of(full_name)
    launch = spec.launch_kwargs
    local = spec.finetuning_model is not None and (
        not provider or full_name.startswith((".", "/", "~"))
    )
    return TrainingOrder(
        id=folder.name,
        folder=folder,
        provider=provider or provider_of(spec.model)[0],
        model=full_name if local else model,
        spec=spec.train_kwargs or TrainSpec(),
        format=format,
        rows=rows,
        served_by=launch.use if launch is not None else None,
        served_weights=launch.weights if launch is not None else None,
        code_values=compiled.given,
    )


def access_of(compiled: CompiledLM) -> ApiAccess:
    """Return how the API of the LM's provider is reached now, every reference resolved.

    Raises:
        CallError: a reference leads nowhere.
        TrainError: no address is known.
    """
    spec = compiled.spec
    if spec.launch_kwargs is not None:
        # Its key is the launched server's, and no word says whose key is the provider's.
        raise TrainError(
            f"{compiled.name} has a server of its own: train an LM without `launch_kwargs`, whose"
            f" `api_key` is for the API of {provider_of(spec.model)[0]}"
        )
    base = base_address(spec, compiled)
    if base is None:
        raise TrainError(f"{compiled.name} has no address to train at: state `api_base`")
    connection = make_connection(spec, compiled, base, stated_fields(spec), [])
    provider = record_of(provider_of(spec.model)[0])
    azure = provider.azure and provider.trainer == "openai"
    version = connection.other.get("api_version")
    if azure and version is None:
        raise TrainError(f"{compiled.name}: training at Azure needs `api_version`")
    return ApiAccess(
        base=f"{base}/openai" if azure and not base.endswith("/openai") else base,
        key=connection.key or "",
        headers=connection.headers,
        organization=connection.organization,
        project=connection.project,
        api_version=version if azure else None,
        by_token=connection.by_azure_token,
        hidden=connection.hidden,
    )
