"""Columns as features: by kind, fitted on the training rows alone, the same in memory and saved."""

import datetime

import jax
import numpy as np
import polars as pl
import pytest

from jaxgd.tabular import Model, Predictor, load_model, prepare, read_table, save_model
from jaxgd.tabular.encoding import Column
from jaxgd.tabular.schema import encoded
from jaxgd.tabular.splitting import split
from tests.tabular.conftest import table, texts
from tests.tolerances import ROUNDED_F32

KEY = jax.random.key(0)
N = 120
RNG = np.random.default_rng(0)
CITIES = np.array(["Bonn", "Cork", "Graz", "Lyon"])[RNG.integers(4, size=N)]
LABELS = np.arange(N) % 2
FIRST = datetime.date(2020, 1, 1)
DAYS = [FIRST + datetime.timedelta(days=int(d)) for d in RNG.integers(900, size=N)]


def prepared(held_out=0, **columns):
    columns = {"x": np.linspace(0, 1, N) ** 2, **columns, "label": LABELS}
    return prepare(table(**columns), key=KEY, held_out=held_out)


def features(data, row=slice(None)):
    """The first training rows' features by name."""
    return dict(zip(data.schema.features, data.train.x[row].T.tolist(), strict=True))


# Kinds --------------------------------------------------------------------------------------------


def test_a_category_is_one_hot():
    found = features(prepared(city=CITIES.astype(object)))
    for city in np.unique(CITIES):
        assert found[f"city = {city}"] == (city == CITIES).tolist()
    assert len(found) == 1 + 4


def test_rare_levels_share_a_feature_with_those_never_seen():
    cities = CITIES.astype(object)
    cities[7] = "Oslo"
    data = prepared(city=cities)
    assert features(data)["city = (other)"] == (cities == "Oslo").tolist()
    new = table(x=np.zeros(3), city=texts("Rome", "Bonn", None))
    x = data.schema.inputs(new)
    assert x[:, data.schema.features.index("city = (other)")].tolist() == [1, 0, 1]
    assert x[:, 1:].sum(axis=1).tolist() == [1, 1, 1]


def test_missing_values_are_filled_and_marked_by_the_training_rows_alone():
    x = np.arange(float(N)) ** 2
    x[::7] = np.nan
    data = prepared(0.3, a=x)
    rows, held = split(KEY, N, 0.3)
    a = next(column for column in data.schema.columns if column.name == "a")
    assert a == Column("a", fill=np.nanmedian(x[rows]), indicator=True)
    place = data.schema.features.index("a")
    for part, numbers in ((data.train, rows), (data.held_out, held)):
        assert part.x[:, place + 1].tolist() == np.isnan(x[numbers]).tolist()
        filled = part.x[np.isnan(x[numbers]), place]
        assert np.unique(filled).size == 1


def test_missing_texts_are_a_category_of_their_own():
    cities = CITIES.astype(object)
    cities[:9] = None
    found = features(prepared(city=cities))
    assert found["city is missing"] == [1.0] * 9 + [0.0] * (N - 9)
    assert sum(found[f"city = {city}"][0] for city in np.unique(CITIES)) == 0


def test_a_date_is_days_and_places_in_the_year_the_week_and_the_day():
    when = np.array(["1970-01-05T06:00", "1970-07-06T12:00"], "datetime64[us]")
    parts = ("time of year", "weekday", "time of day")
    x = encoded([Column("d", "date", parts)], table(d=when))
    np.testing.assert_allclose(x[:, 0], [4.25, 186.5])
    angles = np.arctan2(x[:, 1::2], x[:, 2::2]) % (2 * np.pi) / (2 * np.pi)
    np.testing.assert_allclose(angles[:, 0], [4.25 / 365.2425, 186.5 / 365.2425])
    np.testing.assert_allclose(angles[:, 1], [0.25 / 7, 0.5 / 7])  # Mondays
    np.testing.assert_allclose(angles[:, 2], [0.25, 0.5])


