from typing import final

@final
class Spares:
    def __new__(cls) -> Spares: ...
