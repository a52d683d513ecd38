"""The hot calls through ctypes: what the package uses where its C extension was not built. The classes are those of
native/, and the tests run over both."""

from __future__ import annotations

import ctypes
import struct
import threading
import weakref
from ctypes import byref, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Iterable, Iterator, List, Optional, Tuple, Union

from ._errors import BusyError, ClosedError, InvalidError, call, closed, error_of
from ._library import Entry, ReadOptions, WriteOptions, lib

_HEADER = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_ANSWER = struct.Struct("<iI")
_DELETED = 0xFFFFFFFF
_CHUNK_FIRST = 4096

OK, NOT_FOUND, END, TRUNCATED = 0, 1, 2, 3
ITEMS, KEYS, VALUES = 0, 1, 2


def _bytes(value: Any) -> bytes:
    """A bytes-like argument as bytes; a text is none, and nor is a view with gaps, as in the C extension."""
    if type(value) is bytes:
        return value
    view = memoryview(value)
    if not view.c_contiguous:
        raise BufferError("memoryview: underlying buffer is not C-contiguous")
    return bytes(view)


def micros_of(seconds: Optional[float]) -> int:
    """A timeout in microseconds, at least one: 0 would mean none."""
    if seconds is None:
        return 0
    if not seconds >= 0:
        raise ValueError("timeout must be None or a number of seconds from 0")
    return 0 if seconds >= 9e12 else max(1, int(seconds * 1e6))


def _write_options(durability: int, timeout: Optional[float]) -> Any:
    if not durability and timeout is None:
        return None
    level = durability if -1000 < durability < 1000 else 1000
    return byref(WriteOptions(ctypes.sizeof(WriteOptions), 0, level, 0, micros_of(timeout)))


class _Read:
    """Read settings of one call; holds the snapshot while it lasts."""

    def __init__(self, snapshot: Any, timeout: Optional[float], fill_cache: bool, verify_checksums: bool):
        if snapshot is not None and not isinstance(snapshot, SnapshotCore):
            raise TypeError("snapshot must be a Snapshot or None")
        self.snapshot = snapshot
        self.plain = snapshot is None and timeout is None and fill_cache and not verify_checksums
        if not self.plain:
            self.c = ReadOptions(ctypes.sizeof(ReadOptions), (0 if fill_cache else 1) | (2 if verify_checksums else 0))
            self.c.deadline_micros = micros_of(timeout)

    def __enter__(self) -> Any:
        if self.plain:
            return None
        if self.snapshot is not None:
            self.c.snapshot = self.snapshot._hold()
        return byref(self.c)

    def __exit__(self, *_: object) -> None:
        if self.snapshot is not None:
            self.snapshot._done()


class SnapshotCore:
    """A snapshot's handle, with a count of the calls that use it."""

    _c = 0
    _owner: Any = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses = 0
        self._is_closing = False

    def _bind(self, c: int, owner: Any) -> None:
        self._c, self._owner = c, owner

    def _hold(self) -> int:
        with self._lock:
            if self._is_closing or not self._c:
                raise ClosedError("read", "the snapshot is closed")
            self._uses += 1
            return self._c

    def _done(self) -> None:
        with self._lock:
            self._uses -= 1
            self._release_if_last()

    def _release_if_last(self) -> None:
        if self._is_closing and self._uses == 0 and self._c:
            lib.lsm_snapshot_release(self._c)
            self._c = 0

    def close(self) -> None:
        """Releases the snapshot, once the reads that use it now are done."""
        with self._lock:
            self._is_closing = True
            self._release_if_last()

    def __del__(self) -> None:
        if self._c:
            lib.lsm_snapshot_release(self._c)

    @property
    def sequence(self) -> int:
        """The number of the last write that it sees."""
        number: int = lib.lsm_snapshot_sequence(self._c) if self._c else 0
        return number


class Value:
    """A pinned value. Views are made of one array over the library's memory, and the value is released with the array:
    when the last view is gone."""

    def __init__(self, c: int, data: Optional[int], length: int):
        self._array: Any = (ctypes.c_ubyte * length).from_address(data) if length and data else (ctypes.c_ubyte * 0)()
        self._free = weakref.finalize(self._array, lib.lsm_value_release, c)
        self._length = length

    def view(self) -> memoryview:
        """A read-only view."""
        if self._array is None:
            raise ValueError("the value was released")
        return memoryview(self._array).cast("B").toreadonly()

    def __len__(self) -> int:
        return self._length

    def release(self) -> None:
        """Lets go of the value; views that still exist keep it."""
        self._array, self._length = None, 0