def test_a_date_without_hours_has_no_time_of_day():
    day, later = np.array(DAYS, "datetime64[us]"), np.timedelta64(1, "us")
    assert sum("time of day" in name for name in features(prepared(day=day))) == 0
    assert sum("time of day" in name for name in features(prepared(day=day + later))) == 2


def test_amounts_alone_are_standardized():
    day = np.array(DAYS, "datetime64[us]")
    data = prepared(city=CITIES.astype(object), day=day, b=RNG.random(N) > 0.5)
    for name, mean, scale in zip(data.schema.features, *data.schema.x_scaling, strict=True):
        assert ((mean, scale) == (0, 1)) == (name not in ("x", "b", "day, days")), name


# What is no feature -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("a", np.full(N, 3.5), "is the same in every row"),
        ("a", texts(*["one"] * N), "is the same in every row"),
        ("a", np.full(N, np.nan), "has no value"),
        ("a", texts(*[None] * N), "has no value"),
        ("unnamed", np.arange(N), "is a number of its own in every row: an id"),
        ("customer_id", RNG.permutation(N) + 100.0, "is a number of its own in every row: an id"),
        ("PassengerId", RNG.permutation(N), "is a number of its own in every row: an id"),
        ("a", texts(*[f"k{i}" for i in range(N)]), "is a text of its own in every row: an id"),
    ],
)
def test_what_teaches_nothing_is_dropped_and_told(name, values, reason):
    data = prepared(**{name: values})
    assert data.account.dropped == {name: reason}
    assert data.schema.features == ("x",)


@pytest.mark.parametrize("name", ["humid", "paid", "valid", "grid", "index of sorts"])
def test_words_that_end_like_an_id_are_words(name):
    assert prepared(**{name: RNG.permutation(N)}).account.dropped == {}


def test_numbers_that_count_the_rows_are_told():
    account = prepared(day=np.arange(N)).account
    assert account.dropped == {}
    assert account.remarks == (
        "column 'day' counts the rows. If it only names rows, ignore the column.",
    )


def test_an_id_that_is_named_is_kept_apart():
    data = prepare(table(a=LABELS * 2.5, key=np.arange(N), label=LABELS), key=KEY, id="key")
    assert (data.schema.features, data.schema.id) == (("a",), "key")
    with pytest.raises(ValueError, match="no column 'kez'; the nearest is 'key'"):
        prepare(table(key=LABELS, label=LABELS), key=KEY, id="kez")
    with pytest.raises(ValueError, match=r"the target must be no id, .* got 'label' for both"):
        prepare(table(key=LABELS, label=LABELS), key=KEY, id="label")


def test_many_levels_are_told_and_the_frequent_ones_kept():
    n = 3000
    towns = np.array([f"t{i}" for i in range(150)])[(RNG.random(n) ** 3 * 150).astype(int)]
    columns = table(town=towns.astype(object), label=np.arange(n) % 2)
    data = prepare(columns, key=KEY, held_out=0)
    assert len(data.schema.columns[0].levels) <= 100
    assert data.schema.columns[0].other
    assert "levels: the frequent ones, at most 100, are features" in data.account.remarks[0]


def test_all_that_cannot_be_features_is_told_at_once():
    notes = texts(*[f"a note on row {i}" for i in range(N)])
    mixed = texts(*[f"{i}.5" for i in range(N - 1)], "n.d.")
    numbers = texts(*[f"{i}.5" for i in range(N)])
    with pytest.raises(ValueError, match=r"holds free text, 120 different in 120 rows, such as 'a"):
        prepared(note=notes)
    with pytest.raises(
        ValueError, match=r"column 'm' of .* holds text, first 'n\.d\.' in row 120\."
    ):
        prepared(m=mixed)
    with pytest.raises(ValueError, match=r"holds numbers as text, first '0\.5' in row 1\. Save it"):
        prepared(m=numbers)
    with pytest.raises(
        ValueError,
        match=r"2 columns of the table cannot be features: 'a note' holds free .*; 'm' holds "
        r"text, first .* in row 120\. Convert them, or ignore the columns: 'a note' m\.",
    ):
        prepared(**{"a note": notes, "m": mixed})


