#!/bin/sh
# Writes the reference pages of the two headers into target/reference/html with doxygen; what is not documented, or wrongly,
# is an error. REQUIRE=1: so is a missing doxygen.
set -eu
cd "$(dirname "$0")/.."
if ! command -v doxygen >/dev/null; then
  echo "skipped: doxygen not found"
  [ "${REQUIRE:-0}" = 0 ]
  exit
fi
target=${CARGO_TARGET_DIR:-target}
rm -rf "$target/reference"
mkdir -p "$target/reference"
{ cat docs/Doxyfile; echo "OUTPUT_DIRECTORY = $target/reference"; } | doxygen -
# That it said nothing is worth something only when it saw everything.
for name in $(packaging/version-script.sh --names | awk '{ print $2 }'); do
  grep -q ">$name<" "$target/reference/html/lsm_8h.html" || { echo "reference: $name has no entry"; exit 1; }
done
for page in classlsm_1_1db classlsm_1_1range structlsm__read__options; do
  [ -e "$target/reference/html/$page.html" ] || { echo "reference: $page.html was not written"; exit 1; }
done
echo "reference: $target/reference/html/index.html"
