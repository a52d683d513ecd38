import errno
import gc
import os
import subprocess
import sys
import unittest
import warnings

import lsm

from .support import Case


class Basics(Case):
    def test_put_get_delete(self):
        self.db.put(b"ada", b"Countess")
        self.assertEqual(self.db.get(b"ada"), b"Countess")
        self.db.delete(b"ada", durability=lsm.Durability.FSYNC, timeout=60)
        self.assertIsNone(self.db.get(b"ada"))
        self.assertEqual(self.db.get(b"ada", b"none"), b"none")
        self.assertEqual(self.db.get(b"ada", default=7), 7)

    def test_works_like_a_mapping(self):
        self.db[b"a"] = b"1"
        self.db[b"b"] = b"2"
        self.assertEqual(self.db[b"a"], b"1")
        self.assertIn(b"a", self.db)
        self.assertNotIn(b"c", self.db)
        with self.assertRaises(KeyError) as caught:
            self.db[b"c"]
        self.assertEqual(caught.exception.args, (b"c",))
        self.assertEqual(list(self.db), [b"a", b"b"])
        self.assertEqual(list(self.db.keys()), [b"a", b"b"])
        self.assertEqual(list(self.db.values()), [b"1", b"2"])
        self.assertEqual(dict(self.db.items()), {b"a": b"1", b"b": b"2"})
        del self.db[b"a"], self.db[b"zzz"]
        self.assertNotIn(b"a", self.db)
        self.db.update({b"c": b"3", b"d": b"4"})
        self.db.update([(b"e", b"5")], durability=lsm.Durability.FSYNC)
        self.assertEqual(list(self.db.values(b"c")), [b"3", b"4", b"5"])
        self.assertTrue(self.db)
        with self.assertRaises(TypeError):
            len(self.db)

    def test_every_bytes_like_thing_is_taken(self):
        for i, make in enumerate((bytes, bytearray, memoryview, lambda b: memoryview(b + b"x")[:-1])):
            key, value = b"key%d" % i, b"value%d" % i
            self.db.put(make(key), make(value))
            self.assertEqual(self.db.get(make(key)), value)
            self.assertEqual(self.db.multi_get([make(key)]), [value])
        for wrong in ("text", 5, None):
            with self.assertRaises(TypeError):
                self.db.put(wrong, b"")
            with self.assertRaises(TypeError):
                self.db.put(b"", wrong)
            with self.assertRaises(TypeError):
                self.db.get(wrong)
            with self.assertRaises(TypeError):
                self.db.multi_get([wrong])
        gaps = memoryview(b"abcdef")[::2]
        for call in (lambda: self.db.put(gaps, b""), lambda: self.db.put(b"", gaps), lambda: self.db.multi_get([gaps])):
            with self.assertRaises(BufferError):
                call()
        array = bytearray(b"held")
        self.db.put(array, array)
        array += b"free again"  # no buffer is left exported

    def test_empty_key_and_value(self):
        self.db.put(b"", b"")
        self.assertEqual(self.db.get(b""), b"")
        self.assertEqual(self.db.multi_get([b"", b"none"]), [b"", None])
        self.assertEqual(list(self.db.items()), [(b"", b"")])
        with self.db.pinned(b"") as view:
            self.assertEqual(bytes(view), b"")

    def test_values_of_many_sizes(self):
        for size in (1, 100, 1023, 1025, 4095, 4096, 4097, 70_000, 3 << 20):
            value = os.urandom(size)
            self.db.put(b"%d" % size, value)
            self.assertEqual(self.db.get(b"%d" % size), value)
            self.assertEqual(self.db.value_len(b"%d" % size), size)
            self.assertEqual(self.db.multi_get([b"%d" % size, b"none"]), [value, None])
        self.assertIsNone(self.db.value_len(b"none"))
        self.assertTrue(self.db.exists(b"1"))
        self.assertFalse(self.db.exists(b"none"))

    def test_multi_get_keeps_the_order(self):
        self.fill(1000)
        keys = [b"%05d" % (i * 7 % 1500) for i in range(3000)]
        want = [b"%d" % int(key) if int(key) < 1000 else None for key in keys]
        self.assertEqual(self.db.multi_get(keys), want)
        self.assertEqual(self.db.multi_get(iter(keys)), want)
        self.assertEqual(self.db.multi_get([]), [])
        with self.assertRaises(lsm.InvalidError):
            self.db.multi_get([bytes(70_000)])

    def test_wrong_arguments_are_told(self):
        with self.assertRaises(TypeError):
            self.db.get(b"a", snapshot="x")
        with self.assertRaises(TypeError):
            self.db.get(b"a", colour=1)
        with self.assertRaises(TypeError):
            self.db.put(b"a")
        with self.assertRaises(TypeError):
            self.db.put(b"a", b"b", sync=True)
        with self.assertRaises(ValueError):
            self.db.get(b"a", timeout=-1)
        with self.assertRaises(lsm.InvalidError):
            self.db.put(b"a", b"b", durability=9)
        with self.assertRaises(lsm.InvalidError):
            self.db.put(bytes(65_537), b"")

    def test_batch_is_written_as_a_whole(self):
        users = self.db.keyspace("users")
        self.db[b"gone"] = b"x"
        before = self.db.sequence()[0]
        with self.db.batch(durability=lsm.Durability.FSYNC) as batch:
            batch[b"a"] = b"1"
            batch.put(b"a", bytearray(b"user"), keyspace=users)
            del batch[b"gone"]
            batch.put(b"a", b"2")
            batch.delete(b"none", keyspace=users)
            batch.put_many([(b"m", b"1"), (b"n", b"2")], keyspace=users)
            self.assertEqual(len(batch), 7)
            self.assertGreater(batch.size, 0)
            self.assertNotIn(b"a", self.db)
        self.assertEqual(self.db.sequence(), (before + 7, before + 7))
        self.assertEqual(batch.sequence, before + 7)
        self.assertEqual(self.db[b"a"], b"2")
        self.assertEqual(list(users.items()), [(b"a", b"user"), (b"m", b"1"), (b"n", b"2")])
        self.assertNotIn(b"gone", self.db)

    def test_a_batch_that_fails_is_not_written(self):
        with self.assertRaises(ZeroDivisionError):
            with self.db.batch() as batch:
                batch[b"a"] = b"1"
                1 / 0
        self.assertNotIn(b"a", self.db)

    def test_batch_again_and_cleared(self):
        batch = lsm.Batch()
        self.assertEqual(self.db.write(batch), self.db.sequence()[0])
        batch.put_many((b"%d" % i, bytes(i)) for i in range(100))
        first = self.db.write(batch)
        self.assertEqual(self.db.write(batch), first + 100)
        batch.clear()
        self.assertEqual((len(batch), batch.size), (0, 0))
        batch.delete(b"99")
        self.db.write(batch)
        self.assertNotIn(b"99", self.db)

    def test_batch_refuses_what_it_cannot_hold(self):
        batch = lsm.Batch()
        with self.assertRaises(lsm.InvalidError):
            batch.put(bytes(65_537), b"")
        with self.assertRaises(TypeError):
            batch.put(b"a", b"b", keyspace="users")
        with self.assertRaises(TypeError):
            batch.put_many([b"ab"])
        with self.assertRaises(TypeError):
            batch.put_many([(b"a", b"b"), (b"c", "text")])
        self.assertEqual(len(batch), 1)
        with lsm.open(os.path.join(self.folder, "other")) as other:
            batch.put(b"a", b"b", keyspace=other.keyspace("k"))
            with self.assertRaises(lsm.InvalidError):
                self.db.write(batch)
        own = self.db.keyspace("k")
        batch.clear()
        batch.put(b"a", b"b", keyspace=own)
        own.release()
        with self.assertRaises(lsm.ClosedError):
            self.db.write(batch)

    def test_keyspaces_are_apart(self):
        with self.db.keyspace("users", {"compression": "none"}) as users:
            users[b"k"] = b"user"
            self.db[b"k"] = b"default"
            self.assertEqual((users[b"k"], self.db[b"k"]), (b"user", b"default"))
            self.assertEqual(self.db.keyspaces(), ["default", "users"])
            users.flush()
            self.assertEqual(users.property_int("levels.0.files"), 1)
        with self.assertRaises(lsm.ClosedError):
            users.get(b"k")
        with self.assertRaises(lsm.NotFoundError):
            self.db.keyspace("none", {"create_if_missing": False})
        # A name is bytes in lsm.h.
        self.db.keyspace("\udcff\udcfe").put(b"k", b"odd")
        self.assertEqual(self.db.keyspaces(), ["default", "users", "\udcff\udcfe"])
        self.db.drop_keyspace("\udcff\udcfe")
        again = self.db.keyspace("users")
        self.db.drop_keyspace("users")
        with self.assertRaises(lsm.ClosedError):
            again.get(b"k")
        with self.assertRaises(KeyError):
            self.db.drop_keyspace("users")
        with self.assertRaises(lsm.InvalidError):
            self.db.drop_keyspace("default")

    def test_snapshot_stays_as_it_was(self):
        self.db[b"k"] = b"old"
        with self.db.snapshot() as snapshot:
            self.assertEqual(snapshot.sequence, self.db.sequence()[0])
            self.db[b"k"] = b"new"
            self.db[b"l"] = b"new"
            self.db.flush()
            at = {"snapshot": snapshot, "timeout": 60, "fill_cache": False, "verify_checksums": True}
            self.assertEqual(self.db.get(b"k", **at), b"old")
            self.assertEqual(self.db.multi_get([b"k", b"l"], **at), [b"old", None])
            self.assertFalse(self.db.exists(b"l", **at))
            self.assertEqual(list(self.db.items(**at)), [(b"k", b"old")])
            with self.db.pinned(b"k", **at) as view:
                self.assertEqual(view, b"old")
            late = self.db.items(snapshot=snapshot)
        self.assertEqual(list(late), [(b"k", b"old")])
        for call in (self.db.get, self.db.exists, self.db.pinned):
            with self.assertRaises(lsm.ClosedError):
                call(b"k", snapshot=snapshot)
        with self.assertRaises(lsm.ClosedError):
            self.db.items(snapshot=snapshot)
        with self.assertRaises(lsm.ClosedError):
            self.db.get(b"k", snapshot=lsm.Snapshot())  # of no database: no read of now instead
        self.assertEqual(snapshot.sequence, 0)
        snapshot.close()


