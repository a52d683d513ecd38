#!/bin/sh
# Tests the Python package against an installed liblsm: through ctypes; with the C extension, built with all warnings as
# errors; installed from a wheel that bundles the library; the example over this repository; the benchmark, shortly.
#   bindings/python/test.sh PREFIX
# PYTHON, CC: which ones. REQUIRE=1: a tool that is not found is a failure, not a line "skipped".
set -eu
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
work=$target/python
PYTHON=${PYTHON:-python3} CC=${CC:-cc}

skip() {
  echo "skipped: $1 not found"
  [ "${REQUIRE:-0}" = 0 ] || exit 1
}
if ! command -v "$PYTHON" >/dev/null 2>&1; then
  skip "$PYTHON"
  exit 0
fi
unset LSM_LIBRARY LSM_PYTHON PYTHONPATH
export PYTHONDONTWRITEBYTECODE=1 PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
# Without pkg-config the loader is told where the library is.
command -v pkg-config >/dev/null 2>&1 || export LD_LIBRARY_PATH="$prefix/lib"
began=$(date +%s)
said() { echo "  $1: $(($(date +%s) - began)) s"; began=$(date +%s); }

rm -rf "$work/tree" "$work/source" "$work/wheel"
mkdir -p "$work/tree" "$work/source"
cp -r src/lsm tests "$work/tree/"
cp -r pyproject.toml setup.py MANIFEST.in README.md src native "$work/source/"
# tests KIND COMMAND...: runs the tests, those that MODULES names or all; -X dev checks memory of objects and tells what was left open.
tests() {
  kind=$1
  shift
  (cd "$work/tree" && timeout 300 "$@" -X dev -m unittest ${MODULES:-} >"$work/$kind.out" 2>&1) || { tail -60 "$work/$kind.out"; exit 1; }
  if grep -q ResourceWarning "$work/$kind.out"; then cat "$work/$kind.out"; exit 1; fi
  said "$(tail -3 "$work/$kind.out" | head -1 | sed 's/ in .*//'), $kind"
}
tests ctypes env LSM_PYTHON=ctypes "$PYTHON"

include=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! command -v "$CC" >/dev/null 2>&1; then
  skip "$CC"
elif [ ! -e "$include/Python.h" ]; then
  skip "Python.h"
else
  suffix=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
  "$CC" -std=c11 -O2 -fPIC -shared -fvisibility=hidden -Wall -Wextra -Werror -Wno-missing-field-initializers \
    -isystem "$include" -I"$prefix/include" native/*.c -o "$work/tree/lsm/_native$suffix"
  tests native env LSM_PYTHON=native "$PYTHON"
fi

(
  export PYTHONPATH="$work/tree"
  archive() { "$PYTHON" "$root/bindings/python/examples/archive.py" "$work/archive" "$@"; }
  rm -rf "$work/archive" "$work/copy" "$work/out"
  cp -r "$root/docs" "$work/copy"
  archive add "$work/copy" >/dev/null
  echo more >>"$work/copy/ABI.md"
  archive add "$work/copy" >/dev/null
  archive list | grep -c . | grep -qx 2
  archive extract 2 "$work/out" && diff -r "$work/copy" "$work/out"
  archive verify >/dev/null && archive prune 2 | grep -qv '^0 ' && archive verify >/dev/null
  rm -rf "$work/archive" "$work/copy" "$work/out"
  "$PYTHON" "$root/bindings/python/bench/bench.py" --keys 2000 --rounds 1 --folder "$work" >/dev/null
)
said "example and benchmark"

# The wheel as a stranger gets it: nothing of this tree or of the prefix is on any path.
if ! "$PYTHON" -m venv --clear "$work/venv" >/dev/null 2>&1; then
  skip "venv of $PYTHON"
elif ! "$work/venv/bin/pip" install -q setuptools wheel >"$work/pip.out" 2>&1; then
  tail -3 "$work/pip.out"
  skip "setuptools and wheel (pip install)"
else
  LSM_BUNDLE="$prefix/lib/liblsm.so.1" "$work/venv/bin/pip" wheel -q --no-build-isolation --no-deps -w "$work/wheel" "$work/source"
  "$work/venv/bin/pip" install -q --no-deps "$work"/wheel/*.whl
  rm -rf "$work/tree/lsm"
  unset PKG_CONFIG_PATH LD_LIBRARY_PATH
  loaded=$(cd "$work/tree" && "$work/venv/bin/python" -c 'import lsm; print(lsm.backend, lsm.library_path())')
  echo "  wheel: $loaded"
  case $loaded in "native $work/venv/"*liblsm.so.1) ;; *) [ ! -e "$include/Python.h" ] || { echo "not the bundled library"; exit 1; } ;; esac
  MODULES=tests.test_basic tests wheel "$work/venv/bin/python"
fi
