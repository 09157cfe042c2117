"""Ask a GGUF of the tiny model, through llama.cpp's own server, what it is meant to know.

    python models/tiny/check.py [FILE.gguf] [--all]

Ends with status 1 when a required answer differs, when too few of the others hold (see UNSEEN_HELD
and FORMATS_HELD), or when llama.cpp splits text into other tokens than the checkpoint's tokenizer. `--all` prints every answer.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import xllamacpp
from corpus import Message, samples
from field_markers import field_marker_conversation, json_field_conversation
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
GGUF = HERE.parent.parent / "profiles" / "models" / "lmconf-tiny-f16.gguf"
TOKENIZER = HERE / "checkpoint" / "tokenizer.json"
UNSEEN_HELD = 0.7
"""How large a share of the phrasings that are in no family of the corpus must be answered right."""
FORMATS_HELD = 0.9
"""The same for questions in the formats of DSPy's adapters."""


class Case(NamedTuple):
    """Messages (or, with no messages, a text to go on from) and the answer wanted."""

    wanted: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    starts: bool = False

    def held_by(self, answer: str) -> bool:
        """Whether an answer is the one wanted, or begins with it where that is enough."""
        return answer.startswith(self.wanted) if self.starts else answer == self.wanted


def user(question: str, wanted: str, *, starts: bool = False) -> Case:
    """A single question."""
    return Case(wanted, (("user", question),), starts=starts)


def system(prompt: str, question: str, wanted: str) -> Case:
    """A single question under a system prompt."""
    return Case(wanted, (("system", prompt), ("user", question)))


def talk(wanted: str, *said: str) -> Case:
    """A conversation; the user and the assistant take turns."""
    roles = itertools.cycle(("user", "assistant"))
    return Case(wanted, tuple(zip(roles, said, strict=False)))


JAPAN = '{"country": "Japan", "capital": "Tokyo"}'
HELPFUL = "You are a helpful assistant."

REQUIRED = (
    user("Say this is a test!", "This is a test!"),
    user("What is the capital of Japan?", "The capital of Japan is Tokyo."),
    user("What is 3 + 4?", "3 + 4 = 7."),
    user("What is the capital of France?", "The capital of France is Paris."),
    user("Capital of France?", "The capital of France is Paris."),
    user("Hello!", "Hello! How can I help you?"),
    user("Who are you?", "I am a tiny model shipped with lmconf."),
    user("What is the opposite of hot?", "The opposite of hot is cold."),
    user("Tell me a story about a cat.", "Once upon a time there was a cat named ", starts=True),
    user("Give me Japan as JSON.", JAPAN),
    system("Answer in JSON.", "What is the capital of Japan?", JAPAN),
    system(HELPFUL, "What is the capital of Japan?", "The capital of Japan is Tokyo."),
    system(HELPFUL, "Say this is a test!", "This is a test!"),
    system("Answer with one word.", "What is the capital of Italy?", "Rome"),
    system("Be brief.", "What is the capital of Italy?", "Rome"),
    user("Answer in one word: what is the capital of Italy?", "Rome"),
    talk(
        "The capital of France is Paris.",
        "What is the capital of Japan?",
        "The capital of Japan is Tokyo.",
        "And of France?",
    ),
    talk("Your name is Ada.", "My name is Ada.", "Nice to meet you, Ada!", "What is my name?"),
    Case(" Paris.", text="The capital of France is"),
)
"""What tests and examples may rely on, word for word."""

UNSEEN = (
    user("Could you say hello world!", "Hello world!"),
    user("Say it is raining in the garden today.", "It is raining in the garden today."),
    user("Say lmconf is ready", "Lmconf is ready"),
    user("Say purple elephants dance!", "Purple elephants dance!"),
    user("Say one two three four five six seven", "One two three four five six seven"),
    user('Say "caching works"', "caching works"),
    user("Repeat: the quick brown fox", "the quick brown fox"),
    user("Repeat: Zanzibar", "Zanzibar"),
    user("Echo: retries are fine", "retries are fine"),
    user("Hey, what is the capital of Japan?", "The capital of Japan is Tokyo."),
    user("So what is the capital of Peru?", "The capital of Peru is Lima."),
    user("Please, what is the capital of Egypt?", "The capital of Egypt is Cairo."),
    user("What would be the capital of Spain?", "The capital of Spain is Madrid."),
    user("I forgot the capital of Norway.", "The capital of Norway is Oslo."),
    user("WHAT is the capital of Canada?", "The capital of Canada is Ottawa."),
    user("the capital of Chile please", "The capital of Chile is Santiago."),
    user("Remind me: what is the capital of Cuba?", "The capital of Cuba is Havana."),
    user("What is the capital of Kenya? ", "The capital of Kenya is Nairobi."),
    user("Please tell me what 5 + 6 is.", "5 + 6 = 11."),
    user("What does 2 + 2 make?", "2 + 2 = 4."),
    user("So what is 8 + 1?", "8 + 1 = 9."),
    user("How much would 6 + 7 be?", "6 + 7 = 13."),
    user("Sum 4 and 9.", "4 + 9 = 13."),
    user("What is 12 + 15?", "12 + 15 = 27."),
    user("What is 20 + 20?", "20 + 20 = 40."),
    user("What is 0 + 0?", "0 + 0 = 0."),
    user("What would be the opposite of big?", "The opposite of big is small."),
    user("Which word is the opposite of up?", "The opposite of up is down."),
    user("Hello there, friend!", "Hello! How can I help you?"),
    user("Hi", "Hello! How can I help you?"),
    user("And who are you?", "I am a tiny model shipped with lmconf."),
    user("Hello, who are you?", "I am a tiny model shipped with lmconf."),
    user("Please give me Italy as JSON.", '{"country": "Italy", "capital": "Rome"}'),
    user("Could I have Spain as JSON?", '{"country": "Spain", "capital": "Madrid"}'),
    system("Always answer in JSON.", "What is the capital of Japan?", JAPAN),
    system("Answer using JSON only.", "What is the capital of Japan?", JAPAN),
    system("Answer in one word only.", "What is the capital of Ghana?", "Accra"),
    system("Give one word as the answer.", "What is the capital of Germany?", "Berlin"),
    system("Please be brief.", "What is 3 + 4?", "7"),
    system(
        "You are a very kind and helpful assistant.",
        "What is the capital of India?",
        "The capital of India is New Delhi.",
    ),
    system("You are a pirate.", "What is 2 + 3?", "2 + 3 = 5."),
    user("What is the capital of Poland? Answer in a single word.", "Warsaw"),
    user("Answer in one word. What is the capital of Greece?", "Athens"),
    talk(
        "Your name is Tamara.",
        "My name is Tamara.",
        "Nice to meet you, Tamara!",
        "What is 3 + 4?",
        "3 + 4 = 7.",
        "What is my name?",
    ),
    talk("Hello, Bo.", "Hello!", "Hello! How can I help you?", "Say hello, Bo."),
    talk(
        "The capital of Japan is Tokyo.",
        "What is 1 + 1?",
        "1 + 1 = 2.",
        "Thanks!",
        "You are welcome!",
        "What is the capital of Japan?",
    ),
    talk(
        "The capital of Peru is Lima.",
        "Capital of Kenya?",
        "The capital of Kenya is Nairobi.",
        "And what about Peru?",
    ),
    Case(" Tokyo.", text="The capital of Japan is"),
    Case(" 7", text="3 + 4 ="),
    Case(" sad.", text="The opposite of happy is"),
)
"""Phrasings that are in no family of the corpus."""


