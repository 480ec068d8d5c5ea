"""What the golden files say of a registration is what the library does with it."""

from __future__ import annotations
import __future__

import ast
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from goldens import FILES, GOLDEN, marked

from runtime import BusTerminal, Command, MessageRegistry
from runtime.errors import BusError, ProviderError
from runtime.lifetimes import FactorySpec
from runtime.signature import HandlerSpec, describe

RAISES = {
    "bus-handler-signature": {"HandlerSignatureError", "ProviderError"},
    "bus-dependency": {"ProviderError"},
    "bus-lifetime": {"LifetimeError"},
    "bus-duplicate-handler": {"DuplicateHandler"},
}
"""What the run time raises for a code of the plugin; what is not here it does not see."""
PLACE = re.compile(r"\((?P<file>[^()]+):(?P<line>\d+)\)")


class Some(MessageRegistry[object]):
    """Some of the handlers and the factories of another registry."""

    def __init__(self, handlers: Sequence[HandlerSpec], factories: Sequence[FactorySpec]) -> None:
        super().__init__(event_base=object)
        self.chosen = tuple(handlers)
        self.providing = tuple(factories)

    @property
    def handlers(self) -> tuple[HandlerSpec, ...]:
        return self.chosen

    @property
    def factories(self) -> tuple[FactorySpec, ...]:
        return self.providing


class Golden:
    """A golden file, executed statement by statement; what raises is noted by its statement."""

    def __init__(self, name: str, registries: list[MessageRegistry[object]]) -> None:
        self.path = GOLDEN / name
        self.text = self.path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.registries = registries
        self.raised: dict[int, set[str]] = {}
        self.counts: dict[int, tuple[int, int]] = {}
        self.module = ModuleType(f"golden_{self.path.stem}")
        self.module.__file__ = str(self.path)
        # Where `inspect` finds the lines of a class.
        sys.modules[self.module.__name__] = self.module

    def statement(self, line: int) -> int:
        """Return the first line of the outermost statement that a line is part of."""
        for each in self.tree.body:
            if first_line(each) <= line <= (each.end_lineno or each.lineno):
                return first_line(each)
        raise LookupError(line)

    def note(self, error: BusError, line: int) -> None:
        """Note an error at the function that it names, or else at a line."""
        place = PLACE.search(str(error))
        if place is not None and place["file"] == str(self.path):
            line = int(place["line"])
        self.raised.setdefault(self.statement(line), set()).add(type(error).__name__)

    def run(self) -> None:
        """Execute the file, call its functions that wire a registry, and freeze what there is."""
        names = vars(self.module)
        postponed = "from __future__ import annotations" in self.text
        flags = __future__.annotations.compiler_flag if postponed else 0
        for each in self.tree.body:
            code = compile(ast.Module([each], []), str(self.path), "exec", flags, dont_inherit=True)
            try:
                exec(code, names)
            except BusError as error:
                self.note(error, each.lineno)
        for name, function in list(names.items()):
            if name.startswith("wire") and isinstance(function, FunctionType):
                hints = get_type_hints(function)
                del hints["return"]
                if any(get_origin(hint) is not MessageRegistry for hint in hints.values()):
                    continue
                given: list[MessageRegistry[object]] = [
                    MessageRegistry(event_base=base_of(hint)) for hint in hints.values()
                ]
                try:
                    function(*given)
                except BusError as error:
                    self.note(error, function.__code__.co_firstlineno)
        for registry in tuple(self.registries):
            self.freeze(registry)

    def freeze(self, registry: MessageRegistry[object]) -> None:
        """Wire each handler and each factory by itself, and see which command has several."""
        seen: dict[str, object] = {}
        for spec in registry.handlers:
            self.try_freeze(Some([spec], registry.factories), spec)
            for key in (str(key) for key in spec.keys if Command in key.__mro__):
                if seen.setdefault(key, spec.identity) != spec.identity:
                    self.blame(spec, "DuplicateHandler")
        for factory in registry.factories:
            serving = Some([], [*registry.factories, factory])
            self.try_freeze(serving, factory, factory.provides)

    def try_freeze(
        self, registry: Some, spec: HandlerSpec | FactorySpec, wanted: object = None
    ) -> None:
        """Freeze, and have something made, if that is wanted.

        What is missing may come from another registry of the file: a terminal may be given both.
        """
        asking = MessageRegistry(event_base=object)
        if wanted is not None:

            def ask(event: object, wanted: Any) -> None: ...

            ask.__annotations__["wanted"] = wanted
            asking.register(ask)
        everything = [each for other in self.registries for each in other.factories]
        try:
            try:
                BusTerminal(registry, asking).explain(object)
            except ProviderError:
                whole = Some(registry.handlers, [*everything, *registry.factories])
                BusTerminal(whole, asking).explain(object)
        except BusError as error:
            self.blame(spec, type(error).__name__)

    def blame(self, spec: HandlerSpec | FactorySpec, error: str) -> None:
        """Note an error at the class or the function of a handler or a factory."""
        target = spec.factory if isinstance(spec, FactorySpec) else spec.owner or spec.function
        file, _, line = describe(target)[1].rpartition(":")
        if file == str(self.path):
            self.raised.setdefault(self.statement(int(line)), set()).add(error)

    def promised(self) -> dict[int, set[str]]:
        """Return what the marks say that raises, by statement; the first of several is enough."""
        said = list[tuple[int, set[str]]]()
        told = {each.line: each.code for each in marked(self.path.name, self.text, "raises")}
        for line, error in told.items():
            said.append((line, {error} - {"nothing"}))
        for each in marked(self.path.name, self.text, "E"):
            if each.line not in told:
                said.append((each.line, RAISES.get(each.code, set())))
        by_statement: dict[int, set[str]] = {}
        for line, errors in said:
            if errors:
                by_statement.setdefault(self.statement(line), set()).update(errors)
        return by_statement


def first_line(statement: ast.stmt) -> int:
    """Return the line at which a statement begins, with its decorators."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return min([statement.lineno, *(each.lineno for each in statement.decorator_list)])
    return statement.lineno


def base_of(registry: Any) -> type:
    """Return a class that is the base of a registry with an annotation."""
    (base,) = get_args(registry)
    return base if isinstance(base, type) and base is not Any else object


@pytest.fixture
def registries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[MessageRegistry[object]]]:
    """Keep every registry that is made, and import what the golden files share anew."""
    made = list[MessageRegistry[object]]()
    construct: Callable[..., None] = vars(MessageRegistry)["__init__"]

    def keep(registry: MessageRegistry[object], **options: object) -> None:
        construct(registry, **options)
        if not isinstance(registry, Some):
            made.append(registry)

    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(GOLDEN), *sys.path])
        patch.setattr(MessageRegistry, "__init__", keep)
        yield made
        for name in [each for each in sys.modules if each == "shop" or each.startswith("golden_")]:
            del sys.modules[name]


@pytest.mark.parametrize("name", FILES)
def test_marks_say_what_raises(name: str, registries: list[MessageRegistry[object]]) -> None:
    """A registration that is marked as wrong raises, there or when it is frozen; others do not."""
    golden = Golden(name, registries)
    golden.run()
    promised = golden.promised()
    wrong = [
        f"{name}:{line}: raises {golden.raised.get(line)}, marked {promised.get(line)}"
        for line in sorted(golden.raised.keys() | promised.keys())
        if not golden.raised.get(line, set()) & promised.get(line, set())
    ]
    assert wrong == []
