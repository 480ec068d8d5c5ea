"""What the plugin says of generated registrations is what the run time does with them.

Signatures of handlers and factories are put together from parts, in many forms. Nothing that works
may have a finding; what the run time refuses has one, but for what may be provided elsewhere.
"""

import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from goldens import Mypy

from runtime import BusTerminal, MessageRegistry
from runtime.errors import BusError

SEED: Final = 1
SIZE: Final = 600
"""Registrations of a run."""

HEAD: Final = """\
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Generic, Literal, Optional, Protocol, TypeVar, Union

from runtime import (
    BusTerminal,
    Command,
    DeadLetter,
    Event,
    EventBus,
    MessageContext,
    MessageRegistry,
    Scope,
    use,
)

P = TypeVar("P", bound=Callable[..., Any])
T = TypeVar("T")


class UserEvent(Event):
    user_id: int


class Created(UserEvent):
    pass


class Renamed(UserEvent):
    pass


class Changed(UserEvent, Generic[T]):
    value: T


class Other(Event):
    pass


U = TypeVar("U", bound=UserEvent)


class Context(MessageContext):
    pass


class Mailer:
    pass


class HasName(Protocol):
    @property
    def name(self) -> str: ...


def logged(function: P) -> P:
    return function


def read_name() -> str:
    return "Ada"


registry = MessageRegistry(event_base=UserEvent)
"""
MESSAGES: Final = (
    "", "e", "e: Created", "e: Other", "e: Created | Renamed", "e: Created | Other",
    "e: Created | None", "e: Optional[Created]", "e: Union[Created, Renamed]",
    "e: Annotated[Created, 1]", "e: Annotated[Created | Other, 1]", "e: UserEvent", "e: Event",
    "e: object", "e: Any", "e: None", "e: str", "e: 'Created'", "e: 'Other'", "e: list[Created]",
    "e: type[Created]", "e: Literal[1]", "e: HasName", "e: U", "e: Changed[int]", "e: Exception",
    "e: Changed[int] | Created", "e: DeadLetter", "e: DeadLetter | Other", "e: Command[int]",
    "e: Callable[[], Created]", "*e: Created", "**e: Created", "*, e: Created", "e: Created, /",
    "e: Created = Created(1)",
)  # fmt: skip
RIGHT_MESSAGES: Final = ("e: Created", "e: Created | Renamed", "e: DeadLetter", "e: UserEvent")
DEPENDENCIES: Final = (
    "", "m: Mailer", "n: Annotated[str, use(read_name)]", "n: Annotated[str, 'text']",
    "n: Annotated[Mailer, use(Mailer, lifetime='singleton')]",
    "n: Annotated[Mailer, use(Mailer, lifetime='actor')]",
    "n: Annotated[Mailer, use(Mailer, lifetime='transient')]",
    "n: Annotated[str, use(read_name)] = 'Ada'", "x: str", "x: 'int'", "x: int = 1", "x: object",
    "x: list[int]", "x: tuple[int, ...]", "x: frozenset[str]", "x: bytearray", "x: complex",
    "x: bytes | None = None", "x: int, y: str = ''", "*, x: int", "*, x: int = 1", "*a: int",
    "**k: int", "x: int | None", "x: Sequence[int]", "x: Callable[[], int]", "x: HasName",
)  # fmt: skip
CONTEXTS: Final = (
    "ctx", "ctx: Any", "ctx: MessageContext", "ctx: Context", "ctx: MessageContext | None",
    "ctx: MessageContext | None = None", "ctx: type[MessageContext]", "ctx: str", "ctx: Any = None",
    "ctx: Annotated[MessageContext, 1]", "*, ctx: MessageContext", "m: Mailer, ctx: Context",
    "m: Mailer, ctx", "b: EventBus[UserEvent]", "s: Scope[UserEvent], t: BusTerminal[UserEvent]",
)  # fmt: skip
LIFETIMES: Final = ("singleton", "actor", "scoped", "transient")
HANDLERS: Final = (
    "@registry.register\n{a}def f{i}({p}) -> None: ...",
    "{a}def f{i}({p}) -> None: ...\nregistry.register(f{i})",
    "@registry.register\n@logged\n{a}def f{i}({p}) -> None: ...",
    "@registry.register\n{a}def f{i}({p}) -> Iterator[int]:\n    yield 1",
    "{a}def f{i}({p}) -> None: ...\nregistry.register(functools.partial(f{i}))",
    "{a}def f{i}(z: int, {p}) -> None: ...\nregistry.register(functools.partial(f{i}, 1))",
    "@registry.register(lifetime='{lifetime}')\nclass C{i}:\n    {a}def on(self, {p}) -> None: ...",
    "@registry.register\nclass C{i}:\n    @staticmethod\n    {a}def on({p}) -> None: ...",
    "@registry.register\nclass C{i}:\n    @classmethod\n    {a}def on(cls, {p}) -> None: ...",
    "class C{i}:\n    {a}def on(self, {p}) -> None: ...\nregistry.register(C{i}().on)",
    "class C{i}:\n    {a}def on(self, {p}) -> None: ...\nregistry.register(C{i}.on)",
    "class C{i}:\n    {a}def __call__(self, {p}) -> None: ...\nregistry.register(C{i}())",
    (
        "class B{i}:\n    {a}def on(self, {p}) -> None: ...\n\n\n"
        "@registry.register\nclass C{i}(B{i}): ..."
    ),
)
FACTORIES: Final = (
    (
        "class C{i}: ...\n\n\n"
        "@registry.factory(lifetime='{lifetime}')\n"
        "{a}def f{i}({p}) -> C{i}: return C{i}()"
    ),
    (
        "class C{i}: ...\n\n\n"
        "def f{i}({p}) -> C{i}: return C{i}()\n\n\n"
        "registry.factory(f{i}, lifetime='{lifetime}')"
    ),
    (
        "@registry.factory(lifetime='{lifetime}')\n"
        "class C{i}:\n"
        "    def __init__(self, {p}) -> None: ..."
    ),
    (
        "@registry.register(lifetime='{lifetime}')\n"
        "class C{i}:\n"
        "    def __init__(self, {p}) -> None: ...\n"
        "    {a}def on(self, e: Created) -> None: ..."
    ),
)
ELSEWHERE: Final = re.compile(
    # What another registry may provide, what another class may bind, and what takes anything.
    r"nothing provides ([\w.]+ \| None|\S+\.(Sequence|Callable)\[.*|HasName);"
    r"|: Any: |no public method takes an event|`e` is annotated ~U"
    r"|^ProviderError: .* cannot be wired"
)
"""What the run time says where the plugin may be silent."""
SEEN_AT_RUN_TIME: Final = {"bus-dependency", "bus-handler-signature", "bus-lifetime"}
"""The codes for what the run time sees, too, in one registration."""


