/* fork: the child's handles answer FORKED, its frees do nothing, a pinned value stays readable, the child does not keep
 * the folder locked, and it can open a database of its own. */
#include "check.h"

#include <fcntl.h>
#include <sys/wait.h>

#define FORKED(call) CODE(call, LSM_E_FORKED)

static lsm_db *db;
static lsm_keyspace *ks;
static lsm_iter *it;
static lsm_snapshot *snap;
static lsm_batch *batch;
static lsm_value *value;

static void in_the_child(void) {
  lsm_entry e;
  size_t len = 0;
  lsm_error *err = NULL;
  FORKED(lsm_get(ks, NULL, "k", 1, NULL, 0, &len, &err));
  CHECK(lsm_error_code(err) == LSM_E_FORKED);
  lsm_error_free(err);
  FORKED(put(ks, "k", "child"));
  FORKED(lsm_delete(ks, NULL, "k", 1, NULL));
  FORKED(lsm_iter_next(it, &e, NULL));
  FORKED(lsm_iter_seek(it, 0, NULL, 0, &e, NULL));
  FORKED(lsm_iter_open(ks, NULL, &it, NULL));
  FORKED(lsm_batch_put(batch, ks, "k", 1, "v", 1, NULL));
  FORKED(lsm_write(db, NULL, batch, NULL, NULL));
  FORKED(lsm_snapshot_new(db, &snap, NULL));
  FORKED(lsm_sync(db, NULL));
  FORKED(lsm_flush(db, NULL, NULL));
  FORKED(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  FORKED(lsm_property(db, NULL, "stats", &(char *){0}, NULL));
  FORKED(lsm_keyspace_open(db, "x", NULL, &(lsm_keyspace *){0}, NULL));
  CHECK(lsm_batch_count(batch) == 0 && lsm_snapshot_sequence(snap) == 0);
  const uint8_t *data = lsm_value_data(value, &len);
  CHECK(same(data, len, "pinned"));
  lsm_iter_close(it);
  lsm_snapshot_release(snap);
  lsm_batch_free(batch);
  lsm_value_release(value);
  lsm_keyspace_release(ks);
  data = lsm_value_data(value, &len); /* the release did nothing */
  CHECK(same(data, len, "pinned"));
  FORKED(lsm_close(db, NULL));
  FORKED(lsm_close(db, NULL));
  lsm_db *mine = open_or_die(fresh("child"));
  OK(put(lsm_default_keyspace(mine), "mine", "1"));
  CHECK(has(lsm_default_keyspace(mine), NULL, "mine", "1"));
  OK(lsm_close(mine, NULL));
}

static void run(void) {
  const char *path = fresh("fork");
  db = open_or_die(path);
  ks = lsm_default_keyspace(db);
  const uint8_t *data;
  size_t len;
  OK(put(ks, "k", "pinned"));
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  OK(lsm_snapshot_new(db, &snap, NULL));
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_batch_put(batch, ks, "b", 1, "1", 1, NULL));
  OK(lsm_get_pinned(ks, NULL, "k", 1, &value, &data, &len, NULL));
  int ready[2], go[2];
  CHECK(pipe(ready) == 0 && pipe(go) == 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    in_the_child();
    char byte = 0;
    if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(3);
    _exit(checks_failed ? 1 : 0); /* lives on until here, without the lock */
  }
  char byte = 0;
  CHECK(read(ready[0], &byte, 1) == 1);
  /* The parent is not disturbed. */
  CHECK(has(ks, NULL, "k", "pinned"));
  OK(put(ks, "k", "parent"));
  OK(lsm_write(db, NULL, batch, NULL, NULL));
  lsm_entry e;
  OK(lsm_iter_next(it, &e, NULL));
  CHECK(same(e.value, e.value_len, "pinned"));
  OK(lsm_close(db, NULL));
  db = open_or_die(path); /* the living child does not hold the lock */
  ks = lsm_default_keyspace(db);
  CHECK(has(ks, NULL, "k", "parent") && has(ks, NULL, "b", "1"));
  OK(lsm_close(db, NULL));
  CHECK(write(go[1], &byte, 1) == 1);
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  lsm_iter_close(it);
  lsm_snapshot_release(snap);
  lsm_batch_free(batch);
  lsm_value_release(value);

  /* Many forks while other work goes on: exit in the child flushes, unlocks and deletes nothing. */
  db = open_or_die(path);
  ks = lsm_default_keyspace(db);
  for (int i = 0; i < (quick ? 3 : 20); i++) {
    char key[16];
    snprintf(key, sizeof key, "f%d", i);
    OK(put(ks, key, key));
    fflush(NULL);
    child = fork();
    if (child == 0) exit(put(ks, key, "child") == LSM_E_FORKED ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  lsm_db *second = NULL;
  CODE(lsm_open(path, NULL, &second, NULL), LSM_E_LOCKED);
  child = fork();
  if (child == 0) { /* another process sees the lock of the parent */
    lsm_db *mine = NULL;
    _exit(lsm_open(path, NULL, &mine, NULL) == LSM_E_LOCKED ? 0 : 1);
  }
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  for (int i = 0; i < (quick ? 3 : 20); i++) {
    char key[16];
    snprintf(key, sizeof key, "f%d", i);
    CHECK(has(ks, NULL, key, key));
  }
  OK(lsm_close(db, NULL));
}
