"""Finds and loads liblsm, and declares its functions for ctypes.

Tried in this order: the file that LSM_LIBRARY names; a copy inside the package (wheels that bundle one); what the system's
loader finds as liblsm.so.1 (ldconfig, LD_LIBRARY_PATH); the folder that `pkg-config --variable=libdir lsm` names; the lib
folders of this Python and of /usr/local.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Iterator, List, Tuple

SONAME = "liblsm.so.1"
ABI = 1


class LibraryNotFound(ImportError):
    """No liblsm could be loaded; the message says what was tried."""


class ReadOptions(ctypes.Structure):
    """lsm_read_options."""

    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("snapshot", c_void_p),
        ("txn", c_void_p),
        ("overlay", c_void_p),
        ("lower", c_void_p),
        ("lower_len", c_size_t),
        ("upper", c_void_p),
        ("upper_len", c_size_t),
        ("prefix", c_void_p),
        ("prefix_len", c_size_t),
        ("deadline_micros", c_uint64),
        ("max_skip", c_uint64),
        ("readahead_bytes", c_uint32),
        ("io_class", c_uint32),
    ]


class WriteOptions(ctypes.Structure):
    """lsm_write_options."""

    _fields_ = [
        ("size", c_uint32),
        ("flags", c_uint32),
        ("durability", c_int32),
        ("io_class", c_uint32),
        ("deadline_micros", c_uint64),
        ("ttl_micros", c_uint64),
    ]


class Entry(ctypes.Structure):
    """lsm_entry."""

    _fields_ = [
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("value", c_void_p),
        ("value_len", c_size_t),
        ("seq", c_uint64),
        ("reserved", c_uint64),
    ]


DROP_FN = ctypes.CFUNCTYPE(None, c_void_p)
LOG_FN = ctypes.CFUNCTYPE(None, c_void_p, c_int32, c_void_p, c_size_t)


class LogCallbacks(ctypes.Structure):
    """lsm_log_callbacks."""

    _fields_ = [("size", c_uint32), ("ctx", c_void_p), ("drop", DROP_FN), ("log", LOG_FN)]


_P = c_void_p
_OUT = POINTER(c_void_p)
_SIZE = POINTER(c_size_t)
_U64 = POINTER(c_uint64)
_READ = POINTER(ReadOptions)
_WRITE = POINTER(WriteOptions)

# Result and arguments. Keys and buffers are void pointers: bytes, arrays and addresses all pass as one.
_FUNCTIONS = {
    "lsm_abi_version": (c_uint32, []),
    "lsm_version": (c_char_p, []),
    "lsm_code_name": (c_char_p, [c_int32]),
    "lsm_has_feature": (c_int32, [c_char_p]),
    "lsm_free": (None, [_P]),
    "lsm_error_code": (c_int32, [_P]),
    "lsm_error_os": (c_int32, [_P]),
    "lsm_error_flags": (c_uint32, [_P]),
    "lsm_error_message": (c_char_p, [_P]),
    "lsm_error_free": (None, [_P]),
    "lsm_options_new": (_P, []),
    "lsm_options_clone": (_P, [_P]),
    "lsm_options_free": (None, [_P]),
    "lsm_options_set": (c_int32, [_P, c_char_p, c_char_p, _OUT]),
    "lsm_options_set_int": (c_int32, [_P, c_char_p, c_int64, _OUT]),
    "lsm_options_set_float": (c_int32, [_P, c_char_p, c_double, _OUT]),
    "lsm_options_set_callbacks": (c_int32, [_P, c_char_p, POINTER(LogCallbacks), _OUT]),
    "lsm_options_get": (c_int32, [_P, c_char_p, _OUT, _OUT]),
    "lsm_options_load": (c_int32, [_P, c_char_p, c_size_t, _OUT]),
    "lsm_options_dump": (c_int32, [_P, _OUT, _OUT]),
    "lsm_options_describe": (c_int32, [_OUT]),
    "lsm_open": (c_int32, [c_char_p, _P, _OUT, _OUT]),
    "lsm_close": (c_int32, [_P, _OUT]),
    "lsm_destroy": (c_int32, [c_char_p, _OUT]),
    "lsm_sync": (c_int32, [_P, _OUT]),
    "lsm_sequence": (c_int32, [_P, _U64, _U64]),
    "lsm_default_keyspace": (_P, [_P]),
    "lsm_keyspace_open": (c_int32, [_P, c_char_p, _P, _OUT, _OUT]),
    "lsm_keyspace_release": (None, [_P]),
    "lsm_keyspace_drop": (c_int32, [_P, c_char_p, _OUT]),
    "lsm_keyspace_list": (c_int32, [_P, _OUT, _OUT]),
    "lsm_list_len": (c_size_t, [_P]),
    "lsm_list_get": (c_char_p, [_P, c_size_t]),
    "lsm_list_free": (None, [_P]),
    "lsm_put": (c_int32, [_P, _WRITE, _P, c_size_t, _P, c_size_t, _OUT]),
    "lsm_delete": (c_int32, [_P, _WRITE, _P, c_size_t, _OUT]),
    "lsm_write_packed": (c_int32, [_P, _WRITE, _P, c_size_t, _U64, _OUT]),
    "lsm_write": (c_int32, [_P, _WRITE, _P, _U64, _OUT]),
    "lsm_batch_new": (c_int32, [_P, _OUT, _OUT]),
    "lsm_batch_free": (None, [_P]),
    "lsm_batch_clear": (None, [_P]),
    "lsm_batch_put": (c_int32, [_P, _P, _P, c_size_t, _P, c_size_t, _OUT]),
    "lsm_batch_delete": (c_int32, [_P, _P, _P, c_size_t, _OUT]),
    "lsm_batch_append_packed": (c_int32, [_P, _P, _P, c_size_t, _OUT]),
    "lsm_batch_count": (c_size_t, [_P]),
    "lsm_batch_bytes": (c_size_t, [_P]),
    "lsm_get": (c_int32, [_P, _READ, _P, c_size_t, _P, c_size_t, _SIZE, _OUT]),
    "lsm_get_pinned": (c_int32, [_P, _READ, _P, c_size_t, _OUT, _OUT, _SIZE, _OUT]),
    "lsm_exists": (c_int32, [_P, _READ, _P, c_size_t, _SIZE, _OUT]),
    "lsm_multi_get": (c_int32, [_P, _READ, c_size_t, _P, _P, _P, _P, _OUT]),
    "lsm_multi_get_packed": (c_int32, [_P, _READ, _P, c_size_t, c_uint32, _P, c_size_t, _SIZE, _OUT]),
    "lsm_value_data": (_P, [_P, _SIZE]),
    "lsm_value_release": (None, [_P]),
    "lsm_approximate": (c_int32, [_P, _P, c_size_t, _P, c_size_t, _U64, _U64, _OUT]),
    "lsm_iter_open": (c_int32, [_P, _READ, _OUT, _OUT]),
    "lsm_iter_seek": (c_int32, [_P, c_int32, _P, c_size_t, POINTER(Entry), _OUT]),
    "lsm_iter_next": (c_int32, [_P, POINTER(Entry), _OUT]),
    "lsm_iter_prev": (c_int32, [_P, POINTER(Entry), _OUT]),
    "lsm_iter_read": (c_int32, [_P, c_int32, POINTER(Entry), c_size_t, _SIZE, _OUT]),
    "lsm_iter_read_packed": (c_int32, [_P, c_int32, _P, c_size_t, _SIZE, POINTER(c_uint32), _OUT]),
    "lsm_iter_refresh": (c_int32, [_P, _OUT]),
    "lsm_iter_close": (None, [_P]),
    "lsm_snapshot_new": (c_int32, [_P, _OUT, _OUT]),
    "lsm_snapshot_sequence": (c_uint64, [_P]),
    "lsm_snapshot_release": (None, [_P]),
    "lsm_flush": (c_int32, [_P, _P, _OUT]),
    "lsm_compact": (c_int32, [_P, _P, c_size_t, _P, c_size_t, _OUT]),
    "lsm_property": (c_int32, [_P, _P, c_char_p, _OUT, _OUT]),
    "lsm_property_u64": (c_int32, [_P, _P, c_char_p, _U64, _OUT]),
    "lsm_metrics": (c_int32, [_P, c_int32, _OUT, _OUT]),
    "lsm_cache_clear": (c_int32, [_P, _OUT]),
    "lsm_verify": (c_int32, [_P, _OUT, _OUT]),
    "lsm_repair": (c_int32, [c_char_p, _P, _OUT, _OUT]),
    "lsm_resume": (c_int32, [_P, _OUT]),
}


def _pkg_config() -> List[str]:
    if not shutil.which("pkg-config"):
        return []
    asked = subprocess.run(["pkg-config", "--variable=libdir", "lsm"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    folder = os.fsdecode(asked.stdout.strip())
    return [os.path.join(folder, SONAME)] if folder else []


def _candidates() -> Iterator[str]:
    chosen = os.environ.get("LSM_LIBRARY")
    if chosen:
        # Asked for by name: nothing else will do.
        yield chosen
        return
    bundled = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_lib", SONAME)
    if os.path.exists(bundled):
        yield bundled
    yield SONAME
    yield from _pkg_config()
    for prefix in (sys.prefix, "/usr/local"):
        yield os.path.join(prefix, "lib", SONAME)


def _load() -> Tuple[str, ctypes.CDLL]:
    tried = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            library.lsm_abi_version.restype = c_uint32
            have = library.lsm_abi_version()
        except (OSError, AttributeError) as error:
            tried.append(f"  {path}: {error}")
            continue
        if have == ABI:
            return path, library
        tried.append(f"  {path}: binary interface {have}, {ABI} is needed")
    raise LibraryNotFound(
        "liblsm was not found. Install it (make install), or set LSM_LIBRARY to liblsm.so.1. Tried:\n" + "\n".join(tried)
    )


def _declare(library: ctypes.CDLL) -> None:
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments


path, lib = _load()
_declare(lib)


def address(name: str) -> int:
    """Where a function of the library is."""
    return ctypes.cast(getattr(lib, name), c_void_p).value or 0


def take_text(pointer: c_void_p) -> str:
    """Copies a text of the library and frees it."""
    text = ctypes.string_at(pointer.value or 0).decode("utf-8", "replace")
    lib.lsm_free(pointer)
    return text
