/* lsm_verify, lsm_repair, lsm_resume: every NULL, every state of a database, and what they are for. */
#include "check.h"

#include <fcntl.h>
#include <glob.h>
#include <sys/wait.h>

/* The first file of a folder that matches; "" if none does. */
static const char *first_file(const char *folder, const char *pattern) {
  static char found[4200];
  char all[4200];
  glob_t g;
  snprintf(all, sizeof all, "%s/%s", folder, pattern);
  found[0] = 0;
  if (glob(all, 0, NULL, &g) == 0) {
    snprintf(found, sizeof found, "%s", g.gl_pathv[0]);
    globfree(&g);
  }
  return found;
}
static void flip(const char *path, long at) {
  FILE *f = fopen(path, "r+b");
  int byte;
  CHECK(f != NULL);
  if (f == NULL) return;
  fseek(f, at, SEEK_SET);
  byte = fgetc(f);
  fseek(f, at, SEEK_SET);
  fputc(byte ^ 1, f);
  fclose(f);
}
static lsm_db *filled(const char *path) {
  lsm_db *db = open_or_die(path);
  for (int i = 0; i < 2000; i++) {
    char key[16], value[64];
    snprintf(key, sizeof key, "key%05d", i);
    snprintf(value, sizeof value, "value %d %d %d", i, i * 7, i * 131);
    OK(put(lsm_default_keyspace(db), key, value));
  }
  OK(lsm_flush(db, NULL, NULL));
  return db;
}

static void refused_arguments(void) {
  char untouched, *report = &untouched;
  lsm_error *err = NULL;
  INVALID(lsm_verify(NULL, &report, NULL));
  INVALID(lsm_resume(NULL, NULL));
  INVALID(lsm_repair(NULL, NULL, &report, NULL));
  INVALID(lsm_repair("", NULL, &report, NULL));
  const char *path = fresh("arguments");
  INVALID(lsm_repair(path, NULL, NULL, NULL));
  CODE(lsm_repair(path, NULL, &report, &err), LSM_E_IO);
  CHECK(lsm_error_os(err) == ENOENT && strstr(lsm_error_message(err), path) != NULL);
  lsm_error_free(err);
  CHECK(mkdir(path, 0700) == 0);
  INVALID(lsm_repair(path, NULL, &report, NULL)); /* no database folder */
  lsm_db *db = open_or_die(path);
  INVALID(lsm_verify(db, NULL, NULL));
  CODE(lsm_repair(path, NULL, &report, NULL), LSM_E_LOCKED);
  OK(lsm_resume(db, NULL));
  OK(lsm_close(db, NULL));
  CLOSED(lsm_verify(db, &report, NULL));
  CLOSED(lsm_resume(db, NULL));
  lsm_options *o = lsm_options_new();
  OK(lsm_options_set(o, "mode", "ro", NULL));
  INVALID(lsm_repair(path, o, &report, NULL));
  CHECK(report == &untouched);
  OK(lsm_open(path, o, &db, NULL));
  CODE(lsm_repair(path, NULL, &report, NULL), LSM_E_LOCKED);
  CODE(lsm_resume(db, NULL), LSM_E_READONLY);
  OK(lsm_verify(db, &report, NULL));
  CHECK(strstr(report, "\"result\": \"sound\"") != NULL);
  lsm_free(report);
  OK(lsm_close(db, NULL));
  lsm_options_free(o);
}

