"""The lines on which things are written."""

from __future__ import annotations

import ast
import linecache

import msgspec

from runtime.findings import Place

__all__ = ("Lines",)

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


class Definitions(msgspec.Struct):
    """What one file defines."""

    functions: dict[tuple[int, str], Function]
    """By the line where it begins, decorators included, and by name."""
    classes: dict[str, ast.ClassDef]
    """By qualified name; of several the last."""


class Lines:
    """Finds lines in source files, each of which is read once."""

    def __init__(self) -> None:
        self._files: dict[str, Definitions] = {}

    def of(self, place: Place) -> int | None:
        """Return the line of a place: of its parameter, else of its ``def`` or ``class``."""
        if place.file is None:
            return None
        if place.file not in self._files:
            self._files[place.file] = read(place.file)
        known = self._files[place.file]
        # What a library has made of a generic class has its arguments in its name.
        described = known.classes.get(place.name.partition("[")[0])
        function = known.functions.get((place.line, place.name))
        if function is not None:
            return line_of_parameter(function, place.parameter) or function.lineno
        if place.line == 0 and described is not None:
            return line_of_field(described, place.parameter) or described.lineno
        return place.line or None


def read(file: str) -> Definitions:
    """Return what a file defines: nothing, if it cannot be read."""
    found = Definitions({}, {})
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return found
    # A stack of its own: an expression may be nested deeper than functions may call each other.
    rest: list[tuple[ast.AST, str]] = [(tree, "")]
    while rest:
        outer, within = rest.pop()
        for node in ast.iter_child_nodes(outer):
            inside = within
            if isinstance(node, ast.ClassDef):
                found.classes[within + node.name] = node
                inside = f"{within}{node.name}."
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = [node.lineno, *(each.lineno for each in node.decorator_list)]
                found.functions[min(lines), node.name] = node
                inside = f"{within}{node.name}.<locals>."
            elif isinstance(node, ast.Lambda):
                found.functions[node.lineno, "<lambda>"] = node
            rest.append((node, inside))
    return found


def line_of_parameter(function: Function, name: str | None) -> int | None:
    """Return the line of a parameter, or of what is returned."""
    if name == "return" and not isinstance(function, ast.Lambda):
        return None if function.returns is None else function.returns.lineno
    arguments = function.args
    several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    several += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
    return next((each.lineno for each in several if each.arg == name), None)


def line_of_field(described: ast.ClassDef, name: str | None) -> int | None:
    """Return the line of a name that is declared in the body of a class."""
    for statement in described.body:
        targets: list[ast.expr] = []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return statement.lineno
    return None
