/* The C interface called wrongly, as a table: each row has a name, the code that the header promises, and a call. After
 * each: an error object exactly where the code is negative, saying the same code; no output written that the call did not
 * promise; the database whole. LSM_ABUSE_TABLE=1 prints the rows.
 *
 * What is in place of a handle here: NULL, one of another kind, one that was freed, one whose database was closed, memory
 * that is no handle, one of another database; in other threads, in a callback, in a forked child. */
#include "check.h"

#include <pthread.h>
#include <sys/wait.h>

enum { ROWS_MAX = 512, ROWS_MIN = 300 };
static const char *names[ROWS_MAX];
static int rows;

static lsm_db *db, *other, *gone, *reading;
static lsm_keyspace *ks, *other_ks, *gone_ks, *dropped_ks, *released_ks, *reading_ks;
static lsm_iter *it, *gone_it, *freed_it;
static lsm_snapshot *snap, *other_snap, *gone_snap, *freed_snap;
static lsm_batch *batch, *other_batch, *gone_batch, *freed_batch;
static lsm_value *value, *freed_value;
static lsm_options *options;
static uint64_t junk[32]; /* aligned memory that is no handle */
#define FAKE(type) ((type *)(void *)(((uintptr_t)junk + 63) & ~(uintptr_t)63))
#define AS(type, handle) ((type *)(void *)(handle))

/* Where calls of the table put what they give; blank before each row. */
static struct {
  lsm_db *db;
  lsm_keyspace *ks;
  lsm_iter *it;
  lsm_snapshot *snap;
  lsm_batch *batch;
  lsm_value *value;
  lsm_list *list;
  const uint8_t *data;
  char *text;
  size_t len;
  uint32_t n;
  uint64_t a, b;
  lsm_entry entry;
  char buffer[16];
} out, blank;
static lsm_error *err;
static int err_asked;
/* Every second row wants to be told why. */
static lsm_error **why(void) {
  err_asked = rows % 2;
  return err_asked ? &err : NULL;
}

static void before(void) {
  memset(&blank, 0, sizeof blank);
  memset(blank.buffer, 'u', sizeof blank.buffer);
  blank.len = 777, blank.n = 777, blank.a = blank.b = 777;
  memcpy(&out, &blank, sizeof out);
  err = NULL, err_asked = 0;
}

static void after(const char *name, int32_t got, int32_t want) {
  check_code(got, want, name, __FILE__, __LINE__);
  check_that((err != NULL) == (err_asked && got < 0), name, "an error object", __LINE__);
  if (err != NULL) {
    check_code(lsm_error_code(err), got, name, "the code of the error object", __LINE__);
    check_that(lsm_error_message(err)[0] != 0, name, "the text of the error object", __LINE__);
    lsm_error_free(err);
  }
  if (want < 0) check_that(memcmp(&out, &blank, sizeof out) == 0, name, "an output was written", __LINE__);
  for (int i = 0; i < rows; i++) check_that(strcmp(names[i], name) != 0, name, "the name of two rows", __LINE__);
  check_that(has(ks, NULL, "witness", "here"), name, "the database is whole", __LINE__);
  check_that(rows < ROWS_MAX, name, "more rows than fit", __LINE__);
  if (rows < ROWS_MAX) names[rows++] = name;
  if (getenv("LSM_ABUSE_TABLE")) printf("%-64s %s\n", name, lsm_code_name(want));
}
#define ROW(name, want, call) do { before(); int32_t code_ = (call); after(name, code_, want); } while (0)
#define BAD(name, call) ROW(name, LSM_E_INVALID, call)
#define DEAD(name, call) ROW(name, LSM_E_CLOSED, call)
/* A call without a code: that it comes back is the row. */
#define HARMLESS(name, call) ROW(name, LSM_OK, (call, LSM_OK))
#define W why()

/* NULL in each place of a pointer that the header does not let be NULL. */
static void null_options(void) {
  lsm_log_callbacks table = {sizeof table, NULL, NULL, NULL};
  BAD("options_set: no bag", lsm_options_set(NULL, "block.size", "512", W));
  BAD("options_set: no key", lsm_options_set(options, NULL, "512", W));
  BAD("options_set: no value", lsm_options_set(options, "block.size", NULL, W));
  BAD("options_set_int: no bag", lsm_options_set_int(NULL, "block.size", 512, W));
  BAD("options_set_int: no key", lsm_options_set_int(options, NULL, 512, W));
  BAD("options_set_float: no bag", lsm_options_set_float(NULL, "filter.fpr", 0.1, W));
  BAD("options_set_float: no key", lsm_options_set_float(options, NULL, 0.1, W));
  BAD("options_set_callbacks: no bag", lsm_options_set_callbacks(NULL, "log", &table, W));
  BAD("options_set_callbacks: no key", lsm_options_set_callbacks(options, NULL, &table, W));
  BAD("options_set_callbacks: no table", lsm_options_set_callbacks(options, "log", NULL, W));
  BAD("options_set_callbacks: a table without a function", lsm_options_set_callbacks(options, "log", &table, W));
  table.size = 3;
  BAD("options_set_callbacks: a table of no size", lsm_options_set_callbacks(options, "log", &table, W));
  BAD("options_set_callbacks: no such callback", lsm_options_set_callbacks(options, "no.such", &table, W));
  BAD("options_get: no bag", lsm_options_get(NULL, "block.size", &out.text, W));
  BAD("options_get: no key", lsm_options_get(options, NULL, &out.text, W));
  BAD("options_get: nowhere to put it", lsm_options_get(options, "block.size", NULL, W));
  BAD("options_load: no bag", lsm_options_load(NULL, "mode = rw", 9, W));
  BAD("options_load: no text of nine bytes", lsm_options_load(options, NULL, 9, W));
  BAD("options_dump: no bag", lsm_options_dump(NULL, &out.text, W));
  BAD("options_dump: nowhere to put it", lsm_options_dump(options, NULL, W));
  BAD("options_describe: nowhere to put it", lsm_options_describe(NULL));
  HARMLESS("options_free: NULL", lsm_options_free(NULL));
  ROW("options_clone: NULL gives NULL", LSM_OK, lsm_options_clone(NULL) == NULL ? LSM_OK : LSM_E_INVALID);
}