class KeyspaceCore:
    """A keyspace's handle and the calls on single keys."""

    _c = 0
    _db = 0
    _owner: Any = None

    def _bind(self, c: int, db: int, owner: Any) -> None:
        self._c, self._db, self._owner = c, db, owner

    def _unbind(self) -> int:
        c, self._c = self._c, 0
        return c

    def _open(self, operation: str) -> int:
        c = self._c
        if not c:
            raise closed(operation)
        return c

    def put(self, key: Any, value: Any, *, durability: int = 0, timeout: Optional[float] = None) -> None:
        """Puts a value under a key."""
        key, value = _bytes(key), _bytes(value)
        options = _write_options(durability, timeout)
        call("put", "lsm_put", self._open("put"), options, key, len(key), value, len(value))

    def delete(self, key: Any, *, durability: int = 0, timeout: Optional[float] = None) -> None:
        """Deletes a key; it is no error if there is none."""
        key = _bytes(key)
        call("delete", "lsm_delete", self._open("delete"), _write_options(durability, timeout), key, len(key))

    def get(
        self,
        key: Any,
        default: Any = None,
        *,
        snapshot: Optional[SnapshotCore] = None,
        timeout: Optional[float] = None,
        fill_cache: bool = True,
        verify_checksums: bool = False,
    ) -> Any:
        """The value of a key, or the default."""
        key = _bytes(key)
        buffer = ctypes.create_string_buffer(1024)
        length, details = c_size_t(), c_void_p()
        with _Read(snapshot, timeout, fill_cache, verify_checksums) as options:
            c = self._open("get")
            while True:
                code = lib.lsm_get(c, options, key, len(key), buffer, len(buffer), byref(length), byref(details))
                if code != TRUNCATED:
                    break
                # It may be replaced by a longer one in between: then once more.
                buffer = ctypes.create_string_buffer(length.value)
        if code == OK:
            return ctypes.string_at(buffer, length.value)
        if code == NOT_FOUND:
            return default
        raise error_of("get", code, details)

    def value_len(
        self,
        key: Any,
        *,
        snapshot: Optional[SnapshotCore] = None,
        timeout: Optional[float] = None,
        fill_cache: bool = True,
        verify_checksums: bool = False,
    ) -> Optional[int]:
        """The length of a value, or None."""
        key = _bytes(key)
        length = c_size_t()
        with _Read(snapshot, timeout, fill_cache, verify_checksums) as options:
            code = call("exists", "lsm_exists", self._open("exists"), options, key, len(key), byref(length))
        return length.value if code == OK else None

    def exists(self, key: Any, **settings: Any) -> bool:
        """Whether a key has a value."""
        return self.value_len(key, **settings) is not None

    def __getitem__(self, key: Any) -> bytes:
        value: Optional[bytes] = self.get(key)
        if value is None:
            raise KeyError(key)
        return value

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)

    def __contains__(self, key: Any) -> bool:
        return self.value_len(key) is not None

    def _pin(
        self,
        key: Any,
        *,
        snapshot: Optional[SnapshotCore] = None,
        timeout: Optional[float] = None,
        fill_cache: bool = True,
        verify_checksums: bool = False,
    ) -> Optional[Value]:
        key = _bytes(key)
        c, data, length = c_void_p(), c_void_p(), c_size_t()
        with _Read(snapshot, timeout, fill_cache, verify_checksums) as options:
            code = call(
                "pinned", "lsm_get_pinned", self._open("pinned"), options, key, len(key), byref(c), byref(data), byref(length)
            )
        return Value(c.value or 0, data.value, length.value) if code == OK else None

    def multi_get(
        self,
        keys: Iterable[Any],
        *,
        snapshot: Optional[SnapshotCore] = None,
        timeout: Optional[float] = None,
        fill_cache: bool = True,
        verify_checksums: bool = False,
    ) -> List[Optional[bytes]]:
        """The values of many keys as of one moment, None for a missing one."""
        packed = bytearray()
        n = 0
        for n, key in enumerate(map(_bytes, keys), 1):
            packed += _LENGTH.pack(len(key))
            packed += key
        buffer = ctypes.create_string_buffer(4096 + 128 * n)
        used, text = c_size_t(), bytes(packed)
        with _Read(snapshot, timeout, fill_cache, verify_checksums) as options:
            c = self._open("multi_get")
            while (
                call("multi_get", "lsm_multi_get_packed", c, options, text, len(text), n, buffer, len(buffer), byref(used))
                == TRUNCATED
            ):
                buffer = ctypes.create_string_buffer(used.value)
        answers = ctypes.string_at(buffer, used.value)
        values: List[Optional[bytes]] = []
        at = 0
        for _ in range(n):
            code, length = _ANSWER.unpack_from(answers, at)
            values.append(answers[at + 8 : at + 8 + length] if code == OK else None)
            at += 8 + length
        return values

    def _write(self, batch: BatchCore, *, durability: int = 0, timeout: Optional[float] = None) -> int:
        if not isinstance(batch, BatchCore):
            raise TypeError("write takes a Batch")
        options = _write_options(durability, timeout)
        sequence = c_uint64()
        c = self._open("write")
        with batch._held() as (packed, runs):
            handles = [self._handle_of(keyspace) for keyspace, _ in runs]
            if len(runs) <= 1:
                only = handles[0] if handles else c
                call("write", "lsm_write_packed", only, options, packed, len(packed), byref(sequence))
            else:
                self._write_runs(packed, runs, handles, options, sequence)
        return sequence.value

    def _write_runs(self, packed: bytes, runs: Any, handles: List[int], options: Any, sequence: c_uint64) -> None:
        batch = c_void_p()
        call("write", "lsm_batch_new", self._db, byref(batch))
        try:
            start = 0
            for c, (_, end) in zip(handles, runs):
                part = packed[start:end]
                call("write", "lsm_batch_append_packed", batch, c, part, len(part))
                start = end
            call("write", "lsm_write", self._db, options, batch, byref(sequence))
        finally:
            lib.lsm_batch_free(batch)

    def _handle_of(self, keyspace: Optional[KeyspaceCore]) -> int:
        keyspace = self if keyspace is None else keyspace
        if not keyspace._c:
            raise ClosedError("write", "a keyspace of the batch was closed before")
        if keyspace._db != self._db:
            raise InvalidError("write", "a keyspace of another database")
        return keyspace._c


