# SPDX-License-Identifier: MPL-2.0
"""The shape of a package in figures, one a line: name, value. `make shape`, or `python3 tests/shape.py DIRECTORY`.

Read by the parser and the tokenizer alone: nothing is imported, so any checkout can be measured, also an old one.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
# Words in -ed and -en, and the irregular ones that turn up as names.
_PARTICIPLE = re.compile(
    r"_?(?:[a-z]{3,}ed|asked|found|given|held|kept|known|left|made|read|said|seen|sent|set|told|taken|written)"
)
_NOT_PARTICIPLES = {"need", "speed", "feed", "seed", "embed", "proceed", "exceed", "read", "set"}


@dataclass(frozen=True)
class Module:
    """One file: its dotted name, tree and text."""

    name: str
    tree: ast.Module
    text: str

    @property
    def room(self) -> str:
        """The folder it stands in, below the package; empty at the top."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 2 else ""

    def functions(self) -> Iterator[Function]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def classes(self) -> Iterator[ast.ClassDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef):
                yield node


def modules_of(package: Path) -> dict[str, Module]:
    """Every module below a package's directory, by its dotted name."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        text = path.read_text(encoding="utf-8")
        modules[name] = Module(name, ast.parse(text), text)
    return modules


def imports(module: Module, modules: dict[str, Module]) -> set[str]:
    """The package's own modules that a module imports, those for annotations alone left out."""
    found = set()
    for node in _run_time_nodes(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
    return (found & modules.keys()) - {module.name}


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _run_time_nodes(node)


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """The groups of modules that import each other in a ring (Tarjan's strongly connected components)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    rings: list[set[str]] = []

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        stack.append(name)
        for target in arrows[name]:
            if target not in number:
                visit(target)
                lowest[name] = min(lowest[name], lowest[target])
            elif target in stack:
                lowest[name] = min(lowest[name], number[target])
        if lowest[name] == number[name]:
            at = stack.index(name)
            ring = set(stack[at:])
            del stack[at:]
            if len(ring) > 1:
                rings.append(ring)

    for name in arrows:
        if name not in number:
            visit(name)
    return rings


def _length(function: Function) -> int:
    """Lines from `def` to the last, decorators aside."""
    return (function.end_lineno or 0) - function.lineno + 1


def _is_private_with_one_caller(function: Function, uses: Counter[str]) -> bool:
    return function.name.startswith("_") and not function.name.startswith("__") and uses[function.name] == 1


def _uses(module: Module) -> Counter[str]:
    names: Counter[str] = Counter()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names[node.id] += 1
        elif isinstance(node, ast.Attribute):
            names[node.attr] += 1
    return names


def _comment_lines(module: Module) -> int:
    lines = iter(module.text.splitlines(keepends=True))
    return sum(
        token.type == tokenize.COMMENT and "SPDX" not in token.string
        for token in tokenize.generate_tokens(lambda: next(lines, ""))
    )


def _docstring_lines(module: Module) -> int:
    count = 0
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                count += (first.end_lineno or first.lineno) - first.lineno + 1
    return count


def _is_participle(name: str) -> bool:
    return bool(_PARTICIPLE.fullmatch(name)) and name.strip("_") not in _NOT_PARTICIPLES


def figures(package: Path) -> dict[str, str]:
    """Every figure by its name, as text."""
    modules = modules_of(package)
    lines = sum(module.text.count("\n") for module in modules.values())
    functions = [(module, function) for module in modules.values() for function in module.functions()]
    lengths = sorted(_length(function) for _, function in functions)
    named = [function.name.strip("_") for _, function in functions if not function.name.startswith("__")]
    uses = {module.name: _uses(module) for module in modules.values()}
    classes: dict[str, list[str]] = defaultdict(list)
    for module in modules.values():
        for each in module.classes():
            classes[each.name].append(module.name)
    twice = {name: where for name, where in classes.items() if len(where) > 1}
    arrows = {module.name: imports(module, modules) for module in modules.values()}
    rooms = {
        (module.room, modules[target].room)
        for module in modules.values()
        for target in arrows[module.name]
        if modules[target].room != module.room
    }
    conditionals = sum(isinstance(node, ast.IfExp) for module in modules.values() for node in ast.walk(module.tree))
    rings = circles(arrows)
    return {
        "modules": str(len(modules)),
        "lines": str(lines),
        "longest module, lines": str(max(module.text.count("\n") for module in modules.values())),
        "functions": str(len(functions)),
        "function length, median / p90 / max": (
            f"{statistics.median(lengths):g} / {lengths[int(len(lengths) * 0.9)]} / {lengths[-1]}"
        ),
        "private functions with one caller": str(
            sum(_is_private_with_one_caller(function, uses[module.name]) for module, function in functions)
        ),
        "function names of one word, %": f"{100 * sum('_' not in name for name in named) / len(named):.0f}",
        "functions named by a participle": str(sum(_is_participle(function.name) for _, function in functions)),
        "class names with two meanings": f"{len(twice)} {' '.join(sorted(twice))}".strip(),
        "comments per 100 lines": f"{100 * sum(map(_comment_lines, modules.values())) / lines:.1f}",
        "docstring lines per 100 lines": f"{100 * sum(map(_docstring_lines, modules.values())) / lines:.1f}",
        "`a if c else b` per 100 lines": f"{100 * conditionals / lines:.2f}",
        "imports, module to module": str(sum(len(targets) for targets in arrows.values())),
        "imports, room to room": str(len(rooms)),
        "circles of imports": f"{len(rings)} {' '.join(sorted(map(str, rings)))}".strip(),
    }


def main() -> None:
    package = Path(sys.argv[1] if len(sys.argv) > 1 else "kea_agent")
    for name, value in figures(package).items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
