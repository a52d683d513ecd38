import os
import random
import time
import unittest

import lsm
from lsm import Seek

from .support import Case


class Cursors(Case):
    def test_walks_both_ways(self):
        self.fill(5000)
        cursor = self.db.keys()
        forth = list(cursor)
        self.assertEqual(forth, [b"%05d" % i for i in range(5000)])
        self.assertIsNone(cursor.next())
        back = []
        while (key := cursor.prev()) is not None:
            back.append(key)
        self.assertEqual(back, forth[::-1])
        self.assertIsNone(cursor.prev())
        self.assertEqual(cursor.next(), b"00000")
        self.assertEqual(list(self.db.keys(reverse=True)), forth[::-1])

    def test_seeks(self):
        for key in (b"b", b"d", b"f"):
            self.db[key] = b"v" + key
        cursor = self.db.items()
        cases = [
            (Seek.FIRST, b"", b"b", b"d", None), (Seek.LAST, b"", b"f", None, b"d"),
            (Seek.GE, b"d", b"d", b"f", b"b"), (Seek.GT, b"d", b"f", None, b"d"),
            (Seek.LE, b"d", b"d", b"f", b"b"), (Seek.LT, b"d", b"b", b"d", None),
            (Seek.GE, b"c", b"d", b"f", b"b"), (Seek.LE, b"c", b"b", b"d", None),
            (Seek.GT, b"f", None, None, b"f"), (Seek.LT, b"b", None, b"b", None),
        ]  # fmt: skip

        def entry(key):
            return None if key is None else (key, b"v" + key)

        for where, key, at, after, before in cases:
            for step, want in ((cursor.next, after), (cursor.prev, before)):
                self.assertEqual(cursor.seek(where, bytearray(key)), entry(at), (where, key))
                self.assertEqual(step(), entry(want), (where, key, step))
        self.assertEqual((cursor.first(), cursor.last()), (entry(b"b"), entry(b"f")))
        with self.assertRaises(lsm.InvalidError):
            cursor.seek(9)

    def test_keeps_to_its_range(self):
        self.fill(300)
        cases = [
            ({"lower": b"00010", "upper": b"00013"}, [10, 11, 12]),
            ({"prefix": b"0029"}, list(range(290, 300))),
            ({"prefix": b"0029", "lower": b"00298"}, [298, 299]),
            ({"prefix": b"", "upper": b"00002"}, [0, 1]),
            ({"upper": b""}, []),
            ({"lower": b"", "upper": bytearray(b"00001")}, [0]),
            ({"lower": b"x"}, []),
        ]
        for settings, want in cases:
            numbers = [b"%05d" % i for i in want]
            self.assertEqual(list(self.db.keys(**settings)), numbers, settings)
            self.assertEqual(list(self.db.keys(reverse=True, **settings)), numbers[::-1], settings)
            self.assertEqual(list(self.db.values(**settings)), [b"%d" % i for i in want], settings)

    def test_shows_one_moment(self):
        self.fill(10)
        with self.db.items() as cursor:
            self.db[b"zzz"] = b""
            self.assertEqual(len(list(cursor)), 10)
            cursor.refresh()
            self.assertEqual(len(list(cursor)), 11)
        with self.assertRaises(lsm.ClosedError):
            next(cursor)

    def test_fits_every_entry(self):
        sizes = [0, 1, 100, 5000, 70_000, 300_000, 2]
        entries = [(bytes([i]), bytes([i]) * size) for i, size in enumerate(sizes)]
        self.db.update(entries)
        for chunk in (0, 1, 4096, 1 << 20):
            cursor = self.db.items(chunk=chunk)
            self.assertEqual(list(cursor), entries)
            self.assertEqual([cursor.prev() for _ in entries], entries[::-1])
            for entry in entries:
                self.assertEqual(cursor.seek(Seek.GE, entry[0]), entry)

    def test_against_a_model(self):
        seed = int(os.environ.get("LSM_SEED", time.time_ns()))
        rng = random.Random(seed)
        model = {}
        for _ in range(2000):
            key = b"%06d" % rng.randrange(1_000_000)
            self.db[key] = model[key] = os.urandom(rng.randrange(40))
        self.db.flush()
        for key in rng.sample(sorted(model), 300):
            del self.db[key], model[key]
        live = sorted(model)
        cursor = self.db.items(chunk=256)
        at, fresh = 0, True
        for move in range(20_000):
            kind = rng.randrange(20)
            if kind < 9:
                at = 0 if fresh else min(at + 1, len(live))
                got = cursor.next()
            elif kind < 18:
                at = len(live) - 1 if fresh else max(at - 1, -1)
                got = cursor.prev()
            else:
                key = b"%06d" % rng.randrange(1_000_000)
                where = rng.choice((Seek.GE, Seek.GT, Seek.LE, Seek.LT))
                above = sum(1 for k in live if k < key)
                hit = above < len(live) and live[above] == key
                at = above if where == Seek.GE else above + hit if where == Seek.GT else above - 1 + (hit and where == Seek.LE)
                got = cursor.seek(where, key)
            fresh = False
            want = (live[at], model[live[at]]) if 0 <= at < len(live) else None
            self.assertEqual(got, want, f"seed {seed}, move {move}")

    def test_numbers_that_do_not_fit_are_refused(self):
        for wrong in ({"max_skip": -1}, {"max_skip": 1 << 64}, {"readahead": -1}, {"readahead": 1 << 32}, {"chunk": -1}, {"chunk": 1 << 31}):
            with self.assertRaisesRegex(ValueError, next(iter(wrong))):
                self.db.items(**wrong)

    def test_stalled_goes_on(self):
        self.fill(1000)
        with self.db.batch() as batch:
            for i in range(100, 900):
                del batch[b"%05d" % i]
        cursor, got, stalls = self.db.keys(max_skip=100), [], 0
        while True:
            try:
                key = cursor.next()
            except lsm.StalledError:
                stalls += 1
                self.assertLess(stalls, 100)
                continue
            if key is None:
                break
            got.append(key)
        self.assertGreater(stalls, 0)
        self.assertEqual(got, [b"%05d" % i for i in (*range(100), *range(900, 1000))])


if __name__ == "__main__":
    unittest.main()
