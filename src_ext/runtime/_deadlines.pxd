"""Fields of the asks that are waited for; see the .pyx for what they mean."""

from runtime._mailbox cimport Reply


cdef class Row:
    cdef list replies
    cdef Py_ssize_t head
    cdef readonly double timeout
    cdef object timer

    cdef Reply first(self)
    cdef int pop(self) except -1
    cdef int append(self, Reply reply) except -1
    cdef int compact(self) except -1


cdef class Deadlines:
    cdef dict rows
    cdef Row recent
    cdef Py_ssize_t limit
    cdef object empty

    cdef int add(self, object loop, Reply reply, double timeout) except -1
    cdef Row row(self, double timeout)
    cdef int forget(self, Row row) except -1
    cdef int set_timer(self, object loop, Row row, double due) except -1
    cdef object make_timer(self, object loop, double due, double timeout, Reply reply)
