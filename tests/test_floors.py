"""The house keeps its floors: imports run strictly downward, and torch stays where it belongs."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import jaxgd

ROOT = Path(__file__).parents[1]

# From the ground up. A room may import rooms of lower floors only, never its own floor's.
FLOORS = [
    {"arguments", "lazy_names", "remembered", "version"},
    {
        *("inputs", "keys", "layouts", "losses", "machine", "optim", "permutation"),
        *("storage", "figures"),
    },
    {"batches", "order", "host_order", "equivalence", "precision"},
    {"chunks", "models"},
    {"objective"},
    {"linear_row"},
    {"descent", "tabular"},
    {"blocked", "epochs", "host_loop", "stopping", "streaming"},
    {"interop"},
    {"scale", "study"},
    {"fitting"},
    {"reliability"},
    {"cli", "sklearn"},
]
CORE = ("losses", "models", "order", "batches", "objective", "descent")
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
UNNAMED = {"utils", "helpers", "common", "misc"}


def room_of(module):
    """`jaxgd.optim.adam` is in the room optim; the package itself is above every floor."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path, *, at_import_time=False):
    """The modules a file imports, anywhere or outside functions only."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_import_time else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def named(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("path", files("jaxgd"), ids=named)
def test_imports_run_strictly_downward(path):
    room = room_of(named(path))
    if room in ("__init__", "__main__"):
        return
    for module in imports(path):
        if module.split(".")[0] == "jaxgd" and room_of(module) not in (room, ""):
            below = room_of(module)
            assert FLOOR[below] < FLOOR[room], f"{room} imports {below}"


@pytest.mark.parametrize("path", files("jaxgd"), ids=named)
def test_jaxgd_never_imports_torch_at_import_time(path):
    roots = {module.split(".")[0] for module in imports(path, at_import_time=True)}
    assert not roots & {"torch", "torch_ref"}


@pytest.mark.parametrize("path", files("torch_ref"), ids=named)
def test_the_oracle_shares_nothing_with_its_subject(path):
    assert not {module.split(".")[0] for module in imports(path)} & {"jaxgd", "jax", "optax"}


def test_every_room_has_a_name_and_one_idea():
    for path in [*files("jaxgd"), *files("torch_ref")]:
        assert not UNNAMED & set(path.with_suffix("").parts), path
        assert len(path.read_text().splitlines()) <= 350, path


def test_the_core_is_short():
    """If an idea does not fit, it is not yet simple enough."""
    assert sum(len((ROOT / f"jaxgd/{room}.py").read_text().splitlines()) for room in CORE) <= 600


@pytest.mark.parametrize("path", files("jaxgd"), ids=named)
def test_no_module_bears_the_name_of_what_it_holds(path):
    """Or the one would hide the other."""
    names = {path.stem, path.parent.name}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            assert node.name not in names, f"{named(path)} holds {node.name}"


def test_an_assert_does_no_work():
    """Under python -O there are none: they tell the type checker that something is there."""
    for path in files("jaxgd"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assert):
                test = node.test
                assert isinstance(test, ast.Compare), f"{named(path)}:{node.lineno}"
                assert isinstance(test.left, ast.Name), f"{named(path)}:{node.lineno}"


def test_dir_shows_public_names_only():
    assert set(dir(jaxgd)) == set(jaxgd.__all__)
    assert all(hasattr(jaxgd, name) for name in jaxgd.__all__)
    assert jaxgd.__version__ == jaxgd.version.__version__
    with pytest.raises(AttributeError, match="'jaxgd' has no attribute 'nothing'"):
        _ = jaxgd.nothing


LAZY = [path for path in files("jaxgd") if "names_from(__name__" in path.read_text()]


@pytest.mark.parametrize("path", LAZY, ids=named)
def test_type_checkers_are_told_where_lazy_names_are(path):
    """What stands under TYPE_CHECKING is what is imported at a name's first use."""
    package = import_module(named(path.parent))
    (block,) = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If))
    told = {}
    for node in block.body:
        for alias in node.names:
            assert alias.asname == alias.name, "or type checkers take it for no name of ours"
            told[alias.name] = node.module
    assert told.keys() == set(package.__all__)
    for name, module in told.items():
        found = import_module(module)
        value = getattr(found, name, None) or import_module(f"{module}.{name}")
        assert getattr(package, name) is value


@pytest.mark.parametrize("path", LAZY, ids=named)
def test_no_module_bears_a_lazy_name(path):
    """Importing the module would put it in the name's place."""
    package = import_module(named(path.parent))
    for name in package.__all__:
        if not isinstance(getattr(package, name), ModuleType):
            assert not (path.parent / f"{name}.py").exists()
            assert not (path.parent / name).exists()


def test_import_jaxgd_brings_nothing_and_its_names_no_extra():
    """All names bring jax and optax, not torch, scikit-learn, polars, matplotlib or rich."""
    program = (
        "import sys, jaxgd; "
        "print(*sorted({'jax','numpy'} & set(sys.modules))); "
        "[getattr(jaxgd, name) for name in dir(jaxgd)]; "
        "print(*sorted({'torch','sklearn','polars','matplotlib','rich','tyro'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_equivalence_needs_numpy_only():
    program = (
        "import sys, types; "
        "package = types.ModuleType('jaxgd'); package.__path__ = ['jaxgd']; "
        "sys.modules['jaxgd'] = package; "
        "import jaxgd.equivalence; "
        "print(*sorted({'torch','jax','optax'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
