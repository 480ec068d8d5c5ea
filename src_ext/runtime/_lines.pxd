"""Fields of the lines; see the .pyx for what they mean."""

from runtime._core cimport Core


cdef class Lines:
    cdef Core core
    cdef dict lines
