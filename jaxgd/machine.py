"""What was measured of machines, each number with its reason; docs/performance.md has the tables.

The segments, and for GD the chunks, are part of a run's identity: they decide which executables its
updates run in.
"""

# Data of this size stay in a CPU's cache from one epoch of GD to the next; more are read from
# memory in chunks, each once.
CACHE_BYTES = 16 * 2**20
CHUNK_BYTES = 6 * 2**20

# Small batches share one gather of this many bytes, which stay in a core's cache until their turn.
# Fewer, and the gathers cost more than the updates.
GATHER_BYTES = 2**17

# A segment of an epoch: few enough rows that a run can be stopped soon, so many that starting a
# program counts for little, and no more bytes than a cache or a disk hands over at once.
SEGMENT_ROWS = 2**14
SEGMENT_BYTES = 2**24

# XLA's CPU compiler makes one kernel of a loop whose body touches less than about a kilobyte and
# dispatches every operation of any other, ten times slower. By itemsize, so many features still
# fit; a longer row is taken in parts by loops inside, and with those there is room for fewer.
# Above so many features dispatching no longer counts for much, and short blocks win.
KERNEL_FEATURES = {4: 36, 8: 16}
KERNEL_PART = {4: 25, 8: 8}
KERNEL_MOST_FEATURES = 400
CPU_BLOCK = 8

# An accelerator's step costs microseconds whatever is in it; a Gram matrix of this size is nothing.
ACCELERATOR_BLOCK = 64

# A sum waits for each addition before the next: a few sums side by side, a power of two, do not.
DOT_LANES = 4

# Rows in order are gathered ahead of their use: one by one each would wait for memory. XLA does it
# on all cores, and handing over to them costs as much as fifty updates: many are taken at once.
BLOCKED_GATHER_BYTES = 2**22
