"""What a terminal does with messages, in about 60 lines: the oracle of the state machine."""

from dataclasses import dataclass, field


@dataclass(eq=False)
class Message:
    """A message, and what its handlers will do with it."""

    number: int
    overflow: str
    fails: bool
    held: bool
    handlers: int
    expires: float | None = None
    fate: str = "pending"


@dataclass
class Box:
    """A mailbox: who is queued, who stands in line for room, who runs and is held."""

    limit: int
    capacity: int
    queue: list[Message] = field(default_factory=list[Message])
    line: list[Message] = field(default_factory=list[Message])
    running: list[Message] = field(default_factory=list[Message])


class Model:
    """A terminal at rest: between two calls nothing is left that could be done."""

    def __init__(self, capacity: int, concurrency: int) -> None:
        self.now = 0.0
        self.boxes = {key: Box(1 if key else concurrency, capacity) for key in (None, "red")}
        self.delayed: list[tuple[float, int, Box, Message]] = []
        self.accepted: list[Message] = []
        self.handled: list[tuple[str, int]] = []

    def put(self, box: Box, message: Message) -> bool:
        """Queue a message, or do what its policy says; False is refused."""
        full = len(box.queue) >= box.capacity
        if full and message.overflow == "reject":
            return False
        self.accepted.append(message)
        if full:
            dropped = box.queue.pop(0) if message.overflow == "drop_oldest" else message
            dropped.fate = "dropped"
        if message.fate == "pending":
            box.queue.append(message)
        return True

    def emit(self, key: str | None, message: Message) -> bool:
        """Emit a message; False is refused."""
        taken = self.put(self.boxes[key], message)
        self.pump(self.boxes[key])
        return taken

    def offer(self, key: str | None, message: Message) -> bool:
        """Offer a message; False is that it stands in line."""
        box = self.boxes[key]
        box.line.append(message)
        self.pump(box)
        return message not in box.line

    def pump(self, box: Box) -> None:
        """Start what can be started, and let in who stands in line."""
        while True:
            while box.line and len(box.queue) < box.capacity:
                self.accepted.append(box.line[0])
                box.queue.append(box.line.pop(0))
            if not box.queue or len(box.running) >= box.limit:
                return
            message = box.queue.pop(0)
            if message.expires is not None and self.now >= message.expires:
                message.fate = "expired"
            elif message.held:
                box.running.append(message)
            else:
                self.end(message)

    def end(self, message: Message) -> None:
        """Let the handlers of a message end."""
        message.fate = "failed" if message.fails else "handled"
        self.handled += [("first", message.number)] * (not message.fails)
        self.handled += [("second", message.number)] * (message.handlers - 1)

    def release(self, box: Box, message: Message) -> None:
        """Let a handler that is held go on."""
        box.running.remove(message)
        self.end(message)
        self.pump(box)

    def wait(self, seconds: float) -> None:
        """Let time pass; what is due at one moment is queued before any of it is started."""
        until = self.now + seconds
        while due := min((each[0] for each in self.delayed if each[0] <= until), default=None):
            self.now = due
            ripe = sorted(each[:2] for each in self.delayed if each[0] == due)
            batch = [next(e for e in self.delayed if e[:2] == each) for each in ripe]
            self.delayed = [each for each in self.delayed if each[0] > due]
            for _, _, box, message in batch:
                self.accepted.remove(message)
                self.put(box, message)
            for _, _, box, _ in batch:
                self.pump(box)
        self.now = until

    def close(self) -> None:
        """Cut off what runs, and reject the rest."""
        rejected = [message for *_, message in self.delayed]
        for box in self.boxes.values():
            rejected += box.queue
            for message in box.running:
                message.fate = "failed"
        for message in rejected:
            message.fate = "rejected"
