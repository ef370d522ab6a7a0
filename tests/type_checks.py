"""What checks the annotations of jaxgd while its tests run: beartype, once for each function.

Jaxtyping hands over a stub of each function: its signature without a body. Functions are made
inside of functions everywhere here (an optimizer's `update`, a descent's `epoch`), and beartype
takes two milliseconds for each. Their stubs are the same each time, and so is what checks them;
it is made at the first call, for most functions have none in one process.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

_checked: dict[Any, Callable] = {}


def checked(stub: Any) -> Callable:
    """The stub that beartype checks; of stubs of one place with the same annotations the first.

    Annotations are told apart by what they print: jaxtyping makes a new type of the same each time.
    """
    defaults = *(stub.__defaults__ or ()), *(stub.__kwdefaults__ or {}).values()
    # A default is kept alive by the stub that is kept: no other can take its id.
    key = stub.__module__, stub.__code__, repr(stub.__annotations__), (*map(id, defaults),)
    if key not in _checked:
        _checked[key] = _at_first_call(stub)
    return _checked[key]


def _at_first_call(stub: Any) -> Callable:
    made = None

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal made
        if made is None:
            made = beartype(stub)
        return made(*args, **kwargs)

    return call
