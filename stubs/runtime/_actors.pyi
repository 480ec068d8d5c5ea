from collections.abc import Callable, Collection, Coroutine
from typing import Any, final

from runtime._context import MessageContext
from runtime._core import Core
from runtime._dispatch import Handler
from runtime._mailbox import Delivery, Mailbox
from runtime._wiring import Factory, Storage

@final
class ActorProvider(Factory):
    def home(self, storage: Storage) -> Storage: ...
    def is_built(self, storage: Storage) -> bool: ...
    def keep(self, storage: Storage, value: object) -> None: ...

def publish_to_actor(
    core: Core,
    handler: Handler,
    event: object,
    context: MessageContext | None,
    storage: Storage,
) -> Coroutine[Any, Any, Any]: ...
def actor_exits(core: Core, kept: Collection[Mailbox]) -> list[list[tuple[Any, bool]]]: ...
def is_idle(box: Mailbox) -> bool: ...
def take_actors(box: Mailbox) -> list[tuple[Any, bool]]: ...
def take_actor(box: Mailbox, actor: Factory) -> list[tuple[Any, bool]]: ...
def fail_waiting(
    core: Core, box: Mailbox, actor: Factory, refusal: Callable[[object], Exception]
) -> None: ...
def post_control(
    core: Core,
    box: Mailbox,
    handler: Handler,
    event: object,
    context: MessageContext | None,
    storage: Storage,
) -> Delivery: ...
def withdraw(message: Delivery) -> None: ...
