# Part `install` of run.sh: what `make install` lays down works from there: every C and C++ program built through pkg-config
# (shared, static) and CMake (both targets), run, checked; moved, staged, taken away; beside another Rust library.
echo "== install"
make=${MAKE:-make}
work=$out/install
rm -rf "$work" "$installed"
mkdir -p "$work"
inst() { "$make" -s "$@" >"$work/make.out" 2>&1 || { cat "$work/make.out"; fail "make $*"; }; }
inst install PREFIX="$installed" CC="$CC"

# A folder for packages: the same files, absolute nowhere; and uninstall leaves none.
stage=$(cd "$work" && pwd)/stage
inst install DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/any-triplet CC="$CC"
inst install DESTDIR="$stage" PREFIX=/opt/x INCLUDEDIR=/elsewhere/include STRIP=1 RELOCATABLE=0 CC="$CC"
for file in usr/lib/any-triplet/liblsm.so.1 usr/include/lsm.hpp usr/lib/any-triplet/pkgconfig/lsm.pc \
  opt/x/lib/liblsm.so elsewhere/include/lsm.h opt/x/lib/cmake/lsm/lsmConfig.cmake; do
  [ -e "$stage/$file" ] || fail "install: $file is missing"
done
grep -q '^prefix=${pcfiledir}/../../..$' "$stage/usr/lib/any-triplet/pkgconfig/lsm.pc" || fail "lsm.pc below LIBDIR=lib/triplet"
grep -q '^prefix=/opt/x$' "$stage/opt/x/lib/pkgconfig/lsm.pc" || fail "lsm.pc with RELOCATABLE=0"
grep -q '^includedir=/elsewhere/include$' "$stage/opt/x/lib/pkgconfig/lsm.pc" || fail "lsm.pc with a foreign INCLUDEDIR"
inst uninstall DESTDIR="$stage" PREFIX=/usr LIBDIR=/usr/lib/any-triplet
inst uninstall DESTDIR="$stage" PREFIX=/opt/x INCLUDEDIR=/elsewhere/include
find "$stage" ! -type d >"$work/left"
[ ! -s "$work/left" ] || { cat "$work/left"; fail "uninstall leaves files"; }
if "$make" -s install PREFIX=relative >/dev/null 2>&1; then fail "a relative PREFIX is taken"; fi

# What a static program needs is what rustc says.
if have cargo; then
  CARGO_TERM_COLOR=never cargo rustc --quiet --locked --package lsm --lib --crate-type staticlib -- --print native-static-libs 2>"$work/native" ||
    { tail -5 "$work/native"; fail "cargo rustc --print native-static-libs"; }
  sed -n 's/^note: native-static-libs: //p' "$work/native" | tr ' ' '\n' | sort -u >"$work/native.want"
  tr ' ' '\n' <packaging/native-libs | sort -u >"$work/native.got"
  diff "$work/native.want" "$work/native.got" || fail "packaging/native-libs is not what rustc needs"
else
  skip cargo
fi

# every KIND: all programs with the flags in $libs
names_kept=$names
[ $# -gt 0 ] || names="$names cpp"
header=ffi-tests
if have pkg-config; then
  PKG_CONFIG_PATH=$installed/lib/pkgconfig
  export PKG_CONFIG_PATH
  pkg-config --validate lsm || fail "lsm.pc"
  [ "$(pkg-config --modversion lsm)" = "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)" ] || fail "version of lsm.pc"
  libs="$(pkg-config --libs lsm) -Wl,-rpath,$installed/lib -lpthread"
  QUICK=1 every pc-shared "" $(pkg-config --cflags lsm)
  # The archive instead of the library beside it.
  libs=$(pkg-config --static --libs lsm | sed 's/-llsm/-l:liblsm.a/')
  QUICK=1 every pc-static "" $(pkg-config --cflags lsm)
  if have ldd && ldd "$out/pc-static-basic" | grep -q liblsm; then fail "pc-static needs liblsm.so"; fi
  # Without any shared library at all; glibc warns of what it loads itself.
  # (gcc brings the static unwinder itself: libgcc_s is a shared library only.)
  libs=$(pkg-config --static --libs lsm | sed "s/-lgcc_s//")
  if build full-static basic $(pkg-config --cflags lsm) -static 2>"$work/static.err"; then
    run full-static basic
  else
    cat "$work/static.err"
    fail "gcc -static"
  fi

  # The prefix is moved: whatever lies in it follows.
  rm -rf "$work/moved"
  cp -a "$installed" "$work/moved"
  mv "$installed" "$installed.away"
  PKG_CONFIG_PATH=$work/moved/lib/pkgconfig
  libs="$(pkg-config --libs lsm) -Wl,-rpath,$(cd "$work/moved/lib" && pwd) -lpthread"
  if build moved basic $(pkg-config --cflags lsm); then run moved basic; else fail "a moved prefix"; fi
  mv "$installed.away" "$installed"
  PKG_CONFIG_PATH=$installed/lib/pkgconfig
else
  skip pkg-config
fi
names=$names_kept header=include

if have cmake; then
  cmake_flags="-DCMAKE_PREFIX_PATH=$installed -DCMAKE_C_COMPILER=$CC -DCMAKE_CXX_COMPILER=$CXX"
  if cmake -S ffi-tests/cmake -B "$work/cmake" $cmake_flags -DPROGRAMS="$(echo $names cpp | tr ' ' ';')" >"$work/cmake.out" 2>&1 &&
    cmake --build "$work/cmake" --parallel 2 >>"$work/cmake.out" 2>&1; then
    for name in $names cpp; do
      for kind in cmake-shared cmake-static; do
        cp "$work/cmake/$kind-$name" "$out/$kind-$name" && QUICK=1 run $kind "$name"
      done
    done
    if have ldd && ldd "$out/cmake-static-basic" | grep -q liblsm; then fail "lsm::lsm_static needs liblsm.so"; fi
    # A moved prefix, and versions: which are taken and which are not.
    [ ! -d "$work/moved" ] || cmake -S ffi-tests/cmake -B "$work/cmake-moved" $cmake_flags -DCMAKE_PREFIX_PATH="$(cd "$work/moved" && pwd)" \
      -DPROGRAMS= >"$work/cmake.out" 2>&1 || { tail -20 "$work/cmake.out"; fail "find_package in a moved prefix"; }
    for asked in "0.1 yes" "0.0.1 yes" "0.1...0.9 yes" "0.99 no" "1.0 no" "2 no" "0.5...0.9 no"; do
      want=${asked#* } got=no
      rm -rf "$work/cmake-version"
      cmake -S ffi-tests/cmake -B "$work/cmake-version" $cmake_flags -DPROGRAMS= -DVERSION="${asked% *}" >"$work/cmake.out" 2>&1 && got=yes
      [ "$got" = "$want" ] || fail "find_package(lsm ${asked% *}): found $got, want $want"
    done
  else
    tail -20 "$work/cmake.out"
    fail "the CMake package"
  fi
else
  skip cmake
fi

# Another Rust library in the same program, made with fat LTO too: neither's std may clash with the other's, and a panic
# in it is caught there.
if have rustc; then
  rustc --edition 2024 -O -C lto=fat -C codegen-units=1 -C panic=unwind --crate-type staticlib -o "$work/libbeside.a" ffi-tests/beside.rs ||
    fail "beside.rs"
  names=beside libs="$work/libbeside.a $installed/lib/liblsm.a $(cat packaging/native-libs)"
  every beside ""
  libs="$installed/lib/liblsm.a $work/libbeside.a $(cat packaging/native-libs)"
  every beside-turned ""
  names=$names_kept
else
  skip rustc
fi
