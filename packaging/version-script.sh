#!/bin/sh
# Prints the linker's version script of liblsm.so: which function belongs to which node. Functions of the first release
# are LSM_1.0; each release (abi/VERSION/symbols.txt) that adds some opens the next node, and so do functions that
# include/lsm.h declares and no release has. A program that needs more than an older library offers is then refused
# by the loader at once, with the name of the node.
#   packaging/version-script.sh            the script
#   packaging/version-script.sh --names    NODE FUNCTION RELEASE, one a line ("next": not released yet)
#   packaging/version-script.sh --minor    the number of the newest node, as in liblsm.so.1.MINOR
# CC: a C compiler, which strips comments and macros from the header.
set -eu
cd "$(dirname "$0")/.."
declared=$(${CC:-cc} -E -P -x c include/lsm.h | grep -oE '\blsm_[a-z0-9_]+ *\(' | tr -d ' (' | LC_ALL=C sort -u)
[ -n "$declared" ] || { echo "include/lsm.h declares no function" >&2; exit 1; }

# NODE FUNCTION RELEASE: a function stays where it was first seen; a node begins with a release's first new function.
names() {
  {
    for release in $(ls abi | sort -V); do
      [ ! -f "abi/$release/symbols.txt" ] || LC_ALL=C sort "abi/$release/symbols.txt" | sed "s/^/$release /"
    done
    echo "$declared" | sed 's/^/next /'
  } | awk '$1 != release { release = $1; is_open = 0 }
    !($2 in seen) { seen[$2] = 1; if (!is_open) { is_open = 1; node = count++ } print "LSM_1." node, $2, release }'
}

case ${1:-} in
  --names) names ;;
  --minor) names | tail -n 1 | sed 's/^LSM_1\.\([0-9]*\) .*/\1/' ;;
  '')
    # What no node names is hidden, which the first node says; each later node names the one before it.
    names | awk '
      function end() { if (node == "LSM_1.0") print "  local:\n    *;"; print "}" base ";" }
      $1 != node { if (node != "") { end(); print ""; base = " " node } node = $1; print node " {\n  global:" }
      { print "    " $2 ";" }
      END { end() }' ;;
  *) echo "usage: $0 [--names | --minor]" >&2; exit 2 ;;
esac
