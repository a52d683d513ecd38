/* Ordered walks: by prefix, backwards from a place, many entries in one call. */
#include "example.h"

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "scan");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  for (int i = 0; i < 1000; i++) {
    char key[32], value[32];
    int key_len = snprintf(key, sizeof key, "user/%04d", i), value_len = snprintf(value, sizeof value, "person %d", i);
    MUST(lsm_put(ks, NULL, key, (size_t)key_len, value, (size_t)value_len, &err));
  }

  /* All keys that start with user/012. */
  lsm_read_options read = LSM_READ_OPTIONS_INIT;
  read.prefix = "user/012", read.prefix_len = 8;
  lsm_iter *it = NULL;
  lsm_entry e;
  int found = 0;
  MUST(lsm_iter_open(ks, &read, &it, &err));
  while (MUST(lsm_iter_next(it, &e, &err)) == LSM_OK) {
    printf("%.*s = %.*s\n", (int)e.key_len, (const char *)e.key, (int)e.value_len, (const char *)e.value);
    found++;
  }
  lsm_iter_close(it);

  /* The three entries up to user/0500, backwards. */
  MUST(lsm_iter_open(ks, NULL, &it, &err));
  int32_t code = MUST(lsm_iter_seek(it, LSM_SEEK_LE, "user/0500", 9, &e, &err));
  for (int i = 0; i < 3 && code == LSM_OK; i++) {
    printf("backwards: %.*s\n", (int)e.key_len, (const char *)e.key);
    code = MUST(lsm_iter_prev(it, &e, &err));
  }
  /* Everything, a hundred entries a call. */
  lsm_entry entries[100];
  size_t n = 0, total = 0;
  MUST(lsm_iter_refresh(it, &err));
  while (MUST(lsm_iter_read(it, LSM_FORWARD, entries, 100, &n, &err)) == LSM_OK) total += n;
  lsm_iter_close(it);
  printf("%d with the prefix, %zu in all\n", found, total);

  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return found == 10 && total == 1000 ? 0 : 1;
}
