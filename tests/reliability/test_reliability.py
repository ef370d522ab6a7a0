"""Files that fail, files that are damaged, tables at random; and each gate on a planted fault."""

import io
import warnings
import zipfile
from collections import Counter

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from jaxgd.cli.__main__ import main
from jaxgd.interop.torch import conformance
from jaxgd.reliability import Figure, stored_things
from jaxgd.reliability.damaged_files import DAMAGES, damages, flipped, huge
from jaxgd.reliability.failing_operations import Outcome, faults
from jaxgd.reliability.faulty_files import FaultyFiles
from jaxgd.reliability.random_tables import tables
from jaxgd.reliability.stored_things import NUMBERS, THINGS, Thing
from jaxgd.storage import verified_file
from jaxgd.tabular.reading import read_table

BAD = {"lost", "wrong", "crashed", "hung"}


def bad(outcomes):
    return [outcome for outcome in outcomes if outcome.verdict in BAD]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: thing.name)
def test_whatever_operation_fails_nothing_is_lost_or_wrong(thing):
    outcomes = [*faults([thing])]
    assert bad(outcomes) == []
    assert Counter(outcome.verdict for outcome in outcomes)["right"] > 100


def in_place(folder):
    """As most would write it."""
    for number in NUMBERS:
        arrays = stored_things._tree(number)
        (folder / "file").write_bytes(safetensors.numpy.save(arrays))
        yield number


def aside_and_renamed(folder):
    """Nothing is synced."""
    for number in NUMBERS:
        arrays = stored_things._tree(number)
        (folder / "part").write_bytes(safetensors.numpy.save(arrays))
        (folder / "part").replace(folder / "file")
        yield number


def without_digest(folder):
    path = folder / "file"
    if not path.exists():
        return 0
    try:
        return stored_things._number_of(safetensors.numpy.load(path.read_bytes()))
    except safetensors.SafetensorError as error:
        raise ValueError(error) from None


@pytest.mark.parametrize("save", [in_place, aside_and_renamed])
def test_a_save_that_is_not_safe_is_caught(save):
    found = Counter(outcome.verdict for outcome in faults([Thing("one", save, without_digest)]))
    assert found["lost"] > 5


def test_a_sync_that_is_left_out_is_caught(monkeypatch):
    monkeypatch.setattr(verified_file, "sync", lambda _: None)
    for thing in THINGS[:2]:
        assert bad(faults([thing], hows=(), disks=4))


def test_a_directory_that_cannot_be_synced_is_told(tmp_path):
    """An EIO is, a file system that has no such thing is not."""
    models = THINGS[1]
    with FaultyFiles(tmp_path) as files:
        next(models.save(tmp_path))
    directory_sync = files.operations - 2  # the last is the part, which is not there
    with FaultyFiles(tmp_path, directory_sync, "EIO"), pytest.raises(OSError, match="as told"):
        next(models.save(tmp_path))


def test_damages_are_refused_or_do_no_harm():
    outcomes = [*damages(10 * len(DAMAGES) * len(THINGS))]
    assert bad(outcomes) == []
    refused = {(o.thing, o.what.split()[0]) for o in outcomes if o.verdict == "refused"}
    assert len(refused) > 20


def test_a_load_without_a_digest_is_caught():
    thing = Thing("one", aside_and_renamed, without_digest)
    outcomes = damages(80, things=[thing], kinds=(flipped, huge))
    found = Counter((outcome.what.split()[0], outcome.verdict) for outcome in outcomes)
    assert found["flipped", "wrong"] > 5
    assert found["huge", "hung"] > 5  # it reads a terabyte of nothing


def test_tables_are_what_was_written_or_refused():
    outcomes = [*tables(300)]
    assert bad(outcomes) == []
    assert {outcome.verdict for outcome in outcomes} == {"right", "refused"}


@given(st.binary(max_size=300), st.sampled_from(["csv", "npz", "parquet"]))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory, content, kind):
    path = tmp_path_factory.getbasetemp() / f"any.{kind}"
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".* is read as latin-1", UserWarning)
            table = read_table(path)
    except ValueError:
        return
    assert len(table) > 0


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.sampled_from(",;\t"))
def test_any_numbers_in_a_csv_are_read_to_the_bit(tmp_path_factory, rows, separator):
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    lines = [separator.join(("a", "b")), *(separator.join(map(repr, row)) for row in rows)]
    path.write_text("\n".join(lines))
    np.testing.assert_array_equal(read_table(path).matrix(("a", "b")), np.array(rows))


@pytest.mark.parametrize("verdict", ["right", "lost", "wrong", "crashed", "hung", None])
def test_the_command_prints_the_figures_and_its_status_tells(monkeypatch, capsys, verdict):
    """The figures are real ones of a few trials; one bad outcome among them is planted."""

    def few(kills, damaged, table):
        assert (kills, damaged, table) == (1, 24, 12)
        for tried, outcomes in {"damaged files": damages(24), "tables": tables(12)}.items():
            figure = Figure(tried)
            for outcome in outcomes if verdict else ():
                figure.add(outcome)
            yield figure
        if verdict:
            figure = Figure("kills")
            figure.add(Outcome("a training", "SIGKILL", verdict, "planted"))
            yield figure

    monkeypatch.setattr("jaxgd.reliability.figures", few)
    arguments = ["check", "--reliability", "--kills", "1", "--damages", "24", "--tables", "12"]
    if verdict == "right":
        assert main(arguments) == 0
    else:
        with pytest.raises(SystemExit, match="1"):
            main(arguments)
    out = capsys.readouterr().out
    assert "damaged files" in out
    assert ("planted" in out) == (verdict in BAD)


def test_a_check_that_cannot_begin_says_nothing_before(monkeypatch, capsys):
    def without_torch():
        raise ModuleNotFoundError('the check needs torch: pip install "jaxgd[torch]"')
        yield

    monkeypatch.setattr(conformance, "checks", without_torch)
    assert main(["check"]) == 2
    out, error = capsys.readouterr()
    assert (out, error.startswith("jaxgd: the check needs torch")) == ("", True)


@pytest.mark.parametrize("shape", [(10**15,), (2**62, 4), (-1,)])
def test_an_npz_that_declares_more_than_memory_holds_is_refused(tmp_path, shape):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(tmp_path / "table.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(80))
    with pytest.raises(ValueError, match="is not a readable NPZ file"):
        read_table(tmp_path / "table.npz")


def test_an_npz_packed_in_an_unknown_way_is_refused():
    assert bad(tables(1, seed=0, first=2110)) == []  # found by the script
