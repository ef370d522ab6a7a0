"""The table of ports in docs/equivalence.md: `python -m tests.equivalence.ports`."""

from tests.equivalence.ports.table import table

if __name__ == "__main__":
    print(table())
