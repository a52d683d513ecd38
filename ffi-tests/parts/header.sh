# Part `header` of run.sh: lsm.h and lsm.hpp compile without a warning, alone and twice, in every language version we
# promise, with gcc and clang; every declared function can be named.
echo "== header"
all="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wundef -Wcast-qual -Wcast-align -Wwrite-strings
  -Wpointer-arith -Werror"
c_only="-Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wdeclaration-after-statement"
cxx_only="-Wold-style-cast -Wnon-virtual-dtor -Woverloaded-virtual"
{
  printf '#include "lsm.h"\n#include "lsm.h"\n'
  printf 'extern const lsm_read_options r;\nextern const lsm_write_options w;\nextern void (*const functions[])(void);\n'
  printf 'const lsm_read_options r = LSM_READ_OPTIONS_INIT;\nconst lsm_write_options w = LSM_WRITE_OPTIONS_INIT;\n'
  printf 'void (*const functions[])(void) = {\n'
  CC=$CC packaging/version-script.sh --names | awk '{ print "  (void (*)(void))" $2 "," }'
  printf '  0\n};\n'
} >"$out/header.c"
sed 's/^  (void (\*)(void))\(.*\),$/  reinterpret_cast<void (*)()>(\1),/; s/^  0$/  nullptr/' "$out/header.c" >"$out/header.cc"
printf '#include "lsm.hpp"\n#include "lsm.hpp"\n#include "lsm.h"\n' >"$out/headerpp.cc"
combinations=0
# hygiene COMPILER STANDARD FILE FLAGS...
hygiene() {
  compiler=$1 std=$2 file=$3
  shift 3
  combinations=$((combinations + 1))
  # clang 14 has no -Wcast-function-type of gcc's kind; casts between function types are the point here.
  "$compiler" -std="$std" $all "$@" -Wno-cast-function-type -Iinclude -fsyntax-only "$out/$file" || fail "$file, $compiler $std $*"
}
for compiler in "$CC" clang; do
  have "$compiler" || { skip "$compiler"; continue; }
  for std in c99 c11 c17 c2x; do hygiene "$compiler" $std header.c $c_only; done
done
for compiler in "$CXX" clang++; do
  have "$compiler" || { skip "$compiler"; continue; }
  for std in c++11 c++14 c++17 c++20 c++2b; do
    hygiene "$compiler" $std header.cc $cxx_only
    hygiene "$compiler" $std headerpp.cc $cxx_only
    hygiene "$compiler" $std headerpp.cc $cxx_only -fno-exceptions -fno-rtti
  done
done
# Sizes and offsets, as capi/src/layout.rs has them for Rust.
$CC -std=c11 $all -Iinclude -fsyntax-only ffi-tests/layout.c || fail "layout.c"
! have "$CXX" || $CXX -std=c++11 -x c++ $all -Wno-old-style-cast -Iinclude -fsyntax-only ffi-tests/layout.c || fail "layout.c as C++"
echo "  $combinations combinations of compiler and language version"