static void damage(void) {
  const char *path = fresh("damage");
  char *report = NULL;
  lsm_error *err = NULL;
  lsm_db *db = filled(path);
  OK(lsm_verify(db, &report, &err));
  CHECK(err == NULL && strstr(report, "\"result\": \"sound\"") != NULL && strstr(report, "\"table_entries\": 2000") != NULL);
  lsm_free(report);
  const char *table = first_file(path, "*.sst");
  const char *name = strrchr(table, '/') + 1;
  flip(table, 5000);
  report = NULL;
  CODE(lsm_verify(db, &report, &err), LSM_E_CORRUPTION);
  CHECK(report != NULL && strstr(report, name) != NULL && strstr(report, "\"result\": \"damaged\"") != NULL);
  CHECK(strstr(lsm_error_message(err), name) != NULL);
  lsm_error_free(err);
  lsm_free(report);
  lsm_close(db, NULL);
  OK(lsm_repair(path, NULL, &report, NULL));
  CHECK(strstr(report, "\"result\": \"repaired\"") != NULL && strstr(report, "key_from") != NULL);
  CHECK(strstr(report, ".sst.damaged") != NULL && first_file(path, "*.sst.damaged")[0] != 0);
  lsm_free(report);
  OK(lsm_repair(path, NULL, &report, NULL));
  CHECK(strstr(report, "\"result\": \"sound\"") != NULL);
  lsm_free(report);
  db = open_or_die(path);
  OK(lsm_verify(db, &report, NULL));
  lsm_free(report);
  long there = 0;
  for (int i = 0; i < 2000; i++) {
    char key[16], value[64];
    snprintf(key, sizeof key, "key%05d", i);
    snprintf(value, sizeof value, "value %d %d %d", i, i * 7, i * 131);
    if (has(lsm_default_keyspace(db), NULL, key, value)) there++;
    else CHECK(has(lsm_default_keyspace(db), NULL, key, NULL));
  }
  /* One block of about 4 KiB is lost, no more. */
  CHECK(there > 1500 && there < 2000);
  OK(lsm_close(db, NULL));
  /* CURRENT and manifest gone: everything that is left is found again. */
  CHECK(unlink(first_file(path, "CURRENT")) == 0);
  CODE(lsm_open(path, NULL, &db, NULL), LSM_E_CORRUPTION);
  OK(lsm_repair(path, NULL, &report, NULL));
  lsm_free(report);
  CHECK(unlink(first_file(path, "MANIFEST-*[0-9]")) == 0 && unlink(first_file(path, "CURRENT")) == 0);
  OK(lsm_repair(path, NULL, &report, NULL));
  lsm_free(report);
  db = open_or_die(path);
  uint64_t keys = 0;
  OK(lsm_property_u64(db, NULL, "keys.estimate", &keys, NULL));
  CHECK((long)keys == there);
  OK(lsm_close(db, NULL));
}

static lsm_db *in_callback;
static long busy;
static void on_line(void *ctx, int32_t level, const char *message, size_t len) LSM_NOEXCEPT {
  char *report = NULL;
  (void)ctx, (void)level, (void)message, (void)len;
  lsm_db *db = __atomic_load_n(&in_callback, __ATOMIC_ACQUIRE);
  if (db == NULL) return;
  if (lsm_verify(db, &report, NULL) == LSM_E_BUSY && lsm_resume(db, NULL) == LSM_E_BUSY &&
      lsm_repair("/nowhere", NULL, &report, NULL) == LSM_E_BUSY)
    __atomic_add_fetch(&busy, 1, __ATOMIC_RELAXED);
}

static void inside_callbacks_and_children(void) {
  const char *path = fresh("callbacks");
  lsm_log_callbacks table = {sizeof table, NULL, NULL, on_line};
  lsm_options *o = lsm_options_new();
  lsm_db *db = NULL;
  OK(lsm_options_set_callbacks(o, "log", &table, NULL));
  OK(lsm_open(path, o, &db, NULL));
  __atomic_store_n(&in_callback, db, __ATOMIC_RELEASE);
  OK(put(lsm_default_keyspace(db), "a", "b"));
  OK(lsm_flush(db, NULL, NULL));
  __atomic_store_n(&in_callback, (lsm_db *)NULL, __ATOMIC_RELEASE);
  CHECK(busy > 0);
  pid_t child = fork();
  if (child == 0) {
    char *report = NULL;
    int right = lsm_verify(db, &report, NULL) == LSM_E_FORKED && lsm_resume(db, NULL) == LSM_E_FORKED &&
                lsm_repair(path, NULL, &report, NULL) == LSM_E_LOCKED && report == NULL;
    _exit(right ? 0 : 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  OK(lsm_close(db, NULL));
  lsm_options_free(o);
}

static void run(void) {
  refused_arguments();
  damage();
  inside_callbacks_and_children();
}
