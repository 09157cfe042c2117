"""An LM of one's own: a class with `complete`, and a profile that names it.

Everything around it is lmconf's: settings that are checked, retries, the cache, streams, async
calls, history, dumps. It needs no key, no network and no server.

    python examples/custom_lm.py
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import lmconf
import lmconf.testing
from lmconf.transports import Request

NURSERY = Path(__file__).parent / "profiles" / "nursery.yaml"


@lmconf.register_transport("bigrams")
class Bigrams:
    """Goes on with the word that most often followed the last one in `text`."""

    def __init__(self, text: str) -> None:
        words = text.split()
        self.following: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for word, after in pairwise(words):
            self.following[word][after] += 1

    def complete(self, request: Request) -> dict[str, object]:
        """Return the whole answer, in the OpenAI API's shape, so that tokens are counted."""
        prompt = prompt_of(request)
        words = list(self.words(request))
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(words)}
        return {"choices": [{"message": {"content": " ".join(words)}}], "usage": usage}

    def stream(self, request: Request) -> Iterator[str]:
        """Yield the answer word by word. Without this, a stream is the whole answer at once."""
        for number, word in enumerate(self.words(request)):
            yield f" {word}" if number else word

    def words(self, request: Request) -> Iterator[str]:
        word = prompt_of(request)[-1]
        if word not in self.following:
            # A CallError is tried again if it is retryable; any other exception passes through.
            raise lmconf.BadRequest(f"{word!r} is in no rhyme")
        chance = random.Random(request.settings.get("seed"))  # noqa: S311 - it draws words
        for _ in range(request.settings["max_tokens"]):
            after = self.following[word]
            if request.settings["temperature"]:
                (word,) = chance.choices(list(after), list(after.values()))
            else:
                ((word, _count),) = after.most_common(1)
            yield word
            if word == ".":
                return


def prompt_of(request: Request) -> list[str]:
    return str(request.messages[-1]["content"]).split()


def main() -> None:
    with lmconf.load(NURSERY) as profile:
        rhymer = profile.lm
        answer = rhymer.ask("the dog")
        print(answer.text, "| tokens:", answer.usage["completion_tokens"])
        print("kept:", rhymer.ask("the dog").cache_hit)
        with rhymer.stream("a mat", cache=False) as pieces:
            print("in pieces:", list(pieces))
        print("async:", asyncio.run(profile["dreamer"].acall("the")))
        try:
            rhymer("the moon")
        except lmconf.BadRequest as error:
            print(error.message)
        print("state:", rhymer.dump_state("minimal")["transport"]["use"])

    # Tests of code that calls LMs need no LM at all.
    with lmconf.testing.fake(["twinkle", lmconf.RateLimited("slow down"), "little star"]) as fake:
        with lmconf.load(NURSERY, overrides=fake.overrides) as profile:
            print("fake:", profile.lm("the cat"), profile["dreamer"]("the dog"))
        print("asked:", [request.text for request in fake.requests])


if __name__ == "__main__":
    main()
