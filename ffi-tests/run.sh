#!/bin/sh
# Builds the tests of the C interface with the committed headers against what `make lib` made and runs them.
#   ffi-tests/run.sh [NAME...]     only these programs
# CC, CXX: compilers. PARTS="...": which parts, default all of
#   header    lsm.h and lsm.hpp in every language version, with all warnings as errors
#   symbols   what the library exports, with which versions; layouts; signatures and types against the last release
#   plain     the C programs; also asan, valgrind (shorter loops)
#   released  programs built against the header of each released version (abi/VERSION/lsm.h) run on this library
#   cpp       lsm.hpp
#   install   every program against an installed prefix, by pkg-config and CMake, shared and static
#   deb       the Debian packages
#   cinstall  what `cargo cinstall` installs; only where cargo-c is, nothing requires it
#   go, java, python    bindings/LANGUAGE/test.sh PREFIX with an installed prefix, where the tree has it
# REQUIRE=1: a tool that is not found is a failure, not a line "skipped".
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc} CXX=${CXX:-g++}
PARTS=${PARTS:-header symbols plain released cpp asan valgrind install deb cinstall go java python}
target=${CARGO_TARGET_DIR:-target}
out=$target/ffi-tests
lib=$target/release
installed=$(pwd)/$target/prefix
case $target in /*) installed=$target/prefix ;; esac
warn="-Wall -Wextra -Wpedantic -Werror -O1 -g"
names=${*:-library options basic iter writes close threads fork abuse abuse_table admin repair hazards model cxx}
# Written from the contract alone; the long ones run plain and under AddressSanitizer only.
contract=
[ $# -gt 0 ] || contract="conformance conformance_iter conformance_open conformance_life conformance_model kill_tree"
header=include
failed=0
mkdir -p "$out" || exit 1
# A program that hangs is a failure too.
limit=
command -v timeout >/dev/null 2>&1 && limit="timeout ${SECONDS_MAX:-300}"
[ -e "$lib/liblsm.so" ] || { echo "$lib/liblsm.so is missing: make lib"; exit 1; }

have() { command -v "$1" >/dev/null 2>&1; }
skip() {
  echo "skipped: $1 not found"
  [ "${REQUIRE:-0}" = 0 ] || failed=1
}
part() { case " $PARTS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
fail() { echo "FAILED: $1"; failed=1; }

# build KIND NAME FLAGS...: compiles one program into $out/KIND-NAME; status 2 when there is no compiler for it.
build() {
  kind=$1 name=$2
  shift 2
  if [ -e "ffi-tests/$name.cc" ]; then
    have "$CXX" || return 2
    $CXX -std=c++17 $warn -I$header "$@" "ffi-tests/$name.cc" -o "$out/$kind-$name" $libs
  else
    $CC -std=c11 $warn -I$header "$@" "ffi-tests/$name.c" -o "$out/$kind-$name" $libs
  fi
}
# run KIND NAME PREFIX...: runs it with a folder of its own; what the library prints is a failure.
run() {
  kind=$1 name=$2
  shift 2
  mkdir -p "$out/db/$kind-$name"
  # A forked child has none of its parent's threads: what those hold looks leaked there.
  leaks=1
  case $name in fork | conformance_life) leaks=0 ;; esac
  case $kind-$name in valgrind-fork | valgrind-abuse_table | valgrind-repair) set -- valgrind -q --fair-sched=try --error-exitcode=9 ;; esac
  ASAN_OPTIONS=detect_leaks=$leaks $limit "$@" "$out/$kind-$name" "$out/db/$kind-$name" >"$out/$kind-$name.out" 2>"$out/$kind-$name.err"
  status=$?
  sed 's/^/  /' "$out/$kind-$name.out"
  if [ $status -ne 0 ] || [ -s "$out/$kind-$name.err" ]; then
    head -40 "$out/$kind-$name.err"
    fail "$kind $name (status $status)"
  else
    rm -rf "$out/db/$kind-$name"
  fi
}
# all KIND PREFIX -- FLAGS...
every() {
  kind=$1 prefix=$2
  shift 2
  echo "== $kind"
  for name in $names $more; do
    build "$kind" "$name" "$@"
    case $? in
      0) run "$kind" "$name" $prefix ;;
      2) skip "$CXX" ;;
      *) fail "$kind $name does not build" ;;
    esac
  done
}

sanitize=
if echo 'int main(void){return 0;}' | $CC -x c -fsanitize=address,undefined - -o "$out/probe" 2>/dev/null && "$out/probe"; then
  sanitize=-fsanitize=address,undefined
fi

part header && . ffi-tests/parts/header.sh
if part symbols; then
  echo "== symbols"
  if have nm; then
    # kind A: the version nodes
    nm -D --defined-only "$lib/liblsm.so" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | sort >"$out/symbols.got"
    grep -oE '\blsm_[a-z0-9_]+\(' include/lsm.h | grep -vE '^lsm_(drop_fn|log_fn)' | tr -d '(' | sort -u >"$out/symbols.want"
    # every declared function is exported, and nothing else is
    diff "$out/symbols.want" "$out/symbols.got" || fail "exported symbols are not those of the header"
    # and carries the node of the release that first had it: what relinking is for
    nm -D --with-symbol-versions --defined-only "$lib/liblsm.so" | awk '$2 != "A" {print $3}' | LC_ALL=C sort >"$out/nodes.got"
    packaging/version-script.sh --names | awk '{print $2 "@@" $1}' | LC_ALL=C sort >"$out/nodes.want"
    diff "$out/nodes.want" "$out/nodes.got" || fail "versions of the exported symbols (is this what make lib made?)"
    echo "  $(wc -l <"$out/symbols.got") symbols"
  else
    skip nm
  fi
  grep -q "^version = \"1\.$(packaging/version-script.sh --minor)\.0\"$" capi/Cargo.toml ||
    fail "capi/Cargo.toml: the library version for cargo-c is not that of the newest node"
  # What cargo alone makes, without nodes, serves too.
  mkdir -p "$out/cargo-only"
  cp "$lib/deps/liblsm.so" "$out/cargo-only/liblsm.so"
  ln -sf liblsm.so "$out/cargo-only/liblsm.so.1"
  for file in "$lib/liblsm.so" "$out/cargo-only/liblsm.so"; do
    have readelf || { skip readelf; break; }
    readelf -d "$file" | grep -q 'SONAME.*liblsm.so.1' || fail "$file: SONAME is not liblsm.so.1"
    readelf -d "$file" | grep -q NODELETE || fail "$file: nodelete is missing"
  done
  libs="-L$out/cargo-only -Wl,-rpath,$(cd "$out/cargo-only" && pwd) -llsm -lpthread"
  if build cargo-only basic; then run cargo-only basic; else fail "cargo-only basic does not build"; fi
  # Functions that come later get nodes of their own, and keep them.
  rm -rf "$out/nodes"
  mkdir -p "$out/nodes"
  cp -R packaging abi include "$out/nodes"
  node() {
    echo "int32_t $2(void);" >>"$out/nodes/include/lsm.h"
    got=$("$out/nodes/packaging/version-script.sh" --names | grep " $2 ")
    [ "$got" = "$1 $2 next" ] || fail "node of a new function: $got, want $1"
  }
  node LSM_1.1 lsm_newer
  mkdir "$out/nodes/abi/0.2.0"
  echo lsm_newer >"$out/nodes/abi/0.2.0/symbols.txt"
  node LSM_1.2 lsm_newest
  [ "$("$out/nodes/packaging/version-script.sh" --names | grep ' lsm_newer ')" = "LSM_1.1 lsm_newer 0.2.0" ] || fail "a released node moved"
  [ "$("$out/nodes/packaging/version-script.sh" --minor)" = 2 ] || fail "the newest node is not 2"
  [ "$("$out/nodes/packaging/version-script.sh" | grep '^}' | tr '\n' ' ')" = "}; } LSM_1.0; } LSM_1.1; " ] || fail "nodes are no chain"
fi

# The SONAME is liblsm.so.1: beside the library of the build lies a link of that name.
ln -sf liblsm.so "$lib/liblsm.so.1"
libs="-L$lib -Wl,-rpath,$(cd "$lib" && pwd) -llsm -lpthread"
more=$contract
part plain && every plain ""
more=
if part released && [ $# -eq 0 ]; then
  current=$names
  names="library options basic iter writes"
  for version in abi/*/; do
    header=$version
    every "released-$(basename "$version")" ""
  done
  header=include names=$current