class Pins(Case):
    def setUp(self):
        super().setUp()
        self.value = os.urandom(10_000)
        self.db[b"k"] = self.value
        self.db.flush()

    def test_a_view_is_read_only_and_the_value(self):
        with self.db.pinned(b"k") as view:
            self.assertEqual(view, self.value)
            self.assertTrue(view.readonly)
            self.assertEqual(view[5], self.value[5])
        with self.assertRaises(ValueError):
            bytes(view)
        self.assertIsNone(self.db.pinned(b"none"))

    def test_views_outlive_everything(self):
        pinned = self.db.pinned(b"k")
        self.assertEqual(len(pinned), len(self.value))
        with pinned as view:
            part = view[100:200]
            other = pinned.view()
        del self.db[b"k"]
        self.db.compact()
        self.db.close()
        self.assertEqual(part, self.value[100:200])
        self.assertEqual(other, self.value)
        with self.assertRaises(ValueError):
            pinned.view()
        pinned.release()
        del pinned, view
        gc.collect()
        self.assertEqual(part, self.value[100:200])

    def test_pins_are_freed(self):
        # Each would hold a megabyte.
        self.db[b"big"] = bytes(1 << 20)
        self.db.flush()
        self.db.clear_cache()
        for i in range(500):
            with self.db.pinned(b"big", fill_cache=False) as view:
                view[0]
            if i == 100:
                before = memory()
        self.assertLess(memory() - before, 200 << 20)

    def test_bytes_of_a_pin(self):
        pinned = self.db.pinned(b"k")
        self.assertEqual(bytes(pinned), self.value)
        pinned.release()
        self.assertEqual(len(pinned), 0)