def parameters(*parts: str) -> str | None:
    """Put parameters together; None if they cannot stand together."""
    text = ", ".join(part for part in parts if part)
    try:
        compile(f"def f(self, {text}): ...", "parameters", "exec")
    except SyntaxError:
        return None
    return text


def registrations(seed: int) -> Iterator[str]:
    """Yield the texts of registrations."""
    drawn = random.Random(seed)
    number = 0
    while number < SIZE:
        if drawn.random() < 0.7:
            messages = drawn.choice((MESSAGES, RIGHT_MESSAGES))
            extra = drawn.choice((DEPENDENCIES, CONTEXTS))
            text = parameters(drawn.choice(messages), drawn.choice(extra))
            form = drawn.choice(HANDLERS)
        else:
            text, form = parameters(drawn.choice(DEPENDENCIES)), drawn.choice(FACTORIES)
        if text is not None:
            yield form.format(
                i=number,
                p=text,
                a=drawn.choice(("", "async ")),
                lifetime=drawn.choice(LIFETIMES),
            ).replace(", )", ")")
            number += 1


def refusals(blocks: list[tuple[int, str]], module: ModuleType) -> dict[int, str]:
    """Execute each registration by itself; return what the run time says, by its first line."""
    names, file = vars(module), str(module.__file__)
    exec(compile(HEAD, file, "exec"), names)
    said: dict[int, str] = {}
    for line, text in blocks:
        registry = MessageRegistry(event_base=names["UserEvent"])
        asking = MessageRegistry(event_base=object)
        names["registry"] = registry
        try:
            exec(compile("\n" * (line - 1) + text, file, "exec"), names)
            for factory in registry.factories:

                def ask(event: object, wanted: object) -> None: ...

                ask.__annotations__["wanted"] = factory.provides
                asking.register(ask)
            BusTerminal[object](registry, asking).explain(object)
        except BusError as error:
            said[line] = f"{type(error).__name__}: {error}"
    return said


def test_plugin_and_run_time_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What works has no finding, and what does not has one."""
    text, blocks = HEAD, list[tuple[int, str]]()
    for block in registrations(SEED):
        text += "\n\n"
        blocks.append((text.count("\n") + 1, block))
        text += f"{block}\n"
    (tmp_path / "drawn.py").write_text(text, encoding="utf-8")
    module = ModuleType("drawn")
    module.__file__ = str(tmp_path / "drawn.py")
    monkeypatch.setitem(sys.modules, "drawn", module)
    refused = refusals(blocks, module)
    found: dict[int, list[str]] = {}
    for each in Mypy(tmp_path).run(tmp_path, "drawn.py"):
        first = max((line for line, _ in blocks if line <= each.line), default=0)
        if each.code in SEEN_AT_RUN_TIME:
            found.setdefault(first, []).append(f"{each.code}: {each.text}")
    assert len(refused) > SIZE / 4
    assert len(refused) < SIZE * 3 / 4
    wrong = [
        f"{text}\n  run time: {refused.get(line)}\n  plugin: {found.get(line)}"
        for line, text in blocks
        if (line in found and line not in refused)
        or (line in refused and line not in found and not ELSEWHERE.search(refused[line]))
    ]
    assert "\n\n".join(wrong) == ""
