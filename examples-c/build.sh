#!/bin/sh
# Builds the examples into target/examples-c against target/release/liblsm.so; with "run", runs all but load_tree.
set -eu
cd "$(dirname "$0")/.."
CC=${CC:-cc}
target=${CARGO_TARGET_DIR:-target}
lib=$target/release
out=$target/examples-c
mkdir -p "$out"
ln -sf liblsm.so "$lib/liblsm.so.1"
for name in quickstart batch scan snapshot keyspaces threads load_tree; do
  $CC -std=c11 -O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude "examples-c/$name.c" -o "$out/$name" \
    -L"$lib" -Wl,-rpath,"$(cd "$lib" && pwd)" -llsm -lpthread
done
if [ "${1:-}" = run ]; then
  for name in quickstart batch scan snapshot keyspaces threads; do
    echo "== $name"
    "$out/$name" "$out/db-$name"
  done
fi
