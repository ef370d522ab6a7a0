"""More data than memory: rows read by number, the next ones while these are worked on."""

from jaxgd.host_order import host_shuffle
from jaxgd.streaming.blocks import blockwise
from jaxgd.streaming.files import arrow, npy, parquet
from jaxgd.streaming.reading_ahead import ahead
from jaxgd.streaming.source import Source
from jaxgd.streaming.streamed import stream
from jaxgd.streaming.unpacking import unpack

__all__ = [
    "Source",
    "ahead",
    "arrow",
    "blockwise",
    "host_shuffle",
    "npy",
    "parquet",
    "stream",
    "unpack",
]
