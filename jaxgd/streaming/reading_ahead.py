"""Reading in a thread of its own, a little ahead of its use."""

import atexit
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import count
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import jax
from jaxtyping import PyTree

from jaxgd.inputs import check_count
from jaxgd.streaming.source import copied

_END = object()


class Ahead:
    """`place(read(name))` by name, one after another in one thread, before it is asked for.

    It is done in the precision and on the device of whoever makes this: to JAX both are a thread's
    own. What it raises is raised where it is asked for. The thread is a daemon, so that a process
    need not wait for what `read` does; JAX is at work in `place` alone, which is never left behind.
    """

    def __init__(self, read: Callable[[Any], Any], place: Callable[[Any], Any]) -> None:
        self._read, self._place = read, place
        here: Any = jax.config
        self._wide, self._device = here.jax_enable_x64, here.jax_default_device
        self._begun: dict[Any, Future] = {}
        self._asked: SimpleQueue[tuple[Any, Future] | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._placing, self._closed = Lock(), False

    def __enter__(self) -> "Ahead":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close; a ctrl-C waits for no read."""
        self.close(wait=kind is None or issubclass(kind, Exception | GeneratorExit))

    def take(self, name: Any, upcoming: Iterable[Any]) -> Any:
        """What has this name, once the upcoming ones are asked for behind it."""
        if name not in self._begun:  # a jump: what was begun is not wanted
            self._forget()
        for each in (name, *upcoming):
            if each not in self._begun:
                self._begun[each] = self._ask(each)
        return self._begun.pop(name).result()

    def close(self, wait: bool = True) -> None:
        """Drop what was not begun, and wait for the read that was, or leave it behind."""
        self._forget()
        with self._placing:
            self._closed = True
        atexit.unregister(self.close)
        self._asked.put(None)
        # While the interpreter ends no daemon comes to its end.
        if wait and self._thread is not None and not sys.is_finalizing():
            self._thread.join()

    def _ask(self, name: Any) -> Future:
        if self._closed:
            raise RuntimeError("what reads ahead is closed.")
        if self._thread is None:
            self._thread = Thread(target=self._run, name="jaxgd read", daemon=True)
            self._thread.start()
            atexit.register(self.close, wait=False)
        future: Future = Future()
        self._asked.put((name, future))
        return future

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            name, future = asked
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(self._done(name))
                except BaseException as error:
                    future.set_exception(error)
            del asked, future  # or they would hold the rows until the next are asked for

    def _done(self, name: Any) -> Any:
        with jax.enable_x64(self._wide), jax.default_device(self._device):
            rows = self._read(name)
            with self._placing:
                return None if self._closed else self._place(rows)

    def _forget(self) -> None:
        for future in self._begun.values():
            future.cancel()
        self._begun.clear()


def ahead(batches: Iterable[PyTree], depth: int = 2) -> Iterator[PyTree]:
    """The batches of an iterable on the device, up to `depth` of them ahead of their use.

    For what has an order of its own, as a torch DataLoader, grain or tf.data have: hand it to
    `walk(update)`. The iterable is advanced in one thread, and its arrays, or torch's tensors, are
    copied, in the precision and to the device that `jax.enable_x64` and `jax.default_device` say
    where `ahead` is called. What it raises is raised in its place.
    """
    depth, source = check_count("depth", depth), iter(batches)
    return _taken(Ahead(partial(_following, source), _placed), depth)


def _taken(reader: Ahead, depth: int) -> Iterator[PyTree]:
    with reader:
        for i in count():
            if (batch := reader.take(i, range(i + 1, i + 1 + depth))) is _END:
                return
            yield batch


def _following(source: Iterator[PyTree], _: int) -> Any:
    return next(source, _END)


def _placed(batch: Any) -> Any:
    return batch if batch is _END else jax.tree.map(_placed_leaf, batch)


def _placed_leaf(leaf: Any) -> Any:
    return jax.device_put(leaf if isinstance(leaf, jax.Array) else copied(leaf))
