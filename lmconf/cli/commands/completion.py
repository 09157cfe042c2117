"""`lmconf completion`: the script by which a shell asks lmconf what may come next."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    get_completion_class,
    split_arg_string,
)

from lmconf.cli.app import COMPLETE, PROGRAM
from lmconf.cli.app import command as make_command
from lmconf.cli.terminal import say

__all__ = ["command", "complete", "complete_names", "complete_set_paths"]

_FILE = CompletionItem("", type="file")


def complete_names(incomplete: str) -> list[CompletionItem]:
    """Return profiles and, after a colon, their LMs; a path is left to the shell."""
    from lmconf.loader.discovery import find_all, find_packaged, is_path, split_name

    profile, colon, _ = incomplete.partition(":")
    if colon:
        return _lms(profile, incomplete)
    names = list(
        dict.fromkeys(names.name for names in (*find_all(os.environ), *find_packaged()[0]))
    )
    matching = [name for name in names if name.startswith(incomplete)]
    if is_path(incomplete) or not matching:
        return [CompletionItem(incomplete, type="file")]
    if len(matching) == 1 and split_name(matching[0])[1] is None:
        # Only one profile is left: its LMs come with it.
        return [CompletionItem(matching[0]), *_lms(matching[0], f"{matching[0]}:")]
    return [CompletionItem(name) for name in matching]


def _lms(profile: str, incomplete: str) -> list[CompletionItem]:
    return [
        CompletionItem(f"{profile}:{name}", help=model)
        for name, model in _models(profile).items()
        if f"{profile}:{name}".startswith(incomplete)
    ]


def _models(profile: str) -> dict[str, str]:
    from lmconf.errors import ProfileError
    from lmconf.loader.compile import compile_source
    from lmconf.loader.discovery import find_profile

    try:
        outcome = compile_source(find_profile(profile, os.environ), registered=False)
    except ProfileError:
        # What is broken has nothing to offer; the command itself will say why.
        return {}
    compiled = outcome.profile
    if compiled is None or compiled.flat:
        return {}
    return {name: lm.model for name, lm in compiled.spec.lms.items()}


def complete_set_paths(name: str | None, incomplete: str) -> list[CompletionItem]:
    """Return the fields of an LM whose name begins with `incomplete`, each with its `=`."""
    from lmconf.schema.declaration import fields
    from lmconf.spec.lm import LMSpec

    prefix, dot, field = incomplete.rpartition(".")
    steps = prefix.split(".") if dot else []
    if "=" in incomplete or (steps and not (len(steps) == 2 and steps[0] == "lms")):
        return []
    return [
        CompletionItem(f"{prefix}{dot}{key}=", help=declared.doc)
        for key, declared in fields(LMSpec).items()
        if key.startswith(field)
    ]


_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}" word part completion kind value
    word="${line##* }"
    part="$word"
    # Where `:` and `=` end a word for bash, what stands before the last one is there already.
    [[ $COMP_WORDBREAKS == *:* ]] && part="${part##*:}"
    [[ $COMP_WORDBREAKS == *=* ]] && part="${part##*=}"
    COMPREPLY=()
    for completion in $(LMCONF_LINE="$line" %(complete_var)s=bash_complete "$1"); do
        kind="${completion%%%%,*}"
        value="${completion#*,}"
        case "$kind" in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            *)
                COMPREPLY+=("${value#"${word%%"$part"}"}")
                case "$value" in *=) compopt -o nospace ;; esac
                ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion for bash, in which names hold colons."""

    source_template = _BASH

    def source(self) -> str:
        """Return the script; which bash will read it is not known here."""
        return self.source_template % self.source_vars()

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor, and the one that it stands in."""
        line = os.environ.get("LMCONF_LINE", "")
        words = split_arg_string(line)[1:]
        if not words or line[-1:].isspace():
            return words, ""
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem) -> str:
        """Return the line that the script reads for one completion."""
        return f"{item.type},{item.value}"


def _shell(name: str) -> type[ShellComplete] | None:
    return Bash if name == "bash" else get_completion_class(name)


def complete(root: click.Command, program: str, variable: str, instruction: str) -> int:
    """Answer a shell that asks for completions; return the exit code."""
    shell, _, what = instruction.partition("_")
    kind = _shell(shell)
    if kind is None or what not in ("source", "complete"):
        return 1
    completion = kind(root, {}, program, variable)
    click.echo(completion.source() if what == "source" else completion.complete())
    return 0


@make_command(
    "completion",
    (
        ('eval "$(lmconf completion bash)"', "in ~/.bashrc"),
        ('eval "$(lmconf completion zsh)"', "in ~/.zshrc, after compinit"),
        ("lmconf completion fish | source", "in ~/.config/fish/config.fish"),
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, *, shell: str) -> None:
    """Print the script that completes commands, options, profiles and LMs in your shell."""
    kind = _shell(shell)
    assert kind is not None
    say(kind(ctx.find_root().command, {}, PROGRAM, COMPLETE).source())
