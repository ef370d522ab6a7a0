"""Work done in a thread of its own, a little ahead of its use."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
from jaxtyping import PyTree

from jaxgd.inputs import check_count
from jaxgd.streaming.source import copied


class Ahead:
    """Pieces of work by name, done one after another in one thread, before they are asked for.

    What a piece raises is raised where it is asked for.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jaxgd read")
        self._begun: dict[Any, Future] = {}

    def take(self, name: Any, upcoming: Iterable[Any], work: Callable[[Any], Any]) -> Any:
        """What `work(name)` returns, once work on the upcoming names is asked for behind it."""
        if name not in self._begun:  # a jump: what was begun is not wanted
            self._forget()
        for each in (name, *upcoming):
            if each not in self._begun:
                self._begun[each] = self._thread.submit(work, each)
        return self._begun.pop(name).result()

    def close(self) -> None:
        """Drop what was not begun, and wait for what was."""
        self._forget()
        self._thread.shutdown(cancel_futures=True)

    def _forget(self) -> None:
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()


def ahead(batches: Iterable[PyTree], depth: int = 2) -> Iterator[PyTree]:
    """The batches of an iterable on the device, up to `depth` of them ahead of their use.

    For what has an order of its own, as a torch DataLoader, grain or tf.data have: hand it to
    `walk(update)`. The iterable is advanced in one thread, and its arrays, or torch's tensors, are
    copied. What it raises is raised in its place.
    """
    depth, source, done = check_count("depth", depth), iter(batches), object()

    def following() -> Any:
        batch = next(source, done)
        return done if batch is done else jax.tree.map(_placed, batch)

    with ThreadPoolExecutor(1, thread_name_prefix="jaxgd read") as thread:
        begun = deque(thread.submit(following) for _ in range(depth))
        try:
            while (batch := begun.popleft().result()) is not done:
                begun.append(thread.submit(following))
                yield batch
        finally:
            for future in begun:
                future.cancel()


def _placed(leaf: Any) -> Any:
    return jax.device_put(leaf if isinstance(leaf, jax.Array) else copied(leaf))
