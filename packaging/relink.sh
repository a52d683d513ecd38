#!/bin/sh
# Makes the two libraries that are shipped from what cargo built:
#   packaging/relink.sh target/release
# liblsm.so   linked again from the archive, because rustc gives its symbols no versions: every function of the header
#             carries its node (LSM_1.0, ...), nothing else is exported, calls inside do not go through the PLT.
# liblsm.a    one object in which only the functions of the header are global. Two archives made by rustc with fat LTO
#             both define `rust_eh_personality`, and a C library inside (zstd) would clash with the program's own.
# Both go to DIR/relinked and from there, as hard links, to DIR; cargo puts its own back whenever it builds, so this runs
# after each build and does its work only when that built something. CC, LD, OBJCOPY, AR: the tools.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:?usage: $0 DIR}
CC=${CC:-cc} LD=${LD:-ld} OBJCOPY=${OBJCOPY:-objcopy} AR=${AR:-ar}
from=$dir/deps/liblsm.a
out=$dir/relinked
[ -e "$from" ] || { echo "$from is missing: make lib" >&2; exit 1; }
mkdir -p "$out"
# One at a time: two of them would take each other's parts away.
if command -v flock >/dev/null 2>&1; then
  exec 9>"$out/lock"
  flock 9
fi
CC=$CC "$here/version-script.sh" >"$out/lsm.map.new"

fresh() {
  [ "$out/liblsm.so" -nt "$from" ] && [ "$out/liblsm.a" -nt "$from" ] && [ "$out/liblsm.so" -nt "$0" ] &&
    [ "$out/liblsm.so" -nt "$here/native-libs" ] &&
    cmp -s "$out/lsm.map.new" "$out/lsm.map"
}
if ! fresh; then
  rm -f "$out/liblsm.so" "$out/liblsm.a" "$out/lsm.map"
  # shellcheck disable=SC2046  # a list of arguments
  $CC -shared -o "$out/liblsm.so.part" -Wl,--whole-archive "$from" -Wl,--no-whole-archive \
    -Wl,--version-script="$out/lsm.map.new" -Wl,-soname,liblsm.so.1 -Wl,-Bsymbolic-functions -Wl,--gc-sections -Wl,-O1 \
    -Wl,--hash-style=gnu -Wl,--build-id -Wl,-z,relro,-z,now,-z,nodelete,-z,noexecstack,-z,defs -Wl,--as-needed \
    $(cat "$here/native-libs")

  CC=$CC "$here/version-script.sh" --names | awk '{ print $2 }' >"$out/globals"
  $LD -r --whole-archive "$from" -o "$out/all.o"
  # A personality of our own: another Rust library's must not be taken for it, nor ours for theirs. Sections of LLVM
  # bitcode serve nobody here, and LLVM's plugin for ar ends the process on bitcode of a newer LLVM.
  $OBJCOPY --redefine-sym rust_eh_personality=liblsm_eh_personality \
    --redefine-sym DW.ref.rust_eh_personality=DW.ref.liblsm_eh_personality \
    --remove-section=.llvmbc --remove-section=.llvmcmd "$out/all.o"
  $OBJCOPY --keep-global-symbols="$out/globals" "$out/all.o" "$out/liblsm.o"
  rm -f "$out/liblsm.a.part"
  $AR rcs "$out/liblsm.a.part" "$out/liblsm.o"
  rm -f "$out/all.o" "$out/liblsm.o"

  mv "$out/liblsm.so.part" "$out/liblsm.so"
  mv "$out/liblsm.a.part" "$out/liblsm.a"
  mv "$out/lsm.map.new" "$out/lsm.map"
fi
rm -f "$out/lsm.map.new"
ln -f "$out/liblsm.so" "$dir/liblsm.so"
ln -f "$out/liblsm.a" "$dir/liblsm.a"
ln -sf liblsm.so "$dir/liblsm.so.1"
