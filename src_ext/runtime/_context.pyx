"""The context of a message: its ids, made when read, its time and its headers."""

cimport cython
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport uint64_t

from runtime._capi cimport wall_clock

import os
from datetime import datetime, timezone
from types import MappingProxyType

cdef object NO_HEADERS = MappingProxyType({})

# The random bits of message ids: splitmix64 (Steele, Lea and Flood, OOPSLA 2014), seeded by the
# system. Ids are unique, not secret.
cdef uint64_t random_state = 0


def _seed():
    global random_state
    random_state = <uint64_t>int.from_bytes(os.urandom(8), "little")


_seed()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_seed)


cdef inline uint64_t random_bits() noexcept:
    global random_state
    cdef uint64_t mixed
    random_state += <uint64_t>0x9E3779B97F4A7C15
    mixed = random_state
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t>0x94D049BB133111EB
    return mixed ^ (mixed >> 31)


cdef object uuid_text(uint64_t high, uint64_t low):
    """Write 128 bits as a UUID: 8-4-4-4-12 hexadecimal digits."""
    cdef const char* digits = b"0123456789abcdef"
    cdef char text[36]
    cdef int index, at = 0
    for index in range(32):
        if index == 8 or index == 12 or index == 16 or index == 20:
            text[at] = c"-"
            at += 1
        text[at] = digits[((high if index < 16 else low) >> (60 - 4 * (index & 15))) & 15]
        at += 1
    return PyUnicode_DecodeASCII(text, 36, NULL)


# Its only object is a mapping of str to str, so no cycle can run through it.
@cython.no_gc
@cython.freelist(128)
cdef class MessageContext:
    """What is known about one message besides its content.

    Made by the verb that takes the message, or by the caller to set `headers`. Inside a handler,
    what goes out through the injected bus copies the ids of the message being handled.
    """

    def __cinit__(self):
        self.stamp = wall_clock()

    def __init__(self, *, headers=None):
        if headers is not None:
            for name, value in headers.items():
                if type(name) is not str or type(value) is not str:
                    raise TypeError(f"headers map str to str, not {name!r} to {value!r}")
            self._headers = MappingProxyType(dict(headers))

    @property
    def id(self):
        """The message's id: a UUID of version 7 (RFC 9562), made when first read."""
        self.make_id()
        return uuid_text(self.id_high, self.id_low)

    @property
    def correlation_id(self):
        """The id of the first message of the chain that this one belongs to."""
        if self.correlation_high == 0:
            return self.id
        return uuid_text(self.correlation_high, self.correlation_low)

    @property
    def causation_id(self):
        """The id of the message whose handler sent this one; None for the first of a chain."""
        if self.causation_high == 0:
            return None
        return uuid_text(self.causation_high, self.causation_low)

    @property
    def time(self):
        """When the message was taken: UTC, to the microsecond."""
        return datetime.fromtimestamp(self.stamp // 1000 / 1e6, timezone.utc)

    @property
    def headers(self):
        """The headers given by whoever sent the message; read only."""
        return self._headers if self._headers is not None else NO_HEADERS

    def __repr__(self):
        return f"<{type(self).__name__} {self.id}>"

    cdef int make_id(self) except -1:
        # RFC 9562, 5.7 and method 3 of 6.2: milliseconds, then 12 bits of their fraction.
        if self.id_high == 0:
            self.id_high = (
                (<uint64_t>(self.stamp // 1_000_000) << 16)
                | 0x7000
                | <uint64_t>((self.stamp % 1_000_000) * 4096 // 1_000_000)
            )
            self.id_low = (<uint64_t>2 << 62) | (random_bits() >> 2)
        return 0

    cdef int caused_by(self, MessageContext cause) except -1:
        """Copy the ids of the message whose handler sends this one."""
        cause.make_id()
        self.causation_high = cause.id_high
        self.causation_low = cause.id_low
        if cause.correlation_high != 0:
            self.correlation_high = cause.correlation_high
            self.correlation_low = cause.correlation_low
        else:
            self.correlation_high = cause.id_high
            self.correlation_low = cause.id_low
        return 0


def caused_by(MessageContext cause not None):
    """Return the context of a message that another one has caused."""
    cdef MessageContext context = MessageContext.__new__(MessageContext)
    context.caused_by(cause)
    return context


cdef uint64_t half(object number, int shift) except? 0:
    """Return the upper or the lower half of 128 bits."""
    return <uint64_t>((number >> shift) & 0xFFFFFFFFFFFFFFFF)


def restored(object ids not None, long long stamp, object headers):
    """Return the context of a message that comes from a store.

    `ids` are those of the message, of its cause and of the first of its chain, each as the number
    that a UUID is, 0 where there is none. `stamp` is the time in nanoseconds since the epoch.
    """
    cdef MessageContext context = MessageContext(headers=headers)
    own, cause, correlation = ids
    context.id_high, context.id_low = half(own, 64), half(own, 0)
    context.causation_high, context.causation_low = half(cause, 64), half(cause, 0)
    context.correlation_high = half(correlation, 64)
    context.correlation_low = half(correlation, 0)
    context.stamp = stamp
    return context
