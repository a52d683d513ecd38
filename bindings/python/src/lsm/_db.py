"""Databases, keyspaces, cursors, batches, snapshots: what programs use."""

from __future__ import annotations

import atexit
import ctypes
import enum
import json
import os
import warnings
import weakref
from ctypes import byref, c_uint64, c_void_p
from types import TracebackType
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional, Tuple, Type, TypeVar, Union

from . import _library
from ._backend import BatchCore, CursorCore, KeyspaceCore, SnapshotCore, Value, view_of
from ._errors import CorruptionError, NotFoundError, call, closed, error_of
from ._library import lib
from ._options import Bag, LogFunction, OptionValue, text_of
from ._portable import ITEMS, KEYS, VALUES, micros_of

BytesLike = Union[bytes, bytearray, memoryview]
PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
T = TypeVar("T")


class Durability(enum.IntEnum):
    """How far a write has got before it is acknowledged."""

    DEFAULT = 0
    MEMORY = 1
    OS = 2
    FSYNC = 3


class Seek(enum.IntEnum):
    """Where a cursor goes: the first or last entry; the first one at or above, above, the last one at or below, below the
    key."""

    FIRST = 0
    LAST = 1
    GE = 2
    GT = 3
    LE = 4
    LT = 5


class Snapshot(SnapshotCore):
    """One moment of the database, for reads that name it. It keeps what it sees from being dropped: close it soon, or use
    it in a with block. Any number of threads may read with it."""

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pinned:
    """A value in the library's memory, not copied.

    As a context manager it gives a read-only memoryview. The memory stays valid as long as the value or any view of it
    exists, whatever happens to the key or the database: a view that outlives the block keeps it."""

    __slots__ = ("_value", "_view")

    def __init__(self, value: Value):
        self._value: Optional[Value] = value
        self._view: Optional[memoryview] = None

    def view(self) -> memoryview:
        """Another view of the value."""
        if self._value is None:
            raise ValueError("the value was released")
        return view_of(self._value)

    def __len__(self) -> int:
        return 0 if self._value is None else len(self._value)

    def __bytes__(self) -> bytes:
        return bytes(self.view())

    def release(self) -> None:
        """Lets go of the value; views that still exist keep it."""
        view, self._view, self._value = self._view, None, None
        if view is not None:
            try:
                view.release()
            except BufferError:
                pass  # somebody looks through it: the last one frees the value

    def __enter__(self) -> memoryview:
        self._view = self.view()
        return self._view

    def __exit__(self, *_: object) -> None:
        self.release()


class Cursor(CursorCore):
    """Walks over the entries of a keyspace as of one moment, in both directions. A new one stands nowhere: the first `next`
    is the first entry, the first `prev` the last one. Past an end, the other direction gives that end's entry. Iterating
    goes in the direction that it was opened with.

    One thread at a time; a second one gets BusyError."""

    def seek(self, where: Seek, key: Optional[BytesLike] = None) -> Any:
        """Goes to a place and gives the entry there, None if there is none. Bounds and prefix hold."""
        return self._seek(int(where), key)

    def first(self) -> Any:
        """The first entry."""
        return self._seek(0)

    def last(self) -> Any:
        """The last entry."""
        return self._seek(1)

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Batch(BatchCore):
    """Puts and deletes that are written as a whole. As a context manager of `DB.batch` it writes itself at the end of the
    block, unless that raises. `sequence` is then the number of the last operation."""

    sequence: Optional[int] = None
    _db: Optional[DB] = None
    _settings: Mapping[str, Any] = {}

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        if kind is None and self._db is not None:
            self.sequence = self._db.write(self, **self._settings)


def _range_argument(bound: Optional[BytesLike]) -> bytes:
    return b"" if bound is None else bytes(memoryview(bound))


