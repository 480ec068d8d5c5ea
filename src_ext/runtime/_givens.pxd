"""Fields of what serves the bus and the scope; see the .pyx."""

from runtime._core cimport Core
from runtime._wiring cimport Provider


cdef class BusProvider(Provider):
    cdef Core core


cdef class ScopeProvider(Provider):
    cdef Core core
