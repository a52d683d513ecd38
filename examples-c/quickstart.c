/* The ten lines: open, put, get, delete, close. */
#include "example.h"

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "quickstart");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  lsm_keyspace *ks = lsm_default_keyspace(db);

  MUST(lsm_put(ks, NULL, "greeting", 8, "hello, world", 12, &err));
  char buffer[64];
  size_t len = 0;
  MUST(lsm_get(ks, NULL, "greeting", 8, buffer, sizeof buffer, &len, &err));
  printf("greeting = %.*s\n", (int)len, buffer);

  MUST(lsm_delete(ks, NULL, "greeting", 8, &err));
  if (MUST(lsm_get(ks, NULL, "greeting", 8, buffer, sizeof buffer, &len, &err)) == LSM_NOT_FOUND) printf("greeting is gone\n");

  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return 0;
}