class Keyspace(KeyspaceCore):
    """An ordered set of keys with values of their own. Keys and values are bytes, bytearray, memoryview or anything else
    with a buffer. Any number of threads at once.

    It works like a mapping: `k[key]` (KeyError if missing), `k[key] = value`, `del k[key]` (no error if missing),
    `key in k`, `for key in k`, `keys()`, `values()`, `items()`. It has no length: counting would read everything;
    `approximate` estimates."""

    name = "default"

    def pinned(self, key: BytesLike, **settings: Any) -> Optional[Pinned]:
        """The value of a key, not copied, or None. Settings as `get`."""
        value = self._pin(key, **settings)
        return None if value is None else Pinned(value)

    def cursor(
        self,
        lower: Optional[BytesLike] = None,
        upper: Optional[BytesLike] = None,
        *,
        prefix: Optional[BytesLike] = None,
        reverse: bool = False,
        snapshot: Optional[Snapshot] = None,
        timeout: Optional[float] = None,
        fill_cache: bool = True,
        verify_checksums: bool = False,
        max_skip: int = 0,
        readahead: int = 0,
        chunk: int = 0,
        what: int = ITEMS,
    ) -> Cursor:
        """A cursor over the keys from `lower` (included) to `upper` (excluded) that begin with `prefix`. `chunk` is the
        most bytes that one call fetches ahead (0: 64 KiB); `max_skip`: a step that passes more deleted entries raises
        StalledError and may be made again; `timeout` is for each call."""
        for name, number, limit in ("max_skip", max_skip, 64), ("readahead", readahead, 32), ("chunk", chunk, 31):
            if not 0 <= number < 1 << limit:
                raise ValueError(f"{name} must be from 0 to 2**{limit} - 1, not {number}")
        cursor = Cursor()
        flags = (0 if fill_cache else 1) | (2 if verify_checksums else 0) | (4 if what == KEYS else 0)
        # In the library a prefix without bytes is none.
        start = prefix if prefix is not None and len(prefix) else None
        cursor._open(
            self, lower, upper, start, snapshot, flags, micros_of(timeout), max_skip, readahead, chunk, what, reverse
        )
        return cursor

    def items(self, lower: Optional[BytesLike] = None, upper: Optional[BytesLike] = None, **settings: Any) -> Cursor:
        """A cursor that gives (key, value); arguments as `cursor`."""
        return self.cursor(lower, upper, **settings)

    def keys(self, lower: Optional[BytesLike] = None, upper: Optional[BytesLike] = None, **settings: Any) -> Cursor:
        """A cursor that gives keys and does not read values; arguments as `cursor`."""
        return self.cursor(lower, upper, what=KEYS, **settings)

    def values(self, lower: Optional[BytesLike] = None, upper: Optional[BytesLike] = None, **settings: Any) -> Cursor:
        """A cursor that gives values; arguments as `cursor`."""
        return self.cursor(lower, upper, what=VALUES, **settings)

    def __iter__(self) -> Iterator[bytes]:
        return self.keys()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def update(self, pairs: Union[Mapping[bytes, bytes], Iterable[Tuple[bytes, bytes]]], **settings: Any) -> int:
        """Puts many pairs as one batch and gives its sequence number. Settings as `put`."""
        batch = BatchCore()
        batch.put_many(pairs.items() if isinstance(pairs, Mapping) else pairs)
        sequence: int = self._write(batch, **settings)
        return sequence

    def approximate(self, lower: Optional[BytesLike] = None, upper: Optional[BytesLike] = None) -> Tuple[int, int]:
        """About how many bytes on disk and how many keys lie in the range."""
        size, keys = c_uint64(), c_uint64()
        start, end = _range_argument(lower), _range_argument(upper)
        call(
            "approximate", "lsm_approximate", self._checked("approximate"), start, len(start), end, len(end), byref(size), byref(keys)
        )
        return size.value, keys.value

    def compact(self, lower: Optional[BytesLike] = None, upper: Optional[BytesLike] = None) -> None:
        """Rewrites the keys of the range to the last level and waits for it."""
        start, end = _range_argument(lower), _range_argument(upper)
        call("compact", "lsm_compact", self._checked("compact"), start, len(start), end, len(end))

    def flush(self) -> None:
        """Writes the memory of the keyspace to a table and waits for it."""
        call("flush", "lsm_flush", self._db, self._checked("flush"))

    def property(self, name: str) -> str:
        """A text about the keyspace, for example "levels"; NotFoundError if there is none of that name."""
        return self._property(self._checked("property"), name)

    def property_int(self, name: str) -> int:
        """A number about the keyspace, for example "levels.0.files"."""
        return self._property_int(self._checked("property"), name)

    def release(self) -> None:
        """Gives the keyspace back; its data stay."""
        c = self._unbind()
        if c:
            lib.lsm_keyspace_release(c)

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _checked(self, operation: str) -> int:
        c: int = self._c
        if not c:
            raise closed(operation)
        return c

    def _property(self, c: Optional[int], name: str) -> str:
        text = c_void_p()
        if call("property", "lsm_property", self._db, c, text_of("property", name), byref(text)) != 0:
            raise NotFoundError("property", name)
        return _library.take_text(text)

    def _property_int(self, c: Optional[int], name: str) -> int:
        number = c_uint64()
        if call("property", "lsm_property_u64", self._db, c, text_of("property", name), byref(number)) != 0:
            raise NotFoundError("property", name)
        return number.value


