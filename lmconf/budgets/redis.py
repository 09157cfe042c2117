"""What was spent, kept in a Redis server that the machines of a team share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from lmconf.budgets.ledger import Amount, LedgerUnavailable, Period, SpendingLimit
from lmconf.system.redis import RedisLink, RedisUnreachable

if TYPE_CHECKING:
    import redis

__all__ = ["RedisLedger"]

_PATIENCE = 1.0
"""Seconds that a call waits for the server, or for a connection to it."""
_LONGEST_REST = 4.0
"""Seconds for which a server that keeps failing is left alone: calls are refused meanwhile."""
_REMEMBERED = 60_000
"""Milliseconds for which the server knows that it has done something."""
_KEPT = 86400.0
"""Seconds after its end for which a period is kept: the clocks of machines are not quite alike."""

# KEYS: what an account has spent in a period, and whether this was done before.
# ARGV: dollars and tokens to add, the most of each (empty: any), when the period is forgotten in
# seconds since 1970 (empty: never), and for how many milliseconds it is known that this was done.
# Returns what was spent if there is no room, else nothing. Numbers are doubles, as Python's are;
# 17 digits say each of them exactly.
_ADD = """
if redis.call('EXISTS', KEYS[2]) == 1 then return false end
local spent = redis.call('HMGET', KEYS[1], 'cost', 'tokens')
local cost, tokens = tonumber(spent[1] or '0'), tonumber(spent[2] or '0')
local full_cost, full_tokens = cost + tonumber(ARGV[1]), tokens + tonumber(ARGV[2])
if (ARGV[3] ~= '' and full_cost > tonumber(ARGV[3]))
or (ARGV[4] ~= '' and full_tokens > tonumber(ARGV[4])) then
  return {string.format('%.17g', cost), string.format('%.0f', tokens)}
end
redis.call('HSET', KEYS[1], 'cost', string.format('%.17g', full_cost),
  'tokens', string.format('%.0f', full_tokens))
if ARGV[5] ~= '' then redis.call('EXPIREAT', KEYS[1], ARGV[5]) end
redis.call('SET', KEYS[2], '', 'PX', ARGV[6])
return false
"""


class RedisLedger:
    """Keeps what was spent under `namespace` of the server at the address that `url` returns.

    The server looks whether there is room and adds in one step, so that of those who ask at once,
    on whatever machine, no two get the last of it. What is asked has a name, under which the
    server does it once: a connection that was lost on the way is no reason to refuse a call, nor
    to count it twice.
    """

    blocks = True

    def __init__(self, url: Callable[[], str], namespace: str) -> None:
        self._prefix = f"lmconf:spending:1:{_quote(namespace)}:"
        self._link = RedisLink(url, (_PATIENCE,), longest_rest=_LONGEST_REST)

    def spend(
        self, account: str, period: Period, more: Amount, most: SpendingLimit
    ) -> Amount | None:
        """Add `more` if there is room; else return what was spent.

        Raises:
            LedgerUnavailable: the server cannot be used. If it stopped in the middle of this, `more` may
                count as spent all the same.
        """
        key = f"{self._prefix}{{{_quote(account)}:{period.name}}}"
        forgotten = "" if period.ends is None else f"{period.ends + _KEPT:.0f}"
        arguments = (
            repr(more.cost),
            str(more.tokens),
            "" if most.cost is None else repr(most.cost),
            "" if most.tokens is None else str(most.tokens),
            forgotten,
            str(_REMEMBERED),
        )
        done = f"{key}:{os.urandom(12).hex()}"

        def add(client: redis.Redis) -> object:
            return client.eval(_ADD, 2, key, done, *arguments)

        why = ""
        result: object = None
        try:
            result = self._link.do(add, _PATIENCE, again=True)
        except RedisUnreachable as error:
            why = str(error)
        if why:
            raise LedgerUnavailable(
                f"Redis: {why}",
                help="see that the server runs, and that the store's `url` and account are right",
            )
        if not isinstance(result, list):
            return None
        cost, tokens = result
        return Amount(float(cost), int(tokens))

    def add(self, account: str, period: Period, more: Amount) -> None:
        """Add `more`.

        Raises:
            LedgerUnavailable: the server cannot be used.
        """
        self.spend(account, period, more, SpendingLimit())

    def close(self) -> None:
        """Close the connections; later calls open them again."""
        self._link.close()


def _quote(name: str) -> str:
    # What is in braces says where a cluster keeps a key: both keys must be kept at one place.
    return quote(name, safe="", errors="surrogatepass")
