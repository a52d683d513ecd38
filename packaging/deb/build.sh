#!/bin/sh
# Debian packages with dpkg-deb alone: liblsm1 (the shared library), liblsm-dev (headers, archive, lsm.pc, CMake) and, where
# the tree has it, lsm-tools.
#   packaging/deb/build.sh DIR     `make deb` calls it
# From the environment: RELEASE (the folder with the built libraries), VERSION, TOOL (the `lsm` program, or empty),
# MAINTAINER, SOURCE_DATE_EPOCH (else the last commit's time): the same inputs give the same bytes.
set -eu
cd "$(dirname "$0")/../.."
out=${1:?usage: $0 DIR}
: "${RELEASE:?}" "${VERSION:?}"
TOOL=${TOOL:-}
maintainer=${MAINTAINER:-liblsm maintainers <liblsm@example.org>}
for tool in dpkg-deb dpkg objdump strip; do
  command -v $tool >/dev/null || { echo "$tool is not installed" >&2; exit 1; }
done
arch=$(dpkg --print-architecture)
triplet=$(${CC:-cc} -dumpmachine | sed 's/-pc-/-/; s/^i[3-6]86/i386/')
libdir=/usr/lib/$triplet
full=$VERSION-1
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
umask 022
rm -rf "$out"
mkdir -p "$out/all"
out=$(cd "$out" && pwd)

PREFIX=/usr LIBDIR=$libdir INCLUDEDIR=/usr/include BINDIR=/usr/bin DATADIR=/usr/share DESTDIR=$out/all STRIP=1 RELOCATABLE=0 \
  TOOL=$TOOL packaging/install.sh install >/dev/null

# move PACKAGE PATH...: from the whole installation into a package
move() {
  package=$1
  shift
  for path in "$@"; do
    mkdir -p "$out/$package$(dirname "$path")"
    mv "$out/all$path" "$out/$package$path"
  done
}
library=$(basename "$(ls "$out/all$libdir"/liblsm.so.1.*)")
move liblsm1 "$libdir/$library" "$libdir/liblsm.so.1"
move liblsm-dev "$libdir/liblsm.so" "$libdir/liblsm.a" "$libdir/pkgconfig" "$libdir/cmake" /usr/include/lsm.h /usr/include/lsm.hpp
chmod 644 "$out/liblsm1$libdir/$library"
if [ -n "$TOOL" ]; then
  mkdir -p "$out/all/usr/share/zsh/vendor-completions"
  mv "$out/all/usr/share/zsh/site-functions/_lsm" "$out/all/usr/share/zsh/vendor-completions/_lsm"
  gzip -9n "$out/all/usr/share/man/man1/lsm.1"
  move lsm-tools /usr/bin/lsm /usr/share/man /usr/share/bash-completion /usr/share/zsh/vendor-completions /usr/share/fish
fi
left=$(find "$out/all" ! -type d)
[ -z "$left" ] || { echo "in no package: $left" >&2; exit 1; }
rm -rf "$out/all"

# The newest GLIBC_x.y that a file asks for, as a dependency.
libc() {
  newest=$(objdump -T "$@" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
  [ -n "$newest" ] || { echo "no GLIBC version found in $*" >&2; return 1; }
  echo "libc6 (>= $newest), libgcc-s1 (>= 4.2)"
}

# common PACKAGE: copyright, changelog, checksums, and the package itself
common() {
  package=$1
  doc=$out/$package/usr/share/doc/$package
  mkdir -p "$doc"
  cp packaging/deb/copyright "$doc/copyright"
  printf 'liblsm (%s) unstable; urgency=medium\n\n  * Version %s: see the file CHANGELOG.md of the sources.\n\n -- %s  %s\n' \
    "$full" "$VERSION" "$maintainer" "$(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
  (cd "$out/$package" && find usr -type f | LC_ALL=C sort | xargs -d '\n' md5sum) >"$out/$package/DEBIAN/md5sums"
  find "$out/$package" -newermt "@$SOURCE_DATE_EPOCH" -print0 | xargs -0r touch --no-dereference --date="@$SOURCE_DATE_EPOCH"
  dpkg-deb --root-owner-group -Zxz --build "$out/$package" "$out/${package}_${full}_$arch.deb" >/dev/null
  rm -rf "${out:?}/$package"
}

# control PACKAGE SECTION DEPENDS SYNOPSIS, the description on standard input
control() {
  package=$1 section=$2 depends=$3 synopsis=$4
  mkdir -p "$out/$package/DEBIAN"
  size=$(du -k -s --apparent-size "$out/$package/usr" | cut -f 1)
  same=
  [ "$package" = lsm-tools ] || same='Multi-Arch: same
'
  printf 'Package: %s\nSource: liblsm\nVersion: %s\nArchitecture: %s\n%sMaintainer: %s\nInstalled-Size: %s\nDepends: %s\nSection: %s\nPriority: optional\nDescription: %s\n' \
    "$package" "$full" "$arch" "$same" "$maintainer" "$size" "$depends" "$section" "$synopsis" >"$out/$package/DEBIAN/control"
  sed 's/^$/./; s/^/ /' >>"$out/$package/DEBIAN/control"
}

needs=$(libc "$out/liblsm1$libdir/$library")
control liblsm1 libs "$needs" "embedded ordered key-value store (shared library)" <<'TEXT'
liblsm keeps byte strings under sorted keys in a folder of files: batches,
snapshots, iterators in both directions, keyspaces, several levels of
durability. It is a log-structured merge tree with a C interface.

This package has the shared library.
TEXT
# A function is there since the release that first had it; its node since the oldest of these.
{
  echo "liblsm.so.1 liblsm1 #MINVER#"
  packaging/version-script.sh --names | awk -v version="$VERSION" '
    { since = $3 == "next" ? version : $3; if (!($1 in node)) { node[$1] = 1; print " " $1 "@" $1, since } print " " $2 "@" $1, since }' |
    LC_ALL=C sort
} >"$out/liblsm1/DEBIAN/symbols"
printf 'liblsm 1 liblsm1 (>= %s)\n' "$VERSION" >"$out/liblsm1/DEBIAN/shlibs"
printf 'activate-noawait ldconfig\n' >"$out/liblsm1/DEBIAN/triggers"
common liblsm1

control liblsm-dev libdevel "liblsm1 (= $full)" "embedded ordered key-value store (development files)" <<'TEXT'
liblsm keeps byte strings under sorted keys in a folder of files: batches,
snapshots, iterators in both directions, keyspaces, several levels of
durability. It is a log-structured merge tree with a C interface.

This package has the headers for C and C++, the static library, and the files
for pkg-config and CMake.
TEXT
common liblsm-dev

if [ -n "$TOOL" ]; then
  control lsm-tools database "liblsm1 (>= $VERSION), $(libc "$out/lsm-tools/usr/bin/lsm")" "look into and work on liblsm databases" <<'TEXT'
The program lsm reads, writes, loads, exports, verifies and measures databases
of liblsm, an embedded ordered key-value store.
TEXT
  common lsm-tools
fi
ls "$out"
