/* example.h: what the examples share: one way to stop on an error, one place for their database. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lsm.h"

/* Stops with the library's own words when a call failed; positive outcomes pass. */
static inline int32_t must(int32_t code, lsm_error *err, const char *what) {
  if (code < 0) {
    fprintf(stderr, "%s: %s: %s\n", what, lsm_code_name(code), lsm_error_message(err));
    exit(1);
  }
  return code;
}
#define MUST(call) must((call), err, #call)

/* The folder of an example: the first argument, or one under target/. An older one is removed. */
static inline const char *example_path(int argc, char **argv, const char *name) {
  static char path[4096];
  snprintf(path, sizeof path, "%s%s", argc > 1 ? argv[1] : "target/example-", argc > 1 ? "" : name);
  lsm_destroy(path, NULL);
  return path;
}
#endif
