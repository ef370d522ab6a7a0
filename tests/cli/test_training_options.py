"""The options of a training: they are written as the words that they are read from."""

import tyro

from jaxgd.cli.training_options import TrainingOptions
from jaxgd.cli.words import in_order


def test_options_are_read_back_from_their_words():
    given = TrainingOptions(
        hidden=(16, 8),
        optimizer="adam",
        learning_rate="auto",
        batch_size=None,
        patience=3,
        min_change=1e-4,
        class_weight="balanced",
        sample_weight="w",
    )
    for options in (TrainingOptions(), given):
        assert tyro.cli(TrainingOptions, args=in_order(options.words())) == options
    assert TrainingOptions().words() == []
