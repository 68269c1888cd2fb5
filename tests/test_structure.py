"""No two files of the package import each other, by whatever way round, and none is too long."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
FILES = sorted(SOURCES.rglob("*.py"))
MOST_LINES = 400


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCES).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in FILES}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports at any depth, functions included; those for type checkers alone excluded."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        yield from import_nodes(child)


def imported(name: str, source: str, package: bool, modules: dict[str, Path]) -> set[str]:
    """The modules among ``modules`` that the file of module ``name`` imports."""
    names: set[str] = set()
    for node in import_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parents = name.split(".") if package else name.split(".")[:-1]
            base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
        for alias in node.names:
            submodule = f"{base}.{alias.name}"
            names.add(submodule if submodule in modules else base)
    return (names & set(modules)) - {name}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected components of more than one node (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            start = stack.index(node)
            component = stack[start:]
            del stack[start:]
            if len(component) > 1:
                components.append(sorted(component))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return components


def test_cycles_are_found_within_functions_too():
    modules = dict.fromkeys(("a", "a.b", "a.c", "a.d"), Path())
    sources = {
        "a": "",
        "a.b": "def f():\n    from a import c",
        "a.c": "from .d import x",
        "a.d": "if TYPE_CHECKING:\n    import a.c\nimport a.b",
    }
    graph = {name: imported(name, source, name == "a", modules) for name, source in sources.items()}
    assert graph == {"a": set(), "a.b": {"a.c"}, "a.c": {"a.d"}, "a.d": {"a.b"}}
    assert cycles(graph) == [["a.b", "a.c", "a.d"]]


def test_no_cycle_of_imports():
    graph = {
        name: imported(name, path.read_text(), path.name == "__init__.py", MODULES) for name, path in MODULES.items()
    }
    assert sum(map(len, graph.values())) > len(FILES)
    assert cycles(graph) == []


def test_files_are_short():
    lines = {module_name(path): len(path.read_text().splitlines()) for path in FILES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}
