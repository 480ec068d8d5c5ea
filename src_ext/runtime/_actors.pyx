"""What lives as long as a mailbox, and how a publish reaches it."""

cimport cython

from runtime._core cimport Core
from runtime._dispatch cimport Handler, Plan
from runtime._mailbox cimport Actors, Mailbox
from runtime._wiring cimport Factory, Storage, new_storage

from runtime.errors import DeadlockError


@cython.final
cdef class ActorProvider(Factory):
    """Serves what lives as long as the mailbox at hand: an actor, and what it needs for itself."""

    cdef object provide(self, object context, Storage storage):
        cdef Mailbox box = <Mailbox>storage.box
        cdef object instance
        if box.actors is not None and self in box.actors.instances:
            return box.actors.instances[self]
        instance = self.build(self.own_storage(storage))
        self.keep(storage, instance)
        return instance

    cdef Storage own_storage(self, Storage storage):
        """Return a storage outside of every scope, whose exits are the mailbox's."""
        cdef Storage own = new_storage(storage.core, storage.box, None)
        own.detached = True
        own.exits = actors_of(<Mailbox>storage.box).exits
        return own

    def home(self, Storage storage not None):
        """Return where the object is built."""
        return self.own_storage(storage)

    def is_built(self, Storage storage not None):
        """Say whether the mailbox has its object."""
        cdef Mailbox box = <Mailbox>storage.box
        return box.actors is not None and self in box.actors.instances

    def keep(self, Storage storage not None, object value):
        """Give the mailbox its object."""
        actors_of(<Mailbox>storage.box).instances[self] = value


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
    if storage.owner is None or storage.closed or storage.box is not box:
        return core.host.wait_for_actor(box, handler, event, context, storage.hops)
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
    if box is None or box.name is None:
        raise core.host.no_actor_key(handler.spec, event)
    return core.mailbox(box.name) if box.forgotten else box


def actor_exits(Core core not None, object kept):
    """Take what the actors' mailboxes have entered, the last made first; not the `kept` ones.

    Returns a list of context managers, to be left from its end, for each mailbox.
    """
    cdef Mailbox box
    cdef list taken = []
    for box in (*core.boxes.values(), core.pool, core.notices):
        if box.actors is not None and box.actors.exits and box not in kept:
            taken.append(box.actors.exits)
            box.actors = None
    taken.reverse()
    return taken
