from runtime._mailbox import Delivery, Mailbox
from runtime._worker import Worker

def run_inline(worker: Worker, box: Mailbox, message: Delivery) -> None: ...
