#!/bin/sh
# Builds the Java binding against the liblsm that is installed under PREFIX and runs its tests, its example and a short
# benchmark: bindings/java/test.sh PREFIX. The rest is as in build.sh.
PREFIX=${1:?usage: test.sh PREFIX} exec "$(dirname "$0")/build.sh" check
