#!/bin/sh
# Builds the engines that lsm-bench compares with into target/peers. Takes minutes and downloads packages: never in CI.
#
#   librocksdb.so   RocksDB 11.8 from the registry package librocksdb-sys 0.19.0, with LZ4; needs libclang and a C++
#                   compiler (apt install g++ libclang-dev)
#   libleveldb.so   the packaged ones, linked when installed (apt install libleveldb-dev liblmdb-dev)
#   liblmdb.so
#
# RocksDB is built for the machine (RUSTFLAGS): for plain x86-64 it would lack the CRC32C instruction and AVX2 and lose
# on every write and filter probe, which would be a peer set up badly. Set PEER_CPU to change that.
set -eu

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
peers=${PEERS_DIR:-$root/target/peers}
cpu=${PEER_CPU:-native}
mkdir -p "$peers/rocksdb/src"

cat >"$peers/rocksdb/Cargo.toml" <<'TOML'
[package]
name = "peer-rocksdb"
version = "0.0.0"
edition = "2021"

[workspace]

[lib]
crate-type = ["rlib"]

[dependencies]
librocksdb-sys = { version = "=0.19.0", default-features = false, features = ["lz4", "static", "bindgen-runtime"] }

[profile.release]
opt-level = 3
TOML
: >"$peers/rocksdb/src/lib.rs"

(cd "$peers/rocksdb" && RUSTFLAGS="-C target-cpu=$cpu" CARGO_TARGET_DIR="$peers/rocksdb/target" cargo build --release)

built="$peers/rocksdb/target/release/build"
# The newest of several, should an older build lie there too.
rocks=$(ls -t "$built"/librocksdb-sys-*/out/librocksdb.a | head -n 1)
lz4=$(ls -t "$built"/lz4-sys-*/out/liblz4.a | head -n 1)
g++ -shared -o "$peers/librocksdb.so.new" -Wl,-Bsymbolic \
    -Wl,--whole-archive "$rocks" -Wl,--no-whole-archive "$lz4" -lpthread -ldl -lstdc++
mv "$peers/librocksdb.so.new" "$peers/librocksdb.so"
echo "$peers/librocksdb.so"

for library in libleveldb liblmdb; do
    found=$(find /usr/lib /usr/local/lib -name "$library.so" 2>/dev/null | head -n 1)
    if [ -n "$found" ]; then
        ln -sf "$(readlink -f "$found")" "$peers/$library.so"
        echo "$peers/$library.so"
    else
        echo "$library is not installed; lsm-bench runs without it"
    fi
done
