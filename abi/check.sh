#!/bin/sh
# The types behind the exported functions, as the debug information of a build tells them, against those of the last release
# (abi/VERSION.abi): nothing may be gone or differ. It sees what no header comparison can, for example a field whose type was
# changed on the Rust side of a cast.
#   abi/check.sh             compares with abidiff
#   abi/check.sh --bless V   writes abi/V.abi with abidw: once, when V is released
# The library is a debug build of its own with full types for `capi`; the engine behind it is as the tests build it.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# shellcheck disable=SC2010  # versions are plain names
newest=$(ls abi | grep -E '^[0-9.]+\.abi$' | sort -V | tail -n 1)
cargo rustc --quiet --locked --package lsm --lib --crate-type cdylib -- -C debuginfo=2
library=$target/debug/liblsm.so
if [ "${1:-}" = --bless ]; then
  # Without what differs from machine to machine: paths, and the many units that declare nothing.
  abidw --no-corpus-path --no-comp-dir-path --no-show-locs "$library" | awk '
    /^  <abi-instr / { unit = $0; sub(/ path=.[^ ]*/, "", unit); held = 1; next }
    /^  <\/abi-instr>/ { if (!held) print; held = 0; next }
    held { sub(/<abi-instr/, "<abi-instr path=\047capi/" ++count "\047", unit); print unit; held = 0 }
    { print }' >"abi/${2:?the version}.abi"
  exit
fi
[ -n "$newest" ] || { echo "abi: no baseline" >&2; exit 1; }
code=0
report=$(abidiff --suppressions abi/opaque.suppr --no-added-syms "abi/$newest" "$library") || code=$?
# 1 and 2: it could not compare; 4: something differs; 8: incompatibly.
if [ "$code" -ne 0 ]; then
  echo "$report"
  echo "abi: differs from $newest (abidiff answered $code)"
  exit 1
fi
echo "abi: abidiff finds what $newest has, unchanged"
