"""Fields of what serves actors; see the .pyx."""

from runtime._mailbox cimport Mailbox
from runtime._wiring cimport Factory, Storage


cdef class ActorProvider(Factory):
    cdef Storage own_storage(self, Storage storage)
    cdef Mailbox mailbox_of(self, Storage storage)