static void null_database(void) {
  BAD("open: no path", lsm_open(NULL, NULL, &out.db, W));
  BAD("open: nowhere to put it", lsm_open(fresh("never"), NULL, NULL, W));
  BAD("destroy: no path", lsm_destroy(NULL, W));
  BAD("repair: no path", lsm_repair(NULL, NULL, &out.text, W));
  BAD("repair: nowhere to put the report", lsm_repair(fresh("never"), NULL, NULL, W));
  ROW("close: NULL", LSM_OK, lsm_close(NULL, W));
  BAD("sync: no database", lsm_sync(NULL, W));
  BAD("sequence: no database", lsm_sequence(NULL, &out.a, &out.b));
  BAD("flush: no database", lsm_flush(NULL, NULL, W));
  BAD("resume: no database", lsm_resume(NULL, W));
  BAD("verify: no database", lsm_verify(NULL, &out.text, W));
  BAD("verify: nowhere to put the report", lsm_verify(db, NULL, W));
  BAD("cache_clear: no database", lsm_cache_clear(NULL, W));
  BAD("property: no database", lsm_property(NULL, NULL, "stats", &out.text, W));
  BAD("property: no name", lsm_property(db, NULL, NULL, &out.text, W));
  BAD("property: nowhere to put it", lsm_property(db, NULL, "stats", NULL, W));
  BAD("property_u64: no database", lsm_property_u64(NULL, NULL, "cache.hits", &out.a, W));
  BAD("property_u64: no name", lsm_property_u64(db, NULL, NULL, &out.a, W));
  BAD("property_u64: nowhere to put it", lsm_property_u64(db, NULL, "cache.hits", NULL, W));
  BAD("metrics: no database", lsm_metrics(NULL, LSM_METRICS_JSON, &out.text, W));
  BAD("metrics: nowhere to put it", lsm_metrics(db, LSM_METRICS_JSON, NULL, W));
  BAD("compact: no keyspace", lsm_compact(NULL, NULL, 0, NULL, 0, W));
  BAD("compact: no key of one byte to begin at", lsm_compact(ks, NULL, 1, NULL, 0, W));
  BAD("compact: no key of one byte to end at", lsm_compact(ks, NULL, 0, NULL, 1, W));
  BAD("keyspace_open: no database", lsm_keyspace_open(NULL, "x", NULL, &out.ks, W));
  BAD("keyspace_open: no name", lsm_keyspace_open(db, NULL, NULL, &out.ks, W));
  BAD("keyspace_open: nowhere to put it", lsm_keyspace_open(db, "x", NULL, NULL, W));
  BAD("keyspace_drop: no database", lsm_keyspace_drop(NULL, "x", W));
  BAD("keyspace_drop: no name", lsm_keyspace_drop(db, NULL, W));
  BAD("keyspace_list: no database", lsm_keyspace_list(NULL, &out.list, W));
  BAD("keyspace_list: nowhere to put it", lsm_keyspace_list(db, NULL, W));
  ROW("default_keyspace: NULL gives NULL", LSM_OK, lsm_default_keyspace(NULL) == NULL ? LSM_OK : LSM_E_INVALID);
  BAD("snapshot_new: no database", lsm_snapshot_new(NULL, &out.snap, W));
  BAD("snapshot_new: nowhere to put it", lsm_snapshot_new(db, NULL, W));
  HARMLESS("frees of NULL", (lsm_keyspace_release(NULL), lsm_list_free(NULL), lsm_batch_free(NULL), lsm_value_release(NULL),
                             lsm_iter_close(NULL), lsm_snapshot_release(NULL), lsm_error_free(NULL), lsm_free(NULL)));
  HARMLESS("batch_clear: NULL", lsm_batch_clear(NULL));
  ROW("questions to NULL", LSM_OK, lsm_list_len(NULL) == 0 && lsm_list_get(NULL, 0) == NULL && lsm_batch_count(NULL) == 0 &&
      lsm_batch_bytes(NULL) == 0 && lsm_snapshot_sequence(NULL) == 0 && lsm_value_data(NULL, NULL) == NULL &&
      lsm_error_code(NULL) == 0 && lsm_error_os(NULL) == 0 && lsm_error_flags(NULL) == 0 && !*lsm_error_message(NULL) &&
      lsm_has_feature(NULL) == 0 ? LSM_OK : LSM_E_INVALID);
}

