# Part `cpp` of run.sh: lsm.hpp with gcc and clang as C++11 to C++23, with and without exceptions; some of them under
# AddressSanitizer and UndefinedBehaviorSanitizer; the example; what the wrapper costs over the C calls.
echo "== cpp"
strict="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -Iinclude -Iffi-tests"
libs="-L$lib -Wl,-rpath,$(cd "$lib" && pwd) -llsm -lpthread"
# gcc's warnings of uninitialised memory are not to be had with its sanitizers: they also convict its own std::optional.
sanitizing="$sanitize -Wno-unknown-warning-option -Wno-maybe-uninitialized"
# cpp KIND COMPILER FLAGS...: builds and runs the tests
cpp() {
  kind=$1 compiler=$2
  shift 2
  if "$compiler" "$@" $strict ffi-tests/cpp.cc -o "$out/$kind-cpp" $libs; then
    QUICK=1 run "$kind" cpp
  else
    fail "$kind cpp does not build"
  fi
}
for compiler in "$CXX" clang++; do
  have "$compiler" || { skip "$compiler"; continue; }
  tag=$(basename "$compiler")
  for std in 11 14 17 20 2b; do
    cpp "$tag-$std" "$compiler" -std=c++$std -O0
    cpp "$tag-$std-result" "$compiler" -std=c++$std -O0 -fno-exceptions
  done
  if [ -n "$sanitize" ]; then
    cpp "$tag-asan-11-result" "$compiler" -std=c++11 -O1 -g $sanitizing -DLSM_NO_EXCEPTIONS
    cpp "$tag-asan-20" "$compiler" -std=c++20 -O1 -g $sanitizing
  else
    skip AddressSanitizer
  fi
done
# Modes may meet in one program: names of one are not those of the other.
if have "$CXX"; then
  for mode in "11 -DPART=1" "17 -DPART=2" "17 -DPART=3 -fno-exceptions"; do
    set -- $mode
    std=$1
    shift
    "$CXX" -std=c++"$std" "$@" $strict -c ffi-tests/cpp_modes.cc -o "$out/modes-${1#-DPART=}.o" || fail "cpp_modes $*"
  done
  if "$CXX" -DPART=0 $strict ffi-tests/cpp_modes.cc "$out"/modes-*.o -o "$out/modes-cpp_modes" $libs; then
    run modes cpp_modes
  else
    fail "cpp_modes does not link"
  fi
  for name in quickstart figures; do
    "$CXX" -std=c++17 -O2 $strict "examples-cpp/$name.cc" -o "$out/example-$name" $libs || fail "examples-cpp/$name.cc"
    rm -rf "$out/db/example-$name"
    mkdir -p "$out/db"
    "$out/example-$name" "$out/db/example-$name" >"$out/example-$name.out" 2>&1 || fail "examples-cpp/$name"
    sed 's/^/  /' "$out/example-$name.out"
    rm -rf "$out/db/example-$name"
  done
fi
