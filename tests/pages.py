"""The code blocks of a page, and what they show.

In Python, a comment `# -> value` at the end of an expression is what it must come to. In a console
block, the lines below `$ command` are its output. A YAML block may begin with the file that it is.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys

NAMED = re.compile(r"# (profiles/\S+\.yaml)\n")
"""The first line of a block that is the content of a profile."""


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def lmconf(*words: str) -> str:
    """Return what a command prints, on either stream."""
    ran = subprocess.run(
        [sys.executable, "-m", "lmconf", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.stdout


def commands(block: str) -> list[tuple[list[str], str]]:
    """Return the words of each command in a console block, and the output shown below it."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == ""
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return [(shlex.split(line, comments=True), shown) for line, shown in pairs]


def with_assertions(block: str) -> str:
    """Return Python that asserts what the comments `# -> value` of `block` say."""
    lines = block.splitlines()
    for node in ast.walk(ast.parse(block)):
        if not isinstance(node, ast.Expr) or node.end_lineno is None:
            continue
        _, arrow, shown = lines[node.end_lineno - 1].partition("# -> ")
        if arrow:
            assert node.lineno == node.end_lineno, "a shown value belongs to one line"
            got = f"repr({ast.unparse(node.value)})"
            indent = " " * node.col_offset
            lines[node.lineno - 1] = f"{indent}assert {got} == {shown.strip()!r}, {got}"
    return "\n".join(lines) + "\n"
