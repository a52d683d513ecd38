#!/usr/bin/env python3
"""What a call costs from Python, and what the packed forms save.

    bench.py [--keys N] [--rounds R] [--folder DIR] [--peer rocksdict] [--cpu]

Every figure is nanoseconds for one key, the best of R rounds. Keys are 16 bytes in random order, values 100 bytes. Data are
written without a sync for each write, then flushed, then read from the block cache. With --peer the same is done through
rocksdict (`pip install rocksdict`) in its raw mode, set up alike: 64 MiB of write buffer, 256 MiB of block cache, LZ4,
filters of 10 bits, one thread. The rounds of the two alternate, so that what else the machine does hits both. --cpu counts the processor time of the calling thread
instead of the time that passes, for a machine that is busy with something else.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time

VALUE = os.urandom(50) + bytes(50)


clock = time.perf_counter_ns


def timed(figures, name, n, body):
    start = clock()
    body()
    figures.setdefault(name, []).append((clock() - start) / n)


def consume(iterator):
    n = 0
    for _ in iterator:
        n += 1
    return n


def expect(got, wanted):
    if got != wanted:
        sys.exit(f"read {got} entries instead of {wanted}")


def ours(folder, keys, figures):
    import lsm

    def each(call):
        for key in keys:
            call(key)

    def put(db):
        value = VALUE
        put = db.put
        for key in keys:
            put(key, value)

    def steps(db):
        # A seek for each entry: what one call for each step would cost.
        cursor, n = db.items(), 0
        entry = cursor.first()
        while entry is not None:
            n += 1
            entry = cursor.seek(lsm.Seek.GT, entry[0])
        expect(n, len(keys))

    def multi_get(db):
        for i in range(0, len(keys), 100):
            if None in db.multi_get(keys[i : i + 100]):
                sys.exit("a key is missing")

    def pinned(db):
        for key in keys:
            db.pinned(key).release()

    pairs = [(key, VALUE) for key in keys]
    with lsm.open(os.path.join(folder, "put")) as db:
        timed(figures, "an empty call (lsm.abi_version)", len(keys), lambda: consume(lsm.abi_version() for _ in keys))
        timed(figures, "put, one call each", len(keys), lambda: put(db))
    with lsm.open(os.path.join(folder, "batch")) as db:
        timed(figures, "put, in batches of 1000", len(keys), lambda: [db.update(pairs[i : i + 1000]) for i in range(0, len(keys), 1000)])
        db.flush()
        db.compact()
        each(db.get)
        timed(figures, "get", len(keys), lambda: each(db.get))
        timed(figures, "exists", len(keys), lambda: each(db.exists))
        timed(figures, "pinned", len(keys), lambda: pinned(db))
        timed(figures, "multi_get of 100", len(keys), lambda: multi_get(db))
        timed(figures, "scan, in chunks", len(keys), lambda: expect(consume(db.items()), len(keys)))
        timed(figures, "scan of keys, in chunks", len(keys), lambda: expect(consume(db.keys()), len(keys)))
        timed(figures, "scan, a call for each entry", len(keys), lambda: steps(db))


def rocksdict(folder, keys, figures):
    from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

    def make(name):
        table = BlockBasedOptions()
        table.set_block_cache(Cache(256 << 20))
        table.set_bloom_filter(10, False)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(64 << 20)
        options.set_compression_type(DBCompressionType.lz4())
        options.set_block_based_table_factory(table)
        return Rdict(os.path.join(folder, name), options)

    def put(db):
        value = VALUE
        put = db.put
        for key in keys:
            put(key, value)

    def batches(db):
        for i in range(0, len(keys), 1000):
            batch = WriteBatch(raw_mode=True)
            for key in keys[i : i + 1000]:
                batch.put(key, VALUE)
            db.write(batch)

    def each(call):
        for key in keys:
            call(key)

    def multi_get(db):
        for i in range(0, len(keys), 100):
            if None in db[keys[i : i + 100]]:
                sys.exit("a key is missing")

    db = make("put")
    timed(figures, "put, one call each", len(keys), lambda: put(db))
    db.close()
    db = make("batch")
    timed(figures, "put, in batches of 1000", len(keys), lambda: batches(db))
    db.flush()
    db.compact_range(None, None)
    each(db.get)
    timed(figures, "get", len(keys), lambda: each(db.get))
    timed(figures, "exists", len(keys), lambda: each(db.__contains__))
    timed(figures, "multi_get of 100", len(keys), lambda: multi_get(db))
    timed(figures, "scan, in chunks", len(keys), lambda: expect(consume(db.items()), len(keys)))
    timed(figures, "scan of keys, in chunks", len(keys), lambda: expect(consume(db.keys()), len(keys)))
    db.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the databases are made; default: the system's temporary folder")
    parser.add_argument("--peer", choices=["rocksdict"])
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    if options.cpu:
        global clock
        clock = time.thread_time_ns
    rng = random.Random(1)
    keys = [b"%016d" % i for i in range(options.keys)]
    rng.shuffle(keys)
    import lsm

    sides = [(f"lsm {lsm.version()} ({lsm.backend})", ours)]
    if options.peer:
        sides.append((options.peer, rocksdict))
    results = [{} for _ in sides]
    for _ in range(options.rounds):
        for (_, run), figures in zip(sides, results):
            folder = tempfile.mkdtemp(prefix="lsm-bench-", dir=options.folder)
            try:
                run(folder, keys, figures)
            finally:
                shutil.rmtree(folder)
    print(f"{'ns for one key':34}" + "".join(f"{name:>22}" for name, _ in sides))
    for name in results[0]:
        cells = [f"{min(figures[name]):.0f}" if name in figures else "-" for figures in results]
        print(f"{name:34}" + "".join(f"{cell:>22}" for cell in cells))


if __name__ == "__main__":
    main()