# The same everywhere ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A table with something of everything, as a file; its model in memory, and as it was saved."""
    place = tmp_path_factory.mktemp("raw")
    holes = RNG.random((3, N)) < 0.2
    frame = pl.DataFrame(
        {
            "PassengerId": np.arange(N),
            "amount": np.where(holes[0], None, RNG.normal(size=N).round(3)).tolist(),
            "zip": [f"{z:05}" for z in RNG.integers(5, size=N)],
            "children": np.array(["0", "1", "2", "3+"])[RNG.integers(4, size=N)],
            "city": np.where(holes[1], None, CITIES).tolist(),
            "member": np.where(holes[2], None, RNG.random(N) > 0.5).tolist(),
            "since": [day if i % 5 else None for i, day in enumerate(DAYS)],
            "price": [f"{p:.2f}".replace(".", ",") for p in RNG.random(N) * 2000],
            "label": np.array(["01", "02"])[LABELS],
        }
    )
    frame.write_csv(place / "t.csv", separator=";")
    data = prepare(read_table(place / "t.csv"), key=KEY)
    schema = data.schema
    params = jax.tree.map(
        lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32),
        jax.eval_shape(Predictor(len(schema.features), schema.target).init, KEY),
    )
    model = Model(Predictor(len(schema.features), schema.target), params, schema)
    save_model(place / "m.safetensors", model)
    return place, data, model, load_model(place / "m.safetensors")


def test_every_kind_is_found(raw):
    _, data, _, _ = raw
    assert data.schema.target == ("label", "binary", ("01", "02"))
    assert data.schema.kinds == {
        "amount": "number",
        "zip": "category",
        "children": "category",
        "city": "category",
        "member": "boolean",
        "since": "date",
        "price": "number",
    }
    assert list(data.account.dropped) == ["PassengerId"]


def test_a_saved_schema_is_the_schema(raw):
    _, _, model, loaded = raw
    assert loaded.schema.columns == model.schema.columns
    for ours, theirs in zip(loaded.schema[2:4], model.schema[2:4], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_any_row_alone_is_predicted_by_the_saved_model_as_by_the_one_in_memory(raw):
    """A row is read without the others: what looks like numbers there is still a category."""
    place, _, model, loaded = raw
    header, *lines = (place / "t.csv").read_text().splitlines()
    whole = model.schema.inputs(read_table(place / "t.csv"))
    expected = model.predict(read_table(place / "t.csv"))
    for row in range(0, N, 4):
        (place / "row.csv").write_text(f"{header}\n{lines[row]}\n")
        alone = read_table(place / "row.csv", kinds=loaded.schema.kinds)
        np.testing.assert_array_equal(loaded.schema.inputs(alone), whole[[row]])
    np.testing.assert_array_equal(loaded.predict(place / "t.csv"), expected)
    np.testing.assert_allclose(loaded.predict(place / "row.csv"), expected[[row]], rtol=ROUNDED_F32)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "x",
            texts("1.5", "tall"),
            r"'x' of .* holds text, first 'tall' in row 2, where .* numbers",
        ),
        ("x", np.array([1.0, np.nan]), r"has 1 missing value, first in row 2\. Fill or drop them"),
        ("x", np.array([1.0, np.inf]), r"has 1 infinite value, first in row 2"),
        ("city", np.array([1, 2]), "'city' of .* holds numbers, where the training table had text"),
        ("day", texts("soon", "late"), r"holds text, first 'soon' in row 1, where .* had dates"),
        ("day", None, r"has no column 'day'"),
    ],
)
def test_a_table_of_another_kind_is_refused_by_name(name, values, message):
    data = prepared(city=CITIES.astype(object), day=np.array(DAYS, "datetime64[us]"))
    given = {"x": np.zeros(2), "city": texts("Bonn", None), "day": np.array(DAYS[:2], "M8[us]")}
    given = {key: value for key, value in (given | {name: values}).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        data.schema.inputs(table(**given))


def test_booleans_are_numbers_where_the_training_table_had_numbers():
    """Older models tell the two apart by nothing."""
    assert prepared().schema.inputs(table(x=np.array([True, False]))).shape == (2, 1)
