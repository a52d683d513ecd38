#!/bin/sh
# A file system of 12 MiB, filled and emptied through the C interface (full.c). It needs the right to mount: as root, or in
# a user namespace of its own; where neither works the line `skipped:` says so.
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc}
target=${CARGO_TARGET_DIR:-target}
out=$target/ffi-tests/full
lib=$target/release
mkdir -p "$out/mnt" || exit 1
out=$(cd "$out" && pwd)
ln -sf liblsm.so "$lib/liblsm.so.1"
$CC -std=c11 -Wall -Wextra -Wpedantic -Werror -O1 -g -Iinclude ffi-tests/full.c -o "$out/full" -L"$lib" \
  -Wl,-rpath,"$(cd "$lib" && pwd)" -llsm -lpthread || exit 1
inside='mount -t tmpfs -o size=12m tmpfs "$1/mnt" || exit 77; timeout 240 "$1/full" "$1/mnt"; code=$?; umount "$1/mnt"; exit $code'
if [ "$(id -u)" = 0 ]; then
  sh -c "$inside" sh "$out" 2>"$out/err"
else
  unshare -rm sh -c "$inside" sh "$out" 2>"$out/err"
fi
code=$?
[ $code -eq 77 ] && { echo "skipped: the right to mount a tmpfs not found"; exit 0; }
cat "$out/err"
[ $code -eq 0 ] && [ ! -s "$out/err" ] || { echo "FAILED: full (status $code)"; exit 1; }
