"""The layers of a call, from the outside in.

    record( fall_back( cache( single-flight( budget( retry( limits( send )))))))

is the whole order; a layer that is added finds its place in `LAYERS`, and has a file of its own.
Each layer knows the call and the next layer, and nothing of the others. Those that an LM has no
use for are left out of its calls.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lmconf.runtime.call import Call, Layer, Next, Steps
from lmconf.runtime.layers.budget import enforce_budgets
from lmconf.runtime.layers.cache import use_cache
from lmconf.runtime.layers.fallback import fall_back
from lmconf.runtime.layers.limit import apply_limits
from lmconf.runtime.layers.pool import pick_member
from lmconf.runtime.layers.record import record_call
from lmconf.runtime.layers.retry import retry_failures
from lmconf.runtime.layers.send import send_request
from lmconf.runtime.layers.single_flight import join

if TYPE_CHECKING:
    from lmconf.runtime.resources import LMResources

__all__ = ["LAYERS", "compose", "compose_for"]

LAYERS: tuple[Layer, ...] = (
    record_call,
    fall_back,
    use_cache,
    join,
    enforce_budgets,
    retry_failures,
    pick_member,
    apply_limits,
    send_request,
)
"""The layers of a call, from the outside in."""

_USES: Mapping[Layer, Callable[[LMResources], bool]] = {
    fall_back: lambda parts: bool(parts.others),
    enforce_budgets: lambda parts: bool(parts.charges),
    pick_member: lambda parts: parts.members is not None,
    apply_limits: lambda parts: parts.gating is not None,
}
"""The layers that not every LM uses, and which do."""


def compose(layers: Sequence[Layer] = LAYERS) -> Next:
    """Return the layers as one: what it yields is for a driver to carry out."""
    following: Next = _innermost
    for layer in reversed(layers):
        following = functools.partial(layer, following=following)
    return following


def compose_for(parts: LMResources) -> Next:
    """Return the layers that the calls of an LM cross, as one."""
    if parts.others or parts.members is not None:
        # Calls to other LMs cross the layers below, and use what those LMs state.
        return compose()
    return compose([layer for layer in LAYERS if layer not in _USES or _USES[layer](parts)])


def _innermost(call: Call) -> Steps:
    raise AssertionError("the last layer asks no other")
