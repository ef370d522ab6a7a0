"""One training by several processes: the bits of one device, and stopped all at once."""

import signal

import pytest

from tests.scale.hosts import alone, at_work, hash_in, trainings

LONG = {"epochs": 8, "pause": 0.3}


def test_a_signal_to_one_stops_all_at_one_update_and_another_number_goes_on(tmp_path):
    with trainings(tmp_path, 2, **LONG) as processes:
        at_work(tmp_path, processes)
        processes[1].send(signal.SIGTERM)
        assert [process.ends() for process in processes] == [143, 143]
        first, second = (process.last_line for process in processes)
    assert first == second
    assert first.startswith("stops")
    assert "after 8 epochs" not in first
    assert alone(tmp_path, epochs=8) == alone(tmp_path / "undisturbed", epochs=8)


@pytest.mark.hosts
@pytest.mark.parametrize(("batch", "counts"), [(16, (1, 2, 4)), (0, (4,))])
def test_one_hash_on_one_two_and_four_processes(tmp_path, batch, counts):
    ends = {alone(tmp_path, batch=batch)}
    for count in counts:
        folder = tmp_path / str(count)
        with trainings(folder, count, batch=batch) as processes:
            assert {process.ends() for process in processes} == {0}
            ends |= {hash_in(process) for process in processes}
    assert len(ends) == 1