def memory():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


class Errors(Case):
    def test_errors_say_what_they_are(self):
        with self.assertRaises(lsm.IoError) as caught:
            lsm.open(os.path.join(self.folder, "no", "db"))
        error = caught.exception
        self.assertIsInstance(error, OSError)
        self.assertEqual((error.errno, error.os_errno, error.code, error.name), (errno.ENOENT, errno.ENOENT, -2, "LSM_E_IO"))
        self.assertEqual(error.operation, "open")
        self.assertIn("LSM_E_IO", str(error))
        self.assertFalse(error.retryable or error.fatal or error.background)

    def test_wrong_options(self):
        for options in ({"memtable.size": 0}, {"memtable.size": "0"}, {"no.such": 1}, {"filter.fpr": 2.5}, {"memtable.size": 1 << 70}):
            with self.assertRaises(lsm.InvalidError) as caught:
                lsm.open(os.path.join(self.folder, "x"), options)
            self.assertIsInstance(caught.exception, ValueError)
            self.assertIn(next(iter(options)), str(caught.exception))
        with self.assertRaises(lsm.InvalidError):
            lsm.open("a\0b")
        for nothing in (None, b"16MiB".hex, []):
            with self.assertRaisesRegex(TypeError, "set option"):
                lsm.open(os.path.join(self.folder, "x"), {"memtable.size": nothing})
        with self.assertRaisesRegex(TypeError, "options are a mapping"):
            lsm.open(os.path.join(self.folder, "x"), "memtable.size = 1MiB")
        with self.assertRaisesRegex(TypeError, "log is a function"):
            lsm.open(os.path.join(self.folder, "x"), log=3)

    def test_locked_exists_read_only_destroy(self):
        with self.assertRaises(lsm.LockedError) as caught:
            lsm.open(self.path)
        self.assertTrue(caught.exception.retryable and not caught.exception.fatal)
        with self.assertRaises(lsm.LockedError):
            lsm.destroy(self.path)
        self.db[b"k"] = b"v"
        self.db.close()
        with self.assertRaises(FileExistsError):
            lsm.open(self.path, {"error_if_exists": True})
        with lsm.open(self.path, {"mode": "ro"}) as reader:
            with self.assertRaises(lsm.ReadOnlyError):
                reader[b"k"] = b"w"
            self.assertEqual(reader[b"k"], b"v")
        lsm.destroy(self.path)
        self.assertFalse(os.path.exists(self.path))

    def test_after_close_everything_is_closed(self):
        self.fill(10)
        keyspace, snapshot, cursor, batch = self.db.keyspace("k"), self.db.snapshot(), self.db.items(), lsm.Batch()
        next(cursor)
        self.db.close()
        self.assertTrue(self.db.closed)
        calls = [
            lambda: self.db.get(b"k"), lambda: self.db.put(b"k", b"v"), lambda: self.db.delete(b"k"), lambda: self.db[b"k"],
            lambda: b"k" in self.db, lambda: self.db.multi_get([b"k"]), lambda: self.db.pinned(b"k"), self.db.items,
            self.db.flush, self.db.compact, self.db.sync, self.db.sequence, self.db.snapshot, self.db.keyspaces,
            lambda: self.db.write(batch), lambda: self.db.keyspace("k"), lambda: self.db.property("stats"),
            self.db.prometheus, self.db.clear_cache, self.db.approximate, lambda: keyspace.get(b"k"), cursor.first,
            cursor.refresh, lambda: self.db.get(b"k", snapshot=snapshot),
        ]  # fmt: skip
        for call in calls:
            with self.assertRaises(lsm.ClosedError):
                call()
        self.db.close()
        snapshot.close()
        cursor.close()
        cursor.close()

    def test_a_write_that_times_out_has_no_effect(self):
        with lsm.open(os.path.join(self.folder, "slow"), {"memtable.size": "1MiB", "memtable.count_max": 2}) as db:
            big = bytes(1 << 20)
            for i in range(300):
                try:
                    db.put(b"%d" % i, big, timeout=1e-9)
                except lsm.DeadlineError as error:
                    self.assertIsInstance(error, TimeoutError)
                    self.assertTrue(error.retryable and not error.fatal)
                    self.assertNotIn(b"%d" % i, db)
                    return
            self.fail("a microsecond was always enough")

    def test_every_code_has_a_class(self):
        from lsm._errors import make_error

        seen = set()
        for code in range(-23, 0):
            error = make_error("call", code, 0, 7, "why")
            self.assertEqual(error.code, code)
            self.assertNotEqual(type(error), lsm.Error, code)
            self.assertTrue(error.retryable and error.fatal and error.background)
            self.assertIn("why", str(error))
            self.assertIn(error.name, str(error))
            seen.add(type(error))
        self.assertEqual(len(seen), 23)
        self.assertEqual(type(make_error("call", -99, 0, 0, "")), lsm.Error)


