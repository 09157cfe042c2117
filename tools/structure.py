"""Measures the structure of the package; with `--check`, names what exceeds its bound.

Counted are gerunds among module names, base names that modules share, literal lists of field names
outside of the specs, modules of more than 400 lines, circles of imports, imports of another room's
private modules, and functions that are named with a bare participle. A bound is lowered when the
count falls, and never raised.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

from tools.bounds import report_counts

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "lmconf"
LONG = 400
FIELDS_IN_A_LIST = 3
"""How many names of fields make a literal a list of fields."""

TERMS = frozenset("caching logging mapping pricing testing training tuning".split())
"""Gerunds that are terms of the field."""
ALIKE = frozenset("__init__ __main__ lm profile registry specs".split())
"""Base names of modules that are the same thing in several rooms."""
KINDS = frozenset("command disk log logs memory ollama openai redis schema sglang vllm".split())
"""Base names of plug-ins, of their commands, and of kinds that several rooms have."""
NO_PARTICIPLES = frozenset("embed feed need proceed seed speed".split())
IRREGULAR = frozenset(
    "begun born brought built chosen found gathered given gone held kept known led left lost made"
    " meant met paid read said seen sent shown spoken taken told won written".split()
)
VERBS = frozenset("read".split())

OTHER_NAMES = {
    "lmconf.caches.keys.ORDERED": "the form of keys, which no declaration may change",
    "lmconf.dspy.lm.AdaptedLM": "parameters of the OpenAI API, as DSPy asks for them",
    "lmconf.trainers.openai.HYPERPARAMETERS": "parameters of OpenAI's API",
    "lmconf.providers.": "parameters that providers take or refuse",
    "lmconf.spec.state._OLD_DSPY_KEYS": "keys by which a state of DSPy is known",
    "lmconf.testing.many_lms._SHARED": "what a strategy draws in a place of its own",
    "lmconf.testing.one_lm._TIED": "what a strategy draws in a place of its own",
    "lmconf.transports.": "parameters of the APIs that are spoken",
}
"""Lists of names that fields have, too, by what they begin with: they speak of something else.

Providers and transports know nothing of specs; a fact about another API is declared there."""

OPEN: Mapping[str, str] = {
    "budgets": "disk ledger redis",
    "caches": "specs sqlite_file store write_behind",
    "callbacks": "meter record_redaction specs",
    "compiler": "inline inputs parts pipeline trust",
    "diagnostics": "model render suggest",
    "document": (
        "command_line findings inheritance merge nodes operators overrides templates.renderer"
        " variables yaml.limits yaml.reader yaml.writer"
    ),
    "launchers": "logs records rules server_protocol specs",
    "limits": "gate specs",
    "loader": "add_lm compile discovery extends profile save",
    "providers": "catalogue families prices routes",
    "retries": "breaker origins policy reasons specs",
    "schema": (
        "check declaration fault fault_messages frozen json_schema patterns quantities user_patterns"
    ),
    "secrets": "redaction redactor references secret_names",
    "spec": (
        "build compiled connection_fields destinations generation_fields lm mentions"
        " merge_rules plain_data policies profile response_format rules.budgets"
        " rules.consistency rules.model_family rules.pools rules.training state"
    ),
    "system": (
        "background files fork imports interrupts lazy paths redis refcount signal supervisor"
        " threads tracebacks"
    ),
    "trainers": "http jobs removal specs trainer_protocol training_data",
    "training": "job",
    "transports": "custom litellm.patches registry response_checks specs transport",
}
"""For each room, the modules beside its face that other rooms may import; the others are private."""

BOUNDS = {
    "gerunds": 0,
    "shared base names": 0,
    "lists of fields": 0,
    "modules over 400 lines": 7,
    "import circles": 0,
    "imports past a room's face": 0,
    "bare participles": 35,
}
"""How many of each there may be."""


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Return the modules of the package below `root` by their dotted names."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted((root / PACKAGE).rglob("*.py"))
    }


def gerunds(found: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules that are named with a gerund that is no term of the field."""
    for name in found:
        base = name.rsplit(".", 1)[-1]
        if any(word.endswith("ing") and word not in TERMS for word in base.split("_")):
            yield name


def shared_names(found: Mapping[str, Path]) -> Iterator[str]:
    """Yield the base names that several modules have which are not the same thing."""
    homes: dict[str, list[str]] = defaultdict(list)
    for name, path in found.items():
        # A file of a command is named after its command.
        if path.stem not in ALIKE | KINDS and ".commands." not in name:
            homes[name.rsplit(".", 1)[-1]].append(name)
    for base, names in homes.items():
        if len(names) > 1:
            yield f"{base}: {', '.join(names)}"


