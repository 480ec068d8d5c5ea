"""What lives as long as a mailbox."""

cimport cython

from runtime._mailbox cimport Actors, Mailbox
from runtime._wiring cimport Factory, Storage, new_storage


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
