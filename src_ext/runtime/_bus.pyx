"""What every verb touches: the bus and the scope."""

cimport cython
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF

from runtime._asks cimport new_ask
from runtime._capi cimport is_coroutine, owned, put_error, take_error, thread_mark
from runtime._context cimport MessageContext
from runtime._core cimport CLOSED, Core
from runtime._dispatch cimport (
    AS_CALLS,
    AS_COROUTINE,
    AS_COROUTINE_IN_SCOPE,
    AS_UNROLLED,
    BY_HOST,
    NOTHING,
    REJECT,
    Handler,
    Plan,
)
from runtime._mailbox cimport (
    FORGOTTEN,
    HELD,
    QUEUED,
    Delivery,
    Mailbox,
    as_callback,
    deadline_of,
)
from runtime._publication cimport Publication, new_brief, refused
from runtime._sender cimport Sender, seconds
from runtime._wiring cimport CallScope, Storage, is_over, new_storage

from types import GenericAlias

from runtime.errors import NoHandler, TerminalClosed


@cython.final
cdef class EventBus(Sender):
    """The verbs of a terminal, inside one scope."""

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self):
        raise TypeError("an EventBus comes from a terminal, a scope, or a handler's parameter")

    def publish(self, object event, MessageContext context=None):
        """Run the event's handlers now, in the caller's task and scope, one after the other.

        Handlers run in registration order; the first exception ends the run and propagates
        unchanged. Cancelling the caller cancels the handler that runs. From a bus that belongs to
        no scope, a scope is opened for the call and shared by what the handlers publish in turn.

        Raises, when awaited, `TerminalClosed`, `ScopeClosed` and `WrongLoop`.
        """
        cdef Core core = self.core
        cdef Plan plan
        cdef PyObject* result
        cdef object instead
        if core is None:
            raise TypeError("this EventBus has no terminal")
        if not self.is_free():
            instead = self.look(EventBus.publish, event, context)
            if instead is not None:
                return instead
        plan = core.table.recall(event)
        if plan is None:
            try:
                plan = core.table.find(event)
            except Exception as error:
                return refused(error)
        core.published += 1
        plan.counts.published += 1
        if plan.wants_context:
            context = self.context_for(context)
        if plan.way == AS_COROUTINE:
            result = plan.only.call.begin(event, context, None)
            return owned(result) if result != NULL else refused(take_error())
        if plan.way == AS_UNROLLED:
            result = plan.begin_unrolled(event, context)
            return owned(result) if result != NULL else refused(take_error())
        if plan.way == AS_CALLS:
            return new_brief(plan, event, context)
        if plan.way == AS_COROUTINE_IN_SCOPE:
            result = self.begin_in_scope(plan.only, event, context)
            return owned(result) if result != NULL else refused(take_error())
        if plan.way == BY_HOST:
            return core.host.publish(
                plan, event, self.context_for(context), self.shared_scope(plan), self.box
            )
        return self.publication(plan, event, context)

    def send(self, object command, MessageContext context=None):
        """Have the command carried out now, in the caller's task and scope, and return the reply.

        Its one handler is that of the nearest class in the command's MRO; its exception propagates
        unchanged. Scopes and cancellation are as with `publish`.

        Raises, when awaited, `NoHandler`, `TerminalClosed`, `ScopeClosed` and `WrongLoop`.
        """
        cdef Core core = self.core
        cdef Plan plan
        cdef PyObject* result
        cdef object instead
        if core is None:
            raise TypeError("this EventBus has no terminal")
        if not self.is_free():
            instead = self.look(EventBus.send, command, context)
            if instead is not None:
                return instead
        plan = core.table.recall(command)
        if plan is None:
            try:
                plan = core.table.find(command)
            except Exception as error:
                return core.host.refuse(error)
        core.sent += 1
        plan.counts.sent += 1
        if plan.count == 0:
            return core.host.refuse(NoHandler.of(command))
        if plan.wants_context:
            context = self.context_for(context)
        if plan.way == AS_COROUTINE:
            result = plan.only.call.begin(command, context, None)
        elif plan.way == AS_COROUTINE_IN_SCOPE:
            result = self.begin_in_scope(plan.only, command, context)
        elif plan.way == AS_CALLS:
            return core.host.reply((<Handler>plan.handlers[0]).call, command, context)
        else:
            return core.host.send(
                plan, command, self.context_for(context), self.shared_scope(plan), self.box
            )
        return owned(result) if result != NULL else core.host.refuse(take_error())

    def emit(
        self,
        object event,
        MessageContext context=None,
        *,
        object key=None,
        delay=None,
        ttl=None,
        callback=None,
    ):
        """Hand the event to a mailbox and return at once.

        Each handler will run in a fresh scope, under the emitter's context variables. The mailbox
        is that of `key`, else of the event's `__key__`, else of the scope at hand; one mailbox
        handles its messages in order, one at a time. From the root bus the event goes to a pool
        that starts in order and finishes in any. `callback` is as `Delivery.add_done_callback`.

        With `delay`, in seconds, the event is queued that much later, and waits for room if there
        is none. With `ttl`, in seconds from now or from the end of the delay, it expires unless it
        has been started by then: its handlers do not run.

        Raises `MailboxFull`, `TerminalClosed`, `ScopeClosed`, `NoActorKey` and `WrongLoop`; then
        nothing was queued.
        """
        cdef Core core = self.core
        cdef Delivery message
        cdef Mailbox box
        cdef Plan plan
        if core is None:
            raise TypeError("this EventBus has no terminal")
        if (
            core.is_alert
            or thread_mark() != core.thread
            or (self.storage is not None and is_over(self.storage))
        ):
            self.admit(event)
        plan = core.table.find(event)
        message = self.message_of(plan, event, context)
        if callback is not None or ttl is not None:
            self.furnish(message, callback, ttl)
        if delay is not None:
            seconds("delay", delay)
        box = self.route(plan, event, key)
        if delay is not None or (self.storage is not None and self.storage.holding):
            self.put_off(box, message, delay)
        else:
            core.accept(box, message)
        return message

    def offer(
        self,
        object event,
        MessageContext context=None,
        *,
        object key=None,
        delay=None,
        ttl=None,
        callback=None,
    ):
        """Hand the event to a mailbox as `emit` does, but wait while it is full.

        Those who wait are served in order, whatever the mailbox's policy. Cancelling the wait
        leaves nothing queued. Returns the delivery.

        Raises, when awaited, `TerminalClosed`, `ScopeClosed`, `NoActorKey`, `WrongLoop`, and
        `DeadlockError` if a handler waits for room in the mailbox that waits for this handler.
        """
        self.check()
        return self.core.host.waiting.offer(self, event, context, key, delay, ttl, callback)

    def ask(self, object command, MessageContext context=None, *, object key=None, timeout=5.0):
        """Have the command carried out from a mailbox, and return the reply.

        The mailbox is chosen as with `emit`; the command takes a place in it, and is handled in
        its turn, in a scope of its own, under the caller's context variables. The handler's
        exception propagates unchanged, and makes no dead letter. Cancelling the wait, or its end
        after `timeout` seconds, keeps a command from starting that has not; one that runs goes on,
        and its reply becomes a notice.

        Raises, when awaited, `AskTimeout`, `NoHandler`, `MailboxFull`, `TerminalClosed`,
        `ScopeClosed`, `NoActorKey`, `WrongLoop`, and `DeadlockError` if a handler asks the mailbox
        that waits for this handler.
        """
        self.check()
        return new_ask(self, command, context, key, timeout)

    @property
    def from_thread(self):
        """The same verbs for other threads than that of the terminal's loop."""
        self.check()
        return self.core.host.from_thread(self)

    def sink(self, *events, MessageContext context=None):
        """Persist events through the terminal's sink.

        Returns once the store has confirmed all of them. `events` may be one list or tuple.

        Raises, when awaited, `SinkUnset`, `SinkError`, `TerminalClosed` and `ScopeClosed`.
        """
        self.check()
        return self.core.host.sink_events(self, events, context)

    def _prepare(self, object event, MessageContext context, object key, ttl, callback):
        """Return the mailbox that an event would go to, and the event as a message for it."""
        cdef Plan plan
        self.admit(event)
        plan = self.core.table.find(event)
        message = self.message_of(plan, event, context)
        self.furnish(message, callback, ttl)
        return self.route(plan, event, key), message

    def _post_reserved(self, Mailbox box not None, Delivery message not None):
        """Accept a message into the place that was reserved for it, or hold it back there."""
        if self.storage is not None and is_over(self.storage):
            # The scope has ended while this stood in line.
            self.core.host.lines.redeem(box)
            self.core.host.lines.return_place(box)
            raise self.refusal(message.event)
        if self.storage is not None and self.storage.holding and self.core.phase < CLOSED:
            self.core.host.lines.redeem(box)
            scope_of(self.storage).hold(box, message, None, True)
            if box.blocked:
                self.core.host.lines.grant(box)
        else:
            self.core.host.lines.post_reserved(box, message)

    def _post_from_thread(self, object event, MessageContext context, object key, callback):
        """Accept an event in another thread, and return the delivery.

        Returns None if the event is one that the loop's thread has to take.
        """
        cdef Core core = self.core
        cdef Plan plan
        cdef Mailbox box
        cdef Delivery message
        if core.is_alert:
            return None
        if self.storage is not None and (is_over(self.storage) or self.storage.holding):
            return None
        plan = core.table.plans.get(type(event))
        if plan is None or plan.overflow != REJECT:
            return None
        message = self.message_of(plan, event, context)
        self.furnish(message, callback, None)
        if message.hops > core.max_hops:
            return None
        while True:
            box = self.route(plan, event, key)
            if core.host.inbox.post(box, message):
                return message

    def _publish(self, object event, MessageContext context=None):
        """Publish without being observed."""
        return self.unwatched(self.publish, event, context)

    def _send(self, object command, MessageContext context=None):
        """Send without being observed."""
        return self.unwatched(self.send, command, context)

    cdef inline bint is_free(self) noexcept:
        """Say whether nothing speaks against a message, and nobody looks at it."""
        return not (
            self.core.is_alert
            or thread_mark() != self.core.thread
            or self.timed
            or (self.storage is not None and is_over(self.storage))
        )

    cdef object look(self, object verb, object message, MessageContext context):
        """Return what a publish or a send comes to instead; None if it may go on."""
        cdef Core core = self.core
        cdef object refusal = self.refusal(message)
        if refusal is not None:
            return refused(refusal) if verb is EventBus.publish else core.host.refuse(refusal)
        if core.observer is not None and not core.is_watched:
            if verb is EventBus.publish:
                return core.observer.watch_publish(self, message, context)
            return core.observer.watch_send(self, message, context)
        return self.in_time(verb, message, context) if self.timed else None

    cdef Storage shared_scope(self, Plan plan):
        """Return the scope that a publish shares; None if it has one of its own.

        What a handler's own coroutine ends cannot be left: a plan that was included since it began
        gets a scope beside it.
        """
        if plan.has_exits and type(self.storage) is CallScope:
            if (<CallScope>self.storage).runner is not None:
                return None
        return self.storage

    cdef Storage own_scope(self, MessageContext context):
        """Return a new scope for a call."""
        cdef Storage storage = new_storage(self.core, self.box, None)
        storage.cause = context
        storage.hops = self.hops
        return storage

    cdef PyObject* begin_in_scope(
        self, Handler handler, object message, MessageContext context
    ) noexcept:
        """Call a handler in the scope at hand, or in one that ends with its coroutine.

        A new reference to the coroutine, or NULL with an exception set.
        """
        cdef Storage storage = self.storage
        cdef PyObject* result
        if storage is not None:
            return handler.call.begin(message, context, storage)
        storage = self.own_scope(context)
        result = handler.call.begin(message, context, storage)
        if result != NULL and handler.hands != NOTHING:
            if not is_coroutine(result):
                return closing_raw(self.core.host, storage, result)
            (<CallScope>storage).runner = <object>result
        return result

    cdef object publication(self, Plan plan, object event, MessageContext context):
        """Return the run of a plan, handler after handler."""
        cdef Publication run = Publication.__new__(Publication)
        run.unstarted = True
        run.plan = plan
        run.event = event
        run.context = context
        if plan.needs_scope:
            run.storage = self.shared_scope(plan)
            if run.storage is None:
                run.storage = self.own_scope(context)
                run.owns_storage = True
        return run

    cdef object in_time(self, object verb, object message, MessageContext context):
        """Begin a verb that has to end when the time of whoever uses the bus does."""
        cdef EventBus untimed = new_bus(
            self.core, self.storage, self.box, self.cause, self.hops
        )
        cdef double deadline = deadline_of(self.storage)
        untimed.timed = False
        if self.core.loop.time() >= deadline:
            return self.core.host.refuse(self.core.host.no_time_left(message))
        return self.core.host.run_until(deadline, verb(untimed, message, context), message)

    cdef object unwatched(self, object verb, object message, MessageContext context):
        """Begin what is watched already."""
        self.core.is_watched = True
        try:
            return verb(message, context)
        finally:
            self.core.is_watched = False

    @property
    def _storage(self):
        """The scope that the bus belongs to, or None."""
        return self.storage

    @property
    def _is_caused(self):
        """Whether the bus is that of a handler."""
        return self.cause is not None

    def _admit(self, object event):
        """Raise if the bus cannot be used (any more)."""
        self.admit(event)

    def _context(self, MessageContext context):
        """Return the context of a message sent now."""
        return self.context_for(context)

    cdef int furnish(self, Delivery message, object callback, object ttl) except -1:
        """Give a message what few have."""
        if callback is not None:
            message.callbacks = [as_callback(callback)]
        if ttl is not None:
            message.expires = self.core.loop.time() + seconds("ttl", ttl)
            if message.expires == 0:
                # Zero means no end; this is the end at the very start of a loop's clock.
                message.expires = -1
        return 0

    cdef int put_off(self, Mailbox box, Delivery message, object delay) except -1:
        """Accept a message for later, after a delay or when the scope's block ends well."""
        cdef double pause = seconds("delay", delay) if delay is not None else 0
        if self.storage is not None and self.storage.holding:
            scope_of(self.storage).hold(box, message, delay, False)
        else:
            self.core.schedule(box, message, pause)
        return 0

