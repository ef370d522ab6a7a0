"""What errors name in Python, settings and remedies, in the words of the command line."""

import re

# Tests hold that each of the left still stands in the package.
REMEDIES = {
    "Full gradient descent is gd, or batch_size=None in fit.": (
        "Full gradient descent is --batch-size all."
    ),
    "Use held_out=0 to hold out none.": "Use --held-out 0 to hold out none.",
    "Use another seed or a smaller held-out part.": "Use another --seed or a smaller --held-out.",
    "Use the task multiclass or regression.": "Use --task multiclass or --task regression.",
    "Use the task regression.": "Use --task regression.",
    "Use the task binary or multiclass.": "Use --task binary or --task multiclass.",
    "Standardise them, or use a smaller unit.": (
        "Leave out --no-standardize, or use a smaller unit."
    ),
    "or ignore the column.": "or leave the column out with --ignore.",
    "Name a column of weights with sample_weight.": "Name a column with --sample-weight.",
    "Balanced class weights count each class alike.": (
        "--class-weight balanced counts each class alike."
    ),
    "Ignore the column.": "Leave the column out with --ignore.",
    "or ignore the columns: ": "or leave them out: --ignore ",
    "use the task multiclass.": "use --task multiclass.",
    "Name its encoding if that is wrong.": "Name its --encoding if that is wrong.",
    "rows, ignore the column.": "rows, leave the column out with --ignore.",
    "must be named. ": "must be named with --target. ",
    "Use the same settings, or another directory to begin anew.": (
        "Use the same options, or another --run to begin anew."
    ),
    "Use resume=True to go on from the newest, or another directory.": (
        "Use --resume to go on from the newest, or another --run."
    ),
    "Use more epochs, or another directory.": "Use more --epochs, or another --run.",
    "Wait for it, or name another directory.": "Wait for it, or use another --run.",
    "Start all of them again, with resume=True to go on from the newest checkpoint.": (
        "Start all of them again, with --resume to go on from the newest checkpoint in --run."
    ),
    "Restore one, or name another directory to begin anew.": (
        "Restore one, or use another --run to begin anew."
    ),
    "checkpoint must be a directory without checkpoints;": (
        "--run must be a directory without checkpoints;"
    ),
    "epochs must reach as far as the checkpoint;": "--epochs must reach as far as the checkpoint;",
    "a checkpoint goes on with its own training;": "--resume goes on with the run's own training;",
    "the key is another": "--seed is another",
    "the rows of data are others": "the rows to train on are others",
    "the validation rows are others": "the held-out rows are others",
    "the optimizer is another, or an option of it": "--optimizer or --learning-rate is another",
    "Use a smaller learning rate, or scale the features.": "Use a smaller --learning-rate.",
    "or use a smaller learning rate.": "or use a smaller --learning-rate.",
    "Use a smaller learning rate.": "Use a smaller --learning-rate.",
    "More epochs, or a smaller learning rate, may": (
        "More --epochs, or a smaller --learning-rate, may"
    ),
    "Give a number.": "Give a number as --learning-rate.",
    "Widen the grid there.": "Widen it with --learning-rates or --batch-sizes.",
    "Use smaller learning rates.": "Use smaller --learning-rates.",
}


# What has another remedy in one command. A model needs every column that it was trained on.
_OF_COMMAND = {
    "predict": {
        "Fill or drop them, or ignore the column.": "Fill or drop them.",
        "Encode it as numbers, or ignore the column.": "Encode it as numbers.",
    },
    "compare": {
        "Full gradient descent is gd, or batch_size=None in fit.": "Use a smaller --batch-size."
    },
    "noise": {
        "Full gradient descent is gd, or batch_size=None in fit.": "Use a smaller --batch-size.",
        "Use a higher target, more updates or another learning rate.": (
            "Use another --learning-rate, or --no-critical."
        ),
    },
    "sweep": {
        "Full gradient descent is gd, or batch_size=None in fit.": "Use smaller --batch-sizes."
    },
}


_OTHER_TRAINING = "a checkpoint goes on with its own training;"
# Settings that `fit` tells of there as they were and are, by their names there.
_SETTINGS = {
    "params": "the model (--hidden, or the table's features)",
    "data": "the table to train on",
    "validation": "what is held out (--held-out)",
    "batch_size": "--batch-size",
    "precision": "--precision",
    "learning_rate": "--learning-rate",
    "patience": "--patience (and --min-change)",
}
_WAS = re.compile(rf"\b({'|'.join(_SETTINGS)}) was ")


def in_options(message: str, command: str = "") -> str:
    """The message with its remedies in options of the command of that name."""
    if message.startswith(_OTHER_TRAINING):
        message = _WAS.sub(lambda found: f"{_SETTINGS[found[1]]} was ", message)
    for remedy, in_command in [*_OF_COMMAND.get(command, {}).items(), *REMEDIES.items()]:
        message = message.replace(remedy, in_command)
    return message
