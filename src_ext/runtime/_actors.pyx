"""What lives as long as a mailbox, and how a publish reaches it."""

cimport cython

from runtime._core cimport CLOSED, Core
from runtime._dispatch cimport Handler, Plan
from runtime._mailbox cimport (
    ASK,
    CONTROL,
    FAILED,
    QUEUED,
    WITHDRAWN,
    Actors,
    Delivery,
    Mailbox,
    deadline_of,
)
from runtime._wiring cimport Factory, Storage, is_over, new_storage

from runtime.errors import DeadlockError, TerminalClosed


@cython.final
cdef class ActorProvider(Factory):
    """Serves what lives as long as the mailbox at hand: an actor, and what it needs for itself."""

    cdef object provide(self, object context, Storage storage):
        cdef Mailbox box = self.mailbox_of(storage)
        cdef object instance
        if box.actors is not None and self in box.actors.instances:
            return box.actors.instances[self]
        storage = self.own_storage(storage)
        instance = self.build(storage)
        self.keep(storage, instance)
        return instance

    cdef Storage own_storage(self, Storage storage):
        """Return a storage outside of every scope, for one object of the mailbox."""
        cdef Storage own = new_storage(storage.core, self.mailbox_of(storage), None)
        own.detached = True
        return own

    cdef Mailbox mailbox_of(self, Storage storage):
        """Return the mailbox at hand; a name's mailbox is another one after it was forgotten."""
        cdef Mailbox box = <Mailbox>storage.box
        if box.forgotten:
            box = (<Core>storage.core).mailbox_again(box, storage)
            storage.box = box
        return box

    def home(self, Storage storage not None):
        """Return where the object is built."""
        return self.own_storage(storage)

    def is_built(self, Storage storage not None):
        """Say whether the mailbox has its object."""
        cdef Mailbox box = self.mailbox_of(storage)
        return box.actors is not None and self in box.actors.instances

    def keep(self, Storage storage not None, object value):
        """Give the mailbox its object, and what has to be left for it."""
        cdef Actors actors = actors_of(self.mailbox_of(storage))
        actors.instances[self] = value
        if storage.exits:
            if actors.exits is None:
                actors.exits = {}
            actors.exits[self] = storage.exits


cdef inline Actors actors_of(Mailbox box):
    if box.actors is None:
        box.actors = Actors.__new__(Actors)
    return box.actors


def publish_to_actor(
    Core core not None, Handler handler, object event, object context, Storage storage
):
    """Return the coroutine that lets an actor handle a published event."""
    cdef Mailbox box = actor_mailbox(core, handler, event, storage)
    cdef Storage link = storage
    if storage.owner is None or is_over(storage) or storage.box is not box:
        return core.host.wait_for_actor(box, handler, event, context, storage)
    while link is not None:
        if (<Handler>link.owner).actor is handler.actor:
            raise DeadlockError.itself(handler.spec, box.name)
        link = link.parent
    plan = Plan((handler,), guards=core.table.find(event).guards)
    return core.host.run_on_turn(box, plan, handler, event, context, storage.branch(handler))


cdef Mailbox actor_mailbox(Core core, Handler handler, object event, Storage storage):
    """Return the mailbox whose actor hears an event published in a scope."""
    cdef Plan plan = core.table.find(event)
    cdef Mailbox box
    if plan.key_field is not None:
        box = core.keyed_mailbox(plan, event)
        if box is not None:
            return box
    box = storage.box
    if box is not None and box.forgotten:
        box = core.mailbox_again(box, storage)
    if box is None or box.name is None:
        raise core.host.no_actor_key(handler.spec, event)
    return box


def actor_exits(Core core not None, object kept):
    """Take what the actors' mailboxes have entered, the last made first; not the `kept` ones.

    Returns a list of context managers, to be left from its end, for each mailbox.
    """
    cdef Mailbox box
    cdef list taken = []
    for box in (*core.boxes.values(), core.pool, core.notices):
        if box.actors is not None and box not in kept:
            exits = take_actors(box)
            if exits:
                taken.append(exits)
    taken.reverse()
    return taken


def is_idle(Mailbox box not None):
    """Say whether a mailbox has actors, and nothing to do."""
    return (
        box.actors is not None and box.head is None and box.active == 0 and box.reserved == 0
    )


def take_actors(Mailbox box not None):
    """Take all actors out of a mailbox; return what to leave for them, from the list's end."""
    cdef Actors actors = box.actors
    cdef list exits = []
    if actors is None:
        return exits
    box.actors = None
    if actors.exits is not None:
        # In the order in which they were made.
        for each in actors.instances:
            exits += actors.exits.get(each, ())
    return exits


def take_actor(Mailbox box not None, Factory actor not None):
    """Take an actor out of a mailbox, with what of the mailbox's only that was built from.

    Returns what to leave for them, from the list's end.
    """
    cdef Actors actors = box.actors
    cdef list exits = []
    cdef set gone = set()
    cdef set kept = set()
    if actors is None:
        return exits
    collect(actor, gone)
    for each in actors.instances:
        if each not in gone:
            collect(<Factory>each, kept)
    for each in [each for each in actors.instances if each in gone and each not in kept]:
        del actors.instances[each]
        if actors.exits is not None:
            exits += actors.exits.pop(each, ())
    return exits


cdef int collect(Factory factory, set found) except -1:
    """Add a factory to a set, with everything that it builds from."""
    found.add(factory)
    for each in factory.call.providers:
        if isinstance(each, Factory) and each not in found:
            collect(<Factory>each, found)
    return 0


def fail_waiting(Core core not None, Mailbox box not None, Factory actor not None, object refusal):
    """Fail the publishes and asks that wait in a mailbox for one of its actors.

    The mailbox is not ready: somebody has its turn. `refusal` makes the error for a message.
    """
    cdef Delivery before = None
    cdef Delivery message = box.head
    cdef Delivery following
    cdef list failed = []
    while message is not None:
        following = message.next
        if (
            (message.kind == CONTROL or message.kind == ASK)
            and message.state == QUEUED
            and (<Handler>message.plan.handlers[0]).actor is actor
        ):
            if before is None:
                box.head = following
            else:
                before.next = following
            if box.tail is message:
                box.tail = before
            message.next = None
            failed.append(message)
        else:
            before = message
        message = following
    for message in failed:
        message.failures = [refusal(message.event)]
        if message.kind == ASK:
            # It is counted like any message.
            box.count -= 1
            core.queued -= 1
            core.count_ended(message, FAILED)
            (<Handler>message.plan.handlers[0]).tally.failed += 1
        else:
            core.control -= 1
        core.end(message, FAILED)


def post_control(
    Core core not None,
    Mailbox box not None,
    Handler handler,
    object event,
    object context,
    Storage storage not None,
):
    """Queue work that bypasses capacity and the ledger; its error is for its caller."""
    cdef Delivery message
    if core.phase >= CLOSED:
        raise TerminalClosed.of(core.host.name, event)
    message = core.new_message(
        Plan((handler,), guards=core.table.find(event).guards), event, context
    )
    message.kind = CONTROL
    message.hops = storage.hops
    message.expires = deadline_of(storage)
    core.append(box, message)
    core.control += 1
    return message


def withdraw(Delivery message not None):
    """Keep a control message from starting, if it has not."""
    if message.state == QUEUED:
        message.state = WITHDRAWN
