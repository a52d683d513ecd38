# Part `cinstall` of run.sh: the packagers' second door, `cargo cinstall`, lays down the same library, headers and lsm.pc as
# `make install` does, only without version nodes. Runs where cargo-c is; nothing requires it, because `cargo install
# cargo-c` alone takes a quarter of an hour.
echo "== cinstall"
work=$out/cinstall
stage=$(cd "$out" && pwd)/cinstall/stage
kept=$header
rm -rf "$work"
mkdir -p "$work"
if ! have cargo-cinstall || ! have pkg-config; then
  echo "skipped: cargo-c (cargo install cargo-c) or pkg-config not found"
elif ! cargo cinstall --release --locked --manifest-path capi/Cargo.toml --target-dir "$target/cinstall" --prefix /usr \
  --libdir lib/any-triplet --destdir "$stage" >"$work/out" 2>&1; then
  tail -20 "$work/out"
  fail "cargo cinstall"
else
  libdir=$stage/usr/lib/any-triplet
  minor=$(packaging/version-script.sh --minor)
  (cd "$stage/usr" && find . ! -type d | LC_ALL=C sort) >"$work/got"
  LC_ALL=C sort >"$work/want" <<END
./include/lsm.h
./include/lsm.hpp
./lib/any-triplet/liblsm.a
./lib/any-triplet/liblsm.so
./lib/any-triplet/liblsm.so.1
./lib/any-triplet/liblsm.so.1.$minor.0
./lib/any-triplet/pkgconfig/lsm.pc
END
  diff "$work/want" "$work/got" || fail "cargo cinstall: other files"
  for name in lsm.h lsm.hpp; do cmp "include/$name" "$stage/usr/include/$name" || fail "cargo cinstall: $name"; done
  packaging/version-script.sh --names | awk '{ print $2 }' | LC_ALL=C sort >"$work/symbols.want"
  nm -D --defined-only "$libdir/liblsm.so" | awk '{ print $3 }' | LC_ALL=C sort >"$work/symbols.got"
  diff "$work/symbols.want" "$work/symbols.got" || fail "cargo cinstall: exported symbols"
  readelf -d "$libdir/liblsm.so" >"$work/dynamic"
  grep -q 'SONAME.*\[liblsm.so.1\]' "$work/dynamic" || fail "cargo cinstall: SONAME"
  grep -q NODELETE "$work/dynamic" || fail "cargo cinstall: nodelete"

  # Programs built with its lsm.pc run, and so does one that was built against the library with nodes.
  PKG_CONFIG_PATH=$libdir/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
  export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
  pkg-config --validate lsm || fail "cargo cinstall: lsm.pc"
  [ "$(pkg-config --modversion lsm)" = "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)" ] ||
    fail "cargo cinstall: version of lsm.pc"
  [ "$(sed -n 's/^Libs.private: *//p' "$libdir/pkgconfig/lsm.pc" | tr ' ' '\n' | sort -u)" = \
    "$(tr ' ' '\n' <packaging/native-libs | sort -u)" ] || fail "cargo cinstall: Libs.private"
  header=ffi-tests
  libs="$(pkg-config --libs lsm) -Wl,-rpath,$libdir -lpthread"
  for name in basic cpp; do
    if build cinstall "$name" $(pkg-config --cflags lsm); then QUICK=1 run cinstall "$name"; else fail "cinstall $name does not build"; fi
  done
  libs=$(pkg-config --static --libs lsm | sed 's/-llsm/-l:liblsm.a/')
  if build cinstall-static basic $(pkg-config --cflags lsm); then QUICK=1 run cinstall-static basic; else fail "cinstall-static basic does not build"; fi
  # (The loader says that there are no nodes, and goes on.)
  libs="-L$lib -Wl,-rpath,$libdir -llsm -lpthread"
  mkdir -p "$work/db"
  if ! build cinstall-noded basic $(pkg-config --cflags lsm); then
    fail "cinstall-noded basic does not build"
  elif ! QUICK=1 $limit "$out/cinstall-noded-basic" "$work/db" >"$work/noded" 2>&1; then
    cat "$work/noded"
    fail "a program built against the library with nodes"
  fi
  unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
fi
header=$kept
