#!/bin/sh
# Does what the quickstart pages say, word by word: every block `sh` is run, every block with a file name behind its language
# is saved under that name, every block `text` must be what the block before it printed. A block `sh NAME` is run where NAME
# is found (cmake, java17, java22). Then the table of options in docs/tuning.md is compared with what the library says.
#   docs/check.sh [PAGE...]        default: c cpp go java python options
#   docs/check.sh --bless          writes the table of options
# REQUIRE=1: a tool that is not found is a failure, not a line "skipped". Links are checked by `cargo xtask tidy`.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$(pwd)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
work=$target/docs
failed=0

# A page works in a home of its own; tools that keep their own things in the real one are told where that is.
export CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" PYENV_ROOT="${PYENV_ROOT:-$HOME/.pyenv}"
export GOCACHE="$target/go/cache" GOPROXY=off GOTOOLCHAIN=local GOFLAGS=
unset LSM_LIBRARY LSM_PYTHON PYTHONPATH PKG_CONFIG_PATH LD_LIBRARY_PATH

have() { command -v "$1" >/dev/null 2>&1; }
skip() {
  echo "skipped: $1 not found"
  [ "${REQUIRE:-0}" = 0 ] || failed=1
}

# The newest JDK from Java $1 to Java $2, as a folder.
jdk() {
  best= best_version=0
  for home in "${JAVA_HOME:-/nowhere}" "$(dirname "$(dirname "$(readlink -f "$(command -v java || echo /a/b/c)")")")" \
    "${JAVA_RUNTIME:-/nowhere}" /usr/lib/jvm/*; do
    [ -x "$home/bin/java" ] || continue
    version=$("$home/bin/java" -version 2>&1 | sed -n '1s/^[^"]*"\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge "$1" ] && [ "$version" -le "$2" ] && [ "$version" -gt "$best_version" ] || continue
    # A source file is run by the compiler inside; a bare runtime has none.
    "$home/bin/java" --list-modules 2>/dev/null | grep -q '^jdk.compiler@' || continue
    best=$home best_version=$version
  done
  echo "$best"
}

# found NAME: whether blocks `sh NAME` can be run; JDK: the one to use.
found() {
  JDK=
  case $1 in
    java17) JDK=$(jdk 17 21); [ -n "$JDK" ] && [ -e /usr/share/java/jna.jar ] ;;
    java22) JDK=$(jdk 22 999); [ -n "$JDK" ] ;;
    *) have "$1" ;;
  esac
}

# script PAGE FOLDER: the page as a program for sh. A block runs in the shell of the page, so that `cd` and `export` hold.
script() {
  awk -v folder="$2" '
    function finish() { if (ran) { print "}"; ran = 0 } }
    /^```/ && inside == "" {
      language = $1; sub(/^```/, "", language); name = $2; number++
      inside = "skip"
      if (language == "sh") {
        inside = "sh"
        kept = folder "/" number ".got"
        print "if [ -z \"" name "\" ] || grep -qx \"" name "\" \"" folder "/found\"; then"
        print "echo \"  line " NR "\" >&3"
        if (name ~ /^java/) print "PATH=$(cat \"" folder "/jdk-" name "\")/bin:$PATH"
        print "{"
        condition = name
      } else if (language == "text") {
        inside = "text"
        print "if [ -e \"" kept "\" ]; then cat >\"" folder "/want\" <<\"END OF BLOCK\""
      } else if (name != "") {
        inside = "file"
        print "cat >\"" name "\" <<\"END OF BLOCK\""
      }
      next
    }
    /^```$/ {
      if (inside == "sh") print "} >\"" kept "\"; fi"
      if (inside == "file") print "END OF BLOCK"
      if (inside == "text") { print "END OF BLOCK"; print "diff \"" folder "/want\" \"" kept "\" >&3 || { echo \"line " NR ": printed something else\" >&3; exit 1; }; fi" }
      inside = ""
      next
    }
    inside != "" && inside != "skip" { print }
    END { if (inside != "") { print "page ends inside of a block" > "/dev/stderr"; exit 1 } }
  ' "$1"
}

# page NAME TOOL...: does what the page says, where its tools are found.
page() {
  name=$1 folder=$work/$1
  shift
  echo "== quickstart/$name.md"
  for tool in "$@"; do
    have "$tool" || { skip "$tool"; return; }
  done
  rm -rf "$folder"
  mkdir -p "$folder/home"
  : >"$folder/found"
  for condition in $(sed -n 's/^```sh \(.*\)$/\1/p' "docs/quickstart/$name.md"); do
    if found "$condition"; then
      echo "$condition" >>"$folder/found"
      echo "$JDK" >"$folder/jdk-$condition"
    else
      case $condition in java*) echo "skipped: $condition not found" ;; *) skip "$condition" ;; esac
    fi
  done
  # Of two Javas one is enough: a bare runtime, as CI may have for the other, runs no source files.
  if [ "$name" = java ] && ! [ -s "$folder/found" ]; then
    skip "a JDK of Java 22, or of 17 with jna.jar,"
    return
  fi
  script "docs/quickstart/$name.md" "$folder" >"$folder/script" || { echo "FAILED: $name"; failed=1; return; }
  if ! HOME=$folder/home sh -eu "$folder/script" 3>&1 2>"$folder/errors"; then
    tail -30 "$folder/errors"
    echo "FAILED: quickstart/$name.md ($folder/script)"
    failed=1
    return
  fi
  # Only a page that ran something is one that was checked.
  [ -n "$(find "$folder" -name '*.got' -size +0)" ] || { echo "FAILED: quickstart/$name.md printed nothing"; failed=1; }
}

# The table of options is what the built library says of itself.
options() {
  echo "== the options of tuning.md"
  have cc || { skip cc; return; }
  make -s lib || { failed=1; return; }
  mkdir -p "$work"
  cc -Iinclude docs/options.c -o "$work/options" -L"$target/release" -llsm -Wl,-rpath,"$target/release" &&
    "$work/options" >"$work/options.json" &&
    cargo xtask options "$@" "$work/options.json" || { echo "FAILED: options"; failed=1; }
}

[ "${1:-}" = --bless ] && { options --bless; exit $failed; }
for name in ${*:-c cpp go java python options}; do
  case $name in
    c) page c cargo cc make pkg-config ;;
    cpp) page cpp cargo cc c++ make pkg-config ;;
    go) page go cargo cc make pkg-config go ;;
    java) page java cargo cc make pkg-config javac ;;
    python)
      mkdir -p "$work"
      # pip takes setuptools from where packages come from.
      if python3 -m pip download --quiet --no-deps --dest "$work/pip" setuptools >"$work/pip.out" 2>&1; then
        page python cargo cc make pkg-config python3
      else
        skip "python3 with pip and its index"
      fi
      ;;
    options) options ;;
    *) echo "no page $name"; exit 2 ;;
  esac
done
[ $failed -eq 0 ] && echo "docs: every page did what it says"
exit $failed