class Admin(Case):
    def test_options_are_text(self):
        parsed = lsm.parse_options("# sizes\nmemtable.size = 67108864\n\nfilter.fpr=0.02\n")
        self.assertEqual(parsed, lsm.canonical_options({"memtable.size": "64MiB", "filter.fpr": 0.02}))
        self.assertEqual(lsm.effective_option(parsed, "memtable.size"), parsed["memtable.size"])
        self.assertEqual(lsm.effective_option({}, "durability"), "os")
        with self.assertRaises(lsm.InvalidError):
            lsm.parse_options("memtable.size = 64MiB\nnonsense\n")
        described = {option["key"]: option for option in lsm.describe_options()}
        self.assertIn("text", described["block.size"])

    def test_properties_and_metrics(self):
        self.db.update((b"%05d" % i, bytes(100)) for i in range(1000))
        self.db.flush()
        self.assertGreater(self.db.property_int("flush.jobs_run"), 0)
        self.assertTrue(self.db.property("levels"))
        with self.assertRaises(lsm.NotFoundError):
            self.db.property("no.such")
        self.assertIn("# TYPE", self.db.prometheus())
        self.assertTrue(self.db.metrics_json().lstrip().startswith("{"))
        size, keys = self.db.approximate(b"00000", b"00500")
        self.assertTrue(size > 0 and 0 < keys <= 1000)
        self.db.sync()
        self.db.compact(b"00000", b"00500")
        self.db.clear_cache()

    def test_the_library(self):
        self.assertEqual(lsm.abi_version(), 1)
        self.assertRegex(lsm.version(), r"^\d+\.\d+\.\d+")
        self.assertTrue(lsm.has_feature("lz4"))
        self.assertFalse(lsm.has_feature("cold fusion"))
        self.assertIn("liblsm", lsm.library_path())
        self.assertIn(lsm.backend, ("native", "ctypes"))
        wanted = os.environ.get("LSM_PYTHON")
        self.assertIn(wanted, (None, "", lsm.backend))

    def test_damage_is_found_and_repaired(self):
        self.db.update((b"%05d" % i, bytes(100)) for i in range(1000))
        self.db.flush()
        self.assertEqual(self.db.verify()["result"], "sound")
        self.db.resume()
        self.db.close()
        table = next(name for name in sorted(os.listdir(self.path)) if name.endswith(".sst"))
        with open(os.path.join(self.path, table), "r+b") as file:
            file.seek(os.path.getsize(file.name) // 3)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 0x40]))
        with lsm.open(self.path) as db:
            with self.assertRaises(lsm.CorruptionError) as caught:
                db.verify()
        self.assertEqual(caught.exception.report["damaged"][0]["file"], table)
        self.assertEqual(lsm.repair(self.path)["result"], "repaired")
        with lsm.open(self.path) as db:
            self.assertEqual(db.verify()["result"], "sound")
        with self.assertRaises(lsm.IoError):
            lsm.repair(os.path.join(self.path, "none"))

    def test_log_lines_come_to_python(self):
        lines = []
        path = os.path.join(self.folder, "logged")
        with lsm.open(path, log=lambda level, message: lines.append((level, message))) as db:
            db[b"k"] = b"v"
            db.flush()
        self.assertTrue(lines)
        self.assertTrue(all(0 <= level <= 3 and isinstance(message, str) for level, message in lines))
        from lsm import _options

        self.assertEqual(_options._logs, {})

    def test_an_open_database_is_a_warning(self):
        path = os.path.join(self.folder, "forgotten")
        lsm.open(path).close()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lsm.open(path)[b"k"] = b"v"
            gc.collect()
        self.assertEqual([w.category for w in caught], [ResourceWarning])
        with lsm.open(path) as db:
            self.assertEqual(db[b"k"], b"v")

    def test_a_cursor_keeps_its_database(self):
        self.fill(5)
        self.db.close()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            self.assertEqual(len(list(lsm.open(self.path).items())), 5)
            gc.collect()
        lsm.open(self.path).close()


class Processes(Case):
    def run_python(self, program, *arguments):
        done = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", program, *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""))
        return done.stdout.decode()

    def test_an_open_database_is_closed_at_exit(self):
        path = os.path.join(self.folder, "open at exit")
        program = (
            "import lsm, sys, threading\n"
            "db = lsm.open(sys.argv[1], {'memtable.size': '1MiB'}, log=lambda level, text: None)\n"
            "for i in range(200): db[b'%d' % i] = bytes(50_000)\n"
            "cursor = db.items(); next(cursor)\n"
        )
        self.run_python(program, path)
        with lsm.open(path) as db:
            self.assertEqual(len(list(db)), 200)
            self.assertEqual(db.property("wal.io") != "", True)

    def test_a_forked_child_is_told(self):
        program = (
            "import lsm, os, sys\n"
            "db = lsm.open(sys.argv[1]); db[b'k'] = b'v' * 9000\n"
            "pin = db.pinned(b'k'); cursor = db.items()\n"
            "child = os.fork()\n"
            "if child == 0:\n"
            "    try: db.get(b'k')\n"
            "    except lsm.ForkedError: pass\n"
            "    else: os._exit(3)\n"
            "    if bytes(pin) != b'v' * 9000: os._exit(4)\n"
            "    try: next(cursor)\n"
            "    except lsm.ForkedError: pass\n"
            "    else: os._exit(5)\n"
            "    del pin, cursor, db\n"
            "    with lsm.open(sys.argv[1] + '2') as own: own[b'a'] = b'b'\n"
            "    sys.exit(0)\n"
            "status = os.waitpid(child, 0)[1]\n"
            "db[b'l'] = b'w'; db.close()\n"
            "print(status)\n"
        )
        self.assertEqual(self.run_python(program, os.path.join(self.folder, "forked")), "0\n")

    def test_a_library_that_is_none_is_told(self):
        program = "import os, lsm"
        done = subprocess.run(
            [sys.executable, "-c", program], stderr=subprocess.PIPE, env={**os.environ, "LSM_LIBRARY": "/no/such.so"}
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"LibraryNotFound", done.stderr)
        self.assertIn(b"/no/such.so", done.stderr)


if __name__ == "__main__":
    unittest.main()
