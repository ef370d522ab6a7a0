from typing import Any


def beartype_once(stub: Any) -> Any:
    """See `tests.type_checks`, whose beartype the tests' own processes do not wait for."""
    from tests.type_checks import checked

    return checked(stub)
