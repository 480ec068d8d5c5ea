"""Fields of what serves actors; see the .pyx."""

from runtime._wiring cimport Factory, Storage


cdef class ActorProvider(Factory):
    cdef Storage own_storage(self, Storage storage)
