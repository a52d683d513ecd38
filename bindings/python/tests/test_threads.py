import os
import random
import struct
import threading
import time
import unittest

import lsm

from .support import Case


class Threads(Case):
    options = {"memtable.size": "1MiB"}

    def run_threads(self, bodies):
        """Runs them all and raises the first thing that one of them raised."""
        failures = []

        def run(body):
            try:
                body()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            self.assertFalse(thread.is_alive(), "a thread hangs")
        if failures:
            raise failures[0]

    def test_threads_see_whole_batches(self):
        names = [b"counter-%02d" % i for i in range(64)]
        total = 1000 * len(names)
        self.db.update((name, struct.pack(">q", 1000)) for name in names)
        lock = threading.Lock()
        stop = threading.Event()
        reads = [0, 0, 0]

        def write():
            rng = random.Random(threading.get_ident())
            for _ in range(300):
                a, b = rng.sample(names, 2)
                with lock:
                    old = [struct.unpack(">q", value)[0] for value in self.db.multi_get([a, b])]
                    with self.db.batch() as batch:
                        batch[a] = struct.pack(">q", old[0] - 1)
                        batch[b] = struct.pack(">q", old[1] + 1)

        def read(kind):
            while not stop.is_set() or not reads[kind]:
                if kind == 0:
                    values = self.db.multi_get(names)
                elif kind == 1:
                    values = list(self.db.values())
                else:
                    with self.db.snapshot() as snapshot:
                        values = [self.db.get(name, snapshot=snapshot) for name in names]
                self.assertEqual(sum(struct.unpack(">q", value)[0] for value in values), total, kind)
                reads[kind] += 1

        readers = [threading.Thread(target=self.run_threads, args=([lambda kind=kind: read(kind)],)) for kind in range(3)]
        for reader in readers:
            reader.start()
        try:
            self.run_threads([write] * 4)
        finally:
            stop.set()
            for reader in readers:
                reader.join()
        self.assertTrue(all(reads))

    def test_close_while_others_are_inside(self):
        for round_ in range(2):
            with lsm.open(os.path.join(self.folder, f"close{round_}"), self.options) as db:
                db.update((b"%05d" % i, b"%d" % i) for i in range(2000))
                db.flush()
                users, snapshot = db.keyspace("users"), db.snapshot()
                ended = []

                def write_batch(db=db, users=users):
                    batch = lsm.Batch()
                    batch.put(b"a", b"b")
                    batch.put(b"a", b"b", keyspace=users)
                    db.write(batch)

                calls = [
                    lambda: db.put(b"00100", b"100"),
                    lambda: users.put(b"k", bytes(1000), durability=3),
                    lambda: db.get(b"00100"),
                    lambda: db.get(b"00100", snapshot=snapshot),
                    lambda: db.multi_get([b"00100", b"none"]),
                    lambda: list(db.items()),
                    lambda: bytes(db.pinned(b"00100")),
                    write_batch,
                    db.flush,
                    db.compact,
                    lambda: db.snapshot().close(),
                    lambda: db.property("stats"),
                    lambda: db.keyspace("other").release(),
                ]

                def repeat(call, ended=ended):
                    while True:
                        try:
                            call()
                        except lsm.ClosedError:
                            ended.append(call)
                            return

                def close(db=db, wait=0.02 + 0.03 * round_):
                    time.sleep(wait)
                    db.close()

                self.run_threads([lambda call=call: repeat(call) for call in calls * 2] + [close, close])
                self.assertEqual(len(ended), 2 * len(calls))

    def test_a_snapshot_is_closed_while_it_is_read(self):
        self.fill(100)
        for _ in range(8):
            snapshot = self.db.snapshot()

            def read(snapshot=snapshot):
                while True:
                    try:
                        self.assertEqual(self.db.get(b"00042", snapshot=snapshot), b"42")
                    except lsm.ClosedError:
                        return

            def close(snapshot=snapshot):
                time.sleep(0.002)
                snapshot.close()

            self.run_threads([read] * 6 + [close])

    def test_a_cursor_moves_between_threads(self):
        self.fill(300)
        cursor = self.db.keys(chunk=64)
        got = []
        for _ in range(300):
            self.run_threads([lambda: got.append(cursor.next())])
        self.assertEqual(got, [b"%05d" % i for i in range(300)])

    def test_a_cursor_in_use_is_busy_and_loses_nothing(self):
        self.fill(20_000)
        cursor = self.db.keys(chunk=64)
        got, busy = [], []

        def read():
            while True:
                try:
                    key = cursor.next()
                except lsm.BusyError:
                    busy.append(1)
                    continue
                if key is None:
                    return
                got.append(key)

        self.run_threads([read] * 4)
        self.assertEqual(sorted(got), [b"%05d" % i for i in range(20_000)])

    def test_the_gil_is_free_during_a_call(self):
        # One thread waits for the device or a stall while this one counts.
        stop = threading.Event()
        counted = 0

        def write():
            try:
                for i in range(12):
                    self.db.put(b"%d" % i, bytes(1 << 20), durability=3)
            finally:
                stop.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not stop.is_set():
            counted += 1
        thread.join()
        self.assertGreater(counted, 1000)

    def test_a_log_function_may_be_called_while_threads_work(self):
        lines = []
        path = os.path.join(self.folder, "logged")
        with lsm.open(path, self.options, log=lambda level, text: lines.append(text)) as db:

            def write(base):
                for i in range(300):
                    db.put(b"%d-%d" % (base, i), bytes(20_000))

            self.run_threads([lambda base=base: write(base) for base in range(4)])
        self.assertGreater(len(lines), 5)


if __name__ == "__main__":
    unittest.main()