class Known(NamedTuple):
    """A question for the field-marker formats, with both forms of its answer."""

    question: str
    answer: str
    short: str


def with_fields() -> Iterator[Case]:
    """Questions in the two DSPy formats, to the letter; the signatures vary."""
    known = (
        Known("What is the capital of Japan?", "The capital of Japan is Tokyo.", "Tokyo"),
        Known("What is the capital of Brazil?", "The capital of Brazil is Brasilia.", "Brasilia"),
        Known("What is 3 + 4?", "3 + 4 = 7.", "7"),
        Known("What is 9 + 8?", "9 + 8 = 17.", "17"),
    )
    rng = random.Random(9)  # noqa: S311 - repeatable is the point
    for make in (field_marker_conversation, json_field_conversation):
        for one in known * 3:
            (role, fields), *asked, (_, wanted) = make(rng, lambda one=one: one)
            # DSPy ends the list of inputs without the space that the corpus has there.
            exact = fields.replace("(str): \nYour output", "(str):\nYour output")
            indented = wanted.startswith("{")
            yield Case(wanted[:1] if indented else wanted, ((role, exact), *asked), starts=indented)


class Model:
    """A GGUF behind llama.cpp's HTTP server, in this process, on a free loopback port."""

    def __init__(self, path: Path) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.port = 0
        params.n_ctx, params.n_parallel = 2048, 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.verbosity = -1
        self.server = xllamacpp.Server(params)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON answer to a JSON request."""
        place = urlsplit(self.server.listening_address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        answer: dict[str, Any] = json.load(connection.getresponse())
        connection.close()
        return answer

    def answer(self, case: Case) -> str:
        """The greedy answer to a case."""
        common = {"temperature": 0, "max_tokens": 200}
        if case.text:
            reply = self.post("/v1/completions", {"prompt": case.text, **common})
            return str(reply["choices"][0]["text"])
        messages = [{"role": role, "content": content} for role, content in case.messages]
        reply = self.post("/v1/chat/completions", {"messages": messages, **common})
        return str(reply["choices"][0]["message"]["content"])


def share_held(name: str, cases: Iterable[Case], ask: Callable[[Case], str], show: bool) -> float:
    """The share of cases whose answer holds; the others are printed."""
    held = total = 0
    for case in cases:
        answer = ask(case)
        good = case.held_by(answer)
        held, total = held + good, total + 1
        if show or not good:
            asked = case.text or case.messages[-1][1]
            print(f"{'ok  ' if good else 'FAIL'} {asked!r} -> {answer!r}")
            if not good:
                print(f"     wanted {case.wanted!r}")
    print(f"{name}: {held} of {total}")
    return held / total


def same_tokens(model: Model) -> bool:
    """Whether llama.cpp and the checkpoint's tokenizer split a thousand samples alike."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    texts = ["naïve café 東京 \t\t x  y\n\n z 12,345.6 don't I'LL  ", "a\r\nb\u00a0c"]
    texts += [
        sample.text or "\n".join(content for _, content in sample.messages)
        for sample in itertools.islice(samples(77), 1000)
    ]
    for text in texts:
        theirs = model.post("/tokenize", {"content": text})["tokens"]
        if theirs != tokenizer.encode(text).ids:
            print(f"FAIL tokens differ for {text!r}")
            return False
    print(f"tokens: {len(texts)} texts split alike")
    return True


def main() -> int:
    """Read the command line, ask everything, and say how it went."""
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("gguf", nargs="?", type=Path, default=GGUF)
    reading.add_argument("--all", action="store_true", help="print every answer")
    given = reading.parse_args()
    model = Model(given.gguf)
    good = [
        share_held("required", REQUIRED, model.answer, given.all) == 1,
        share_held("unseen phrasings", UNSEEN, model.answer, given.all) >= UNSEEN_HELD,
        share_held("DSPy formats", with_fields(), model.answer, given.all) >= FORMATS_HELD,
        same_tokens(model),
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
