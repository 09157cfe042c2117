"""The providers of models: a record for each, families of models, prices, routes."""

from lmconf.providers.provider import ApiRules, Client, Provider
from lmconf.providers.registry import register_provider

__all__ = ["ApiRules", "Client", "Provider", "register_provider"]
