/* Sixty ways to call the library wrongly. Each must answer a code and leave the process and the database whole. */
#include "check.h"

#include <fcntl.h>
#include <pthread.h>

static lsm_db *db, *other, *gone;
static lsm_keyspace *ks, *gone_ks;
static int cases;
#define CASE(statement) do { cases++; statement; CHECK(has(ks, NULL, "witness", "here")); } while (0)

static void pointers(void) {
  size_t len = 0;
  lsm_entry e;
  uint64_t words[32] = {0}; /* aligned memory that is no handle */
  uint64_t *fake = (uint64_t *)(((uintptr_t)words + 63) & ~(uintptr_t)63);
  lsm_batch *batch = NULL;
  lsm_iter *it = NULL;
  lsm_snapshot *snap = NULL;
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  OK(lsm_snapshot_new(db, &snap, NULL));
  CASE(INVALID(lsm_put((lsm_keyspace *)(void *)fake, NULL, "k", 1, "v", 1, NULL)));
  CASE(INVALID(lsm_sync((lsm_db *)(void *)fake, NULL)));
  CASE(INVALID(lsm_close((lsm_db *)(void *)fake, NULL)));
  CASE(INVALID(lsm_iter_next((lsm_iter *)(void *)fake, &e, NULL)));
  CASE(INVALID(lsm_batch_put((lsm_batch *)(void *)fake, ks, "k", 1, "v", 1, NULL)));
  CASE(lsm_iter_close((lsm_iter *)(void *)fake));
  CASE(lsm_batch_free((lsm_batch *)(void *)fake));
  CASE(lsm_snapshot_release((lsm_snapshot *)(void *)fake));
  CASE(lsm_value_release((lsm_value *)(void *)fake));
  CASE(lsm_keyspace_release((lsm_keyspace *)(void *)fake));
  CASE(CHECK(lsm_value_data((lsm_value *)(void *)fake, &len) == NULL));
  CASE(INVALID(lsm_put((lsm_keyspace *)(void *)db, NULL, "k", 1, "v", 1, NULL)));
  CASE(INVALID(lsm_sync((lsm_db *)(void *)ks, NULL)));
  CASE(INVALID(lsm_iter_next((lsm_iter *)(void *)batch, &e, NULL)));
  CASE(INVALID(lsm_batch_delete((lsm_batch *)(void *)it, ks, "k", 1, NULL)));
  CASE(lsm_iter_close((lsm_iter *)(void *)batch));
  CASE(lsm_batch_free((lsm_batch *)(void *)snap));
  CASE(INVALID(lsm_iter_next((lsm_iter *)(void *)((char *)(void *)it + 1), &e, NULL)));
  CASE(INVALID(lsm_put((lsm_keyspace *)(void *)((char *)(void *)ks + 4), NULL, "k", 1, "v", 1, NULL)));
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  r.snapshot = (lsm_snapshot *)(void *)it;
  CASE(INVALID(lsm_get(ks, &r, "k", 1, NULL, 0, &len, NULL)));
  r.snapshot = (lsm_snapshot *)(void *)fake;
  CASE(INVALID(lsm_iter_open(ks, &r, &it, NULL)));
  lsm_iter_close(it);
  lsm_batch_free(batch);
  lsm_snapshot_release(snap);
}

static void lifetimes(void) {
  size_t len = 0;
  lsm_entry e;
  lsm_batch *batch = NULL;
  lsm_iter *it = NULL;
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  lsm_iter_close(it);
  CASE(CLOSED(lsm_iter_next(it, &e, NULL)));
  CASE(CLOSED(lsm_iter_seek(it, LSM_SEEK_LAST, NULL, 0, &e, NULL)));
  CASE(CLOSED(lsm_iter_refresh(it, NULL)));
  CASE(lsm_iter_close(it));
  lsm_batch_free(batch);
  CASE(CLOSED(lsm_batch_put(batch, ks, "k", 1, "v", 1, NULL)));
  CASE(CLOSED(lsm_write(db, NULL, batch, NULL, NULL)));
  CASE(lsm_batch_free(batch));
  CASE(lsm_batch_clear(batch));
  CASE(CLOSED(lsm_close(gone, NULL)));
  CASE(CLOSED(lsm_put(gone_ks, NULL, "k", 1, "v", 1, NULL)));
  CASE(CLOSED(lsm_get(gone_ks, NULL, "k", 1, NULL, 0, &len, NULL)));
  CASE(lsm_keyspace_release(gone_ks));
  CASE(CLOSED(lsm_keyspace_open(gone, "x", NULL, &gone_ks, NULL)));
  CASE(CLOSED(lsm_metrics(gone, 0, &(char *){0}, NULL)));
  CASE(INVALID(lsm_flush(db, lsm_default_keyspace(other), NULL)));
  CASE(INVALID(lsm_property(db, lsm_default_keyspace(other), "stats", &(char *){0}, NULL)));
  lsm_error *err = (lsm_error *)(void *)&e; /* overwritten, never freed */
  CASE(INVALID(lsm_put(ks, NULL, NULL, 1, NULL, 0, &err)));
  lsm_error_free(err);
  err = (lsm_error *)(void *)&e; /* untouched on success and on positive outcomes */
  CASE(CODE(lsm_exists(ks, NULL, "absent", 6, NULL, &err), LSM_NOT_FOUND));
  CHECK(err == (lsm_error *)(void *)&e);
}

