/* Flush, compact, properties, metrics, cache, the log callback, 1,000 opens without a leak. */
#include "check.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>

struct log { long lines, drops, depth; int busy_seen; lsm_db *db; };

static void on_line(void *ctx, int32_t level, const char *message, size_t len) LSM_NOEXCEPT {
  struct log *log = (struct log *)ctx;
  __atomic_add_fetch(&log->lines, 1, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&log->depth, 1, __ATOMIC_SEQ_CST) != 1) checks_failed++, fprintf(stderr, "log re-entered\n");
  if (level < LSM_LOG_ERROR || level > LSM_LOG_DEBUG || message[len] != 0 || strlen(message) != len) checks_failed++;
  lsm_db *db = __atomic_load_n(&log->db, __ATOMIC_ACQUIRE);
  if (db != NULL) {
    if (lsm_close(db, NULL) == LSM_E_BUSY) __atomic_store_n(&log->busy_seen, 1, __ATOMIC_RELAXED);
    else checks_failed++, fprintf(stderr, "lsm_close inside a callback was not BUSY\n");
  }
  __atomic_sub_fetch(&log->depth, 1, __ATOMIC_SEQ_CST);
}
static void on_drop(void *ctx) LSM_NOEXCEPT { __atomic_add_fetch(&((struct log *)ctx)->drops, 1, __ATOMIC_SEQ_CST); }

static void logging(void) {
  struct log log = {0, 0, 0, 0, NULL};
  lsm_log_callbacks table = {sizeof table, &log, on_drop, on_line};
  lsm_options *o = lsm_options_new();
  lsm_log_callbacks bad = table;
  bad.size = 4;
  INVALID(lsm_options_set_callbacks(o, "log", &bad, NULL));
  bad.size = 0;
  INVALID(lsm_options_set_callbacks(o, "log", &bad, NULL));
  bad = table, bad.log = NULL;
  INVALID(lsm_options_set_callbacks(o, "log", &bad, NULL));
  bad = table, bad.size = offsetof(lsm_log_callbacks, log); /* ends before log: as if it were NULL */
  INVALID(lsm_options_set_callbacks(o, "log", &bad, NULL));
  CHECK(log.drops == 0);
  OK(lsm_options_set_callbacks(o, "log", &table, NULL));
  lsm_options *copy = lsm_options_clone(o);
  lsm_options_free(copy);
  CHECK(log.drops == 0);
  const char *path = fresh("logging");
  lsm_db *db = NULL;
  OK(lsm_open(path, o, &db, NULL));
  lsm_options_free(o);
  CHECK(log.drops == 0);
  __atomic_store_n(&log.db, db, __ATOMIC_RELEASE);
  for (int i = 0; i < 100; i++) {
    char key[16];
    snprintf(key, sizeof key, "%d", i);
    OK(put(lsm_default_keyspace(db), key, key));
  }
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(lsm_default_keyspace(db), NULL, 0, NULL, 0, NULL));
  CHECK(log.lines > 0); /* a flush is worth a line */
  CHECK(log.busy_seen == 1);
  __atomic_store_n(&log.db, (lsm_db *)NULL, __ATOMIC_RELEASE);
  OK(lsm_close(db, NULL));
  CHECK(log.drops == 1);
  char file[4200];
  snprintf(file, sizeof file, "%s/LOG", path);
  CHECK(access(file, F_OK) != 0); /* the callback takes the place of the file */
  OK(lsm_destroy(path, NULL));
  /* Replaced before use: dropped at once; never used: dropped with the bag. */
  struct log one = {0, 0, 0, 0, NULL}, two = {0, 0, 0, 0, NULL};
  o = lsm_options_new();
  table.ctx = &one;
  OK(lsm_options_set_callbacks(o, "log", &table, NULL));
  table.ctx = &two;
  OK(lsm_options_set_callbacks(o, "log", &table, NULL));
  CHECK(one.drops == 1 && two.drops == 0);
  lsm_options_free(o);
  CHECK(one.drops == 1 && two.drops == 1);
}

