#include "peer.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

typedef void opaque;
#define FUNCTIONS(X)                                                                                                       \
  X(opaque *, rocksdb_options_create, (void))                                                                             \
  X(void, rocksdb_options_set_create_if_missing, (opaque *, unsigned char))                                               \
  X(void, rocksdb_options_set_write_buffer_size, (opaque *, size_t))                                                      \
  X(void, rocksdb_options_set_compression, (opaque *, int))                                                               \
  X(void, rocksdb_options_set_block_based_table_factory, (opaque *, opaque *))                                            \
  X(opaque *, rocksdb_block_based_options_create, (void))                                                                 \
  X(void, rocksdb_block_based_options_set_filter_policy, (opaque *, opaque *))                                            \
  X(void, rocksdb_block_based_options_set_block_cache, (opaque *, opaque *))                                              \
  X(opaque *, rocksdb_filterpolicy_create_bloom_full, (double))                                                           \
  X(opaque *, rocksdb_cache_create_lru, (size_t))                                                                         \
  X(opaque *, rocksdb_writeoptions_create, (void))                                                                        \
  X(opaque *, rocksdb_readoptions_create, (void))                                                                         \
  X(opaque *, rocksdb_flushoptions_create, (void))                                                                        \
  X(opaque *, rocksdb_open, (const opaque *, const char *, char **))                                                      \
  X(void, rocksdb_close, (opaque *))                                                                                      \
  X(void, rocksdb_put, (opaque *, const opaque *, const char *, size_t, const char *, size_t, char **))                   \
  X(opaque *, rocksdb_writebatch_create, (void))                                                                          \
  X(void, rocksdb_writebatch_put, (opaque *, const char *, size_t, const char *, size_t))                                 \
  X(void, rocksdb_writebatch_clear, (opaque *))                                                                           \
  X(void, rocksdb_write, (opaque *, const opaque *, opaque *, char **))                                                   \
  X(void, rocksdb_flush, (opaque *, const opaque *, char **))                                                             \
  X(void, rocksdb_compact_range, (opaque *, const char *, size_t, const char *, size_t))                                  \
  X(char *, rocksdb_get, (opaque *, const opaque *, const char *, size_t, size_t *, char **))                             \
  X(opaque *, rocksdb_get_pinned, (opaque *, const opaque *, const char *, size_t, char **))                              \
  X(const char *, rocksdb_pinnableslice_value, (const opaque *, size_t *))                                                \
  X(void, rocksdb_pinnableslice_destroy, (opaque *))                                                                      \
  X(void, rocksdb_free, (void *))                                                                                         \
  X(opaque *, rocksdb_create_iterator, (opaque *, const opaque *))                                                        \
  X(void, rocksdb_iter_seek_to_first, (opaque *))                                                                         \
  X(unsigned char, rocksdb_iter_valid, (const opaque *))                                                                  \
  X(const char *, rocksdb_iter_key, (const opaque *, size_t *))                                                           \
  X(const char *, rocksdb_iter_value, (const opaque *, size_t *))                                                         \
  X(void, rocksdb_iter_next, (opaque *))                                                                                  \
  X(void, rocksdb_iter_destroy, (opaque *))

#define POINTER(result, name, arguments) static result(*name) arguments;
FUNCTIONS(POINTER)
static opaque *db, *writes, *reads;

const char *peer_load(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
#define LOAD(result, name, arguments)              \
  {                                                \
    void *found = dlsym(library, #name);           \
    if (!found) return dlerror();                  \
    memcpy(&name, &found, sizeof found);           \
  }
  FUNCTIONS(LOAD)
  return NULL;
}

const char *peer_open(const char *path) {
  char *error = NULL;
  opaque *options = rocksdb_options_create(), *table = rocksdb_block_based_options_create();
  rocksdb_options_set_create_if_missing(options, 1);
  rocksdb_options_set_write_buffer_size(options, (size_t)64 << 20);
  rocksdb_options_set_compression(options, 4); /* LZ4 */
  rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
  rocksdb_block_based_options_set_block_cache(table, rocksdb_cache_create_lru((size_t)256 << 20));
  rocksdb_options_set_block_based_table_factory(options, table);
  writes = rocksdb_writeoptions_create();
  reads = rocksdb_readoptions_create();
  db = rocksdb_open(options, path, &error);
  return error;
}

void peer_close(void) { rocksdb_close(db); }

char *peer_put(const void *key, size_t key_len, const void *value, size_t value_len) {
  char *error = NULL;
  rocksdb_put(db, writes, key, key_len, value, value_len, &error);
  return error;
}

void *peer_batch(void) { return rocksdb_writebatch_create(); }
void peer_batch_put(void *batch, const void *key, size_t key_len, const void *value, size_t value_len) {
  rocksdb_writebatch_put(batch, key, key_len, value, value_len);
}
void peer_batch_clear(void *batch) { rocksdb_writebatch_clear(batch); }
char *peer_write(void *batch) {
  char *error = NULL;
  rocksdb_write(db, writes, batch, &error);
  return error;
}

void peer_settle(void) {
  char *error = NULL;
  rocksdb_flush(db, rocksdb_flushoptions_create(), &error);
  rocksdb_compact_range(db, NULL, 0, NULL, 0);
}

char *peer_get(const void *key, size_t key_len, size_t *value_len) {
  char *error = NULL;
  return rocksdb_get(db, reads, key, key_len, value_len, &error);
}
void peer_free(void *pointer) { rocksdb_free(pointer); }

void *peer_pin(const void *key, size_t key_len) {
  char *error = NULL;
  return rocksdb_get_pinned(db, reads, key, key_len, &error);
}
const char *peer_pinned(void *pin, size_t *len) { return rocksdb_pinnableslice_value(pin, len); }
void peer_unpin(void *pin) { rocksdb_pinnableslice_destroy(pin); }

void *peer_iter(void) {
  opaque *iter = rocksdb_create_iterator(db, reads);
  rocksdb_iter_seek_to_first(iter);
  return iter;
}
unsigned char peer_valid(void *iter) { return rocksdb_iter_valid(iter); }
const char *peer_key(void *iter, size_t *len) { return rocksdb_iter_key(iter, len); }
const char *peer_value(void *iter, size_t *len) { return rocksdb_iter_value(iter, len); }
void peer_next(void *iter) { rocksdb_iter_next(iter); }
void peer_iter_close(void *iter) { rocksdb_iter_destroy(iter); }

void *step_database(const char *path) {
  lsm_db *opened = NULL;
  return lsm_open(path, NULL, &opened, NULL) == LSM_OK ? opened : NULL;
}
void *step_keyspace(void *opened) { return lsm_default_keyspace(opened); }
void step_database_close(void *opened) { lsm_close(opened, NULL); }
void *step_open(void *keyspace) {
  lsm_iter *iter = NULL;
  return lsm_iter_open(keyspace, NULL, &iter, NULL) == LSM_OK ? iter : NULL;
}
int step_next(void *iter, size_t *len) {
  lsm_entry entry;
  int code = lsm_iter_next(iter, &entry, NULL);
  if (code == LSM_OK) *len += entry.key_len + entry.value_len;
  return code;
}
void step_close(void *iter) { lsm_iter_close(iter); }