static void null_data(void) {
  const void *keys[2] = {"a", NULL};
  const size_t lens[2] = {1, 3};
  lsm_value *values[2] = {NULL, NULL};
  int32_t codes[2] = {0, 0};
  BAD("put: no keyspace", lsm_put(NULL, NULL, "k", 1, "v", 1, W));
  BAD("put: no key of one byte", lsm_put(ks, NULL, NULL, 1, "v", 1, W));
  BAD("put: no value of one byte", lsm_put(ks, NULL, "k", 1, NULL, 1, W));
  BAD("delete: no keyspace", lsm_delete(NULL, NULL, "k", 1, W));
  BAD("delete: no key of one byte", lsm_delete(ks, NULL, NULL, 1, W));
  BAD("write_packed: no keyspace", lsm_write_packed(NULL, NULL, NULL, 0, &out.a, W));
  BAD("write_packed: no eight bytes", lsm_write_packed(ks, NULL, NULL, 8, &out.a, W));
  BAD("write: no database", lsm_write(NULL, NULL, batch, &out.a, W));
  BAD("write: no batch", lsm_write(db, NULL, NULL, &out.a, W));
  BAD("batch_new: no database", lsm_batch_new(NULL, &out.batch, W));
  BAD("batch_new: nowhere to put it", lsm_batch_new(db, NULL, W));
  BAD("batch_put: no batch", lsm_batch_put(NULL, ks, "k", 1, "v", 1, W));
  BAD("batch_put: no keyspace", lsm_batch_put(batch, NULL, "k", 1, "v", 1, W));
  BAD("batch_put: no key of one byte", lsm_batch_put(batch, ks, NULL, 1, "v", 1, W));
  BAD("batch_put: no value of one byte", lsm_batch_put(batch, ks, "k", 1, NULL, 1, W));
  BAD("batch_delete: no batch", lsm_batch_delete(NULL, ks, "k", 1, W));
  BAD("batch_delete: no keyspace", lsm_batch_delete(batch, NULL, "k", 1, W));
  BAD("batch_delete: no key of one byte", lsm_batch_delete(batch, ks, NULL, 1, W));
  BAD("batch_append_packed: no batch", lsm_batch_append_packed(NULL, ks, NULL, 0, W));
  BAD("batch_append_packed: no keyspace", lsm_batch_append_packed(batch, NULL, NULL, 0, W));
  BAD("batch_append_packed: no eight bytes", lsm_batch_append_packed(batch, ks, NULL, 8, W));
  BAD("get: no keyspace", lsm_get(NULL, NULL, "k", 1, out.buffer, 16, &out.len, W));
  BAD("get: no key of one byte", lsm_get(ks, NULL, NULL, 1, out.buffer, 16, &out.len, W));
  BAD("get: no buffer of one byte", lsm_get(ks, NULL, "witness", 7, NULL, 1, &out.len, W));
  BAD("get: nowhere to put the length", lsm_get(ks, NULL, "witness", 7, out.buffer, 16, NULL, W));
  BAD("get_pinned: no keyspace", lsm_get_pinned(NULL, NULL, "k", 1, &out.value, &out.data, &out.len, W));
  BAD("get_pinned: no key of one byte", lsm_get_pinned(ks, NULL, NULL, 1, &out.value, &out.data, &out.len, W));
  BAD("get_pinned: nowhere to put the value", lsm_get_pinned(ks, NULL, "witness", 7, NULL, &out.data, &out.len, W));
  BAD("get_pinned: nowhere to put the bytes", lsm_get_pinned(ks, NULL, "witness", 7, &out.value, NULL, &out.len, W));
  BAD("get_pinned: nowhere to put the length", lsm_get_pinned(ks, NULL, "witness", 7, &out.value, &out.data, NULL, W));
  BAD("exists: no keyspace", lsm_exists(NULL, NULL, "k", 1, &out.len, W));
  BAD("exists: no key of one byte", lsm_exists(ks, NULL, NULL, 1, &out.len, W));
  BAD("multi_get: no keyspace", lsm_multi_get(NULL, NULL, 1, keys, lens, values, codes, W));
  BAD("multi_get: no keys", lsm_multi_get(ks, NULL, 1, NULL, lens, values, codes, W));
  BAD("multi_get: no lengths", lsm_multi_get(ks, NULL, 1, keys, NULL, values, codes, W));
  BAD("multi_get: no values", lsm_multi_get(ks, NULL, 1, keys, lens, NULL, codes, W));
  BAD("multi_get: no codes", lsm_multi_get(ks, NULL, 1, keys, lens, values, NULL, W));
  BAD("multi_get: no key of three bytes", lsm_multi_get(ks, NULL, 2, keys, lens, values, codes, W));
  BAD("multi_get_packed: no keyspace", lsm_multi_get_packed(NULL, NULL, NULL, 0, 0, out.buffer, 16, &out.len, W));
  BAD("multi_get_packed: no four bytes", lsm_multi_get_packed(ks, NULL, NULL, 4, 1, out.buffer, 16, &out.len, W));
  BAD("multi_get_packed: no buffer", lsm_multi_get_packed(ks, NULL, NULL, 0, 0, NULL, 16, &out.len, W));
  BAD("multi_get_packed: nowhere to put the length", lsm_multi_get_packed(ks, NULL, NULL, 0, 0, out.buffer, 16, NULL, W));
  BAD("approximate: no keyspace", lsm_approximate(NULL, NULL, 0, NULL, 0, &out.a, &out.b, W));
  BAD("approximate: no key of one byte", lsm_approximate(ks, NULL, 1, NULL, 0, &out.a, &out.b, W));
  BAD("iter_open: no keyspace", lsm_iter_open(NULL, NULL, &out.it, W));
  BAD("iter_open: nowhere to put it", lsm_iter_open(ks, NULL, NULL, W));
  BAD("iter_seek: no iterator", lsm_iter_seek(NULL, LSM_SEEK_FIRST, NULL, 0, &out.entry, W));
  BAD("iter_seek: no key of one byte", lsm_iter_seek(it, LSM_SEEK_GE, NULL, 1, &out.entry, W));
  BAD("iter_seek: nowhere to put the entry", lsm_iter_seek(it, LSM_SEEK_FIRST, NULL, 0, NULL, W));
  BAD("iter_next: no iterator", lsm_iter_next(NULL, &out.entry, W));
  BAD("iter_next: nowhere to put the entry", lsm_iter_next(it, NULL, W));
  BAD("iter_prev: no iterator", lsm_iter_prev(NULL, &out.entry, W));
  BAD("iter_prev: nowhere to put the entry", lsm_iter_prev(it, NULL, W));
  BAD("iter_read: no iterator", lsm_iter_read(NULL, LSM_FORWARD, &out.entry, 1, &out.len, W));
  BAD("iter_read: nowhere to put entries", lsm_iter_read(it, LSM_FORWARD, NULL, 1, &out.len, W));
  BAD("iter_read: nowhere to put their number", lsm_iter_read(it, LSM_FORWARD, &out.entry, 1, NULL, W));
  BAD("iter_read_packed: no iterator", lsm_iter_read_packed(NULL, LSM_FORWARD, out.buffer, 16, &out.len, &out.n, W));
  BAD("iter_read_packed: no buffer", lsm_iter_read_packed(it, LSM_FORWARD, NULL, 16, &out.len, &out.n, W));
  BAD("iter_read_packed: nowhere to put the length", lsm_iter_read_packed(it, LSM_FORWARD, out.buffer, 16, NULL, &out.n, W));
  BAD("iter_read_packed: nowhere to put the number", lsm_iter_read_packed(it, LSM_FORWARD, out.buffer, 16, &out.len, NULL, W));
  BAD("iter_refresh: no iterator", lsm_iter_refresh(NULL, W));
}

