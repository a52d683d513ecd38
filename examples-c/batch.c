/* A transfer between two accounts: both writes happen or none, and they are on the device before the call returns. */
#include "example.h"

static long balance(lsm_keyspace *ks, const char *name) {
  lsm_error *err = NULL;
  char text[32];
  size_t len = 0;
  if (MUST(lsm_get(ks, NULL, name, strlen(name), text, sizeof text - 1, &len, &err)) != LSM_OK) return 0;
  text[len] = 0;
  return strtol(text, NULL, 10);
}
static void set(lsm_batch *batch, lsm_keyspace *ks, const char *name, long amount) {
  lsm_error *err = NULL;
  char text[32];
  int len = snprintf(text, sizeof text, "%ld", amount);
  MUST(lsm_batch_put(batch, ks, name, strlen(name), text, (size_t)len, &err));
}

int main(int argc, char **argv) {
  const char *path = example_path(argc, argv, "batch");
  lsm_error *err = NULL;
  lsm_db *db = NULL;
  lsm_batch *batch = NULL;
  MUST(lsm_open(path, NULL, &db, &err));
  lsm_keyspace *ks = lsm_default_keyspace(db);
  lsm_write_options durable = LSM_WRITE_OPTIONS_INIT;
  durable.durability = LSM_DURABILITY_FSYNC;

  MUST(lsm_batch_new(db, &batch, &err));
  set(batch, ks, "alice", 100);
  set(batch, ks, "bob", 20);
  MUST(lsm_write(db, &durable, batch, NULL, &err));

  lsm_batch_clear(batch);
  set(batch, ks, "alice", balance(ks, "alice") - 30);
  set(batch, ks, "bob", balance(ks, "bob") + 30);
  uint64_t seq = 0;
  MUST(lsm_write(db, &durable, batch, &seq, &err));
  lsm_batch_free(batch);
  printf("alice %ld, bob %ld, at sequence number %llu\n", balance(ks, "alice"), balance(ks, "bob"), (unsigned long long)seq);
  int right = balance(ks, "alice") == 70 && balance(ks, "bob") == 50;

  MUST(lsm_close(db, &err));
  MUST(lsm_destroy(path, &err));
  return right ? 0 : 1;
}
