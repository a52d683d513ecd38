# Part `deb` of run.sh: the packages build, twice with the same bytes; unpacked they are whole, hold what they say and a program
# built against them runs; the symbols file is what Debian's own tool finds; lintian has nothing to say.
echo "== deb"
debs=$out/deb
unpacked=$(cd "$out" && pwd)/deb-root
rm -rf "$unpacked" "$debs"
if ! have dpkg-deb; then
  skip dpkg-deb
elif ! "${MAKE:-make}" -s deb CC="$CC" >"$out/deb.out" 2>&1; then
  cat "$out/deb.out"
  fail "make deb"
else
  cp -r "$target/deb" "$debs"
  "${MAKE:-make}" -s deb CC="$CC" >/dev/null 2>&1
  for file in "$debs"/*.deb; do
    cmp "$file" "$target/deb/$(basename "$file")" || fail "$file: other bytes the second time"
    dpkg-deb -x "$file" "$unpacked"
    name=$(dpkg-deb -f "$file" Package)
    dpkg-deb -e "$file" "$unpacked/DEBIAN-$name"
    (cd "$unpacked" && md5sum --quiet -c "DEBIAN-$name/md5sums") || fail "$name: md5sums"
    echo "  $(basename "$file"): $(dpkg-deb -f "$file" Depends)"
  done
  libdir=$(dirname "$(find "$unpacked" -name liblsm.so.1)")
  if have dpkg-gensymbols; then
    mkdir -p "$out/gensymbols/debian"
    printf 'Source: liblsm\n\nPackage: liblsm1\nArchitecture: any\n' >"$out/gensymbols/debian/control"
    found=$(cd "$out/gensymbols" && pwd)/found real=$(readlink -f "$libdir/liblsm.so.1")
    (cd "$out/gensymbols" && dpkg-gensymbols -pliblsm1 -v0 -O"$found" -e"$real" >/dev/null 2>&1)
    awk 'NR > 1 { print $1 }' "$found" | LC_ALL=C sort >"$out/gensymbols.want"
    awk 'NR > 1 { print $1 }' "$unpacked/DEBIAN-liblsm1/symbols" | LC_ALL=C sort >"$out/gensymbols.got"
    diff "$out/gensymbols.want" "$out/gensymbols.got" || fail "symbols file of liblsm1"
  else
    skip dpkg-gensymbols
  fi
  libs="-I$unpacked/usr/include -L$libdir -Wl,-rpath,$libdir -llsm -lpthread"
  kept=$header header=ffi-tests
  for name in basic cpp; do
    if build deb "$name"; then QUICK=1 run deb "$name"; else fail "deb $name does not build"; fi
  done
  header=$kept
  if [ -e "$unpacked/usr/bin/lsm" ]; then
    # It finds its library beside it, and works.
    "$unpacked/usr/bin/lsm" put --create "$out/deb-tool.db" a 1 && [ "$("$unpacked/usr/bin/lsm" get "$out/deb-tool.db" a)" = 1 ] || fail "the packaged lsm"
    rm -rf "$out/deb-tool.db"
  fi
  if have lintian; then
    # (No report asked for these packages.)
    lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs "$debs"/*.deb >"$out/lintian.out" 2>&1 ||
      { cat "$out/lintian.out"; fail lintian; }
  else
    skip lintian
  fi
fi