/* Handles of other kinds, handles of other databases, addresses that are no handles. */
static void wrong_handles(void) {
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  BAD("put: a database for a keyspace", lsm_put(AS(lsm_keyspace, db), NULL, "k", 1, "v", 1, W));
  BAD("put: an iterator for a keyspace", lsm_put(AS(lsm_keyspace, it), NULL, "k", 1, "v", 1, W));
  BAD("put: memory for a keyspace", lsm_put(FAKE(lsm_keyspace), NULL, "k", 1, "v", 1, W));
  BAD("put: an odd address for a keyspace", lsm_put(AS(lsm_keyspace, (char *)(void *)ks + 1), NULL, "k", 1, "v", 1, W));
  BAD("sync: a keyspace for a database", lsm_sync(AS(lsm_db, ks), W));
  BAD("sync: memory for a database", lsm_sync(FAKE(lsm_db), W));
  BAD("close: a keyspace for a database", lsm_close(AS(lsm_db, ks), W));
  BAD("close: a batch for a database", lsm_close(AS(lsm_db, batch), W));
  BAD("close: memory for a database", lsm_close(FAKE(lsm_db), W));
  BAD("flush: a snapshot for a database", lsm_flush(AS(lsm_db, snap), NULL, W));
  BAD("flush: a keyspace of another database", lsm_flush(db, other_ks, W));
  BAD("property: a keyspace of another database", lsm_property(db, other_ks, "stats", &out.text, W));
  BAD("get: a database for a keyspace", lsm_get(AS(lsm_keyspace, db), NULL, "k", 1, out.buffer, 16, &out.len, W));
  BAD("write: an iterator for a batch", lsm_write(db, NULL, AS(lsm_batch, it), &out.a, W));
  BAD("write: memory for a batch", lsm_write(db, NULL, FAKE(lsm_batch), &out.a, W));
  BAD("write: a batch of another database", lsm_write(db, NULL, other_batch, &out.a, W));
  BAD("batch_put: a snapshot for a batch", lsm_batch_put(AS(lsm_batch, snap), ks, "k", 1, "v", 1, W));
  BAD("batch_put: a keyspace of another database", lsm_batch_put(batch, other_ks, "k", 1, "v", 1, W));
  BAD("batch_delete: a keyspace of another database", lsm_batch_delete(batch, other_ks, "k", 1, W));
  BAD("batch_append_packed: a keyspace of another database", lsm_batch_append_packed(batch, other_ks, NULL, 0, W));
  BAD("iter_next: a batch for an iterator", lsm_iter_next(AS(lsm_iter, batch), &out.entry, W));
  BAD("iter_next: a value for an iterator", lsm_iter_next(AS(lsm_iter, value), &out.entry, W));
  BAD("iter_next: memory for an iterator", lsm_iter_next(FAKE(lsm_iter), &out.entry, W));
  BAD("iter_seek: a database for an iterator", lsm_iter_seek(AS(lsm_iter, db), LSM_SEEK_FIRST, NULL, 0, &out.entry, W));
  r.snapshot = AS(lsm_snapshot, it);
  BAD("get: an iterator for a snapshot", lsm_get(ks, &r, "k", 1, out.buffer, 16, &out.len, W));
  r.snapshot = FAKE(lsm_snapshot);
  BAD("iter_open: memory for a snapshot", lsm_iter_open(ks, &r, &out.it, W));
  r.snapshot = other_snap;
  BAD("get: a snapshot of another database", lsm_get(ks, &r, "k", 1, out.buffer, 16, &out.len, W));
  BAD("iter_open: a snapshot of another database", lsm_iter_open(ks, &r, &out.it, W));
  HARMLESS("iter_close: a batch", lsm_iter_close(AS(lsm_iter, batch)));
  HARMLESS("batch_free: a snapshot", lsm_batch_free(AS(lsm_batch, snap)));
  HARMLESS("snapshot_release: a value", lsm_snapshot_release(AS(lsm_snapshot, value)));
  HARMLESS("value_release: an iterator", lsm_value_release(AS(lsm_value, it)));
  HARMLESS("keyspace_release: a database", lsm_keyspace_release(AS(lsm_keyspace, db)));
  HARMLESS("keyspace_release: the default one", lsm_keyspace_release(ks));
  HARMLESS("frees of memory that is no handle",
           (lsm_iter_close(FAKE(lsm_iter)), lsm_batch_free(FAKE(lsm_batch)), lsm_snapshot_release(FAKE(lsm_snapshot)),
            lsm_value_release(FAKE(lsm_value)), lsm_keyspace_release(FAKE(lsm_keyspace))));
  ROW("value_data: memory for a value", LSM_OK, lsm_value_data(FAKE(lsm_value), NULL) == NULL ? LSM_OK : LSM_E_INVALID);
  ROW("default_keyspace: a keyspace for a database", LSM_OK,
      lsm_default_keyspace(AS(lsm_db, ks)) == NULL ? LSM_OK : LSM_E_INVALID);
  ROW("the handles that others were mistaken for", LSM_OK,
      lsm_iter_seek(it, LSM_SEEK_FIRST, NULL, 0, &out.entry, NULL) == LSM_OK && lsm_batch_count(batch) == 0 &&
      lsm_snapshot_sequence(snap) > 0 && lsm_value_data(value, NULL) != NULL ? LSM_OK : LSM_E_INVALID);
}