# Databases that are open, closed when the program ends: a thread of the library must not call a log function in a Python
# that is gone.
_databases: weakref.WeakSet[DB] = weakref.WeakSet()


class DB(Keyspace):
    """An open database, and its default keyspace. Close it, or use it in a with block."""

    _is_open = False

    def __init__(self, path: PathLike, options: Mapping[str, OptionValue], log: Optional[LogFunction]):
        self.path = os.fsdecode(path)
        self._pid = os.getpid()
        handle = c_void_p()
        with Bag(options, log) as bag:
            call("open", "lsm_open", text_of("open", os.fsencode(path)), bag, byref(handle))
        c = handle.value or 0
        self._bind(lib.lsm_default_keyspace(c), c, None)
        self._is_open = True
        _databases.add(self)

    def close(self) -> None:
        """Ends the database: waiting calls wake with ClosedError, calls in flight are waited for, what was acknowledged
        becomes durable. Snapshots and keyspaces then raise ClosedError, and cursors do after what they had fetched; pinned
        values stay readable. A second close does nothing."""
        if not self._is_open:
            return
        details = c_void_p()
        code = lib.lsm_close(self._db, byref(details))
        # Nothing has happened inside a log function (busy) and in a forked child.
        if code not in (-7, -23):
            self._is_open = False
            _databases.discard(self)
        # Another thread closes it: that is a second close.
        if code < 0 and code != -14:
            raise error_of("close", code, details)
        if details:
            lib.lsm_error_free(details)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._is_open

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._is_open and self._pid == os.getpid():
            warnings.warn(f"database {self.path!r} was not closed", ResourceWarning, stacklevel=2, source=self)
            self.close()

    def release(self) -> None:
        """Does nothing: the default keyspace is there as long as the database is open."""

    def keyspace(self, name: str, options: Optional[Mapping[str, OptionValue]] = None) -> Keyspace:
        """Opens a keyspace and creates a missing one, unless the options say create_if_missing = false: then a missing one
        is NotFoundError."""
        c = c_void_p()
        with Bag(options or {}) as bag:
            if call("open keyspace", "lsm_keyspace_open", self._db, text_of("open keyspace", name), bag, byref(c)) != 0:
                raise NotFoundError("open keyspace", name)
        keyspace = Keyspace()
        keyspace.name = name
        keyspace._bind(c.value or 0, self._db, self)
        return keyspace

    def drop_keyspace(self, name: str) -> None:
        """Removes a keyspace and all its data."""
        if call("drop keyspace", "lsm_keyspace_drop", self._db, text_of("drop keyspace", name)) != 0:
            raise NotFoundError("drop keyspace", name)

    def keyspaces(self) -> List[str]:
        """The names of all keyspaces, sorted. Bytes that are no UTF-8 are surrogates, as in the names of files."""
        names = c_void_p()
        call("list keyspaces", "lsm_keyspace_list", self._db, byref(names))
        try:
            count = lib.lsm_list_len(names)
            return [lib.lsm_list_get(names, i).decode("utf-8", "surrogateescape") for i in range(count)]
        finally:
            lib.lsm_list_free(names)

    def batch(self, **settings: Any) -> Batch:
        """A batch for a with block, written at its end. Settings as `write`."""
        batch = Batch()
        batch._db, batch._settings = self, settings
        return batch

    def write(self, batch: Batch, *, durability: int = 0, timeout: Optional[float] = None) -> int:
        """Writes a batch as a whole and gives the sequence number of its last operation. The batch keeps its operations."""
        sequence: int = self._write(batch, durability=durability, timeout=timeout)
        return sequence

    def snapshot(self) -> Snapshot:
        """A snapshot of this moment."""
        c = c_void_p()
        call("snapshot", "lsm_snapshot_new", self._db, byref(c))
        snapshot = Snapshot()
        snapshot._bind(c.value or 0, self)
        return snapshot

    def sync(self) -> None:
        """Makes everything acknowledged so far durable: it survives a power cut."""
        call("sync", "lsm_sync", self._db)

    def sequence(self) -> Tuple[int, int]:
        """The numbers of the last committed and of the last durable write."""
        committed, durable = c_uint64(), c_uint64()
        code = lib.lsm_sequence(self._db, byref(committed), byref(durable))
        if code < 0:
            raise error_of("sequence", code, c_void_p())
        return committed.value, durable.value

    def flush(self) -> None:
        """Writes the memory of all keyspaces to tables and waits for it."""
        call("flush", "lsm_flush", self._db, None)

    def property(self, name: str) -> str:
        """A text about the database, for example "stats", "levels", "options", "wal.io"."""
        return self._property(None, name)

    def property_int(self, name: str) -> int:
        """A number about the database, for example "cache.hits", "disk.bytes"."""
        return self._property_int(None, name)

    def prometheus(self) -> str:
        """All metrics in the Prometheus text format."""
        return self._metrics(0)

    def metrics_json(self) -> str:
        """All metrics as JSON."""
        return self._metrics(1)

    def _metrics(self, form: int) -> str:
        text = c_void_p()
        call("metrics", "lsm_metrics", self._db, form, byref(text))
        return _library.take_text(text)

    def verify(self) -> Dict[str, Any]:
        """Reads and checks every byte of the database and gives the report. When something is damaged it is a
        CorruptionError whose `report` tells what."""
        text, details = c_void_p(), c_void_p()
        code = lib.lsm_verify(self._db, byref(text), byref(details))
        report: Dict[str, Any] = json.loads(_library.take_text(text)) if text else {}
        if code < 0:
            error = error_of("verify", code, details)
            if isinstance(error, CorruptionError):
                error.report = report
            raise error
        return report

    def resume(self) -> None:
        """Tries again, now, what failed in the background or for want of room, and waits for it."""
        call("resume", "lsm_resume", self._db)

    def clear_cache(self) -> None:
        """Empties the block cache."""
        call("clear cache", "lsm_cache_clear", self._db)


