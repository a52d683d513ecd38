"""The exceptions: one class for each code of lsm.h, all below `Error`."""

from __future__ import annotations

import ctypes
from ctypes import c_void_p
from typing import Any, Dict, Mapping, Optional, Type

from . import _library


class Error(Exception):
    """Something that the library refused. `code` is the number and `name` the name of lsm.h; `os_errno` is the answer of the
    operating system or 0; `retryable`: the same call may succeed later; `fatal`: no more writes until the database is opened
    again; `background`: it happened in a thread of the library; `operation` is the call, `message` what it said."""

    code = 0

    def __init__(self, operation: str, message: str = "", *, os_errno: int = 0, flags: int = 0, code: Optional[int] = None):
        super().__init__(operation, message)
        if code is not None:
            self.code = code
        self.operation = operation
        self.message = message
        self.os_errno = os_errno
        self.retryable = bool(flags & 1)
        self.fatal = bool(flags & 2)
        self.background = bool(flags & 4)

    @property
    def name(self) -> str:
        """The code's name in lsm.h, for example "LSM_E_IO"."""
        name: bytes = _library.lib.lsm_code_name(self.code)
        return name.decode()

    def __str__(self) -> str:
        return f"{self.operation}: {self.name}" + (f": {self.message}" if self.message else "")


class _SystemError(Error, OSError):
    """An error that is an OSError too, with its errno."""

    def __init__(self, operation: str, message: str = "", *, os_errno: int = 0, flags: int = 0, code: Optional[int] = None):
        Error.__init__(self, operation, message, os_errno=os_errno, flags=flags, code=code)
        self.errno = os_errno or None
        self.strerror = message

    __str__ = Error.__str__


class NotFoundError(Error, KeyError):
    """There is no such keyspace or property. A missing key is None, or a plain KeyError of `db[key]`."""

    code = 1
    __str__ = Error.__str__


class InvalidError(Error, ValueError):
    """An argument or option is out of its range."""

    code = -1


class IoError(_SystemError):
    """The operating system refused a call; `errno` says why."""

    code = -2


class CorruptionError(Error):
    """Bytes on disk are not what was written. `report` is what `DB.verify` found, else empty."""

    code = -3
    report: Mapping[str, Any] = {}


class ConflictError(Error):
    """A transaction met a newer write."""

    code = -4


class DeadlockError(Error):
    """A cycle of waiting transactions."""

    code = -5


class DeadlineError(_SystemError, TimeoutError):
    """The timeout passed before any effect."""

    code = -6


class BusyError(Error):
    """Not possible now: inside a log function, or another thread is in a call on the same cursor or batch."""

    code = -7


class LockedError(Error):
    """Another process or handle has the folder open."""

    code = -8


class NoSpaceError(_SystemError):
    """The device is full."""

    code = -9


class NoMemoryError(Error, MemoryError):
    """An allocation was refused."""

    code = -10


class ReadOnlyError(Error):
    """The database is open read-only."""

    code = -11


class ExistsError(_SystemError, FileExistsError):
    """The database exists and error_if_exists is set."""

    code = -12


class UnsupportedError(Error):
    """Known, but not part of this version or build."""

    code = -13


class ClosedError(Error, ValueError):
    """The database, keyspace, cursor or snapshot is closed."""

    code = -14


class CancelledError(Error):
    """The job was cancelled."""

    code = -15


class StalledError(Error):
    """A step of a cursor passed max_skip deleted entries; its position is kept."""

    code = -16


class VersionError(Error):
    """The files are of a format that this library does not read."""

    code = -17


class CallbackError(Error):
    """A callback failed."""

    code = -18


class SequenceGoneError(Error):
    """The log position asked for is gone."""

    code = -19


class PreconditionError(Error):
    """A conditional write did not find what it expected."""

    code = -20


class FencedError(Error):
    """A newer leader exists."""

    code = -21


class PanicError(Error):
    """A bug inside the library was caught; only close works."""

    code = -22


class ForkedError(Error):
    """The handle belongs to the parent process."""

    code = -23


def _subclasses(of: Type[Error]) -> Dict[int, Type[Error]]:
    found: Dict[int, Type[Error]] = {}
    for cls in of.__subclasses__():
        if cls.code:
            found[cls.code] = cls
        found.update(_subclasses(cls))
    return found


_CLASSES = _subclasses(Error)


def make_error(operation: str, code: int, os_errno: int, flags: int, message: str) -> Error:
    """The exception of a code; a code that this version does not know is a plain Error."""
    return _CLASSES.get(code, Error)(operation, message, os_errno=os_errno, flags=flags, code=code)


def error_of(operation: str, code: int, details: c_void_p) -> Error:
    """The exception of a code and its details, which are freed."""
    if not details:
        return make_error(operation, code, 0, 0, "")
    lib = _library.lib
    message = (lib.lsm_error_message(details) or b"").decode("utf-8", "replace")
    error = make_error(operation, code, lib.lsm_error_os(details), lib.lsm_error_flags(details), message)
    lib.lsm_error_free(details)
    return error


def call(operation: str, function: str, *arguments: object) -> int:
    """Calls a function whose last parameter is `err`; raises below 0, else gives the code."""
    details = c_void_p()
    code: int = getattr(_library.lib, function)(*arguments, ctypes.byref(details))
    if code < 0:
        raise error_of(operation, code, details)
    return code


def closed(operation: str) -> ClosedError:
    """What a call on something closed raises before it reaches the library."""
    return ClosedError(operation, "it was closed before")
