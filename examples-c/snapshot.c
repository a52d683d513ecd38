/* A snapshot: a report that adds up while the numbers change. */
#include "example.h"

static long sum(lsm_keyspace *ks, lsm_snapshot *snapshot) {
  lsm_error *err = NULL;
  lsm_read_options read = LSM_READ_OPTIONS_INIT;
  read.snapshot = snapshot;
  lsm_iter *it = NULL;
  lsm_entry e;
  long total = 0;
  MUST(lsm_iter_open(ks, &read, &it, &err));
  while (MUST(lsm_iter_next(it, &e, &err)) == LSM_OK) total += (long)e.value_len;
  lsm_iter_close(it);
  return total;
}

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "snapshot");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  lsm_snapshot *snapshot = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  for (unsigned char i = 0; i < 100; i++) MUST(lsm_put(ks, NULL, &i, 1, "0123456789", 10, &err));

  MUST(lsm_snapshot_new(db, &snapshot, &err));
  for (unsigned char i = 0; i < 50; i++) MUST(lsm_delete(ks, NULL, &i, 1, &err));
  long before = sum(ks, snapshot), now = sum(ks, NULL);
  printf("at sequence number %llu: %ld bytes; now: %ld bytes\n", (unsigned long long)lsm_snapshot_sequence(snapshot),
         before, now);
  lsm_snapshot_release(snapshot);

  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return before == 1000 && now == 500 ? 0 : 1;
}