/* Closed, freed, released, dropped. */
static void dead_handles(const char *where) {
  static char names_kept[64][96];
  static int kept;
  /* The same rows in several threads need names of their own. */
#define NAMED(text) (snprintf(names_kept[kept % 64], sizeof *names_kept, "%s%s", text, where), names_kept[kept++ % 64])
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  DEAD(NAMED("close: a second time"), lsm_close(gone, W));
  DEAD(NAMED("put: a closed database"), lsm_put(gone_ks, NULL, "k", 1, "v", 1, W));
  DEAD(NAMED("get: a closed database"), lsm_get(gone_ks, NULL, "k", 1, out.buffer, 16, &out.len, W));
  DEAD(NAMED("iter_open: a closed database"), lsm_iter_open(gone_ks, NULL, &out.it, W));
  DEAD(NAMED("iter_next: an iterator past its database"), lsm_iter_next(gone_it, &out.entry, W));
  DEAD(NAMED("iter_read: an iterator past its database"), lsm_iter_read(gone_it, LSM_FORWARD, &out.entry, 1, &out.len, W));
  DEAD(NAMED("iter_refresh: an iterator past its database"), lsm_iter_refresh(gone_it, W));
  DEAD(NAMED("batch_put: a batch past its database"), lsm_batch_put(gone_batch, gone_ks, "k", 1, "v", 1, W));
  DEAD(NAMED("write: a closed database"), lsm_write(gone, NULL, gone_batch, &out.a, W));
  DEAD(NAMED("keyspace_open: a closed database"), lsm_keyspace_open(gone, "x", NULL, &out.ks, W));
  DEAD(NAMED("snapshot_new: a closed database"), lsm_snapshot_new(gone, &out.snap, W));
  DEAD(NAMED("verify: a closed database"), lsm_verify(gone, &out.text, W));
  DEAD(NAMED("resume: a closed database"), lsm_resume(gone, W));
  DEAD(NAMED("iter_next: a closed iterator"), lsm_iter_next(freed_it, &out.entry, W));
  DEAD(NAMED("iter_seek: a closed iterator"), lsm_iter_seek(freed_it, LSM_SEEK_LAST, NULL, 0, &out.entry, W));
  DEAD(NAMED("batch_put: a freed batch"), lsm_batch_put(freed_batch, ks, "k", 1, "v", 1, W));
  DEAD(NAMED("write: a freed batch"), lsm_write(db, NULL, freed_batch, &out.a, W));
  r.snapshot = freed_snap;
  DEAD(NAMED("get: a released snapshot"), lsm_get(ks, &r, "k", 1, out.buffer, 16, &out.len, W));
  DEAD(NAMED("iter_open: a released snapshot"), lsm_iter_open(ks, &r, &out.it, W));
  DEAD(NAMED("put: a dropped keyspace"), lsm_put(dropped_ks, NULL, "k", 1, "v", 1, W));
  DEAD(NAMED("get: a released keyspace"), lsm_get(released_ks, NULL, "k", 1, out.buffer, 16, &out.len, W));
  HARMLESS(NAMED("frees a second time"), (lsm_iter_close(freed_it), lsm_batch_free(freed_batch), lsm_snapshot_release(freed_snap),
                                          lsm_value_release(freed_value), lsm_keyspace_release(released_ks)));
  HARMLESS(NAMED("batch_clear: a freed batch"), lsm_batch_clear(freed_batch));
  ROW(NAMED("questions to the freed"), LSM_OK, lsm_batch_count(freed_batch) == 0 && lsm_snapshot_sequence(freed_snap) == 0 &&
      lsm_value_data(freed_value, NULL) == NULL ? LSM_OK : LSM_E_INVALID);
}
static void *in_a_thread(void *unused) {
  (void)unused;
  dead_handles(", from another thread");
  return NULL;
}