cdef EventBus new_bus(Core core, Storage storage, Mailbox box, object cause, int hops):
    cdef EventBus bus = EventBus.__new__(EventBus)
    bus.core = core
    bus.storage = storage
    bus.box = box
    bus.cause = <MessageContext?>cause if cause is not None else None
    bus.hops = hops
    bus.timed = storage is not None and deadline_of(storage) != 0
    return bus


def root_bus(Core core not None):
    """Return the bus of a terminal that belongs to no scope."""
    return new_bus(core, None, None, None, 0)


cdef PyObject* closing_raw(object host, Storage storage, PyObject* awaitable) noexcept:
    """Return a coroutine that awaits something, whose reference is taken, and ends its scope.

    NULL if that fails, with an exception set.
    """
    cdef object taken = owned(awaitable)
    try:
        coroutine = host.close_after(storage, taken)
    except Exception as error:
        put_error(error)
        return NULL
    Py_INCREF(coroutine)
    return <PyObject*>coroutine


cdef Scope scope_of(Storage storage):
    """Return the scope that holds the emits of a storage back."""
    while storage.parent is not None:
        storage = storage.parent
    return <Scope?>storage


@cython.final
cdef class Scope(Storage):
    """One block's dependencies, and the mailbox that what it emits goes to.

    Comes from `async with terminal.scope(name) as scope`. Two scopes of one name share the
    mailbox and its actors, and nothing else. `task` is the one that entered the block.
    """

    __class_getitem__ = classmethod(GenericAlias)

    def __init__(self, Core core not None, object name=None, *, bint hold_emits=False):
        self.core = core
        self.name = name
        self.holding = hold_emits

    @property
    def bus(self):
        """The bus whose publishes share this scope."""
        cdef Core core
        if self._bus is None and self.inside is not None:
            self._bus = new_bus(
                <Core>self.core,
                self.inside,
                <Mailbox>self.inside.box,
                self.inside.cause,
                self.inside.hops,
            )
        elif self._bus is None:
            core = <Core>self.core
            if self.box is None:
                self.box = (
                    core.anonymous_mailbox()
                    if self.name is None
                    else core.mailbox_if_made(self.name)
                )
            self._bus = new_bus(core, self, <Mailbox>self.box, None, 0)
        return self._bus

    def __aenter__(self):
        return self.core.host.enter_scope(self)

    def __aexit__(self, kind, error, traceback):
        return self.core.host.leave_scope(self, error)

    def resolve(self, object wanted):
        """Return the object that a handler in this scope would be given for a parameter.

        `wanted` is what its annotation would be. Raises, when awaited, `ProviderError`,
        `ScopeClosed`, and what a factory raises.
        """
        return self.core.host.resolve(self, wanted)

    def __repr__(self):
        state = "closed" if self.storage.closed else "open"
        return f"<Scope {self.name!r} {state}>" if self.name is not None else f"<Scope {state}>"

    @property
    def storage(self):
        """Where the scope keeps what it has built."""
        return self if self.inside is None else self.inside

    def hold(self, Mailbox box not None, Delivery message not None, delay, bint reserved):
        """Keep a message back until the block ends well; its room is taken at once."""
        cdef Core core = <Core>self.core
        if not reserved and delay is None and message.plan.overflow == REJECT:
            if core.is_full(box, message):
                core.crowd_out(box, message)
            box.reserved += 1
            reserved = True
        if not reserved:
            box.pinned += 1
        message.box = box
        message.state = HELD
        # It will have no reply, and so keeps whose block has to end first.
        message.reply = self.task
        if self.held is None:
            self.held = []
        self.held.append((box, message, delay, reserved, core.loop.time()))

    def _release(self):
        """Let go what was held back. Raises `TerminalClosed` if it is too late for that."""
        cdef Core core = <Core>self.core
        cdef Mailbox box
        cdef Delivery message
        cdef object refusal = None
        held, self.held = self.held, None
        self.holding = False
        for box, message, delay, reserved, since in held or ():
            message.state = QUEUED
            message.reply = None
            if not reserved:
                box.pinned -= 1
            if message.expires != 0:
                message.expires += core.loop.time() - since
            if core.phase >= CLOSED:
                if reserved:
                    core.host.lines.return_place(box)
                refusal = refusal or TerminalClosed.of(core.host.name, message.event)
                core.count_accepted(message)
                core.reject(box, message)
            elif delay is not None:
                core.schedule(box, message, delay)
            elif reserved:
                core.host.lines.post_kept(box, message)
            else:
                core.accept(box, message)
        if refusal is not None:
            raise refusal

    def _forget(self):
        """Forget what was held back; the places are free again."""
        cdef Core core = <Core>self.core
        cdef Mailbox box
        cdef Delivery message
        held, self.held = self.held, None
        for box, message, _, reserved, _ in held or ():
            message.reply = None
            core.end(message, FORGOTTEN)
            if reserved:
                core.host.lines.return_place(box)
            else:
                box.pinned -= 1
                core.release(box)

    def _end(self):
        """Drop what the scope has built; its bus takes nothing more."""
        self.is_shut = True
        self.cache = None
        if self.box is not None:
            (<Core>self.core).release(<Mailbox>self.box)
