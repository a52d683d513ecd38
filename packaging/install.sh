#!/bin/sh
# What `make install` and `make uninstall` do; the Makefile says which variables there are.
#   packaging/install.sh install|uninstall|list
# From the environment, all required: PREFIX, LIBDIR, INCLUDEDIR, BINDIR, DATADIR (absolute), DESTDIR (may be empty), RELEASE
# (the folder with the built libraries), VERSION. TOOL: the `lsm` program, or empty when it is not part of this build.
# STRIP=1: without debug information. RELOCATABLE=0: lsm.pc has absolute paths, as packages of a system do.
set -eu
cd "$(dirname "$0")/.."
: "${PREFIX:?}" "${LIBDIR:?}" "${INCLUDEDIR:?}" "${BINDIR:?}" "${DATADIR:?}" "${RELEASE:?}" "${VERSION:?}"
DESTDIR=${DESTDIR:-} TOOL=${TOOL:-}
if [ "${1:-}" = install ] && [ -n "$TOOL" ] && [ ! -e "$TOOL" ]; then
  echo "without the lsm program: $TOOL was not built"
  TOOL=
fi
for folder in "$PREFIX" "$LIBDIR" "$INCLUDEDIR" "$BINDIR" "$DATADIR"; do
  case $folder in /*) ;; *) echo "not an absolute path: $folder" >&2; exit 2 ;; esac
done
minor=$(packaging/version-script.sh --minor)
abi=1
cmake=$LIBDIR/cmake/lsm

# The way from a folder to a path, by `..`, when both are below PREFIX; else the path itself. $3 stands for the folder.
way() {
  case $1/ in "$PREFIX"/*) ;; *) echo "$2"; return ;; esac
  case $2/ in "$PREFIX"/*) ;; *) echo "$2"; return ;; esac
  ups=$(echo "${1#"$PREFIX"}" | sed 's,/[^/]*,/..,g')
  echo "$3$ups${2#"$PREFIX"}"
}

pkg_config() {
  if [ "${RELOCATABLE:-1}" = 1 ]; then
    # shellcheck disable=SC2016  # pkg-config's own variable
    prefix=$(way "$LIBDIR/pkgconfig" "$PREFIX" '${pcfiledir}')
  else
    prefix=$PREFIX
  fi
  echo "prefix=$prefix"
  # shellcheck disable=SC2016
  for pair in "libdir $LIBDIR" "includedir $INCLUDEDIR"; do
    path=${pair#* }
    case $path/ in "$PREFIX"/*) path='${prefix}'${path#"$PREFIX"} ;; esac
    echo "${pair%% *}=$path"
  done
  printf '\nName: liblsm\nDescription: Embedded ordered key-value store\nVersion: %s\n' "$VERSION"
  # shellcheck disable=SC2016
  printf 'Libs: -L${libdir} -llsm\nLibs.private: %s\nCflags: -I${includedir}\n' "$(cat packaging/native-libs)"
}

cmake_file() {
  libs=$(sed 's/-l//g; s/ /;/g' packaging/native-libs)
  # shellcheck disable=SC2016  # CMake's own variable
  sed -e "s|@VERSION@|$VERSION|g" -e "s|@NATIVE@|$libs|g" \
    -e "s|@LIBDIR@|$(way "$cmake" "$LIBDIR" '${_lsm_here}')|g" \
    -e "s|@INCLUDEDIR@|$(way "$cmake" "$INCLUDEDIR" '${_lsm_here}')|g" "packaging/$1.in"
}

# Every file of an installation, as an absolute path without DESTDIR.
list() {
  printf '%s\n' "$LIBDIR/liblsm.so" "$LIBDIR/liblsm.so.$abi" "$LIBDIR/liblsm.so.$abi.$minor" "$LIBDIR/liblsm.a" \
    "$INCLUDEDIR/lsm.h" "$INCLUDEDIR/lsm.hpp" "$LIBDIR/pkgconfig/lsm.pc" "$cmake/lsmConfig.cmake" \
    "$cmake/lsmConfigVersion.cmake"
  [ -z "$TOOL" ] || printf '%s\n' "$BINDIR/lsm" "$DATADIR/man/man1/lsm.1" "$DATADIR/bash-completion/completions/lsm" \
    "$DATADIR/zsh/site-functions/_lsm" "$DATADIR/fish/vendor_completions.d/lsm.fish"
}

install_library() {
  install -d "$DESTDIR$LIBDIR/pkgconfig" "$DESTDIR$cmake" "$DESTDIR$INCLUDEDIR"
  install -m 755 "$RELEASE/liblsm.so" "$DESTDIR$LIBDIR/liblsm.so.$abi.$minor"
  ln -sf "liblsm.so.$abi.$minor" "$DESTDIR$LIBDIR/liblsm.so.$abi"
  ln -sf "liblsm.so.$abi" "$DESTDIR$LIBDIR/liblsm.so"
  install -m 644 "$RELEASE/liblsm.a" "$DESTDIR$LIBDIR/liblsm.a"
  if [ "${STRIP:-0}" = 1 ]; then
    "${STRIP_TOOL:-strip}" --strip-unneeded "$DESTDIR$LIBDIR/liblsm.so.$abi.$minor"
    "${STRIP_TOOL:-strip}" --strip-debug "$DESTDIR$LIBDIR/liblsm.a"
  fi
  install -m 644 include/lsm.h include/lsm.hpp "$DESTDIR$INCLUDEDIR"
  pkg_config >"$DESTDIR$LIBDIR/pkgconfig/lsm.pc"
  cmake_file lsmConfig.cmake >"$DESTDIR$cmake/lsmConfig.cmake"
  cmake_file lsmConfigVersion.cmake >"$DESTDIR$cmake/lsmConfigVersion.cmake"
}

# The tool writes its man page and completions itself. It finds liblsm.so.1 in ../lib from where it lies.
install_tool() {
  install -d "$DESTDIR$BINDIR" "$DESTDIR$DATADIR/man/man1" "$DESTDIR$DATADIR/bash-completion/completions" \
    "$DESTDIR$DATADIR/zsh/site-functions" "$DESTDIR$DATADIR/fish/vendor_completions.d"
  install -m 755 "$TOOL" "$DESTDIR$BINDIR/lsm"
  [ "${STRIP:-0}" = 0 ] || "${STRIP_TOOL:-strip}" "$DESTDIR$BINDIR/lsm"
  "$TOOL" man >"$DESTDIR$DATADIR/man/man1/lsm.1"
  "$TOOL" completions bash >"$DESTDIR$DATADIR/bash-completion/completions/lsm"
  "$TOOL" completions zsh >"$DESTDIR$DATADIR/zsh/site-functions/_lsm"
  "$TOOL" completions fish >"$DESTDIR$DATADIR/fish/vendor_completions.d/lsm.fish"
}

case ${1:-} in
  install)
    install_library
    [ -z "$TOOL" ] || install_tool
    echo "installed under $DESTDIR$PREFIX; run ldconfig if that is a system folder"
    ;;
  uninstall)
    list | while IFS= read -r file; do rm -f "$DESTDIR$file"; done
    # older or newer nodes of the same ABI number, and the folder that is only ours
    rm -f "$DESTDIR$LIBDIR/liblsm.so.$abi".[0-9]*
    rmdir "$DESTDIR$cmake" 2>/dev/null || true
    ;;
  list) list ;;
  *) echo "usage: $0 install | uninstall | list" >&2; exit 2 ;;
esac
