#!/bin/sh
# Tests the Go package against an installed liblsm: formatting, vet, the tests, the tests again under the race detector with
# the strict check of pointers passed to C, the example over this repository, one round of the benchmarks.
#   bindings/go/test.sh PREFIX
# GO: the go command. REQUIRE=1: a tool that is not found is a failure, not a line "skipped".
set -eu
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
target=${CARGO_TARGET_DIR:-target}
case $target in /*) ;; *) target=$root/$target ;; esac
work=$target/go
GO=${GO:-go}

for tool in "$GO" cc pkg-config; do
  command -v "$tool" >/dev/null 2>&1 && continue
  echo "skipped: $tool not found"
  exit "${REQUIRE:-0}"
done

mkdir -p "$work"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" CGO_ENABLED=1 CGO_LDFLAGS="-Wl,-rpath,$prefix/lib"
# Nothing is downloaded and nothing is written outside the target folder.
# The strict check of pointers is chosen at run time before Go 1.21, and when building from then on.
strict=GODEBUG=cgocheck=2
case $("$GO" env GOVERSION) in go1.19* | go1.20*) ;; *) strict=GOEXPERIMENT=cgocheck2 ;; esac
export GOCACHE="$work/cache" GOPATH="$work/path" GOPROXY=off GOFLAGS=-mod=readonly GOTOOLCHAIN=local
began=$(date +%s)
said() { echo "  $1: $(($(date +%s) - began)) s"; began=$(date +%s); }

unformatted=$(gofmt -l . 2>/dev/null || true)
[ -z "$unformatted" ] || { echo "gofmt: $unformatted"; exit 1; }
"$GO" vet ./...
said vet
"$GO" test -timeout 300s ./...
said tests
# The race detector is made for few processors, and needs the C library's development files.
if echo 'package main; func main() {}' >"$work/probe.go" && "$GO" build -race -o "$work/probe" "$work/probe.go" 2>/dev/null; then
  env "$strict" "$GO" test -race -timeout 300s .
  said "tests under the race detector"
else
  echo "skipped: race detector not found"
  [ "${REQUIRE:-0}" = 0 ] || exit 1
  env "$strict" "$GO" test -timeout 300s .
fi

"$GO" build -o "$work/" ./examples/wordindex ./bench
rm -rf "$work/index" "$work/tree"
cp -r "$root/docs" "$work/tree"
for words in "add $work/tree" "check $work/tree" "find durable checksum" "words atom"; do
  "$work/wordindex" -db "$work/index" $words >"$work/out"
  [ -s "$work/out" ] || { echo "wordindex $words: no output"; exit 1; }
done
# What changed and what is gone is found again.
echo "a mermaid and a mermaid" >"$work/tree/new.md"
rm "$work/tree/ABI.md"
"$work/wordindex" -db "$work/index" add "$work/tree" | grep -q ': 1 indexed, 1 forgotten'
"$work/wordindex" -db "$work/index" check "$work/tree" >/dev/null
"$work/wordindex" -db "$work/index" find mermaid | grep -q '^ *2  .*new.md$'
rm -rf "$work/index" "$work/tree"
said example

# What the README tells a stranger to do, in a module of its own outside of this tree.
stranger=$(mktemp -d)
trap 'rm -rf "$stranger"' EXIT
awk '/^```go$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md >"$stranger/main.go"
(cd "$stranger" && "$GO" mod init people 2>/dev/null &&
  "$GO" mod edit -require=liblsm.internal/lsm@v0.0.0 -replace=liblsm.internal/lsm="$root/bindings/go" &&
  "$GO" vet . && "$GO" run .) >"$stranger/got"
printf '%s\n' 'no charles' 'ada: Countess' 'grace: Admiral' | diff - "$stranger/got" || { echo "the program of README.md printed something else"; exit 1; }
said "the README's program, in another module"
"$work/bench" -keys 2000 -rounds 1 >/dev/null
said benchmark
