"""Who waits for which mailbox: a cycle is told as its closing edge is drawn.

A node is what has to end before something else can begin: the message that a mailbox handles,
which the mailbox stands for, or one that the root pool handles. An edge is a wait of the handler of
such a message, or of an actor that starts or stops: for a mailbox to get to a message, or to have
room. The pool itself is no node: who waits gives its place there back.

Checked is what can be reached from the new edge, so a wait that leads nowhere costs one look-up.
"""

cimport cython

from runtime._core cimport Core
from runtime._dispatch cimport Handler
from runtime._mailbox cimport HANDLED, NOTICE, RUNNING, Delivery, Mailbox
from runtime._wiring cimport Storage

from asyncio import current_task

from runtime.errors import DeadlockError, shorten


@cython.final
@cython.freelist(32)
cdef class Wait:
    """One edge: whoever waits, and for what.

    `asker` is the message whose handler waits (None: an actor of the mailbox `home` that starts or
    stops) and `index` which of its handlers. `target` is the message that is waited for (None: room
    in `box`). Until there is a `future` nobody is suspended by it.
    """

    def draw(self, object future=None):
        """Enter the edge, unless its handler has ended.

        Raises `DeadlockError` if it closes a cycle; then it is not entered. With a `future` whoever
        asks is suspended until that is done.
        """
        cdef Delivery asker = self.asker
        if asker is not None and (asker.state != RUNNING or asker.index != self.index):
            return
        self.graph.check(self)
        self.graph.edges.setdefault(self.node(), {})[self] = None
        self.is_drawn = True
        if asker is not None:
            asker.waits += 1
        if future is not None:
            self.suspend(future)

    def suspend(self, object future):
        """Note what whoever asks is suspended by; its place in the pool is free meanwhile."""
        self.future = future
        if self.is_drawn and self.asker is not None and self.home is self.graph.core.pool:
            self.is_suspended = True
            self.asker.suspended += 1
            if self.asker.suspended == 1:
                self.graph.core.leave_turn(self.home)

    def erase(self):
        """Take the edge out: the wait is over."""
        cdef object node
        cdef dict edges
        if not self.is_drawn:
            return
        self.is_drawn = False
        node = self.node()
        edges = self.graph.edges[node]
        del edges[self]
        if not edges:
            del self.graph.edges[node]
        if self.asker is not None:
            self.asker.waits -= 1
        if self.is_suspended:
            self.is_suspended = False
            self.asker.suspended -= 1
            if self.asker.suspended == 0:
                self.graph.core.enter_turn(self.home)

    cdef object node(self):
        if self.asker is None or (
            self.home is not self.graph.core.pool and self.asker.kind != NOTICE
        ):
            return self.home
        return self.asker

    cdef object leads_to(self):
        """Return what has to end before the wait can, or None if nothing has to."""
        if self.target is not None and self.target.state >= HANDLED:
            return None
        if self.future is not None and self.future.done():
            # It is over; whoever waited has not come to know it yet.
            return None
        if self.box is not self.graph.core.pool:
            return self.box
        if self.target is not None and self.target.state == RUNNING:
            return self.target
        return None

    def __str__(self):
        cdef object where = "" if self.home.name is None else f" in mailbox {self.home.name!r}"
        cdef object target = "a mailbox"
        cdef object who = "an actor, which starts or stops"
        cdef Handler handler
        if self.asker is not None:
            handler = <Handler>self.asker.plan.handlers[self.index - 1]
            who = f"{handler.spec.name} ({handler.spec.location})"
            if self.asker.plan.publisher is not None:
                who = "the publisher"
            who = f"{who}, which handles {shorten(self.asker.event)}"
        if self.box is self.graph.core.pool:
            target = "the root pool"
        elif self.leads_to() is self.node():
            target = "its own mailbox"
        if self.box.name is not None:
            target = f"{target.removeprefix('a ')} {self.box.name!r}"
        return f"{who}{where}, {self.verb.format(event=shorten(self.event), mailbox=target)}"


@cython.final
cdef class Waits:
    """The wait-for graph of one terminal."""

    def __cinit__(self, Core core not None):
        self.core = core
        self.edges = {}

    def edge(
        self,
        Mailbox home not None,
        Delivery asker,
        str verb not None,
        Mailbox box not None,
        Delivery target,
        object event,
    ):
        """Return an edge that is not drawn yet; `verb` has {event} and {mailbox} in it."""
        cdef Wait wait = Wait.__new__(Wait)
        wait.graph = self
        wait.home = home
        wait.asker = asker
        wait.index = 0 if asker is None else asker.index
        wait.verb = verb
        wait.box = box
        wait.target = target
        wait.event = event
        return wait

    def edge_of(
        self,
        Storage storage,
        str verb not None,
        Mailbox box not None,
        Delivery target,
        object event,
    ):
        """Return the edge of a wait that begins in a scope, or None if nobody is there to wait.

        Who waits is the message whose handler the scope was made for, else that whose handler is
        running now.
        """
        cdef Delivery asker
        if storage is not None and storage.message is not None:
            asker = <Delivery>storage.message
            if asker.state != RUNNING:
                return None
            return self.edge(asker.box, asker, verb, box, target, event)
        plan_wait = getattr(current_task(self.core.loop), "plan_wait", None)
        return None if plan_wait is None else plan_wait(self.core, verb, box, target, event)

    def forget(self, Delivery asker not None):
        """Erase what a handler, which has ended, has left waiting."""
        cdef Wait wait
        cdef Wait any_wait = Wait.__new__(Wait)
        any_wait.graph = self
        any_wait.home = asker.box
        any_wait.asker = asker
        for wait in list(self.edges.get(any_wait.node(), ())):
            if wait.asker is asker:
                wait.erase()

    def end_attempt(self, Delivery asker not None):
        """Erase what an attempt that has failed has left waiting, before the next begins.

        Where a publisher runs handlers side by side, those of the others cannot be told from them.
        """
        if asker.waits > 0 and asker.plan.publisher is None:
            self.forget(asker)

    cdef int check(self, Wait closing) except -1:
        """Raise `DeadlockError` if what an edge waits for waits, over whatever others, for it."""
        cdef object start = closing.node()
        cdef object node = closing.leads_to()
        cdef Wait edge
        cdef list pending
        cdef dict reached_by
        if node is None:
            return 0
        if node is start:
            raise DeadlockError.of([closing])
        pending = [node]
        reached_by = {node: closing}
        while pending:
            for edge in self.edges.get(pending.pop(), ()):
                node = edge.leads_to()
                if node is start:
                    chain = [edge]
                    while edge is not closing:
                        edge = reached_by[edge.node()]
                        chain.append(edge)
                    raise DeadlockError.of(chain[::-1])
                if node is not None and node not in reached_by:
                    reached_by[node] = edge
                    pending.append(node)
        return 0
