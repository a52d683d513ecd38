"""What the tests share: a folder and an open database for each."""

import os
import shutil
import tempfile
import unittest

import lsm


class Case(unittest.TestCase):
    """A test with a folder of its own and an open database in it."""

    options = {}

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lsm-python-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.path = os.path.join(self.folder, "db")
        self.db = lsm.open(self.path, self.options)
        self.addCleanup(self.db.close)

    def fill(self, n, keyspace=None):
        (keyspace or self.db).update((b"%05d" % i, b"%d" % i) for i in range(n))
