#!/bin/sh
# The nth system call of each kind fails with each errno, once and for good, while a program uses the library: nothing
# acknowledged is lost, no crash, no hang, the database opens again and verifies. STEP=7 (default): every 7th n; STEP=1: all.
# SECONDS_MAX: stop after so long (default 150; the order is shuffled by SEED). A planted bug must be convicted first.
set -u
cd "$(dirname "$0")/.." || exit 1
CC=${CC:-cc} STEP=${STEP:-7} SECONDS_MAX=${SECONDS_MAX:-150} SEED=${SEED:-$(date +%s)}
target=${CARGO_TARGET_DIR:-target}
out=$target/ffi-tests/nth
lib=$target/release
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
ln -sf liblsm.so "$lib/liblsm.so.1"
warn="-Wall -Wextra -Werror -O1 -g"
$CC -std=gnu11 $warn -shared -fPIC ffi-tests/nth_shim.c -o "$out/shim.so" -ldl || exit 1
$CC -std=gnu11 $warn -Iinclude ffi-tests/nth.c -o "$out/nth" -L"$lib" -Wl,-rpath,"$(cd "$lib" && pwd)" -llsm -lpthread || exit 1

# one CALL EFFECT N STICKY: a run and a look in a fresh folder; 0 when all held.
one() {
  rm -rf "$out/db" "$out/acks" "$out/count"
  (
    export NTH_CALL="$1" NTH_EFFECT="$2" NTH="$3" NTH_BELOW="$out/db" NTH_COUNT="$out/count"
    [ "$4" = sticky ] && export NTH_STICKY=1
    timeout 30 env LD_PRELOAD="$out/shim.so" "$out/nth" run "$out/db" "$out/acks"
  ) 2>"$out/err"
  status=$?
  if [ $status -ne 0 ] || [ -s "$out/err" ]; then
    echo "  run: status $status"; head -5 "$out/err"
    return 1
  fi
  # A failure that outlasts the process must not: with no database at all (it was never made) there is nothing to look at.
  [ -e "$out/db/CURRENT" ] || ! grep -q '^d' "$out/acks" || { echo "  no database, but acknowledgements"; return 1; }
  [ -e "$out/db/CURRENT" ] || return 0
  timeout 30 "$out/nth" look "$out/db" "$out/acks" 2>"$out/err" || { sed 's/^/  /' "$out/err" | head -5; return 1; }
}

if (PLANT=1; export PLANT; one read 5 0 once) >/dev/null; then echo "nth: a planted bug was not convicted"; exit 1; fi
for clock in frozen back; do
  (NTH_CLOCK=$clock; export NTH_CLOCK; one read 5 0 once) || { echo "FAILED: nth with a clock that is $clock"; exit 1; }
done
: >"$out/cases"
for call in write sync read open close rename unlink ftruncate fallocate; do
  one $call 0 0 once >/dev/null || { echo "nth: fails without a fault ($call)"; exit 1; }
  n=$(cut -d' ' -f1 "$out/count")
  [ "$n" -gt 0 ] || case $call in ftruncate | fallocate) ;; *) echo "nth: no $call was seen"; exit 1 ;; esac
  effects="5 28 4 24 30 11"                   # EIO ENOSPC EINTR EMFILE EROFS EAGAIN
  case $call in read | write) effects="$effects short" ;; esac
  i=$((1 + SEED % STEP))
  while [ $i -le "$n" ]; do
    for effect in $effects; do echo "$call $effect $i once"; echo "$call $effect $i sticky"; done
    i=$((i + STEP))
  done >>"$out/cases"
done
total=$(wc -l <"$out/cases") began=$(date +%s) done=0 failed=0
awk -v seed="$SEED" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' "$out/cases" | sort -k1,1g | cut -f2 >"$out/shuffled"
while read -r call effect n sticky; do
  [ $(($(date +%s) - began)) -lt "$SECONDS_MAX" ] || break
  if ! one "$call" "$effect" "$n" "$sticky" </dev/null; then echo "FAILED: one $call $effect $n $sticky"; failed=$((failed + 1)); fi
  done=$((done + 1))
done <"$out/shuffled"
echo "nth: $done of $total cases (seed $SEED, step $STEP), $failed failed; the planted bug was convicted"
[ $failed -eq 0 ] && [ $done -gt 0 ]
