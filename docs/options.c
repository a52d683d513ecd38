/* Prints the library's own description of its options: what the table in docs/tuning.md is made of (docs/check.sh). */
#include <lsm.h>
#include <stdio.h>

int main(void) {
  char *json = NULL;
  if (lsm_options_describe(&json) != LSM_OK) return 1;
  puts(json);
  lsm_free(json);
  return 0;
}
