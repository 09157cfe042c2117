"""The order of ancestors: of a file with those that it extends, or of an entry."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, TypeVar

__all__ = ["Cycle", "linearise"]

T = TypeVar("T", bound=Hashable)


class Cycle(Exception, Generic[T]):
    """Parents that lead back to where they began; `chain` starts and ends with the same one."""

    def __init__(self, chain: tuple[T, ...]) -> None:
        super().__init__(" -> ".join(str(link) for link in chain))
        self.chain = chain


def linearise(start: T, parents: Callable[[T], Sequence[T]]) -> list[T]:
    """Return `start` and all its ancestors, each once, the lowest layer first.

    Every parent stands before its children, so that none overrides a child's choice; otherwise
    the order in which a child lists its parents is kept, and later parents win.

    Raises:
        Cycle: an ancestor is its own ancestor.
    """
    order: list[T] = []
    done: set[T] = set()
    trail: dict[T, Iterator[T]] = {start: iter(parents(start))}
    while trail:
        node = next(reversed(trail))
        parent = next((each for each in trail[node] if each not in done), None)
        if parent is None:
            del trail[node]
            done.add(node)
            order.append(node)
        elif parent in trail:
            links = list(trail)
            raise Cycle((*links[links.index(parent) :], parent))
        else:
            trail[parent] = iter(parents(parent))
    return order
