"""Options: settings by name, as text."""

from __future__ import annotations

import ctypes
import itertools
import json
from ctypes import byref, c_void_p
from typing import Any, Callable, Dict, List, Mapping, Optional, Union

from . import _library
from ._errors import InvalidError, call, error_of
from ._library import DROP_FN, LOG_FN, LogCallbacks, lib

OptionValue = Union[str, int, float, bool]
LogFunction = Callable[[int, str], None]

# Log functions that a database may still call, by the number that the library hands back as `ctx`.
_logs: Dict[int, LogFunction] = {}
_numbers = itertools.count(1)


def _log_line(ctx: Optional[int], level: int, message: int, length: int) -> None:
    function = _logs.get(ctx or 0)
    if function is not None:
        function(level, ctypes.string_at(message, length).decode("utf-8", "replace"))


def _log_drop(ctx: Optional[int]) -> None:
    _logs.pop(ctx or 0, None)


_on_log, _on_drop = LOG_FN(_log_line), DROP_FN(_log_drop)


def text_of(operation: str, text: Union[str, bytes]) -> bytes:
    """A text for C; a NUL inside would cut it short there. Bytes that are no UTF-8 are surrogates in a str, as in the names
    of files."""
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if not isinstance(data, bytes):
        raise TypeError(f"{operation}: {data!r} is no text")
    if b"\0" in data:
        raise InvalidError(operation, "a NUL byte in a text")
    return data


class Bag:
    """The C form of options, freed at the end of a with block."""

    def __init__(self, options: Mapping[str, OptionValue], log: Optional[LogFunction] = None):
        if not isinstance(options, Mapping):
            raise TypeError(f"options are a mapping, not {type(options).__name__}")
        if log is not None and not callable(log):
            raise TypeError(f"log is a function, not {type(log).__name__}")
        self.c = c_void_p(lib.lsm_options_new())
        if not self.c:
            raise MemoryError("options")
        try:
            for key, value in options.items():
                self._set(text_of("set option", key), value)
            if log is not None:
                self._set_log(log)
        except BaseException:
            self.__exit__()
            raise

    def _set(self, key: bytes, value: OptionValue) -> None:
        if isinstance(value, bool):
            call("set option", "lsm_options_set", self.c, key, b"true" if value else b"false")
        elif isinstance(value, int):
            if not -(1 << 63) <= value < 1 << 63:
                raise InvalidError("set option", f"{key.decode()} does not take {value}")
            call("set option", "lsm_options_set_int", self.c, key, value)
        elif isinstance(value, float):
            call("set option", "lsm_options_set_float", self.c, key, value)
        else:
            call("set option", "lsm_options_set", self.c, key, text_of("set option", value))

    def _set_log(self, log: LogFunction) -> None:
        number = next(_numbers)
        _logs[number] = log
        table = LogCallbacks(ctypes.sizeof(LogCallbacks), number, _on_drop, _on_log)
        try:
            call("set log", "lsm_options_set_callbacks", self.c, b"log", byref(table))
        except BaseException:
            del _logs[number]
            raise

    def __enter__(self) -> c_void_p:
        return self.c

    def __exit__(self, *_: object) -> None:
        lib.lsm_options_free(self.c)

    def dump(self) -> Dict[str, str]:
        """The options that were set, in canonical form."""
        text = c_void_p()
        call("dump options", "lsm_options_dump", self.c, byref(text))
        pairs = (line.partition("=") for line in _library.take_text(text).splitlines() if "=" in line)
        return {key.strip(): value.strip() for key, _, value in pairs}


def describe_options() -> List[Dict[str, Any]]:
    """Every option of the library: key, type, default, range, unit, scope, mutable, text."""
    text = c_void_p()
    code = lib.lsm_options_describe(byref(text))
    if code < 0:
        raise error_of("describe options", code, c_void_p())
    described: List[Dict[str, Any]] = json.loads(_library.take_text(text))
    return described


def parse_options(text: str) -> Dict[str, str]:
    """Options from lines "key = value"; empty lines and lines that begin with # are ignored."""
    data = text.encode()
    bag = Bag({})
    with bag as c:
        call("parse options", "lsm_options_load", c, data, len(data))
        return bag.dump()


def canonical_options(options: Mapping[str, OptionValue]) -> Dict[str, str]:
    """The same options, checked, each value in its canonical form."""
    bag = Bag(options)
    with bag:
        return bag.dump()


def effective_option(options: Mapping[str, OptionValue], key: str) -> str:
    """The canonical value of one option, its default when it is not among the options."""
    text = c_void_p()
    with Bag(options) as c:
        call("get option", "lsm_options_get", c, text_of("get option", key), byref(text))
    return _library.take_text(text)
