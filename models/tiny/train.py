"""Make the tiny model from nothing: tokenizer, training, checkpoint and GGUF, in one command.

    python models/tiny/train.py                 # about ten minutes on two idle cores
    python models/tiny/train.py --steps 50 --out /tmp/tiny

Seeded and single-purpose: with the versions in requirements.txt and the same number of threads
the files come out bit for bit the same.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from corpus import Sample, samples
from export import export_gguf
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

SEED = 20
THREADS = 2
VOCABULARY = 768
CONTEXT = 2048
BATCH = 32
STEPS = 2500
PEAK_RATE = 2e-3
LONGEST = 1024
"""Samples longer than this many tokens are left out."""
SORTED_TOGETHER = 50
"""Batches whose samples are sorted by length together, so that little padding is computed."""
NO_LOSS = -100

END_OF_TEXT, TURN_START, TURN_END = SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Piece(NamedTuple):
    """A stretch of a sample's text, and whether it counts in the loss."""

    text: str
    counts: bool


class Encoded(NamedTuple):
    """Token ids and, beside each, the label or NO_LOSS."""

    ids: list[int]
    labels: list[int]


def pieces(sample: Sample) -> Iterator[Piece]:
    """A sample as the chat template spells it; the assistant's turns count."""
    if sample.text:
        yield Piece(sample.text[: sample.prompt_length], False)
        yield Piece(sample.text[sample.prompt_length :] + END_OF_TEXT, True)
    for role, content in sample.messages:
        yield Piece(f"{TURN_START}{role}\n", False)
        yield Piece(f"{content}{TURN_END}", role == "assistant")
        yield Piece("\n", False)


def train_tokenizer(texts: Iterator[str]) -> Tokenizer:
    """A byte-level BPE tokenizer in which every digit stands alone."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def tokenizer_texts(count: int) -> Iterator[str]:
    """What the tokenizer learns from: the contents of samples, without the special tokens."""
    for sample in itertools.islice(samples(SEED + 1), count):
        yield sample.text or "\n".join(content for _, content in sample.messages)


def encode(tokenizer: Tokenizer, sample: Sample) -> Encoded:
    """A sample as ids and labels."""
    encoded = Encoded([], [])
    for piece in pieces(sample):
        ids = tokenizer.encode(piece.text).ids
        encoded.ids.extend(ids)
        encoded.labels.extend(ids if piece.counts else [NO_LOSS] * len(ids))
    return encoded


def batches(tokenizer: Tokenizer, steps: int) -> Iterator[list[Encoded]]:
    """`steps` batches of samples of similar length, in an order without a trend."""
    rng = random.Random(SEED + 2)  # noqa: S311 - repeatable is the point
    encoded = (encode(tokenizer, sample) for sample in samples(SEED))
    fitting = (one for one in encoded if len(one.ids) <= LONGEST)
    made = 0
    while made < steps:
        group = sorted(itertools.islice(fitting, BATCH * SORTED_TOGETHER), key=lambda e: len(e.ids))
        cut = [group[at : at + BATCH] for at in range(0, len(group), BATCH)]
        rng.shuffle(cut)
        yield from cut[: steps - made]
        made += len(cut)


def padded(batch: list[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as two tensors. Padding is at the end, where causal attention never looks back at it."""
    longest = max(len(one.ids) for one in batch)
    ids = [one.ids + [0] * (longest - len(one.ids)) for one in batch]
    labels = [one.labels + [NO_LOSS] * (longest - len(one.labels)) for one in batch]
    return torch.tensor(ids), torch.tensor(labels)


def new_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """The architecture, with seeded random weights."""
    torch.manual_seed(SEED)
    end = tokenizer.token_to_id(TURN_END)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=tokenizer.token_to_id(END_OF_TEXT),
    )
    return LlamaForCausalLM(config)


def train(model: LlamaForCausalLM, tokenizer: Tokenizer, steps: int) -> float:
    """Train for `steps` batches, printing the loss; returns its mean over the last fifty."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.1
    )
    model.train()
    recent: list[float] = []
    begun = time.monotonic()
    for step, batch in enumerate(batches(tokenizer, steps), 1):
        ids, labels = padded(batch)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent = [*recent[-49:], loss.item()]
        if step % 50 == 0 or step == steps:
            mean = sum(recent) / len(recent)
            print(f"step {step:5d}  loss {mean:.4f}  {time.monotonic() - begun:6.1f} s", flush=True)
    return sum(recent) / len(recent)


def save(model: LlamaForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """The checkpoint in the transformers format: weights (f32), config, tokenizer, chat template."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    model.eval()
    model.save_pretrained(folder)
    wrapped.save_pretrained(folder)


def main() -> None:
    """Read the command line and make everything."""
    reading = argparse.ArgumentParser(description=__doc__)
    reading.add_argument("--steps", type=int, default=STEPS)
    reading.add_argument("--out", type=Path, help="write checkpoint/ and the GGUF here instead")
    given = reading.parse_args()
    checkpoint = (given.out or HERE) / "checkpoint"
    target = (given.out or REPOSITORY / "profiles" / "models") / "lmconf-tiny-f16.gguf"
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    tokenizer = train_tokenizer(tokenizer_texts(12_000))
    model = new_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    loss = train(model, tokenizer, given.steps)
    save(model, tokenizer, checkpoint)
    digest = export_gguf(checkpoint, target)
    print(f"loss {loss:.4f}\nsha256 {digest}  {target}")


if __name__ == "__main__":
    main()
