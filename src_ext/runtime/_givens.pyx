"""What a parameter is given that no factory makes: the bus and the scope at hand."""

cimport cython

from runtime._bus cimport Scope, new_bus
from runtime._core cimport Core
from runtime._mailbox cimport Mailbox
from runtime._wiring cimport Provider, Storage


@cython.final
cdef class BusProvider(Provider):
    """Serves the bus of the scope at hand, bound to the message being handled."""

    def __cinit__(self, Core core not None):
        self.core = core

    cdef object provide(self, object context, Storage storage):
        if storage is None:
            return new_bus(self.core, None, None, None, 0)
        return new_bus(
            self.core,
            None if storage.detached else storage,
            <Mailbox>storage.box,
            context if context is not None else storage.cause,
            storage.hops,
        )


@cython.final
cdef class ScopeProvider(Provider):
    """Serves the scope at hand."""

    def __cinit__(self, Core core not None):
        self.core = core

    cdef object provide(self, object context, Storage storage):
        cdef Scope scope
        if isinstance(storage, Scope):
            return storage
        # The scope of one call, opened without a block: a face for it.
        scope = Scope.__new__(Scope)
        scope.core = self.core
        scope.inside = storage if storage is not None else self.core.root
        return scope
