"""What other threads have sent, until the loop looks."""

cimport cython

from runtime._core cimport CLOSED, Core
from runtime._mailbox cimport Delivery, Mailbox

from runtime.errors import MailboxFull, TerminalClosed


@cython.final
cdef class Inbox:
    """Entries of other threads in their order: messages that have a place, and calls.

    `is_awake` says that the loop has been asked to look.
    """

    def __cinit__(self, Core core not None):
        self.core = core
        self.entries = []

    def post(self, Mailbox box not None, Delivery message not None):
        """Accept a message in another thread, into the inbox, and wake the loop; say whether.

        It is not if the mailbox has been forgotten meanwhile. Between the first question and the
        last count no other thread runs: no Python code is called.
        """
        cdef tuple entry = (box, message)
        if self.core.phase >= CLOSED:
            raise TerminalClosed.of(self.core.host.name, message.event)
        if box.forgotten:
            return False
        if self.core.is_full(box, message):
            raise MailboxFull.of(message.event, message.plan.capacity, box.name)
        message.box = box
        box.reserved += 1
        self.core.queued += 1
        self.core.count_accepted(message)
        self.entries.append(entry)
        self.rouse()
        return True

    def call(self, object call):
        """Call something on the loop, after what the same thread has sent before."""
        self.entries.append(call)
        self.rouse()

    cdef int rouse(self) except -1:
        """Wake the loop, once for whatever gathers until it looks."""
        if self.is_awake:
            return 0
        self.is_awake = True
        try:
            self.core.loop.call_soon_threadsafe(self.empty)
        except RuntimeError as error:
            # The loop has been closed this very moment.
            self.is_awake = False
            raise TerminalClosed.of(self.core.host.name) from error
        except BaseException:
            # Interrupted: let the next try again.
            self.is_awake = False
            raise
        return 0

    def empty(self):
        """Queue what other threads have sent."""
        cdef Mailbox box
        cdef Delivery message
        cdef list batch
        self.is_awake = False
        batch, self.entries = self.entries, []
        for entry in batch:
            if isinstance(entry, tuple):
                box, message = entry
                box.reserved -= 1
                self.core.enqueue(box, message)
            else:
                entry()
