"""Names of a package that are found when they are asked for: importing it brings none of them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

Names = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def names_from(package: str, homes: Mapping[str, str], modules: str = "") -> Names:
    """A package's `__getattr__`, `__dir__` and `__all__`.

    `homes` has the names, in words, by the module that holds them; `modules` those modules that are
    names themselves. As PEP 562 has it, a name is imported at its first use, and is the package's
    own from then on. For type checkers the package repeats the imports under TYPE_CHECKING.

    No module may bear the name of what another holds: importing it would hide that.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}
    public = sorted({*home, *modules.split()})

    def found(name: str) -> Any:
        if name in home:
            value = getattr(import_module(f"{package}.{home[name]}"), name)
        elif name in homes or name in public:
            return import_module(f"{package}.{name}")  # which makes it an attribute
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        vars(import_module(package))[name] = value
        return value

    return found, lambda: public, public