def field_lists(found: Mapping[str, Path], specs: Collection[frozenset[str]]) -> Iterator[str]:
    """Yield the literal collections of names of fields outside of their declarations.

    `specs` are the names of the fields of each spec type.
    """
    for name, path in found.items():
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            home = f"{name}.{_name_of(statement)}"
            if home.startswith(tuple(OTHER_NAMES)):
                continue
            types = {id(node.slice) for node in ast.walk(statement) if _is_literal_type(node)}
            for node in ast.walk(statement):
                words = set() if id(node) in types else _words(node)
                if len(words) >= FIELDS_IN_A_LIST and any(
                    len(words & fields) > 0.8 * len(words) for fields in specs
                ):
                    yield f"{home}:{getattr(node, 'lineno', 0)}"


def _name_of(statement: ast.stmt) -> str:
    """Return the name that a statement of a module gives to something."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case _:
            return ""


def _is_literal_type(node: ast.AST) -> TypeGuard[ast.Subscript]:
    return isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"


def _words(node: ast.AST) -> set[str]:
    match node:
        case ast.Set(elts=items) | ast.Tuple(elts=items) | ast.List(elts=items):
            texts = [item.value for item in items if isinstance(item, ast.Constant)]
            return {text for text in texts if isinstance(text, str)}
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="split")):
            return set(text.split())
        case _:
            return set()


def fields_of_specs() -> list[frozenset[str]]:
    """Return the names of the fields of each spec type that a document may have."""
    from lmconf.schema.declaration import fields
    from tools.generate_reference import blocks

    return [frozenset(fields(type_)) for type_ in blocks()]


def long_modules(found: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of more than 400 lines."""
    for name, path in found.items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LONG:
            yield f"{name}: {lines} lines"


def imports(found: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which modules each module imports, late imports included, those for types not."""
    graph: dict[str, set[str]] = {}
    for name, path in found.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        only_types = {
            id(inner)
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        graph[name] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and id(node) not in only_types:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    graph[name].add(full if full in found else node.module)
        graph[name] &= found.keys() - {name}
    return graph


def circles(graph: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the groups of modules that import one another (Tarjan, 1972, by depth-first search)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            cut = stack.index(name)
            groups.append(stack[cut:])
            del stack[cut:]

    for name in sorted(graph):
        if name not in index:
            visit(name)
    for group in groups:
        if len(group) > 1:
            yield ", ".join(sorted(group))


def open_imports(graph: Mapping[str, set[str]]) -> Iterator[tuple[str, str]]:
    """Yield each module with a module of another room that it imports, faces left out."""
    for module, targets in graph.items():
        for target in sorted(targets):
            parts = target.split(".")
            if len(parts) > 2 and module.split(".")[1:2] != parts[1:2]:
                yield module, target


def private_imports(graph: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield the imports of modules that are private to another room."""
    public = open_modules()
    for module, target in open_imports(graph):
        if target not in public:
            yield f"{module} imports {target}"


def open_modules() -> set[str]:
    """Return the modules beside faces that other rooms may import."""
    return {f"{PACKAGE}.{room}.{name}" for room, names in OPEN.items() for name in names.split()}


def participles(found: Mapping[str, Path]) -> Iterator[str]:
    """Yield the functions and methods whose whole name is a participle."""
    for name, path in found.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if any(ast.unparse(mark).endswith("property") for mark in node.decorator_list):
                continue
            base = node.name.strip("_")
            regular = re.fullmatch(r"[a-z]{2,}ed", base) and base not in NO_PARTICIPLES
            if base not in VERBS and (regular or base in IRREGULAR):
                yield f"{name}.{node.name}"


def measure(root: Path = ROOT) -> dict[str, list[str]]:
    """Return what is found of each thing that is counted."""
    found = modules(root)
    return {
        "gerunds": list(gerunds(found)),
        "shared base names": list(shared_names(found)),
        "lists of fields": list(field_lists(found, fields_of_specs())),
        "modules over 400 lines": list(long_modules(found)),
        "import circles": list(circles(imports(found))),
        "imports past a room's face": list(private_imports(imports(found))),
        "bare participles": list(participles(found)),
    }


if __name__ == "__main__":
    sys.exit(report_counts(measure, BOUNDS, __doc__))