/* Sizes, lengths, numbers, texts. */
static void arguments(void) {
  struct { lsm_read_options known; uint64_t later; } r = {LSM_READ_OPTIONS_INIT, 1};
  struct { lsm_write_options known; uint64_t later; } w = {LSM_WRITE_OPTIONS_INIT, 1};
  const uint32_t sizes[] = {0, 4, 7, sizeof r};
  const char *of_get[] = {"get: options of size 0", "get: options of size 4", "get: options of size 7", "get: bytes beyond the fields"};
  const char *of_iter[] = {"iter_open: options of size 0", "iter_open: options of size 4", "iter_open: options of size 7", "iter_open: bytes beyond the fields"};
  for (int i = 0; i < 4; i++) {
    r.known.size = sizes[i];
    BAD(of_get[i], lsm_get(ks, &r.known, "k", 1, out.buffer, 16, &out.len, W));
    BAD(of_iter[i], lsm_iter_open(ks, &r.known, &out.it, W));
  }
  const char *of_put[] = {"put: options of size 0", "put: options of size 4", "put: options of size 7", "put: bytes beyond the fields"};
  for (int i = 0; i < 4; i++) {
    w.known.size = i == 3 ? (uint32_t)sizeof w : sizes[i];
    BAD(of_put[i], lsm_put(ks, &w.known, "k", 1, "v", 1, W));
  }
  lsm_write_options write = LSM_WRITE_OPTIONS_INIT;
  write.flags = 1u << 31;
  BAD("put: a flag that is none", lsm_put(ks, &write, "k", 1, "v", 1, W));
  write.flags = 0, write.durability = 4;
  BAD("put: a durability above the last", lsm_put(ks, &write, "k", 1, "v", 1, W));
  write.durability = INT32_MIN;
  BAD("write: a durability below the first", lsm_write(db, &write, batch, &out.a, W));
  write.durability = 0, write.ttl_micros = 1;
  ROW("put: a time to live", LSM_E_UNSUPPORTED, lsm_put(ks, &write, "k", 1, "v", 1, W));
  lsm_read_options read = LSM_READ_OPTIONS_INIT;
  read.flags = 1u << 30;
  BAD("get: a flag that is none", lsm_get(ks, &read, "k", 1, out.buffer, 16, &out.len, W));
  read.flags = 0, read.txn = FAKE(lsm_txn);
  ROW("get: a transaction", LSM_E_UNSUPPORTED, lsm_get(ks, &read, "k", 1, out.buffer, 16, &out.len, W));
  read.txn = NULL, read.lower_len = 5;
  BAD("iter_open: no lower bound of five bytes", lsm_iter_open(ks, &read, &out.it, W));
  read.lower_len = 0, read.prefix = "p", read.prefix_len = SIZE_MAX;
  BAD("iter_open: a prefix without end", lsm_iter_open(ks, &read, &out.it, W));
  BAD("put: a key without end", lsm_put(ks, NULL, "k", SIZE_MAX, "v", 1, W));
  BAD("put: a key of half the memory", lsm_put(ks, NULL, "k", SIZE_MAX / 2, "v", 1, W));
  BAD("put: a value without end", lsm_put(ks, NULL, "k", 1, "v", SIZE_MAX, W));
  BAD("put: a value of 4 GiB", lsm_put(ks, NULL, "k", 1, "v", (size_t)1 << 32, W));
  BAD("delete: a key without end", lsm_delete(ks, NULL, "k", SIZE_MAX, W));
  BAD("get: a key without end", lsm_get(ks, NULL, "k", SIZE_MAX, out.buffer, 16, &out.len, W));
  BAD("batch_put: a value without end", lsm_batch_put(batch, ks, "k", 1, "v", SIZE_MAX, W));
  BAD("iter_seek: a key without end", lsm_iter_seek(it, LSM_SEEK_GE, "k", SIZE_MAX, &out.entry, W));
  BAD("iter_seek: a place below the first", lsm_iter_seek(it, -1, "k", 1, &out.entry, W));
  BAD("iter_seek: a place above the last", lsm_iter_seek(it, 6, "k", 1, &out.entry, W));
  BAD("iter_read: a direction that is none", lsm_iter_read(it, 2, &out.entry, 1, &out.len, W));
  BAD("iter_read_packed: a direction that is none", lsm_iter_read_packed(it, -7, out.buffer, 16, &out.len, &out.n, W));
  BAD("metrics: a format that is none", lsm_metrics(db, 2, &out.text, W));
  uint8_t all_ones[16];
  memset(all_ones, 0xff, sizeof all_ones);
  BAD("write_packed: lengths without end", lsm_write_packed(ks, NULL, all_ones, sizeof all_ones, &out.a, W));
  BAD("write_packed: half a header", lsm_write_packed(ks, NULL, all_ones, 5, &out.a, W));
  BAD("batch_append_packed: lengths without end", lsm_batch_append_packed(batch, ks, all_ones, sizeof all_ones, W));
  BAD("multi_get: more keys than memory", lsm_multi_get(ks, NULL, SIZE_MAX, AS(const void *const, all_ones), AS(size_t, all_ones), AS(lsm_value *, all_ones), AS(int32_t, all_ones), W));
  BAD("multi_get_packed: more keys than bytes", lsm_multi_get_packed(ks, NULL, all_ones, 16, UINT32_MAX, out.buffer, 16, &out.len, W));
  BAD("options_set: no such key", lsm_options_set(options, "no.such", "1", W));
  BAD("options_set: a value that is none", lsm_options_set(options, "block.size", "much", W));
  BAD("options_set: a value out of its range", lsm_options_set(options, "block.size", "1", W));
  BAD("options_set: a number without end", lsm_options_set(options, "block.size", "99999999999999999999999999", W));
  BAD("options_set: not UTF-8", lsm_options_set(options, "block.size", "\xff\xfe", W));
  BAD("options_set_int: below the range", lsm_options_set_int(options, "block.size", INT64_MIN, W));
  BAD("options_set_float: not a number", lsm_options_set_float(options, "filter.fpr", 0.0 / (double)(rows == -1), W));
  BAD("options_load: one good line and one bad one", lsm_options_load(options, "block.size = 512\nwhat\n", 22, W));
  char name[300];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = 0;
  BAD("keyspace_open: a name of 299 bytes", lsm_keyspace_open(db, name, NULL, &out.ks, W));
  BAD("keyspace_open: a name of none", lsm_keyspace_open(db, "", NULL, &out.ks, W));
  BAD("keyspace_drop: the default one", lsm_keyspace_drop(db, "default", W));
  ROW("keyspace_drop: none of that name", LSM_NOT_FOUND, lsm_keyspace_drop(db, "nobody", W));
  ROW("property: none of that name", LSM_NOT_FOUND, lsm_property(db, NULL, "no.such", &out.text, W));
  ROW("property_u64: a level beyond the last", LSM_NOT_FOUND, lsm_property_u64(db, NULL, "levels.4294967296.files", &out.a, W));
  ROW("get: a buffer of no bytes", LSM_TRUNCATED, lsm_get(ks, NULL, "witness", 7, NULL, 0, &out.len, W));
  ROW("iter_read_packed: a buffer of no bytes", LSM_TRUNCATED, (lsm_iter_refresh(it, NULL), lsm_iter_read_packed(it, LSM_FORWARD, NULL, 0, &out.len, &out.n, W)));
}