class BatchCore:
    """Operations in the packed form."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._runs: List[Tuple[Optional[KeyspaceCore], int]] = []
        self._count = 0
        self._lock = threading.Lock()

    def _append(self, key: bytes, value: Optional[bytes], keyspace: Optional[KeyspaceCore]) -> None:
        if len(key) > 65536 or value is not None and len(value) > 1 << 30:
            raise InvalidError("batch", "a key over 65,536 bytes or a value over 1 GiB")
        if keyspace is not None and not isinstance(keyspace, KeyspaceCore):
            raise TypeError("keyspace must be a Keyspace or None")
        if not self._lock.acquire(blocking=False):
            raise BusyError("batch", "another thread is writing the batch")
        try:
            self._packed += _HEADER.pack(len(key), _DELETED if value is None else len(value))
            self._packed += key
            if value is not None:
                self._packed += value
            if self._runs and self._runs[-1][0] is keyspace:
                self._runs.pop()
            self._runs.append((keyspace, len(self._packed)))
            self._count += 1
        finally:
            self._lock.release()

    def _held(self) -> _Held:
        return _Held(self)

    def put(self, key: Any, value: Any, *, keyspace: Optional[KeyspaceCore] = None) -> None:
        """Adds a put."""
        self._append(_bytes(key), _bytes(value), keyspace)

    def delete(self, key: Any, *, keyspace: Optional[KeyspaceCore] = None) -> None:
        """Adds a delete."""
        self._append(_bytes(key), None, keyspace)

    def put_many(self, pairs: Iterable[Tuple[Any, Any]], *, keyspace: Optional[KeyspaceCore] = None) -> None:
        """Adds a put for each tuple of a key and a value."""
        for pair in pairs:
            if type(pair) is not tuple or len(pair) != 2:
                raise TypeError("put_many takes tuples of a key and a value")
            self._append(_bytes(pair[0]), _bytes(pair[1]), keyspace)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.put(key, value)

    def __delitem__(self, key: Any) -> None:
        self.delete(key)

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes that the operations take."""
        return len(self._packed)

    def clear(self) -> None:
        """Forgets all operations."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("batch", "another thread is writing the batch")
        self._packed, self._runs, self._count = bytearray(), [], 0
        self._lock.release()


class _Held:
    """A batch that is being written: it cannot be changed meanwhile."""

    def __init__(self, batch: BatchCore):
        self._batch = batch

    def __enter__(self) -> Tuple[bytes, List[Tuple[Optional[KeyspaceCore], int]]]:
        if not self._batch._lock.acquire(blocking=False):
            raise BusyError("batch", "another thread is writing the batch")
        return bytes(self._batch._packed), self._batch._runs

    def __exit__(self, *_: object) -> None:
        self._batch._lock.release()


class CursorCore:
    """An iterator's handle and the chunk that was fetched last; `_at` is where the next entry of the chunk begins."""

    _c = 0

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunk = b""
        self._at = 0
        self._key: bytes = b""
        self._direction = 0
        self._owner: Any = None

    def _open(
        self,
        keyspace: KeyspaceCore,
        lower: Any,
        upper: Any,
        prefix: Any,
        snapshot: Optional[SnapshotCore],
        flags: int,
        deadline_micros: int,
        max_skip: int,
        readahead: int,
        chunk: int,
        what: int,
        backward: bool,
    ) -> None:
        read = _Read(snapshot, 1.0, True, False)
        o = read.c
        o.flags, o.deadline_micros, o.max_skip, o.readahead_bytes = flags, deadline_micros, max_skip, readahead
        # An empty bound is one, too: create_string_buffer has an address for it.
        kept = []
        for name, bound in (("lower", lower), ("upper", upper), ("prefix", prefix)):
            if bound is not None:
                data = _bytes(bound)
                kept.append(ctypes.create_string_buffer(data, len(data) + 1))
                setattr(o, name, ctypes.addressof(kept[-1]))
                setattr(o, name + "_len", len(data))
        c = c_void_p()
        with read as options:
            call("cursor", "lsm_iter_open", keyspace._open("cursor"), options, byref(c))
        self._what, self._backward = what, 1 if backward else 0
        self._fetch_max = chunk if chunk > 0 else 65536
        self._fetch = min(_CHUNK_FIRST, self._fetch_max)
        self._c, self._owner = c.value or 0, keyspace

    def _take(self) -> Any:
        chunk, at = self._chunk, self._at
        key_len, value_len = _HEADER.unpack_from(chunk, at)
        middle = at + 8 + key_len
        self._at = middle + value_len
        self._key = key = chunk[at + 8 : middle]
        if self._what == KEYS:
            return key
        value = chunk[middle : self._at]
        return value if self._what == VALUES else (key, value)

    def _answer(self, code: int, chunk: bytes) -> Any:
        if code == OK:
            self._chunk, self._at = chunk, 0
            return self._take()
        self._chunk, self._at = b"", 0
        return None

    def _seek_locked(self, where: int, key: bytes) -> Any:
        entry = Entry()
        code = call("cursor", "lsm_iter_seek", self._c, where, key, len(key), byref(entry))
        self._fetch = min(_CHUNK_FIRST, self._fetch_max)
        if code != OK:
            return self._answer(code, b"")
        shown = ctypes.string_at(entry.key, entry.key_len) if entry.key_len else b""
        value = ctypes.string_at(entry.value, entry.value_len) if entry.value_len else b""
        return self._answer(code, _HEADER.pack(len(shown), len(value)) + shown + value)

    def _fetch_locked(self, direction: int) -> Any:
        used, n = c_size_t(self._fetch), c_uint32()
        while True:
            buffer = ctypes.create_string_buffer(used.value)
            code = call("cursor", "lsm_iter_read_packed", self._c, direction, buffer, len(buffer), byref(used), byref(n))
            if code != TRUNCATED:
                break
        if code == OK:
            self._direction = direction
            self._fetch = min(self._fetch * 2, max(self._fetch, self._fetch_max))
        return self._answer(code, ctypes.string_at(buffer, used.value) if code == OK else b"")

    def _acquire(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise BusyError("cursor", "another thread is in a call on the cursor")
        if not self._c:
            self._lock.release()
            raise ClosedError("cursor", "the cursor is closed")

    def _step(self, direction: int) -> Any:
        self._acquire()
        try:
            if self._at < len(self._chunk):
                if self._direction == direction:
                    return self._take()
                # The library stands at the end of a chunk in the other direction: bring it back to the entry shown.
                return self._seek_locked(3 if direction == 0 else 5, self._key)
            return self._fetch_locked(direction)
        finally:
            self._lock.release()

    def next(self) -> Any:
        """The next entry, None at the end."""
        return self._step(0)

    def prev(self) -> Any:
        """The entry before, None at the front."""
        return self._step(1)

    def _seek(self, where: int, key: Any = None) -> Any:
        data = b"" if key is None else _bytes(key)
        self._acquire()
        try:
            return self._seek_locked(where, data)
        finally:
            self._lock.release()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        entry = self._step(self._backward)
        if entry is None:
            raise StopIteration
        return entry

    def refresh(self) -> None:
        """As if newly opened, over the newest state."""
        self._acquire()
        try:
            self._chunk, self._at = b"", 0
            call("refresh", "lsm_iter_refresh", self._c)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Ends the cursor."""
        if not self._lock.acquire(blocking=False):
            raise BusyError("cursor", "another thread is in a call on the cursor")
        try:
            c, self._c = self._c, 0
            self._chunk, self._at, self._owner = b"", 0, None
            if c:
                lib.lsm_iter_close(c)
        finally:
            self._lock.release()

    def __del__(self) -> None:
        if self._c:
            lib.lsm_iter_close(self._c)


Buffer = Union[bytes, bytearray, memoryview]
