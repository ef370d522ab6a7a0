"""`jaxgd notebook`: the lesson's five numbers from both sides."""


def test_the_lessons_numbers_stand_side_by_side(jaxgd):
    status, out, err = jaxgd("notebook")
    assert (status, err) == (0, "")
    numbers = {line[:18].strip(): line.split()[-3:-1] for line in out.splitlines()}
    for name, value in {
        "z = w x + b": "0.3829",
        "a = sigmoid(z)": "0.5946",
        "loss = BCE(a, y)": "0.5199",
        "dloss/dw": "-0.4987",
        "dloss/db": "-0.4054",
    }.items():
        assert numbers[name] == [value, value]


def test_the_version_is_printed(jaxgd):
    status, out, _ = jaxgd("--version")
    assert status == 0
    assert out.startswith("jaxgd ")