/* Not now, not here, not with this handle any more. */
static const char *own_path, *reading_path;
static void states(void) {
  lsm_iter *old = NULL, *of_dropped = NULL;
  lsm_snapshot *moment = NULL;
  lsm_keyspace *brief = NULL;
  lsm_read_options r = LSM_READ_OPTIONS_INIT;
  ROW("open: what is open", LSM_E_LOCKED, lsm_open(own_path, NULL, &out.db, W));
  ROW("destroy: what is open", LSM_E_LOCKED, lsm_destroy(own_path, W));
  ROW("repair: what is open", LSM_E_LOCKED, lsm_repair(own_path, NULL, &out.text, W));
  ROW("destroy: a folder that is not there", LSM_E_IO, lsm_destroy("/proc/no/such/place", W));
  ROW("open: a folder that cannot be", LSM_E_IO, lsm_open("/proc/no/such/place", NULL, &out.db, W));
  ROW("open: a device", LSM_E_IO, lsm_open("/dev/null", NULL, &out.db, W));
  ROW("put: a database to be read only", LSM_E_READONLY, lsm_put(reading_ks, NULL, "k", 1, "v", 1, W));
  ROW("delete: a database to be read only", LSM_E_READONLY, lsm_delete(reading_ks, NULL, "k", 1, W));
  ROW("compact: a database to be read only", LSM_E_READONLY, lsm_compact(reading_ks, NULL, 0, NULL, 0, W));
  ROW("keyspace_open: a new one to be read only", LSM_E_READONLY, lsm_keyspace_open(reading, "new", NULL, &out.ks, W));
  OK(lsm_snapshot_new(db, &moment, NULL));
  r.snapshot = moment;
  OK(lsm_iter_open(ks, &r, &old, NULL));
  lsm_snapshot_release(moment);
  ROW("iter_next: an iterator past its snapshot", LSM_OK, lsm_iter_next(old, &out.entry, W));
  DEAD("iter_open: that snapshot", lsm_iter_open(ks, &r, &out.it, W));
  ROW("iter_refresh: an iterator past its snapshot", LSM_OK, lsm_iter_refresh(old, W));
  lsm_iter_close(old);
  OK(lsm_keyspace_open(db, "brief", NULL, &brief, NULL));
  OK(put(brief, "a", "1"));
  OK(put(brief, "b", "2"));
  OK(lsm_iter_open(brief, NULL, &of_dropped, NULL));
  OK(lsm_iter_next(of_dropped, &out.entry, NULL));
  OK(lsm_batch_put(batch, brief, "c", 1, "3", 1, NULL));
  OK(lsm_keyspace_drop(db, "brief", NULL));
  before();
  int32_t code = lsm_iter_next(of_dropped, &out.entry, W);
  CHECK(code != LSM_OK || same(out.entry.key, out.entry.key_len, "b"));
  if (code == LSM_OK) memcpy(&out, &blank, sizeof out);
  after("iter_next: an iterator past its keyspace", code, code == LSM_OK ? LSM_OK : LSM_E_CLOSED);
  DEAD("write: a batch with a dropped keyspace in it", lsm_write(db, NULL, batch, &out.a, W));
  DEAD("flush: a dropped keyspace", lsm_flush(db, brief, W));
  ROW("keyspace_drop: a second time", LSM_NOT_FOUND, lsm_keyspace_drop(db, "brief", W));
  lsm_iter_close(of_dropped);
  lsm_keyspace_release(brief);
  lsm_batch_clear(batch);
}

/* From inside a callback everything that could wait for it answers BUSY, and nothing waits. */
static int32_t from_inside[12];
static int was_inside;
static void log_line(void *ctx, int32_t level, const char *message, size_t len) {
  (void)ctx, (void)level, (void)message, (void)len;
  int none = 0;
  if (!__atomic_compare_exchange_n(&was_inside, &none, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) return;
  lsm_db *made = NULL;
  lsm_iter *iter = NULL;
  lsm_entry e;
  size_t n = 0;
  int at = 0;
  from_inside[at++] = lsm_close(db, NULL);
  from_inside[at++] = lsm_put(ks, NULL, "inside", 6, "v", 1, NULL);
  from_inside[at++] = lsm_get(ks, NULL, "witness", 7, NULL, 0, &n, NULL);
  from_inside[at++] = lsm_open("inside", NULL, &made, NULL);
  from_inside[at++] = lsm_flush(db, NULL, NULL);
  from_inside[at++] = lsm_compact(ks, NULL, 0, NULL, 0, NULL);
  from_inside[at++] = lsm_iter_open(ks, NULL, &iter, NULL);
  from_inside[at++] = lsm_iter_next(it, &e, NULL);
  from_inside[at++] = lsm_write(db, NULL, batch, NULL, NULL);
  from_inside[at++] = lsm_sync(db, NULL);
  from_inside[at++] = lsm_verify(db, &(char *){0}, NULL);
  from_inside[at++] = lsm_destroy("inside", NULL);
  __atomic_store_n(&was_inside, 2, __ATOMIC_RELEASE);
}
static void callbacks(void) {
  static const char *calls[] = {
      "close, inside a callback", "put, inside a callback", "get, inside a callback", "open, inside a callback",
      "flush, inside a callback", "compact, inside a callback", "iter_open, inside a callback", "iter_next, inside a callback",
      "write, inside a callback", "sync, inside a callback", "verify, inside a callback", "destroy, inside a callback"};
  lsm_log_callbacks table = {sizeof table, NULL, NULL, log_line};
  lsm_options *bag = lsm_options_new();
  lsm_db *talking = NULL;
  OK(lsm_options_set_callbacks(bag, "log", &table, NULL));
  OK(lsm_open(fresh("talking"), bag, &talking, NULL));
  lsm_options_free(bag);
  OK(put(lsm_default_keyspace(talking), "k", "v"));
  OK(lsm_flush(talking, NULL, NULL));
  OK(lsm_close(talking, NULL));
  CHECK(__atomic_load_n(&was_inside, __ATOMIC_ACQUIRE) == 2);
  for (int i = 0; i < 12; i++) ROW(calls[i], LSM_E_BUSY, from_inside[i]);
}

/* In a forked child every handle says so, whatever it was, and frees do nothing. */
static void forked(void) {
  static const char *calls[] = {"put, in a forked child", "get, in a forked child", "iter_next, in a forked child",
                                "iter_open, in a forked child", "write, in a forked child", "snapshot_new, in a forked child",
                                "sync, in a forked child", "verify, in a forked child", "keyspace_open, in a forked child",
                                "resume, in a forked child", "close, in a forked child", "close a second time, in a forked child"};
  int32_t codes[12] = {0};
  int ends[2], status = -1;
  CHECK(pipe(ends) == 0);
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) {
    before();
    int at = 0;
    codes[at++] = lsm_put(ks, NULL, "k", 1, "child", 5, NULL);
    codes[at++] = lsm_get(ks, NULL, "witness", 7, out.buffer, 16, &out.len, NULL);
    codes[at++] = lsm_iter_next(it, &out.entry, NULL);
    codes[at++] = lsm_iter_open(ks, NULL, &out.it, NULL);
    codes[at++] = lsm_write(db, NULL, batch, NULL, NULL);
    codes[at++] = lsm_snapshot_new(db, &out.snap, NULL);
    codes[at++] = lsm_sync(db, NULL);
    codes[at++] = lsm_verify(db, &out.text, NULL);
    codes[at++] = lsm_keyspace_open(db, "child", NULL, &out.ks, NULL);
    codes[at++] = lsm_resume(db, NULL);
    lsm_iter_close(it), lsm_snapshot_release(snap), lsm_batch_free(batch), lsm_value_release(value);
    codes[at++] = lsm_close(db, NULL);
    codes[at++] = lsm_close(db, NULL);
    int is_untouched = memcmp(&out, &blank, sizeof out) == 0;
    _exit(write(ends[1], codes, sizeof codes) == (ssize_t)sizeof codes && is_untouched ? 0 : 1);
  }
  CHECK(read(ends[0], codes, sizeof codes) == (ssize_t)sizeof codes);
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  CHECK(close(ends[0]) == 0 && close(ends[1]) == 0);
  for (int i = 0; i < 12; i++) ROW(calls[i], LSM_E_FORKED, codes[i]);
}

