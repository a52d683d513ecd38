/* A RocksDB found at run time, called as its Go bindings call it: one cgo call for each function of its C interface. Only
 * what the benchmark needs is declared. */
#ifndef LSM_BENCH_PEER_H
#define LSM_BENCH_PEER_H
#include <lsm.h>
#include <stddef.h>
#include <stdint.h>

const char *peer_load(const char *path); /* NULL or what is wrong */
const char *peer_open(const char *path); /* set up as liblsm is: 64 MiB of memory, 256 MiB of cache, LZ4, filters of 10 bits */
void peer_close(void);
char *peer_put(const void *key, size_t key_len, const void *value, size_t value_len);
void *peer_batch(void);
void peer_batch_put(void *batch, const void *key, size_t key_len, const void *value, size_t value_len);
void peer_batch_clear(void *batch);
char *peer_write(void *batch);
void peer_settle(void);
char *peer_get(const void *key, size_t key_len, size_t *value_len);
void peer_free(void *pointer);
void *peer_pin(const void *key, size_t key_len);
const char *peer_pinned(void *pin, size_t *len);
void peer_unpin(void *pin);
void *peer_iter(void);
unsigned char peer_valid(void *iter);
const char *peer_key(void *iter, size_t *len);
const char *peer_value(void *iter, size_t *len);
void peer_next(void *iter);
void peer_iter_close(void *iter);

/* One call of liblsm for each entry, for comparison with chunks. */
void *step_open(void *keyspace);
int step_next(void *iter, size_t *len);
void step_close(void *iter);
void *step_database(const char *path);
void *step_keyspace(void *db);
void step_database_close(void *db);
#endif
