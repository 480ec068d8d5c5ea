from typing import final

from runtime._core import Core
from runtime._wiring import Provider

@final
class BusProvider(Provider):
    def __new__(cls, core: Core) -> BusProvider: ...

@final
class ScopeProvider(Provider):
    def __new__(cls, core: Core) -> ScopeProvider: ...