/* Two threads with one handle that is for one. */
static int32_t strangest;
static void *share(void *which) {
  lsm_entry e;
  for (int i = 0; i < (quick ? 500 : 20000); i++) {
    int32_t code = which == NULL ? lsm_iter_next(it, &e, NULL) : lsm_batch_put(batch, ks, "k", 1, "v", 1, NULL);
    if (code < 0 && code != LSM_E_BUSY) __atomic_store_n(&strangest, code, __ATOMIC_RELAXED);
  }
  return NULL;
}
static int32_t shared_by_two(void *which) {
  pthread_t threads[2];
  strangest = LSM_OK;
  for (int i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, share, which) == 0);
  for (int i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
  return strangest;
}
static void *close_it(void *which) {
  return (void *)(intptr_t)lsm_close((lsm_db *)which, NULL);
}
static void threads(void) {
  pthread_t thread;
  void *answer = NULL;
  ROW("iter_next: one iterator in two threads", LSM_OK, shared_by_two(NULL));
  ROW("batch_put: one batch in two threads", LSM_OK, shared_by_two(&batch));
  lsm_batch_clear(batch);
  CHECK(pthread_create(&thread, NULL, in_a_thread, NULL) == 0 && pthread_join(thread, NULL) == 0);
  CHECK(pthread_create(&thread, NULL, close_it, gone) == 0 && pthread_join(thread, &answer) == 0);
  DEAD("close: in another thread, after the close", (int32_t)(intptr_t)answer);
}

static void set_up(void) {
  lsm_options *bag = lsm_options_new();
  const uint8_t *data;
  size_t len;
  own_path = fresh("table"), reading_path = fresh("reading");
  db = open_or_die(own_path), other = open_or_die(fresh("other")), gone = open_or_die(fresh("gone"));
  reading = open_or_die(reading_path);
  OK(lsm_close(reading, NULL));
  OK(lsm_options_set(bag, "mode", "ro", NULL));
  OK(lsm_open(reading_path, bag, &reading, NULL));
  lsm_options_free(bag);
  ks = lsm_default_keyspace(db), other_ks = lsm_default_keyspace(other), gone_ks = lsm_default_keyspace(gone);
  reading_ks = lsm_default_keyspace(reading);
  options = lsm_options_new();
  OK(put(ks, "witness", "here"));
  OK(lsm_iter_open(ks, NULL, &it, NULL));
  OK(lsm_iter_open(ks, NULL, &freed_it, NULL));
  OK(lsm_iter_open(gone_ks, NULL, &gone_it, NULL));
  OK(lsm_snapshot_new(db, &snap, NULL));
  OK(lsm_snapshot_new(db, &freed_snap, NULL));
  OK(lsm_snapshot_new(other, &other_snap, NULL));
  OK(lsm_snapshot_new(gone, &gone_snap, NULL));
  OK(lsm_batch_new(db, &batch, NULL));
  OK(lsm_batch_new(db, &freed_batch, NULL));
  OK(lsm_batch_new(other, &other_batch, NULL));
  OK(lsm_batch_new(gone, &gone_batch, NULL));
  OK(lsm_get_pinned(ks, NULL, "witness", 7, &value, &data, &len, NULL));
  OK(lsm_get_pinned(ks, NULL, "witness", 7, &freed_value, &data, &len, NULL));
  OK(lsm_keyspace_open(db, "dropped", NULL, &dropped_ks, NULL));
  OK(lsm_keyspace_drop(db, "dropped", NULL));
  OK(lsm_keyspace_open(db, "released", NULL, &released_ks, NULL));
  lsm_keyspace_release(released_ks);
  lsm_iter_close(freed_it), lsm_snapshot_release(freed_snap), lsm_batch_free(freed_batch), lsm_value_release(freed_value);
  OK(lsm_close(gone, NULL));
}

static void run(void) {
  set_up();
  null_options();
  null_database();
  null_data();
  wrong_handles();
  dead_handles("");
  arguments();
  states();
  threads();
  callbacks();
  forked();
  lsm_iter_close(it), lsm_iter_close(gone_it), lsm_snapshot_release(snap), lsm_snapshot_release(other_snap);
  lsm_snapshot_release(gone_snap), lsm_batch_free(batch), lsm_batch_free(other_batch), lsm_batch_free(gone_batch);
  lsm_value_release(value), lsm_keyspace_release(dropped_ks), lsm_options_free(options);
  OK(lsm_close(reading, NULL));
  OK(lsm_close(other, NULL));
  OK(lsm_close(db, NULL));
  CHECK(rows >= ROWS_MIN);
  printf("%d rows\n", rows);
}
