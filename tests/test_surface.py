"""The public surface is a list that does not change by accident."""

import importlib
import inspect
import pkgutil

import pytest

import runtime

PUBLIC = {
    "BusTerminal",
    "Command",
    "DeadLetter",
    "Delivery",
    "Event",
    "EventBus",
    "MailboxPolicy",
    "MessageContext",
    "MessageRegistry",
    "Record",
    "Resolver",
    "Retry",
    "Scope",
    "ShutdownReport",
    "Stats",
    "concurrent",
    "isolated",
    "run",
    "sequential",
    "use",
}
ERRORS = {
    "ActorRestarting",
    "AskTimeout",
    "BusError",
    "ContextMismatch",
    "DeadlockError",
    "DeliveryFailed",
    "DuplicateHandler",
    "HandlerSignatureError",
    "LifetimeError",
    "MailboxFull",
    "NoActorKey",
    "NoHandler",
    "ProviderError",
    "ScopeClosed",
    "SinkError",
    "SinkUnset",
    "SourceError",
    "TerminalClosed",
    "Undecodable",
    "WrongLoop",
}
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(runtime.__path__, "runtime.")
    if not name.split(".")[-1].startswith("_")
]


def test_package_exports_the_contract() -> None:
    """`runtime` exports these names, sorted, and nothing by chance."""
    assert set(runtime.__all__) == PUBLIC
    assert list(runtime.__all__) == sorted(runtime.__all__, key=lambda n: (not n[0].isupper(), n))


def test_errors_are_the_contract() -> None:
    """`runtime.errors` has these, sorted, all of one tree."""
    errors = importlib.import_module("runtime.errors")
    assert set(errors.__all__) == ERRORS
    assert list(errors.__all__) == sorted(errors.__all__)
    assert all(issubclass(getattr(errors, name), errors.BusError) for name in ERRORS)


@pytest.mark.parametrize("name", MODULES)
def test_all_names_what_is_there(name: str) -> None:
    """`__all__` names things that exist."""
    module = importlib.import_module(name)
    assert module.__all__
    assert [each for each in module.__all__ if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_thing_has_a_docstring(name: str) -> None:
    """What is exported says what it is for, and so do its public methods."""
    thing = getattr(runtime, name)
    assert inspect.getdoc(thing)
    if isinstance(thing, type):
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                assert inspect.getdoc(value), f"{name}.{member}"


@pytest.mark.parametrize("name", ["Delivery", "EventBus"])
def test_internal_construction_is_refused(name: str) -> None:
    """What only the runtime makes says so when it is constructed by hand."""
    with pytest.raises(TypeError, match=r"terminal|emit"):
        getattr(runtime, name)()
