/* Between Go and lsm.h. cgo makes every pointer argument escape to the heap, so outputs come back in small structs by
 * value (between two C functions of this package, not in the library's interface), and option structs are filled here:
 * Go memory that holds pointers never crosses. Keys and buffers are uint8_t pointers, which cgo needs not check. */
#ifndef LSM_GO_BRIDGE_H
#define LSM_GO_BRIDGE_H

#include <lsm.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int32_t code; lsm_error *err; } lsmgo_status;
typedef struct { int32_t code; lsm_error *err; uint64_t number; } lsmgo_number;
typedef struct { int32_t code; lsm_error *err; uint64_t first, second; } lsmgo_pair;
typedef struct { int32_t code; lsm_error *err; size_t used; uint32_t n; } lsmgo_chunk;
typedef struct { int32_t code; lsm_error *err; char *text; } lsmgo_text;
typedef struct { int32_t code; lsm_error *err; void *handle; } lsmgo_handle;
typedef struct { int32_t code; lsm_error *err; lsm_value *value; const uint8_t *data; size_t len; } lsmgo_pinned;

/* What a read call needs besides its key. */
typedef struct { lsm_snapshot *snapshot; uint64_t deadline; uint32_t flags; } lsmgo_read;
typedef struct { uint64_t deadline; int32_t durability; } lsmgo_write;

static inline const lsm_read_options *lsmgo_fill_read(lsm_read_options *o, lsmgo_read r) {
  if (!r.snapshot && !r.deadline && !r.flags) return NULL;
  memset(o, 0, sizeof *o);
  o->size = (uint32_t)sizeof *o;
  o->flags = r.flags;
  o->snapshot = r.snapshot;
  o->deadline_micros = r.deadline;
  return o;
}

static inline const lsm_write_options *lsmgo_fill_write(lsm_write_options *o, lsmgo_write w) {
  if (!w.deadline && !w.durability) return NULL;
  memset(o, 0, sizeof *o);
  o->size = (uint32_t)sizeof *o;
  o->durability = w.durability;
  o->deadline_micros = w.deadline;
  return o;
}

/* --- writes --- */