def open(
    path: PathLike, options: Optional[Mapping[str, OptionValue]] = None, *, log: Optional[LogFunction] = None
) -> DB:
    """Opens the database in a folder and creates it by default (the last component of the path only). Options are by name:
    {"memtable.size": "64MiB"}; `describe_options` lists them. `log(level, message)` takes the lines that would else go to the
    file LOG: from threads of the library, one at a time, level 0 (error) to 3 (debug); it must not call the database."""
    return DB(path, options or {}, log)


def destroy(path: PathLike) -> None:
    """Removes a database that nobody has open: the files that the library made, and the folder if it is empty then."""
    call("destroy", "lsm_destroy", text_of("destroy", os.fsencode(path)))


def repair(path: PathLike, options: Optional[Mapping[str, OptionValue]] = None) -> Dict[str, Any]:
    """Makes a damaged database that nobody has open one that can be opened, with every entry that can still be read, and
    gives a report of what was lost. A database without damage is left as it is."""
    text = c_void_p()
    with Bag(options or {}) as bag:
        call("repair", "lsm_repair", text_of("repair", os.fsencode(path)), bag, byref(text))
    report: Dict[str, Any] = json.loads(_library.take_text(text))
    return report


def version() -> str:
    """The version of the library that was loaded, for example "0.1.0"."""
    text: bytes = lib.lsm_version()
    return text.decode()


def abi_version() -> int:
    """The number of the library's binary interface."""
    number: int = lib.lsm_abi_version()
    return number


def has_feature(name: str) -> bool:
    """Whether the library was built with an optional part: "lz4", "zstd"."""
    return bool(lib.lsm_has_feature(text_of("feature", name)))


def library_path() -> str:
    """The library that was loaded, as it was found."""
    return _library.path


@atexit.register
def _close_all() -> None:
    for db in list(_databases):
        if db._pid == os.getpid():
            try:
                db.close()
            except Exception as error:  # the other databases still have to be closed
                warnings.warn(f"closing {db.path!r}: {error}", ResourceWarning)