fi
if [ $# -eq 0 ] && part cpp; then . ffi-tests/parts/cpp.sh; fi
libs="-L$lib -Wl,-rpath,$(cd "$lib" && pwd) -llsm -lpthread"
if part asan; then
  if [ -n "$sanitize" ]; then
    more=$contract
    LSM_SANITIZED=1 QUICK=1 every asan "" $sanitize
    more=
  else
    skip "AddressSanitizer"
  fi
fi
if part valgrind; then
  if have valgrind; then
    LSM_SANITIZED=1 QUICK=1 every valgrind "valgrind -q --fair-sched=try --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite"
  else
    skip valgrind
  fi
fi
if [ $# -eq 0 ]; then
  if part install; then . ffi-tests/parts/install.sh; fi
  if part deb; then . ffi-tests/parts/deb.sh; fi
  if part cinstall; then . ffi-tests/parts/cinstall.sh; fi
  for language in go java python; do
    part $language || continue
    [ -e "bindings/$language/test.sh" ] || continue
    echo "== $language"
    make -s install PREFIX="$installed" >/dev/null || fail "make install"
    sh "bindings/$language/test.sh" "$installed" || fail "bindings/$language"
  done
fi

[ $failed -eq 0 ] && echo "ffi-tests: all held"
exit $failed
