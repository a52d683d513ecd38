#!/bin/sh
# Builds the engines that lsm-bench compares with into target/peers. Takes minutes (RocksDB alone 10 to 25) and downloads
# packages: never in CI.
#   tools/lsm-bench/build-peers.sh [NAME...]     only these of: rocksdb fjall tidesdb leveldb lmdb
#
#   librocksdb.so     RocksDB 11.8 from the registry package librocksdb-sys 0.19.0, with LZ4; needs libclang and a C++
#                     compiler (apt install g++ libclang-dev)
#   libfjallshim.so   fjall 3.1.13 from the registry behind the C functions of shims/fjall
#   libtidesdb.so     TidesDB 10.2.1, the C source in the registry package tidesdb 1.0.0, with LZ4 (apt install cmake
#                     liblz4-dev)
#   libleveldb.so     the packaged ones, linked when installed (apt install libleveldb-dev liblmdb-dev)
#   liblmdb.so
#
# A peer that cannot be built is named, the others are built all the same, and lsm-bench runs without it.
#
# All are built for this machine's processor: for plain x86-64 RocksDB would lack the CRC32C instruction and AVX2 and lose
# on every write and filter probe, which would be a peer set up badly. PEER_CPU changes that.
set -u

here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(CDPATH= cd -- "$here/../.." && pwd)
peers=${PEERS_DIR:-$root/target/peers}
cpu=${PEER_CPU:-native}
mkdir -p "$peers"
failed=

# package NAME DEPENDENCY: builds a package that only depends on it, so that its build script leaves a static library.
package() {
    mkdir -p "$peers/$1/src"
    cat >"$peers/$1/Cargo.toml" <<TOML
[package]
name = "peer-$1"
version = "0.0.0"
edition = "2021"

[workspace]

[lib]
crate-type = ["rlib"]

[dependencies]
$2

[profile.release]
opt-level = 3
TOML
    : >"$peers/$1/src/lib.rs"
    (cd "$peers/$1" && RUSTFLAGS="-C target-cpu=$cpu" CFLAGS="-O3 -march=$cpu" \
        TIDESDB_NO_PKG_CONFIG=1 CARGO_TARGET_DIR="$peers/$1/target" cargo build --release)
}

# newest PATTERN: the newest of the files, should an older build lie there too.
newest() {
    ls -t $1 2>/dev/null | head -n 1
}

build_rocksdb() {
    package rocksdb 'librocksdb-sys = { version = "=0.19.0", default-features = false, features = ["lz4", "static", "bindgen-runtime"] }' || return
    archive=$(newest "$peers/rocksdb/target/release/build/librocksdb-sys-*/out/librocksdb.a")
    lz4=$(newest "$peers/rocksdb/target/release/build/lz4-sys-*/out/liblz4.a")
    g++ -shared -o "$peers/librocksdb.so.new" -Wl,-Bsymbolic \
        -Wl,--whole-archive "$archive" -Wl,--no-whole-archive "$lz4" -lpthread -ldl -lstdc++ || return
    mv "$peers/librocksdb.so.new" "$peers/librocksdb.so"
}

build_tidesdb() {
    package tidesdb 'tidesdb = { version = "=1.0.0", features = ["lz4"] }' || return
    archive=$(newest "$peers/tidesdb/target/release/build/tidesdb-*/out/lib*/libtidesdb.a")
    cc -shared -o "$peers/libtidesdb.so.new" -Wl,-Bsymbolic \
        -Wl,--whole-archive "$archive" -Wl,--no-whole-archive -llz4 -lpthread -lm || return
    mv "$peers/libtidesdb.so.new" "$peers/libtidesdb.so"
}

build_fjall() {
    (cd "$here/shims/fjall" && RUSTFLAGS="-C target-cpu=$cpu" CARGO_TARGET_DIR="$peers/fjall" cargo build --release --locked) || return
    cp "$peers/fjall/release/libfjallshim.so" "$peers/libfjallshim.so"
}

# linked LIBRARY: a packaged one.
linked() {
    found=$(find /usr/lib /usr/lib64 /usr/local/lib -name "$1.so" 2>/dev/null | head -n 1)
    [ -n "$found" ] || return
    ln -sf "$(readlink -f "$found")" "$peers/$1.so"
}

for peer in ${*:-rocksdb fjall tidesdb leveldb lmdb}; do
    case $peer in
        rocksdb) library=librocksdb; build_rocksdb ;;
        fjall) library=libfjallshim; build_fjall ;;
        tidesdb) library=libtidesdb; build_tidesdb ;;
        leveldb | lmdb) library=lib$peer; linked "$library" ;;
        *) echo "no peer is called $peer"; exit 2 ;;
    esac
    if [ $? -eq 0 ]; then
        echo "$peers/$library.so"
    else
        echo "$peer: not built, or not installed; lsm-bench runs without it"
        failed="$failed $peer"
    fi
done
[ -z "$failed" ]
