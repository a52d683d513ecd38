#!/usr/bin/env python3
"""An archive of files in a database: every version of every file once, found again by its content.

    archive.py DB add FOLDER          takes the files of a folder in, as a new version of it
    archive.py DB list                the versions
    archive.py DB extract N FOLDER    writes version N out
    archive.py DB verify              reads every chunk and compares with its digest
    archive.py DB prune N             forgets versions before N and the chunks that no other needs

Files are cut into chunks where their content says so (a sum over the bytes before the cut), so an insertion
of a multiple of 64 bytes in a large file changes few chunks.
Keyspaces: `chunks` has digest -> bytes, `versions` has number -> root and time, `files` has number/path -> mode and digests.
A version is visible only with its last batch: an interrupted `add` leaves chunks that `prune` removes, nothing else.
"""

import hashlib
import os
import struct
import sys
import time
import zlib

import lsm

CHUNK_MIN, CHUNK_MAX, MASK = 2 << 10, 64 << 10, (1 << 13) - 1
DIGEST = 32
BATCH_BYTES = 4 << 20
HEAD = struct.Struct(">IQ")  # mode, length


def cut(data):
    """Yields the chunks of a file as views; a boundary depends on the bytes just before it."""
    view, start = memoryview(data), 0
    while start < len(data):
        end = min(start + CHUNK_MAX, len(data))
        at = start + CHUNK_MIN
        while at < end:
            # Every 64 bytes a sum over the last 64 decides: cheap enough in Python.
            if zlib.crc32(view[at - 64 : at]) & MASK < 64:
                end = at
                break
            at += 64
        yield view[start:end]
        start = end


def key_of(version, path=""):
    return struct.pack(">I", version) + os.fsencode(path)


class Archive:
    def __init__(self, path):
        self.db = lsm.open(path)
        self.chunks = self.db.keyspace("chunks")
        self.files = self.db.keyspace("files")
        self.versions = self.db.keyspace("versions")

    def close(self):
        self.db.close()

    def add(self, root):
        last = next(self.versions.keys(reverse=True), None)
        version = 1 if last is None else struct.unpack(">I", last)[0] + 1
        batch, files, total, fresh = lsm.Batch(), 0, 0, 0
        for folder, names, file_names in os.walk(root):
            names.sort()
            for name in sorted(file_names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    continue
                with open(path, "rb") as file:
                    data = file.read()
                fresh += self._add_file(batch, version, os.path.relpath(path, root), os.stat(path).st_mode, data)
                files, total = files + 1, total + len(data)
                if batch.size > BATCH_BYTES:
                    self.db.write(batch)
                    batch.clear()
        stamp = struct.pack(">Q", int(time.time())) + os.fsencode(os.path.abspath(root))
        batch.put(key_of(version), stamp, keyspace=self.versions)
        self.db.write(batch, durability=lsm.Durability.FSYNC)
        print(f"version {version}: {files} files, {total} bytes, {fresh} of them new")

    def _add_file(self, batch, version, path, mode, data):
        parts = [(hashlib.sha256(part).digest(), part) for part in cut(data)]
        unique = dict(parts)
        digests = list(unique)
        fresh = 0
        # One call asks for all of them.
        for digest, have in zip(digests, self.chunks.multi_get(digests)):
            if have is None:
                batch.put(digest, unique[digest], keyspace=self.chunks)
                fresh += len(unique[digest])
        order = b"".join(digest for digest, _ in parts)
        batch.put(key_of(version, path), HEAD.pack(mode & 0o777, len(data)) + order, keyspace=self.files)
        return fresh

    def list(self):
        for key, value in self.versions.items():
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(struct.unpack_from(">Q", value)[0]))
            print(f"{struct.unpack('>I', key)[0]:6}  {when}  {os.fsdecode(value[8:])}")

    def _check_version(self, version):
        if key_of(version) not in self.versions:
            sys.exit(f"there is no version {version}")

    def extract(self, version, target):
        self._check_version(version)
        with self.db.snapshot() as snapshot:
            for key, value in self.files.items(prefix=key_of(version), snapshot=snapshot):
                path = os.path.join(target, os.fsdecode(key[4:]))
                mode, length = HEAD.unpack_from(value)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    for at in range(HEAD.size, len(value), DIGEST):
                        # From the block cache to the file without a copy in between.
                        with self.chunks.pinned(value[at : at + DIGEST], snapshot=snapshot) as view:
                            file.write(view)
                    if file.tell() != length:
                        sys.exit(f"{path}: {file.tell()} bytes instead of {length}")
                os.chmod(path, mode)

    def verify(self):
        digests = set()
        for digest, data in self.chunks.items(fill_cache=False, verify_checksums=True):
            if hashlib.sha256(data).digest() != digest:
                sys.exit(f"chunk {digest.hex()} is damaged")
            digests.add(digest)
        missing = self._used() - digests
        if missing:
            sys.exit(f"{len(missing)} chunks are missing")
        print(f"{len(digests)} chunks are as they were")

    def _used(self):
        used = set()
        for value in self.files.values():
            used.update(value[at : at + DIGEST] for at in range(HEAD.size, len(value), DIGEST))
        return used

    def prune(self, first):
        self._check_version(first)
        with self.db.batch() as batch:
            for keyspace in (self.versions, self.files):
                for key in keyspace.keys(upper=key_of(first)):
                    batch.delete(key, keyspace=keyspace)
        used = self._used()
        with self.db.batch() as batch:
            for digest in self.chunks.keys():
                if digest not in used:
                    batch.delete(digest, keyspace=self.chunks)
        print(f"{len(batch)} chunks removed")


def main(arguments):
    verbs = {"add": 1, "list": 0, "extract": 2, "verify": 0, "prune": 1}
    if len(arguments) < 2 or arguments[1] not in verbs or len(arguments) != 2 + verbs[arguments[1]]:
        sys.exit(__doc__)
    archive = Archive(arguments[0])
    try:
        rest = [int(text) if text.isdigit() else text for text in arguments[2:]]
        getattr(archive, arguments[1])(*rest)
    finally:
        archive.close()


if __name__ == "__main__":
    main(sys.argv[1:])
