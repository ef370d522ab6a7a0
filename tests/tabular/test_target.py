"""The target and its task: found with a reason, told, or refused with the remedy."""

import numpy as np
import pytest

from jaxgd.tabular import read_table
from jaxgd.tabular.target import read_target
from tests.tabular.conftest import table, texts


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (texts("no", "yes", "no"), "binary", ("no", "yes")),
        (np.array([True, False, True]), "binary", ("False", "True")),
        (np.array([7.0, 7.5, 7.0]), "binary", ("7", "7.5")),
        (texts("a", "c", "b"), "multiclass", ("a", "b", "c")),
        (np.array([10, 2, 5] * 2), "multiclass", ("2", "5", "10")),
        (np.arange(6), "regression", ()),
        (np.array([1, 1, 1, 1, 2, 3]), "regression", ()),
        (18 + np.arange(200) % 60, "regression", ()),
        (np.array([0.0, 1.0, 2.0] * 2), "multiclass", ("0", "1", "2")),
        (np.array([1, 2] * 10 + [3]), "multiclass", ("1", "2", "3")),
        (np.array([0.5, 1.5, 2.5]), "regression", ()),
    ],
)
def test_the_task_is_found_from_the_target(values, task, classes):
    target, encoded, _ = read_target(table(t=values), "t")
    assert target == ("t", task, classes)
    if classes:
        names = [f"{v:g}" if values.dtype.kind == "f" else str(v) for v in values]
        assert [classes[i] for i in encoded] == names
    else:
        np.testing.assert_array_equal(encoded, values)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.array([1234567.0, 1234568.0]), ("1234567", "1234568")),
        (np.array([0.1234567, 0.1234568]), ("0.1234567", "0.1234568")),
        (np.array([0.1, 0.2], np.float32), ("0.1", "0.2")),
    ],
)
def test_classes_that_are_floats_keep_names_of_their_own(values, classes):
    assert read_target(table(t=values), "t").target.classes == classes


def test_the_task_may_be_said():
    def told(values, task):
        return read_target(table(t=np.array(values)), "t", task).target

    assert told([0, 1, 1], "regression").task == "regression"
    assert told([0, 1, 1], "multiclass").classes == ("0", "1")
    assert told([0.0, 1.0, 2.0], "multiclass").classes[2] == "2"


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (np.ones(3), None, r"at least two different values; column 't' .* holds only 1\.0"),
        (np.arange(3), "binary", r"two different values; column 't' has 3 different values\. Use"),
        (np.array([0.5, 1.0, 2.0]), "multiclass", r"values such as 0\.5\. Use the task regression"),
        (texts("a", "b"), "regression", r"must be numbers; column 't' holds text such as 'a'"),
        (texts("a", None, "b"), None, r"column 't' of the table has 1 missing value"),
    ],
)
def test_a_target_that_does_not_fit_its_task_is_refused(values, task, message):
    with pytest.raises(ValueError, match=message):
        read_target(table(t=values), "t", task)


def test_an_unnamed_target_is_found_by_a_usual_name_or_asked_for():
    assert read_target(table(a=[1.0, 2.0], label=[0, 1])).target.name == "label"
    with pytest.raises(ValueError, match=r"target column of the table must be named\. .* 'a', 'b'"):
        read_target(table(a=[1.0, 2.0], b=[0, 1]))


# Harm that was done in silence --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "reason"),
    [
        (np.arange(100) % 7, "multiclass", "it holds 7 different whole numbers"),
        (np.array([0, 1, 2] * 9 + [3]), "multiclass", "4 different whole numbers, 1 of them seen"),
        (np.array([0.0, 1.0, 2.0] * 5), "multiclass", "it holds 3 different whole numbers"),
        (np.array([0.25, 1.0, 2.0] * 5), "regression", "it holds numbers that are not whole"),
        (np.arange(200) % 60 + 18, "regression", "it holds 60 different whole numbers in 200 rows"),
        (texts("a", "b", "c"), "multiclass", "it holds 3 different texts"),
        (np.array([0, 1]), "binary", "it has two different values"),
    ],
)
def test_a_task_is_found_with_its_reason(values, task, reason):
    found = read_target(table(t=values), "t")
    assert found.target.task == task
    assert reason in found.reason
    assert read_target(table(t=values), "t", task).reason == "as told"


def test_letters_as_numbers_are_asked_for():
    letters = np.arange(260) % 26
    with pytest.raises(
        ValueError,
        match=r"26 whole numbers from 0 to 25, which may be classes or amounts\. Use the ",
    ):
        read_target(table(t=letters), "t")
    assert len(read_target(table(t=letters), "t", "multiclass").target.classes) == 26


def test_one_word_among_numbers_is_no_two_thousand_classes(written):
    path = written("t\n" + "".join(f"{i}.25\n" for i in range(50)) + "n.d.\n")
    with pytest.raises(
        ValueError,
        match=r"column 't' of .* holds text, first 'n\.d\.' in row 51, where all but 1 of its 51 "
        r"different values are numbers\. Correct or drop those rows, or use the task multiclass",
    ):
        read_target(read_table(path), "t")
    with pytest.raises(
        ValueError, match=r"must be numbers; column 't' holds text such as 'n\.d\.'"
    ):
        read_target(read_table(path), "t", "regression")


def test_decimal_commas_are_no_classes(written):
    path = written("a;t\n" + "".join(f"{i};{i},25\n" for i in range(50)))
    target, y, _ = read_target(read_table(path), "t")
    assert target.task == "regression"
    np.testing.assert_array_equal(y, np.arange(50) + 0.25)


def test_texts_that_hardly_repeat_are_no_classes():
    names = texts(*[f"name {i}" for i in range(40)] * 2)
    with pytest.raises(ValueError, match=r"40 different texts in 80 rows, too many for classes\."):
        read_target(table(t=names), "t")
    assert len(read_target(table(t=names), "t", "multiclass").target.classes) == 40


def test_texts_that_hardly_repeat_are_no_classes_in_a_small_table_either():
    names = [f"name {i}" for i in range(15)]
    with pytest.raises(ValueError, match="15 different texts in 15 rows, too many for classes"):
        read_target(table(t=np.array(names, object)), "t")
    amounts = np.array([*(f"{i}.5" for i in range(14)), "n.d."], object)
    with pytest.raises(ValueError, match=r"holds text, first 'n\.d\.' in row 15"):
        read_target(table(t=amounts), "t")


def test_numbers_as_text_stay_text():
    """What a typed file calls text is text: '01234' is never 1234."""
    codes = texts("01234", "1234", "01234", "00001")
    assert read_target(table(t=codes), "t").target.classes == ("00001", "01234", "1234")
    many = texts(*[f"{i}" for i in range(30)])
    with pytest.raises(
        ValueError, match=r"holds numbers as text, such as '0'\. Save it as numbers"
    ):
        read_target(table(t=many), "t")


def test_dates_are_no_target():
    with pytest.raises(ValueError, match=r"must be numbers, booleans or text; column 't' .* dates"):
        read_target(table(t=np.array(["2020-01-01", "2020-01-02"], "datetime64[us]")), "t")
