"""Five raw tables of increasing mess, written where it is run: those of docs/your-table.md."""

import datetime

import numpy as np
import polars as pl


def houses(rng: np.random.Generator, n: int = 400) -> pl.DataFrame:
    """Numbers alone, and a price that is nearly linear in them."""
    area, rooms, age = rng.normal(120, 35, n), rng.integers(1, 8, n), rng.integers(0, 90, n)
    price = 40_000 + 2_100 * area + 9_000 * rooms - 500 * age + rng.normal(0, 15_000, n)
    columns = {"area m²": area.round(1), "rooms": rooms, "age": age, "price": price.round(2)}
    return pl.DataFrame(columns)


def mushrooms(rng: np.random.Generator, n: int = 500) -> pl.DataFrame:
    """Text, one level of which is rare, and three classes."""
    cap = rng.choice(["bell", "flat", "knobbed"], n)
    odour = rng.choice(["none", "almond", "foul", "musty"], n, p=[0.5, 0.3, 0.198, 0.002])
    ring = rng.choice(["one", "two"], n)
    worth = (odour == "almond") * 1 + (odour == "foul") * 2 + (rng.random(n) < 0.05)
    verdict = np.array(["edible", "bitter", "poisonous"])[np.minimum(worth, 2)]
    return pl.DataFrame({"cap": cap, "odour": odour, "ring": ring, "verdict": verdict})


def rentals(rng: np.random.Generator, n: int = 600) -> pl.DataFrame:
    """Dates, decimal commas and missing values; how many bicycles were rented on a day."""
    days = np.sort(rng.integers(0, 730, n))
    season = -np.cos(2 * np.pi * days / 365)
    warmth = 10 + 9 * season + rng.normal(0, 3, n)
    rented = 900 + 500 * season + 12 * warmth + rng.normal(0, 60, n)
    missing = rng.random(n) < 0.1
    first = datetime.date(2023, 1, 1)
    return pl.DataFrame(
        {
            "day": [first + datetime.timedelta(int(day)) for day in days],
            "warmth": [
                "NA" if gone else f"{x:.1f}".replace(".", ",")
                for gone, x in zip(missing, warmth, strict=True)
            ],
            "holiday": rng.random(n) < 0.1,
            "rented": [f"{x:.1f}".replace(".", ",") for x in rented],
        }
    )


def faults(rng: np.random.Generator, n: int = 2000) -> pl.DataFrame:
    """Few rows of the class that matters."""
    heat, load = rng.normal(70, 8, n), rng.normal(0.5, 0.2, n)
    is_faulty = heat / 8 + 5 * load + rng.normal(0, 0.5, n) > 14.2
    faulty = np.where(is_faulty, "yes", "no")
    return pl.DataFrame({"heat": heat.round(2), "load": load.round(3), "faulty": faulty})


def orders(rng: np.random.Generator, n: int = 500) -> pl.DataFrame:
    """An index without a name, ids, codes with zeros before them, free text, a constant column."""
    amount, depot = rng.lognormal(3, 0.8, n), rng.choice(["007", "019", "023"], n)
    returned = np.log(amount) + (depot == "019") + rng.normal(0, 0.5, n) > 3.7
    words = np.array(["late", "blue", "gift", "please", "ring", "twice", "fragile", "door"])
    return pl.DataFrame(
        {
            "": np.arange(n),
            "order_id": [f"A{i}" for i in rng.permutation(n) + 10_000],
            "depot": depot,
            "amount": amount.round(2),
            "currency": ["EUR"] * n,
            "note": [f"{' '.join(words[rng.integers(8, size=4)])} {i}" for i in range(n)],
            "returned": np.where(returned, "yes", "no"),
        }
    )


if __name__ == "__main__":
    for i, made in enumerate((houses, mushrooms, rentals, faults, orders)):
        separator = ";" if made is rentals else ","
        made(np.random.default_rng(i)).write_csv(f"{made.__name__}.csv", separator=separator)
