"""liblsm, an embedded ordered key-value store.

    import lsm

    with lsm.open("people.db") as db:
        db[b"ada"] = b"Countess"
        with db.batch(durability=lsm.Durability.FSYNC) as batch:
            batch[b"grace"] = b"Admiral"
            del batch[b"ada"]
        for key, value in db.items(prefix=b"g"):
            print(key, value)
"""

from ._backend import backend
from ._db import (
    DB,
    Batch,
    Cursor,
    Durability,
    Keyspace,
    Pinned,
    Seek,
    Snapshot,
    abi_version,
    destroy,
    has_feature,
    library_path,
    open,
    repair,
    version,
)
from ._errors import (
    BusyError,
    CallbackError,
    CancelledError,
    ClosedError,
    ConflictError,
    CorruptionError,
    DeadlineError,
    DeadlockError,
    Error,
    ExistsError,
    FencedError,
    ForkedError,
    InvalidError,
    IoError,
    LockedError,
    NoMemoryError,
    NoSpaceError,
    NotFoundError,
    PanicError,
    PreconditionError,
    ReadOnlyError,
    SequenceGoneError,
    StalledError,
    UnsupportedError,
    VersionError,
)
from ._library import LibraryNotFound
from ._options import canonical_options, describe_options, effective_option, parse_options

__all__ = [
    "DB", "Batch", "BusyError", "CallbackError", "CancelledError", "ClosedError", "ConflictError", "CorruptionError",
    "Cursor", "DeadlineError", "DeadlockError", "Durability", "Error", "ExistsError", "FencedError", "ForkedError",
    "InvalidError", "IoError", "Keyspace", "LibraryNotFound", "LockedError", "NoMemoryError", "NoSpaceError",
    "NotFoundError", "PanicError", "Pinned", "PreconditionError", "ReadOnlyError", "Seek", "SequenceGoneError", "Snapshot",
    "StalledError", "UnsupportedError", "VersionError", "abi_version", "backend", "canonical_options", "describe_options",
    "destroy", "effective_option", "has_feature", "library_path", "open", "parse_options", "repair", "version",
]  # fmt: skip
