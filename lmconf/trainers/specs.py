"""What a profile says of how an LM is fine-tuned."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from lmconf.schema import (
    Choice,
    Duration,
    Integer,
    Json,
    ListOf,
    MapOf,
    Number,
    Record,
    Referable,
    Text,
)
from lmconf.schema.declaration import Spec, operations
from lmconf.schema.frozen import FrozenMap
from lmconf.secrets.references import Reference

__all__ = ["TRAIN", "TRAINER_NAMES", "LoraSpec", "TrainSpec"]

TRAINER_NAMES = ("openai", "databricks", "local", "command")
"""Every kind of lmconf's own that a profile may name."""

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["float32", "bfloat16", "float16"]


class LoraSpec(Spec, frozen=True, kw_only=True):
    """Trains a few added weights instead of all; they are merged into the model at the end."""

    r: Annotated[int, operations(Integer(1), "The rank: how many weights are added.")] = 16
    alpha: Annotated[int, operations(Integer(1), "The scale of what they add.")] = 32
    dropout: Annotated[float, operations(Number(0, 1), "Their dropout while training.")] = 0.0
    target_modules: Annotated[
        tuple[str, ...],
        operations(
            ListOf(Text(what="a module's name"), low=1),
            "The layers that they are added to; `all-linear` is every linear layer.",
            examples=(["q_proj", "v_proj"],),
        ),
    ] = ("all-linear",)


def lora_shorthand(short: object) -> dict[str, object] | None:
    """Return the block that `lora: 8`, a rank, stands for; None for other values."""
    if isinstance(short, int) and not isinstance(short, bool):
        return {"r": short, "alpha": 2 * short}
    return None


class TrainSpec(Spec, frozen=True, kw_only=True):
    """How an LM is fine-tuned; what is left out is the trainer's to choose."""

    use: Annotated[
        str | None,
        operations(
            Text(what="a kind of trainer"),
            "The kind of trainer: `openai` (also Azure), `local`, `command`, or one of your own;"
            " left out, it follows from `provider` and the model.",
            examples=("local",),
        ),
    ] = None
    n_epochs: Annotated[
        int | None,
        operations(
            Integer(1),
            "How often the data is gone through.",
            examples=(3,),
            kinds=("openai", "local"),
        ),
    ] = None
    batch_size: Annotated[
        int | None,
        operations(
            Integer(1), "How many rows are learned from at once.", kinds=("openai", "local")
        ),
    ] = None
    seed: Annotated[
        int | None,
        operations(Integer(0), "Makes the training repeatable.", kinds=("openai", "local")),
    ] = None
    beta: Annotated[
        float | None,
        operations(
            Number(0),
            "For preferences: how near the model stays to what it was.",
            kinds=("openai", "local"),
        ),
    ] = None
    validation_data: Annotated[
        str | None,
        operations(
            Text(what="a path", path="path"),
            "A file like the training data that is measured on and not learned from.",
            kinds=("openai", "local"),
        ),
    ] = None
    timeout: Annotated[
        float | None, operations(Duration(), "How long the training may take.", examples=("6h",))
    ] = None

    # For `use: openai`
    learning_rate_multiplier: Annotated[
        float | None,
        operations(Number(0), "`openai`: scales the provider's learning rate.", kinds=("openai",)),
    ] = None
    suffix: Annotated[
        str | None,
        operations(
            Text(
                what="a name of at most 64 letters, digits, `-` and `_`", pattern=r"^[\w-]{1,64}$"
            ),
            "`openai`: what the trained model's name ends with.",
            kinds=("openai",),
        ),
    ] = None
    poll: Annotated[
        float | None,
        operations(
            Duration(),
            "`openai`: how often the job is asked after; 10 s when left out.",
            kinds=("openai",),
        ),
    ] = None

    # For `use: local`
    weights: Annotated[
        str | None,
        operations(
            Text(what="a folder or a model's name", path="dotted"),
            "`local`, `command`: the weights that are trained, a folder in the format of"
            " transformers or the name of a model; left out, `finetuning_model`, or a folder that"
            " `launch_kwargs.weights` names.",
            examples=("./models/tiny",),
            kinds=("local", "command"),
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        operations(Number(0), "`local`: the learning rate at its highest.", kinds=("local",)),
    ] = None
    max_steps: Annotated[
        int | None,
        operations(
            Integer(1), "`local`: how many steps, in place of `n_epochs`.", kinds=("local",)
        ),
    ] = None
    max_length: Annotated[
        int | None,
        operations(Integer(8), "`local`: rows are cut to so many tokens.", kinds=("local",)),
    ] = None
    checkpoint_every: Annotated[
        float | None,
        operations(
            Duration(),
            "`local`: how often what was learned so far is kept, for `lmconf jobs resume`; 5 min"
            " when left out.",
            examples=("10min",),
            kinds=("local",),
        ),
    ] = None
    lora: Annotated[
        LoraSpec | None,
        operations(
            Record(LoraSpec, shorthand=lora_shorthand, short=Integer(1)),
            "`local`: train added weights only, as a rank or a block; left out, all weights are"
            " trained.",
            examples=(8, {"r": 8, "target_modules": ["q_proj", "v_proj"]}),
            kinds=("local",),
        ),
    ] = None
    device: Annotated[
        Device | None,
        operations(
            Choice(("auto", "cpu", "cuda", "mps")),
            "`local`: where it is computed; a GPU where there is one when left out.",
            kinds=("local",),
        ),
    ] = None
    dtype: Annotated[
        Dtype | None,
        operations(
            Choice(("float32", "bfloat16", "float16")),
            "`local`: the numbers that are computed with; `float32` when left out.",
            kinds=("local",),
        ),
    ] = None

    # For `use: command`, and for processes of this machine in general
    command: Annotated[
        tuple[str, ...] | None,
        operations(
            ListOf(Text(what="a word", path="dotted"), low=1),
            "`command`: the program and its arguments, with `{data}`, `{model}`, `{output}` and"
            " `{checkpoints}` in them; no shell reads them. A word that begins with `./` or `../`"
            " is a path, relative to the profile that states it.",
            examples=(["./train.sh", "{data}", "{output}"],),
            kinds=("command",),
        ),
    ] = None
    env: Annotated[
        FrozenMap[str, str | Reference],
        operations(
            MapOf(Referable(Text(empty=True)), secrets=True),
            "`local`, `command`: variables for the training, which otherwise sees a scrubbed"
            " environment.",
            kinds=("local", "command"),
            holds_secrets=True,
        ),
    ] = FrozenMap()

    # For kinds of one's own
    args: Annotated[
        FrozenMap[str, Any],
        operations(
            Json(mapping=True),
            "The arguments of a trainer of one's own.",
            kinds=("*",),
            holds_secrets=True,
        ),
    ] = FrozenMap()


TRAIN = Record(TrainSpec)
