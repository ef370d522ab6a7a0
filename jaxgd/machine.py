"""What was measured of machines, each number with its reason; docs/performance.md has the tables.

The segments, and for GD the chunks, are part of a run's identity: they decide which executables its
updates run in.
"""

import jax

JAX = tuple(map(int, jax.__version__.split(".")[:2]))

# Data of this size stay in a CPU's cache from one epoch of GD to the next; more are read from
# memory in chunks, each once. A chunk is worked on by all cores before jax 0.12, and by one after.
CACHE_BYTES = 16 * 2**20
CHUNK_BYTES = (1 if JAX >= (0, 12) else 6) * 2**20

# An accelerator's chunk of GD, in the activations that it keeps. An H100 takes a seventh longer for
# them than for all rows at once, on paper, a fifth with half of it, and 43% with an eighth.
KEPT_BYTES = 2**30

# Small batches share one gather of this many bytes, which stay in a core's cache until their turn.
# Fewer, and the gathers cost more than the updates.
GATHER_BYTES = 2**17

# And single rows one of this many: before jax 0.12 all cores gather, and handing over to them costs
# as much as fifty updates.
ROW_GATHER_BYTES = GATHER_BYTES if JAX >= (0, 12) else 2**19

# A segment of an epoch: few enough rows that a run can be stopped soon, so many that starting a
# program counts for little, and no more bytes than a cache or a disk hands over at once.
SEGMENT_ROWS = 2**14
SEGMENT_BYTES = 2**24

# An accelerator's step costs microseconds whatever is in it; a Gram matrix of this size is nothing.
ACCELERATOR_BLOCK = 64

# A sum waits for each addition before the next: sums side by side do not. So many for rows of up to
# NARROW features, which zeros fill up, and for wider ones; a sum of over 32 terms XLA would cut in
# two, through memory. XLA's CPU compiler before 0.12 makes one kernel of small loops only: fewer
# sums are faster there, and wide rows and those of several outputs gain nothing.
NARROW, NARROW_LANES, LANE_TERMS = 48, 8, 32
ANY_LOOP_IS_A_KERNEL = JAX >= (0, 12)
LANES = 32 if ANY_LOOP_IS_A_KERNEL else 16
WIDEST_SMALL_LOOP, MOST_PRODUCTS = 400, 2**15
CPU_BLOCK = 8

# One kernel for many rows on NVIDIA: a thread has 255 registers, and a multiprocessor 65,536. Of
# 1,024 features a warp's threads hold 32 weights each, and 128 numbers of rows that were asked for
# ahead of their turn: on paper a row takes 0.15 µs, and one from memory arrives after 0.6.
TRITON_WARP_ELEMENTS, TRITON_ELEMENTS_AHEAD, TRITON_MOST_AHEAD = 2**10, 2**12, 8

# And on a TPU: blocks of rows on the core, of which there are two at a time, and the rows of one
# launch, which are gathered in main memory before it.
MOSAIC_BLOCK_BYTES, MOSAIC_PIECE_BYTES = 2**20, 2**26

# The widest rows of each: eight warps are all that a multiprocessor has registers for, and two
# blocks of 128 rows of 8,192 features are half of a core's memory.
WIDEST_IN_ONE_KERNEL = {"cuda": 2**13, "tpu": 2**13}

# Runs of several batch sizes share a program by micro-batches, each with an update: a number that
# is updated in vain costs so long, and another program to compile so long. Measured on a CPU, of
# linear models and small MLPs by SGD and Adam: 0.3 to 3 ns, and 0.7 to 2 s.
SECONDS_AN_UPDATED_NUMBER = 1e-9
SECONDS_TO_COMPILE = 1.0