static inline lsmgo_status lsmgo_put(lsm_keyspace *k, lsmgo_write w, const uint8_t *key, size_t key_len, const uint8_t *value,
                                     size_t value_len) {
  lsm_write_options o;
  lsmgo_status s = {0, NULL};
  s.code = lsm_put(k, lsmgo_fill_write(&o, w), key, key_len, value, value_len, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_delete(lsm_keyspace *k, lsmgo_write w, const uint8_t *key, size_t key_len) {
  lsm_write_options o;
  lsmgo_status s = {0, NULL};
  s.code = lsm_delete(k, lsmgo_fill_write(&o, w), key, key_len, &s.err);
  return s;
}

static inline lsmgo_number lsmgo_write_packed(lsm_keyspace *k, lsmgo_write w, const uint8_t *packed, size_t len) {
  lsm_write_options o;
  lsmgo_number s = {0, NULL, 0};
  s.code = lsm_write_packed(k, lsmgo_fill_write(&o, w), packed, len, &s.number, &s.err);
  return s;
}

/* A batch over several keyspaces: run i, for keyspaces[i], ends at ends[i] of the packed bytes. */
static inline lsmgo_number lsmgo_write_runs(lsm_db *db, lsmgo_write w, lsm_keyspace **keyspaces, const size_t *ends, size_t n,
                                            const uint8_t *packed) {
  lsm_write_options o;
  lsmgo_number s = {0, NULL, 0};
  lsm_batch *batch = NULL;
  size_t from = 0;
  s.code = lsm_batch_new(db, &batch, &s.err);
  for (size_t i = 0; i < n && s.code == LSM_OK; from = ends[i++])
    s.code = lsm_batch_append_packed(batch, keyspaces[i], packed + from, ends[i] - from, &s.err);
  if (s.code == LSM_OK) s.code = lsm_write(db, lsmgo_fill_write(&o, w), batch, &s.number, &s.err);
  lsm_batch_free(batch);
  return s;
}

/* --- reads --- */

static inline lsmgo_number lsmgo_get(lsm_keyspace *k, lsmgo_read r, const uint8_t *key, size_t key_len, uint8_t *buffer,
                                     size_t capacity) {
  lsm_read_options o;
  lsmgo_number s = {0, NULL, 0};
  size_t len = 0;
  s.code = lsm_get(k, lsmgo_fill_read(&o, r), key, key_len, buffer, capacity, &len, &s.err);
  s.number = len;
  return s;
}

static inline lsmgo_pinned lsmgo_get_pinned(lsm_keyspace *k, lsmgo_read r, const uint8_t *key, size_t key_len) {
  lsm_read_options o;
  lsmgo_pinned s = {0, NULL, NULL, NULL, 0};
  s.code = lsm_get_pinned(k, lsmgo_fill_read(&o, r), key, key_len, &s.value, &s.data, &s.len, &s.err);
  return s;
}

static inline lsmgo_number lsmgo_exists(lsm_keyspace *k, lsmgo_read r, const uint8_t *key, size_t key_len) {
  lsm_read_options o;
  lsmgo_number s = {0, NULL, 0};
  size_t len = 0;
  s.code = lsm_exists(k, lsmgo_fill_read(&o, r), key, key_len, &len, &s.err);
  s.number = len;
  return s;
}

static inline lsmgo_number lsmgo_multi_get(lsm_keyspace *k, lsmgo_read r, const uint8_t *keys, size_t len, uint32_t n,
                                           uint8_t *buffer, size_t capacity) {
  lsm_read_options o;
  lsmgo_number s = {0, NULL, 0};
  size_t used = 0;
  s.code = lsm_multi_get_packed(k, lsmgo_fill_read(&o, r), keys, len, n, buffer, capacity, &used, &s.err);
  s.number = used;
  return s;
}

static inline lsmgo_pair lsmgo_approximate(lsm_keyspace *k, const uint8_t *from, size_t from_len, const uint8_t *to,
                                           size_t to_len) {
  lsmgo_pair s = {0, NULL, 0, 0};
  s.code = lsm_approximate(k, from, from_len, to, to_len, &s.first, &s.second, &s.err);
  return s;
}

/* --- iterators --- */

/* A bound that is set but empty is not the same as none: it needs an address. */
static inline const void *lsmgo_address(int32_t is_set, const uint8_t *data) {
  return !is_set ? NULL : data ? (const void *)data : (const void *)"";
}

static inline lsmgo_handle lsmgo_iter_open(lsm_keyspace *k, lsmgo_read r, uint64_t max_skip, uint32_t readahead,
                                           const uint8_t *lower, size_t lower_len, int32_t has_lower,
                                           const uint8_t *upper, size_t upper_len, int32_t has_upper,
                                           const uint8_t *prefix, size_t prefix_len) {
  lsm_read_options o = LSM_READ_OPTIONS_INIT;
  lsmgo_handle s = {0, NULL, NULL};
  lsm_iter *iter = NULL;
  o.flags = r.flags;
  o.snapshot = r.snapshot;
  o.deadline_micros = r.deadline;
  o.max_skip = max_skip;
  o.readahead_bytes = readahead;
  o.lower = lsmgo_address(has_lower, lower);
  o.lower_len = lower_len;
  o.upper = lsmgo_address(has_upper, upper);
  o.upper_len = upper_len;
  o.prefix = prefix;
  o.prefix_len = prefix_len;
  s.code = lsm_iter_open(k, &o, &iter, &s.err);
  s.handle = iter;
  return s;
}

static inline void lsmgo_put_u32(uint8_t *at, size_t number) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(number >> (8 * i));
}

/* Copies the entry found in the packed form. LSM_TRUNCATED: it does not fit, `used` is what it needs. */
static inline lsmgo_chunk lsmgo_iter_seek(lsm_iter *iter, int32_t where, const uint8_t *key, size_t key_len, uint8_t *buffer,
                                          size_t capacity) {
  lsmgo_chunk s = {0, NULL, 0, 0};
  lsm_entry e;
  s.code = lsm_iter_seek(iter, where, key, key_len, &e, &s.err);
  if (s.code != LSM_OK) return s;
  s.used = 8 + e.key_len + e.value_len;
  if (s.used > capacity) {
    s.code = LSM_TRUNCATED;
    return s;
  }
  lsmgo_put_u32(buffer, e.key_len);
  lsmgo_put_u32(buffer + 4, e.value_len);
  if (e.key_len) memcpy(buffer + 8, e.key, e.key_len);
  if (e.value_len) memcpy(buffer + 8 + e.key_len, e.value, e.value_len);
  s.n = 1;
  return s;
}

static inline lsmgo_chunk lsmgo_iter_read(lsm_iter *iter, int32_t direction, uint8_t *buffer, size_t capacity) {
  lsmgo_chunk s = {0, NULL, 0, 0};
  s.code = lsm_iter_read_packed(iter, direction, buffer, capacity, &s.used, &s.n, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_iter_refresh(lsm_iter *iter) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_iter_refresh(iter, &s.err);
  return s;
}

/* --- databases, keyspaces, snapshots, options --- */

static inline lsmgo_handle lsmgo_open(const char *path, const lsm_options *options) {
  lsmgo_handle s = {0, NULL, NULL};
  lsm_db *db = NULL;
  s.code = lsm_open(path, options, &db, &s.err);
  s.handle = db;
  return s;
}

static inline lsmgo_status lsmgo_close(lsm_db *db) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_close(db, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_destroy(const char *path) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_destroy(path, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_sync(lsm_db *db) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_sync(db, &s.err);
  return s;
}

static inline lsmgo_pair lsmgo_sequence(lsm_db *db) {
  lsmgo_pair s = {0, NULL, 0, 0};
  s.code = lsm_sequence(db, &s.first, &s.second);
  return s;
}

static inline lsmgo_handle lsmgo_keyspace_open(lsm_db *db, const char *name, const lsm_options *options) {
  lsmgo_handle s = {0, NULL, NULL};
  lsm_keyspace *keyspace = NULL;
  s.code = lsm_keyspace_open(db, name, options, &keyspace, &s.err);
  s.handle = keyspace;
  return s;
}

static inline lsmgo_status lsmgo_keyspace_drop(lsm_db *db, const char *name) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_keyspace_drop(db, name, &s.err);
  return s;
}

static inline lsmgo_handle lsmgo_keyspace_list(lsm_db *db) {
  lsmgo_handle s = {0, NULL, NULL};
  lsm_list *list = NULL;
  s.code = lsm_keyspace_list(db, &list, &s.err);
  s.handle = list;
  return s;
}

static inline lsmgo_handle lsmgo_snapshot_new(lsm_db *db) {
  lsmgo_handle s = {0, NULL, NULL};
  lsm_snapshot *snapshot = NULL;
  s.code = lsm_snapshot_new(db, &snapshot, &s.err);
  s.handle = snapshot;
  return s;
}

static inline lsmgo_status lsmgo_flush(lsm_db *db, lsm_keyspace *keyspace) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_flush(db, keyspace, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_compact(lsm_keyspace *k, const uint8_t *from, size_t from_len, const uint8_t *to, size_t to_len) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_compact(k, from, from_len, to, to_len, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_property(lsm_db *db, lsm_keyspace *keyspace, const char *name) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_property(db, keyspace, name, &s.text, &s.err);
  return s;
}

static inline lsmgo_number lsmgo_property_u64(lsm_db *db, lsm_keyspace *keyspace, const char *name) {
  lsmgo_number s = {0, NULL, 0};
  s.code = lsm_property_u64(db, keyspace, name, &s.number, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_metrics(lsm_db *db, int32_t format) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_metrics(db, format, &s.text, &s.err);
  return s;
}

/* `text` is the report, also with LSM_E_CORRUPTION. */
static inline lsmgo_text lsmgo_verify(lsm_db *db) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_verify(db, &s.text, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_repair(const char *path, const lsm_options *options) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_repair(path, options, &s.text, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_resume(lsm_db *db) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_resume(db, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_cache_clear(lsm_db *db) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_cache_clear(db, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_options_set(lsm_options *options, const char *key, const char *value) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_options_set(options, key, value, &s.err);
  return s;
}

static inline lsmgo_status lsmgo_options_load(lsm_options *options, const char *text, size_t len) {
  lsmgo_status s = {0, NULL};
  s.code = lsm_options_load(options, text, len, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_options_get(const lsm_options *options, const char *key) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_options_get(options, key, &s.text, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_options_dump(const lsm_options *options) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_options_dump(options, &s.text, &s.err);
  return s;
}

static inline lsmgo_text lsmgo_options_describe(void) {
  lsmgo_text s = {0, NULL, NULL};
  s.code = lsm_options_describe(&s.text);
  return s;
}

/* In log.c: tells the Go function behind `handle` about every log line. */
lsmgo_status lsmgo_options_log(lsm_options *options, uintptr_t handle);

#endif