static void arguments(void) {
  size_t len = 3;
  char buffer[8];
  lsm_db *out = NULL;
  lsm_entry e;
  lsm_iter *it = NULL;
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  CASE(INVALID(lsm_put(ks, NULL, "k", SIZE_MAX, "v", 1, NULL)));
  CASE(INVALID(lsm_put(ks, NULL, "k", 1, "v", SIZE_MAX, NULL)));
  CASE(INVALID(lsm_get(ks, NULL, "k", SIZE_MAX, buffer, 8, &len, NULL)));
  CASE(INVALID(lsm_iter_seek(it, 99, "k", 1, &e, NULL)));
  CASE(INVALID(lsm_iter_seek(it, LSM_SEEK_GE, "k", SIZE_MAX, &e, NULL)));
  CASE(INVALID(lsm_iter_read(it, -1, &e, 1, &len, NULL)));
  CASE(INVALID(lsm_metrics(db, 2, &(char *){0}, NULL)));
  CASE(INVALID(lsm_metrics(db, 0, NULL, NULL)));
  CASE(CODE(lsm_property(db, NULL, "no.such.property", &(char *){0}, NULL), LSM_NOT_FOUND));
  CASE(CODE(lsm_property_u64(db, NULL, "levels.99.files.x", &(uint64_t){0}, NULL), LSM_NOT_FOUND));
  CASE(INVALID(lsm_property(db, NULL, NULL, &(char *){0}, NULL)));
  CASE(INVALID(lsm_property(db, NULL, "stats", NULL, NULL)));
  CASE(INVALID(lsm_property_u64(db, NULL, "cache.hits", NULL, NULL)));
  CASE(INVALID(lsm_compact(ks, NULL, 4, NULL, 0, NULL)));
  CASE(INVALID(lsm_compact(NULL, NULL, 0, NULL, 0, NULL)));
  char *path = (char *)malloc(9001);
  memset(path, 'p', 9000);
  path[9000] = 0;
  CASE(CHECK(lsm_open(path, NULL, &out, NULL) < 0 && out == NULL));
  CASE(CHECK(lsm_destroy(path, NULL) < 0));
  free(path);
  CASE(CHECK(lsm_open("/proc/no/such/place", NULL, &out, NULL) < 0 && out == NULL));
  CASE(CHECK(lsm_open("/dev/null", NULL, &out, NULL) < 0 && out == NULL));
  uint8_t packed[16];
  memset(packed, 0xff, sizeof packed);
  CASE(INVALID(lsm_write_packed(ks, NULL, packed, sizeof packed, NULL, NULL)));
  CASE(INVALID(lsm_multi_get_packed(ks, NULL, packed, sizeof packed, UINT32_MAX, buffer, 8, &len, NULL)));
  CASE(INVALID(lsm_multi_get(ks, NULL, SIZE_MAX, (const void *const *)(void *)packed, &len, (lsm_value **)(void *)packed,
                             (int32_t *)(void *)packed, NULL)));
  CHECK(len == 3);
  lsm_iter_close(it);
}

static void *share_batch(void *arg) {
  for (int i = 0; i < 20000 / (quick ? 20 : 1); i++) {
    int32_t code = lsm_batch_put((lsm_batch *)arg, ks, "k", 1, "v", 1, NULL);
    if (code != LSM_OK && code != LSM_E_BUSY) __atomic_add_fetch(&checks_failed, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void threads(void) {
  lsm_batch *batch = NULL;
  OK(lsm_batch_new(db, &batch, NULL));
  pthread_t t[2];
  CASE(for (int i = 0; i < 2; i++) pthread_create(&t[i], NULL, share_batch, batch);
       for (int i = 0; i < 2; i++) pthread_join(t[i], NULL));
  CHECK(lsm_batch_count(batch) > 0);
  CASE(lsm_batch_free(batch));
}

static void run(void) {
  db = open_or_die(fresh("abuse"));
  other = open_or_die(fresh("abuse2"));
  gone = open_or_die(fresh("abuse3"));
  gone_ks = lsm_default_keyspace(gone);
  OK(lsm_close(gone, NULL));
  ks = lsm_default_keyspace(db);
  OK(put(ks, "witness", "here"));
  pointers();
  lifetimes();
  arguments();
  threads();
  CHECK(cases >= 60);
  printf("%d cases\n", cases);
  OK(lsm_close(db, NULL));
  OK(lsm_close(other, NULL));
}
