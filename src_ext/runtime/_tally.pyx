"""The counters of one message type, and of one handler.

They are counted always, wherever the ledger of the whole terminal is, and read when somebody asks.
Plans and calls are made anew by `include` and `override`; these outlast them.
"""

cimport cython


@cython.final
cdef class TypeTally:
    """What has become of the messages of one class."""

    def ledger(self):
        """Return the counters by name; what has not ended is pending."""
        cdef TypeCounts* counts = &self.counts
        return {
            "emitted": counts.emitted,
            "handled": counts.handled,
            "failed": counts.failed,
            "dropped": counts.dropped,
            "expired": counts.expired,
            "rejected_at_close": counts.rejected,
            "pending": (
                counts.emitted
                - counts.handled
                - counts.failed
                - counts.dropped
                - counts.expired
                - counts.rejected
            ),
            "published": counts.published,
            "sent": counts.sent,
            "asked": counts.asked,
        }

    @property
    def is_used(self):
        """Whether there has been a message."""
        return self.counts.emitted > 0 or self.counts.published > 0 or self.counts.sent > 0


@cython.final
cdef class HandlerTally:
    """What one handler has done.

    `failed` is how many messages from a mailbox it has failed at, `slow` how often it has blocked
    the loop for too long, `longest` for how many seconds at most.
    """

    @property
    def started(self):
        """How often it has been called."""
        return self.calls

    def count_failure(self):
        """Count a message that the handler has failed at."""
        self.failed += 1

    cdef int note_slow(self, double seconds) except -1:
        self.slow += 1
        self.longest = max(self.longest, seconds)
        return 0