static long entries_of(const char *path) {
  DIR *dir = opendir(path);
  long n = 0;
  if (dir == NULL) return -1;
  while (readdir(dir) != NULL) n++;
  closedir(dir);
  return n;
}
static long resident_kib(void) {
  FILE *f = fopen("/proc/self/statm", "r");
  long size = 0, resident = 0;
  if (f == NULL || fscanf(f, "%ld %ld", &size, &resident) != 2) resident = 0;
  if (f != NULL) fclose(f);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* What malloc has given out and not got back, in all its arenas; 0 where it does not say. */
static long live_bytes(void) {
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
  return (long)mallinfo2().uordblks;
#else
  return 0;
#endif
}

/* Each open leaves two slots of at most 256 bytes, the database's and its default keyspace's, and nothing else: that is
 * counted to the byte. The resident set also holds what malloc keeps for later, an arena for each thread that ever ran
 * at the same time as others, so its limit is wider: one page left mapped by each open would break it. */
static void open_close(void) {
  const char *path = fresh("openclose");
  long fds = 0, threads = 0, memory = 0, live = 0;
  int rounds = quick ? 20 : 1000, warm = quick ? 10 : 200; /* until the caches of malloc are full too */
  /* Freed iterators wait, 1,024 of them: that many are there before anything is counted. */
  lsm_db *first = open_or_die(path);
  for (int i = 0; i < 1100; i++) {
    lsm_iter *it = NULL;
    OK(lsm_iter_open(lsm_default_keyspace(first), NULL, &it, NULL));
    lsm_iter_close(it);
  }
  OK(lsm_close(first, NULL));
  for (int i = 0; i < rounds + warm; i++) {
    if (i == warm) fds = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task"), memory = resident_kib(), live = live_bytes();
    lsm_db *db = open_or_die(path);
    lsm_keyspace *ks = lsm_default_keyspace(db);
    lsm_iter *it = NULL;
    lsm_entry e;
    if (i == 0) OK(put(ks, "k", "v"));
    OK(lsm_iter_open(ks, NULL, &it, NULL));
    OK(lsm_iter_next(it, &e, NULL));
    lsm_iter_close(it);
    OK(lsm_close(db, NULL));
  }
  CHECK(entries_of("/proc/self/fd") == fds);
  CHECK(entries_of("/proc/self/task") == threads);
  long grown = resident_kib() - memory, kept = (live_bytes() - live) / rounds;
  printf("after %d opens: %+ld bytes allocated an open, %+ld KiB resident\n", rounds, kept, grown);
  if (!quick && getenv("LSM_SANITIZED") == NULL) CHECK(kept < 512 && grown < 3 * 1024);
}

static void run(void) {
  lsm_db *db = open_or_die(fresh("admin"));
  lsm_keyspace *ks = lsm_default_keyspace(db), *two = NULL;
  OK(lsm_keyspace_open(db, "two", NULL, &two, NULL));
  for (int i = 0; i < 1000; i++) {
    char key[16], value[200];
    snprintf(key, sizeof key, "%06d", i);
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = 0;
    OK(put(ks, key, value));
    OK(put(two, key, value));
  }
  OK(lsm_flush(db, ks, NULL));
  OK(lsm_flush(db, NULL, NULL));
  OK(lsm_compact(ks, NULL, 0, NULL, 0, NULL));
  OK(lsm_compact(ks, "000100", 6, "000200", 6, NULL));
  INVALID(lsm_flush(NULL, NULL, NULL));
  static const char *const numbers[] = {"cache.hits", "cache.misses", "cache.bytes", "memtable.bytes", "memory.bytes",
    "disk.bytes", "wal.bytes", "levels.0.files", "levels.0.bytes", "levels.6.files", "compaction.jobs_run",
    "compaction.jobs_running", "compaction.bytes_read", "compaction.bytes_written", "compaction.parallel_merges",
    "compaction.pending_bytes", "flush.jobs_run", "stall.micros", "keys.estimate"};
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
    uint64_t number = 0;
    char *text = NULL;
    int32_t code = lsm_property_u64(db, NULL, numbers[i], &number, NULL);
    if (code != LSM_OK) fprintf(stderr, "property %s: %s\n", numbers[i], lsm_code_name(code)), checks_failed++;
    OK(lsm_property_u64(db, ks, numbers[i], &number, NULL));
    OK(lsm_property(db, NULL, numbers[i], &text, NULL));
    lsm_free(text);
  }
  static const char *const texts[] = {"stats", "levels", "options", "wal.io"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    char *text = NULL;
    OK(lsm_property(db, NULL, texts[i], &text, NULL));
    CHECK(text != NULL && text[0] != 0);
    if (i == 3) CHECK(strcmp(text, "mmap") == 0 || strcmp(text, "write") == 0);
    lsm_free(text);
  }
  uint64_t number = 0;
  OK(lsm_property_u64(db, ks, "flush.jobs_run", &number, NULL));
  CHECK(number >= 1);
  OK(lsm_property_u64(db, ks, "disk.bytes", &number, NULL));
  CHECK(number > 0);
  char *text = NULL;
  OK(lsm_metrics(db, LSM_METRICS_PROMETHEUS, &text, NULL));
  CHECK(text != NULL && strstr(text, "lsm") != NULL);
  lsm_free(text);
  OK(lsm_metrics(db, LSM_METRICS_JSON, &text, NULL));
  CHECK(text != NULL && text[0] == '{');
  lsm_free(text);
  char buffer[256];
  size_t len;
  OK(lsm_get(ks, NULL, "000500", 6, buffer, sizeof buffer, &len, NULL));
  OK(lsm_cache_clear(db, NULL));
  OK(lsm_property_u64(db, NULL, "cache.bytes", &number, NULL));
  INVALID(lsm_cache_clear(NULL, NULL));
  OK(lsm_get(ks, NULL, "000500", 6, buffer, sizeof buffer, &len, NULL));
  uint64_t bytes = 0, keys = 0;
  OK(lsm_approximate(ks, NULL, 0, NULL, 0, &bytes, &keys, NULL));
  CHECK(keys > 0);
  lsm_keyspace_release(two);
  OK(lsm_close(db, NULL));
  logging();
  open_close();
}
