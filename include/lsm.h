/* lsm.h: the C interface of liblsm, an embedded ordered key-value store. GENERATED from capi/ by cbindgen: do not edit.
 *
 * - The status is the return value. Details of a negative one go to the last parameter `lsm_error **err`, which may be
 *   NULL; `*err` is overwritten, never freed. Nothing is allocated on success.
 * - Outputs are written only on LSM_OK or as a documented outcome above 0. A NULL where the text does not say "may be" is
 *   LSM_E_INVALID. `NULL, 0` is a legal empty byte string. `lsm_*_free(NULL)`, `_release(NULL)`, `_close(NULL)` do nothing.
 * - Strings and bytes given to a call are copied before it returns.
 * - Every function that takes a database, keyspace, iterator, batch or snapshot answers LSM_E_CLOSED after lsm_close,
 *   LSM_E_FORKED in a forked child and LSM_E_BUSY inside a callback.
 */


#ifndef LSM_H
#define LSM_H

#include <stddef.h>
#include <stdint.h>

/* Status codes. 0 is success, above 0 a normal outcome, below 0 an error. Never renumbered, never reused. */
#define LSM_OK                 (0)    /* Success. */
#define LSM_NOT_FOUND          (1)    /* The key, keyspace or property does not exist. */
#define LSM_END                (2)    /* The iterator is past an end. */
#define LSM_TRUNCATED          (3)    /* The buffer was too small; the length needed was stored. */
#define LSM_PENDING            (4)    /* Not ready yet (a later version). */
#define LSM_E_INVALID          (-1)   /* An argument or option is out of its range. */
#define LSM_E_IO               (-2)   /* The operating system refused a call; lsm_error_os has the errno. */
#define LSM_E_CORRUPTION       (-3)   /* Bytes on disk are not what was written. */
#define LSM_E_CONFLICT         (-4)   /* A transaction met a newer write. */
#define LSM_E_DEADLOCK         (-5)   /* A cycle of waiting transactions. */
#define LSM_E_TIMEOUT          (-6)   /* The deadline passed before any effect. */
#define LSM_E_BUSY             (-7)   /* Not possible now, for example inside a callback. */
#define LSM_E_LOCKED           (-8)   /* Another process or handle has the folder open. */
#define LSM_E_NOSPACE          (-9)   /* The device is full. */
#define LSM_E_NOMEM            (-10)  /* An allocation was refused. */
#define LSM_E_READONLY         (-11)  /* The database is open read-only. */
#define LSM_E_EXISTS           (-12)  /* The database exists and error_if_exists is set. */
#define LSM_E_UNSUPPORTED      (-13)  /* Known, but not part of this version or build. */
#define LSM_E_CLOSED           (-14)  /* The database, keyspace or handle is closed. */
#define LSM_E_CANCELLED        (-15)  /* The job was cancelled. */
#define LSM_E_STALLED          (-16)  /* An iterator step passed max_skip hidden entries. */
#define LSM_E_VERSION          (-17)  /* The files are of a format that this build does not read. */
#define LSM_E_CALLBACK         (-18)  /* A callback failed. */
#define LSM_E_SEQ_GONE         (-19)  /* The log position asked for is gone. */
#define LSM_E_PRECONDITION     (-20)  /* A conditional write did not find what it expected. */
#define LSM_E_FENCED           (-21)  /* A newer leader exists. */
#define LSM_E_PANIC            (-22)  /* A bug inside the library was caught; only lsm_close works. */
#define LSM_E_FORKED           (-23)  /* The handle belongs to the parent process. */

/* Directions of lsm_iter_read and lsm_iter_read_packed. */
#define LSM_FORWARD                 (0)/* From small keys to large ones. */
#define LSM_BACKWARD                (1)/* From large keys to small ones. */

/* Where lsm_iter_seek goes: the first or last entry, or the first one at or above, above, the last one at or below, below the key. */
#define LSM_SEEK_FIRST              (0)/* The first entry. */
#define LSM_SEEK_LAST               (1)/* The last entry. */
#define LSM_SEEK_GE                 (2)/* The first one at or above the key. */
#define LSM_SEEK_GT                 (3)/* The first one above the key. */
#define LSM_SEEK_LE                 (4)/* The last one at or below the key. */
#define LSM_SEEK_LT                 (5)/* The last one below the key. */

/* Flags of lsm_error_flags. */
#define LSM_ERROR_RETRYABLE         (1u)/* The same call may succeed later. */
#define LSM_ERROR_FATAL             (2u)/* No more writes until the database is opened again. */
#define LSM_ERROR_BACKGROUND        (4u)/* It happened in a background thread. */

/* Flags of lsm_read_options: do not put blocks into the cache; read and check blocks even when cached; iterators show no values (NULL, length 0). */
#define LSM_READ_NO_FILL_CACHE      (1u)/* Blocks that are read do not go into the cache. */
#define LSM_READ_VERIFY_CHECKSUMS   (2u)/* Blocks are read and checked even when cached. */
#define LSM_READ_KEYS_ONLY          (4u)/* Iterators show no values. */

/* How far a write must have got before it is acknowledged: the database's default; in the process (lost with it at worst as a suffix); in the page cache; on the device. */
#define LSM_DURABILITY_DEFAULT      (0)/* What the database says. */
#define LSM_DURABILITY_MEMORY       (1)/* In the process. */
#define LSM_DURABILITY_OS           (2)/* In the page cache. */
#define LSM_DURABILITY_FSYNC        (3)/* On the device. */

/* Formats of lsm_metrics. */
#define LSM_METRICS_PROMETHEUS      (0)/* Prometheus text. */
#define LSM_METRICS_JSON            (1)/* JSON. */

/* Levels of the log callback. */
#define LSM_LOG_ERROR               (0)/* Something failed. */
#define LSM_LOG_WARN                (1)/* Something is worth a look. */
#define LSM_LOG_INFO                (2)/* What the database does. */
#define LSM_LOG_DEBUG               (3)/* Details. */

/* Numbers of later versions. */
#define LSM_IF_ABSENT               (0)/* A later version. */
#define LSM_IF_PRESENT              (1)/* A later version. */
#define LSM_IF_EQUALS               (2)/* A later version. */
#define LSM_IF_SEQUENCE             (3)/* A later version. */
#define LSM_SAVEPOINT_SET           (0)/* A later version. */
#define LSM_SAVEPOINT_ROLLBACK      (1)/* A later version. */
#define LSM_SAVEPOINT_POP           (2)/* A later version. */
#define LSM_TXN_OPTIMISTIC          (0)/* A later version. */
#define LSM_TXN_PESSIMISTIC         (1)/* A later version. */
#define LSM_ISOLATION_SNAPSHOT      (0)/* A later version. */
#define LSM_ISOLATION_SERIALIZABLE  (1)/* A later version. */

/** A fresh lsm_read_options: its size, then zeros. */
#define LSM_READ_OPTIONS_INIT \
  { sizeof(lsm_read_options), 0u, NULL, NULL, NULL, NULL, 0, NULL, 0, NULL, 0, 0u, 0u, 0u, 0u }
/** A fresh lsm_write_options: its size, then zeros. */
#define LSM_WRITE_OPTIONS_INIT { sizeof(lsm_write_options), 0u, 0, 0u, 0u, 0u }

/* Callbacks must not throw: C++17 can say so in the type. */
#if defined(__cplusplus) && __cplusplus >= 201703L
#define LSM_NOEXCEPT noexcept
#else
#define LSM_NOEXCEPT
#endif

#ifdef __cplusplus
extern "C" {
#endif
/** Told once that nobody will use `ctx` any more. */
typedef void (*lsm_drop_fn)(void *ctx) LSM_NOEXCEPT;
/** Takes one log line: UTF-8 without a newline, followed by a NUL that `len` does not count. From any thread, never
 * re-entered; calls on database handles from inside answer LSM_E_BUSY. */
typedef void (*lsm_log_fn)(void *ctx, int32_t level, const char *message, size_t len) LSM_NOEXCEPT;
#ifdef __cplusplus
}
#endif

/** The table of `lsm_options_set_callbacks(options, "log", &table, &err)`. `drop` may be NULL. */
typedef struct lsm_log_callbacks {
  uint32_t size;    /**< sizeof(lsm_log_callbacks) */
  void *ctx;        /**< Handed to both functions. */
  lsm_drop_fn drop; /**< Told when nobody will use ctx any more; may be NULL. */
  lsm_log_fn log;   /**< Takes a line. */
} lsm_log_callbacks;


/**
 * A backup folder (a later version).
 */
typedef struct lsm_backup lsm_backup;

/**
 * A batch of writes for keyspaces of one database. One thread at a time.
 */
typedef struct lsm_batch lsm_batch;

/**
 * An open database. Any number of threads at once. The handle's memory stays after `lsm_close` and answers
 * `LSM_E_CLOSED`.
 */
typedef struct lsm_db lsm_db;

/**
 * The details of a negative code: code, errno, flags and a message. Owned by the caller; `lsm_error_free` frees it.
 */
typedef struct lsm_error lsm_error;

/**
 * A change feed (a later version).
 */
typedef struct lsm_feed lsm_feed;

/**
 * An iterator. One thread at a time.
 */
typedef struct lsm_iter lsm_iter;

/**
 * Long work with progress (a later version).
 */
typedef struct lsm_job lsm_job;

/**
 * A keyspace of an open database. Any number of threads at once. The handle's memory stays after
 * `lsm_keyspace_release` and `lsm_close` and answers `LSM_E_CLOSED`.
 */
typedef struct lsm_keyspace lsm_keyspace;

/**
 * A list of names. Owned by the caller; `lsm_list_free` frees it.
 */
typedef struct lsm_list lsm_list;

/**
 * A bag of options, checked as they are set. Owned by the caller; `lsm_options_free` frees it. `lsm_open` and
 * `lsm_keyspace_open` copy what they need.
 */
typedef struct lsm_options lsm_options;

/**
 * A completion queue (a later version).
 */
typedef struct lsm_queue lsm_queue;

/**
 * Resources shared by databases (a later version).
 */
typedef struct lsm_shared lsm_shared;

/**
 * A snapshot. Any number of threads at once.
 */
typedef struct lsm_snapshot lsm_snapshot;

/**
 * A writer of external tables (a later version).
 */
typedef struct lsm_table_writer lsm_table_writer;

/**
 * A transaction (a later version).
 */
typedef struct lsm_txn lsm_txn;

/**
 * A value that stays readable until it is released, whatever happens to the database. Any number of threads at once.
 */
typedef struct lsm_value lsm_value;

/**
 * Per-write settings. Start from `LSM_WRITE_OPTIONS_INIT`; NULL instead of a pointer to one means the defaults.
 */
typedef struct lsm_write_options {
  /**
   * `sizeof(lsm_write_options)`. Below 8 is `LSM_E_INVALID`; a smaller struct is read as if zeros followed; bytes
   * beyond the known fields must be zero.
   */
  uint32_t size;
  /**
   * Must be 0: no write flag exists in this version (`LSM_E_INVALID`).
   */
  uint32_t flags;
  /**
   * `LSM_DURABILITY_DEFAULT`, `_MEMORY`, `_OS` or `_FSYNC`.
   */
  int32_t durability;
  /**
   * Must be 0 in this version (`LSM_E_UNSUPPORTED`).
   */
  uint32_t io_class;
  /**
   * Gives up with `LSM_E_TIMEOUT`, before any effect, so many microseconds after the call began; 0: never.
   */
  uint64_t deadline_micros;
  /**
   * Must be 0 in this version (`LSM_E_UNSUPPORTED`).
   */
  uint64_t ttl_micros;
} lsm_write_options;

/**
 * Per-read settings. Start from `LSM_READ_OPTIONS_INIT`; NULL instead of a pointer to one means the defaults.
 */
typedef struct lsm_read_options {
  /**
   * `sizeof(lsm_read_options)`. Below 8 is `LSM_E_INVALID`; a smaller struct is read as if zeros followed; bytes
   * beyond the known fields must be zero.
   */
  uint32_t size;
  /**
   * `LSM_READ_NO_FILL_CACHE | LSM_READ_VERIFY_CHECKSUMS | LSM_READ_KEYS_ONLY` (the last: iterators only).
   */
  uint32_t flags;
  /**
   * Read as of this snapshot; NULL: as of now.
   */
  struct lsm_snapshot *snapshot;
  /**
   * Must be NULL in this version (`LSM_E_UNSUPPORTED`).
   */
  struct lsm_txn *txn;
  /**
   * Must be NULL in this version (`LSM_E_UNSUPPORTED`).
   */
  struct lsm_batch *overlay;
  /**
   * First key an iterator shows; NULL: unbounded.
   */
  const void *lower;
  /**
   * Its length.
   */
  size_t lower_len;
  /**
   * First key an iterator does not show; NULL: unbounded.
   */
  const void *upper;
  /**
   * Its length.
   */
  size_t upper_len;
  /**
   * An iterator shows only keys that start so; intersects both bounds; NULL: all.
   */
  const void *prefix;
  /**
   * Its length.
   */
  size_t prefix_len;
  /**
   * Gives up with `LSM_E_TIMEOUT` so many microseconds after the call began; 0: never.
   */
  uint64_t deadline_micros;
  /**
   * An iterator step that passes more hidden entries than this answers `LSM_E_STALLED` and keeps its position;
   * 0: no limit.
   */
  uint64_t max_skip;
  /**
   * A hint for scans; 0: automatic.
   */
  uint32_t readahead_bytes;
  /**
   * Must be 0 in this version (`LSM_E_UNSUPPORTED`).
   */
  uint32_t io_class;
} lsm_read_options;

/**
 * One entry of an iterator. The bytes belong to the iterator and are valid until the next call on it.
 */
typedef struct lsm_entry {
  /**
   * The key.
   */
  const uint8_t *key;
  /**
   * Its length.
   */
  size_t key_len;
  /**
   * The value; NULL with `LSM_READ_KEYS_ONLY`.
   */
  const uint8_t *value;
  /**
   * Its length.
   */
  size_t value_len;
  /**
   * The sequence number of the version shown.
   */
  uint64_t seq;
  /**
   * 0; room for kind and expiry.
   */
  uint64_t reserved;
} lsm_entry;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the binary interface; this header is of version 1.
 */
uint32_t lsm_abi_version(void);

/**
 * The library's version, for example "0.1.0". Static: never freed.
 */
const char *lsm_version(void);

/**
 * The name of a code, for example "LSM_E_IO"; "LSM_UNKNOWN" for a number that is none. Static, never NULL.
 */
const char *lsm_code_name(int32_t code);

/**
 * 1 if this build has the feature ("lz4", "zstd"), else 0.
 *
 * NULL: gives 0. Threads: any.
 *
 * # Safety
 * `name` is NULL or ends in NUL.
 */
int32_t lsm_has_feature(const char *name);

/**
 * Frees a `char *` or byte buffer that a call of this library returned.
 *
 * NULL: does nothing. Threads: any. A plain allocation: freeing it twice is undefined.
 *
 * # Safety
 * `buffer` is NULL or came from this library and is not used again.
 */
void lsm_free(void *buffer);

/**
 * The code of an error, one of `LSM_E_*`.
 *
 * NULL: gives 0. Threads: the error's owner.
 *
 * # Safety
 * `error` is NULL or was stored by a call of this library and not freed.
 */
int32_t lsm_error_code(const struct lsm_error *error);

/**
 * The errno of the system call that was refused, or 0.
 *
 * NULL: gives 0. Threads: the error's owner.
 *
 * # Safety
 * As `lsm_error_code`.
 */
int32_t lsm_error_os(const struct lsm_error *error);

/**
 * `LSM_ERROR_RETRYABLE` (the call may succeed later), `LSM_ERROR_FATAL` (no more writes until the database is opened
 * again), `LSM_ERROR_BACKGROUND` (it happened in a background thread), or-ed.
 *
 * Retryable are `LSM_E_TIMEOUT`, `LSM_E_LOCKED`, `LSM_E_STALLED`, `LSM_E_NOSPACE`, `LSM_E_NOMEM`, an `LSM_E_IO` for want
 * of descriptors and an `LSM_E_BUSY` that ends by itself; nothing that is fatal.
 *
 * NULL: gives 0. Threads: the error's owner.
 *
 * # Safety
 * As `lsm_error_code`.
 */
uint32_t lsm_error_flags(const struct lsm_error *error);

/**
 * A text for a person that names the file and offset or the key or option concerned. Belongs to the error.
 *
 * NULL: gives "". Threads: the error's owner.
 *
 * # Safety
 * As `lsm_error_code`.
 */
const char *lsm_error_message(const struct lsm_error *error);

/**
 * Frees an error. A plain allocation: freeing it twice is undefined.
 *
 * NULL: does nothing. Threads: the error's owner.
 *
 * # Safety
 * As `lsm_error_code`; the error is not used again.
 */
void lsm_error_free(struct lsm_error *error);

/**
 * A new bag with every option at its default. The caller owns it and frees it with `lsm_options_free`.
 *
 * Gives NULL only when there is no memory. Threads: any.
 */
struct lsm_options *lsm_options_new(void);

/**
 * A copy of a bag, with the same log callback. The caller owns it and frees it with `lsm_options_free`.
 *
 * NULL: gives NULL. Threads: any, while nobody changes the bag.
 *
 * # Safety
 * `options` is NULL or a live bag.
 */
struct lsm_options *lsm_options_clone(const struct lsm_options *options);

/**
 * Frees a bag. Databases opened with it go on. A plain allocation: freeing it twice is undefined.
 *
 * NULL: does nothing. Threads: the last user. In a forked child it does nothing for a bag of the parent.
 *
 * # Safety
 * `options` is NULL or a live bag that is not used again.
 */
void lsm_options_free(struct lsm_options *options);

/**
 * Sets an option from text, for example `("memtable.size", "64MiB")`. Key and value are copied.
 *
 * NULL: `err` may be. Threads: one at a time on one bag.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key, a value out of its range: the message names key and
 * range; the bag is unchanged); `LSM_E_UNSUPPORTED` (an option or value of a later version or another build);
 * `LSM_E_PANIC`.
 *
 * # Safety
 * `options` is a live bag; the texts end in NUL; `err` is NULL or writable.
 */
int32_t lsm_options_set(struct lsm_options *options, const char *key, const char *value, struct lsm_error **err);

/**
 * Sets an option from an integer: a count, a size in bytes, or 0 and 1 for false and true.
 *
 * NULL, threads and codes: as `lsm_options_set`.
 *
 * # Safety
 * As `lsm_options_set`.
 */
int32_t lsm_options_set_int(struct lsm_options *options, const char *key, int64_t value, struct lsm_error **err);

/**
 * Sets an option from a fraction, for example `("filter.fpr", 0.01)`.
 *
 * NULL, threads and codes: as `lsm_options_set`.
 *
 * # Safety
 * As `lsm_options_set`.
 */
int32_t lsm_options_set_float(struct lsm_options *options, const char *key, double value, struct lsm_error **err);

/**
 * Sets a table of functions. This version knows the key "log" with an `lsm_log_callbacks`.
 *
 * The table is copied. On `LSM_OK` the library owns `ctx`: it calls `drop(ctx)` (if not NULL) once, when the last bag
 * and database that know it are gone; on any other code it does not. `log` is called from any thread, never re-entered;
 * inside it, calls on database handles answer `LSM_E_BUSY`. It must not throw or unwind.
 *
 * NULL: `err` may be. Threads: one at a time on one bag.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key, a wrong size, `log` is NULL); `LSM_E_UNSUPPORTED` (a key of
 * a later version: comparator, merge_operator, compaction_filter, listener, vfs, keyring); `LSM_E_PANIC`.
 *
 * # Safety
 * `options` is a live bag; `key` ends in NUL; `vtable` is the table that the key asks for; `err` is NULL or writable.
 */
int32_t lsm_options_set_callbacks(struct lsm_options *options,
                                  const char *key,
                                  const void *vtable,
                                  struct lsm_error **err);

/**
 * The canonical text of an option, its default when unset, in `*value`; free it with `lsm_free`.
 *
 * NULL: `err` may be. Threads: any, while nobody changes the bag.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an unknown key); `LSM_E_NOMEM`; `LSM_E_PANIC`.
 *
 * # Safety
 * As `lsm_options_set`; `value` is NULL or writable.
 */
int32_t lsm_options_get(const struct lsm_options *options, const char *key, char **value, struct lsm_error **err);

/**
 * Sets options from lines `key = value`; empty lines and lines that begin with `#` are ignored. All or nothing.
 *
 * NULL: `err` may be, and `text` when `len` is 0. Threads: one at a time on one bag.
 * Codes: as `lsm_options_set`; the message names the line.
 *
 * # Safety
 * `options` is a live bag; `text` is readable for `len` bytes; `err` is NULL or writable.
 */
int32_t lsm_options_load(struct lsm_options *options, const char *text, size_t len, struct lsm_error **err);

/**
 * The explicitly set options as lines that `lsm_options_load` takes, in `*text`; free it with `lsm_free`.
 *
 * NULL: `err` may be. Threads: any, while nobody changes the bag.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_PANIC`.
 *
 * # Safety
 * `options` is a live bag; `text` is NULL or writable; `err` is NULL or writable.
 */
int32_t lsm_options_dump(const struct lsm_options *options, char **text, struct lsm_error **err);

/**
 * The whole table of options as a JSON array, one object per key (key, type, default, range, unit, scope, mutable,
 * text), in `*json`; free it with `lsm_free`.
 *
 * NULL: none. Threads: any.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_PANIC`.
 *
 * # Safety
 * `json` is NULL or writable.
 */
int32_t lsm_options_describe(char **json);

/**
 * Opens a database folder, creating it by default (the last component of the path only), in `*db`.
 *
 * The caller closes the handle with `lsm_close`. `options` is copied. One `rw` open per folder, or any number of `ro`.
 *
 * NULL: `options` (defaults) and `err` may be. Threads: any.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, an option that contradicts a persisted one, a folder with files of somebody
 * else's); `LSM_E_LOCKED` (open here or in another process); `LSM_E_EXISTS` (`error_if_exists`); `LSM_E_IO` (no such folder,
 * no permission, not a folder); `LSM_E_CORRUPTION`; `LSM_E_VERSION` (written by a later version); `LSM_E_NOSPACE`;
 * `LSM_E_NOMEM`; `LSM_E_UNSUPPORTED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`. The message names the path. Nothing is
 * written to `*db` on failure.
 *
 * # Safety
 * `path` ends in NUL; `options` is NULL or a live bag; `db` and `err` are NULL or writable.
 */
int32_t lsm_open(const char *path,
                 const struct lsm_options *options,
                 struct lsm_db **db,
                 struct lsm_error **err);

/**
 * Closes a database: waiting calls wake with `LSM_E_CLOSED`, background work ends, what was acknowledged becomes
 * durable, the folder's lock is released, whatever the code says.
 *
 * Waits for calls in flight. Iterators, snapshots and batches that still live answer `LSM_E_CLOSED` and may be freed
 * later in any order; pinned values stay readable, and so does what an iterator showed last, until the next call on it
 * or its `lsm_iter_close`. The handle's memory stays and answers `LSM_E_CLOSED`.
 *
 * NULL: `db` (does nothing, `LSM_OK`) and `err` may be. Threads: any.
 * Codes: `LSM_OK`; `LSM_E_CLOSED` (closed already, or another thread closes it); `LSM_E_IO`, `LSM_E_NOSPACE` (not all
 * could be made durable; the database is closed all the same); `LSM_E_INVALID` (not a database handle); `LSM_E_BUSY`
 * (inside a callback: nothing happened); `LSM_E_PANIC` (closed all the same); `LSM_E_FORKED` (nothing happened).
 *
 * # Safety
 * `db` is NULL or came from `lsm_open`; `err` is NULL or writable.
 */
int32_t lsm_close(struct lsm_db *db,
                  struct lsm_error **err);

/**
 * Removes a database that nobody has open: only files that the library made, and the folder if that leaves it empty.
 *
 * NULL: `err` may be. Threads: any.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a folder that is no database); `LSM_E_LOCKED` (open somewhere); `LSM_E_IO`
 * (missing, no permission, not a folder); `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`.
 *
 * # Safety
 * `path` ends in NUL; `err` is NULL or writable.
 */
int32_t lsm_destroy(const char *path,
                    struct lsm_error **err);

/**
 * Makes everything acknowledged so far durable: it survives a power cut.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_IO`, `LSM_E_NOSPACE` (the device refused; later syncs are refused too until the database is
 * opened again); `LSM_E_INVALID`; `LSM_E_READONLY`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `err` is NULL or writable.
 */
int32_t lsm_sync(struct lsm_db *db, struct lsm_error **err);

/**
 * The last committed and the last durable sequence number.
 *
 * NULL: none. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `committed` and `durable` are NULL or writable.
 */
int32_t lsm_sequence(struct lsm_db *db, uint64_t *committed, uint64_t *durable);

/**
 * The handle of the keyspace `default`. Borrowed: it lives as long as the database handle and needs no release; after
 * `lsm_close` it answers `LSM_E_CLOSED`.
 *
 * NULL or not a database handle: gives NULL. Threads: any number at once.
 *
 * # Safety
 * `db` is NULL or came from `lsm_open`.
 */
struct lsm_keyspace *lsm_default_keyspace(struct lsm_db *db);

/**
 * Opens a keyspace by name, in `*keyspace`, and creates a missing one unless `options` say `create_if_missing = false`.
 *
 * There is one handle per database and keyspace: opening it again gives the same pointer, and each open is balanced by
 * one `lsm_keyspace_release`.
 *
 * NULL: `options` (defaults) and `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_NOT_FOUND` (missing and not to be created; `*keyspace` is untouched); `LSM_E_INVALID` (a NULL, a
 * name that is not 1 to 255 bytes long, an option that contradicts a persisted one, too many keyspaces);
 * `LSM_E_READONLY`; `LSM_E_IO`; `LSM_E_NOSPACE`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `name` ends in NUL; `options` is NULL or a live bag; `keyspace` and `err` are NULL or
 * writable.
 */
int32_t lsm_keyspace_open(struct lsm_db *db,
                          const char *name,
                          const struct lsm_options *options,
                          struct lsm_keyspace **keyspace,
                          struct lsm_error **err);

/**
 * Gives one open of a keyspace back. After the last one the handle answers `LSM_E_CLOSED` until the keyspace is opened
 * again; its data stay.
 *
 * NULL: does nothing; so does a release of the default keyspace, a release too many, one after `lsm_close` and one in a
 * forked child. Threads: any.
 *
 * # Safety
 * `keyspace` is NULL or came from this library.
 */
void lsm_keyspace_release(struct lsm_keyspace *keyspace);

/**
 * Drops a keyspace and all its data. Its handles answer `LSM_E_CLOSED` from then on, also when the name is created
 * again; open iterators go on or answer `LSM_E_CLOSED`.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_NOT_FOUND`; `LSM_E_INVALID` (a NULL, a bad name, or "default", which cannot be dropped);
 * `LSM_E_READONLY`; `LSM_E_IO`; `LSM_E_NOSPACE`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `name` ends in NUL; `err` is NULL or writable.
 */
int32_t lsm_keyspace_drop(struct lsm_db *db, const char *name, struct lsm_error **err);

/**
 * The names of all keyspaces, sorted, in `*list`; free it with `lsm_list_free`.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `list` and `err` are NULL or writable.
 */
int32_t lsm_keyspace_list(struct lsm_db *db, struct lsm_list **list, struct lsm_error **err);

/**
 * How many names the list has; 0 for NULL.
 *
 * # Safety
 * `list` is NULL or live.
 */
size_t lsm_list_len(const struct lsm_list *list);

/**
 * A name of the list, which belongs to the list; NULL past the end and for a NULL list.
 *
 * # Safety
 * `list` is NULL or live.
 */
const char *lsm_list_get(const struct lsm_list *list, size_t index);

/**
 * Frees a list. A plain allocation: freeing it twice is undefined.
 *
 * NULL: does nothing.
 *
 * # Safety
 * `list` is NULL or live, and not used again.
 */
void lsm_list_free(struct lsm_list *list);

/**
 * Puts a value under a key, replacing an older one. Key and value are copied.
 *
 * NULL: `options` (defaults) and `err` may be, `key` and `value` when their length is 0. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a key over 65,536 bytes, a value over 1 GiB, bad options); `LSM_E_UNSUPPORTED`
 * (a field of a later version); `LSM_E_TIMEOUT` (nothing was written); `LSM_E_READONLY`; `LSM_E_NOSPACE`; `LSM_E_NOMEM`;
 * `LSM_E_IO` (the log failed; a background error is told again); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
 * `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `keyspace` came from this library; `options` is NULL or readable for its size; `key` and `value` are readable for
 * their lengths; `err` is NULL or writable.
 */
int32_t lsm_put(struct lsm_keyspace *keyspace,
                const struct lsm_write_options *options,
                const void *key,
                size_t key_len,
                const void *value,
                size_t value_len,
                struct lsm_error **err);

/**
 * Deletes a key. `LSM_OK` also when there is none.
 *
 * NULL, threads and codes: as `lsm_put`.
 *
 * # Safety
 * As `lsm_put`.
 */
int32_t lsm_delete(struct lsm_keyspace *keyspace,
                   const struct lsm_write_options *options,
                   const void *key,
                   size_t key_len,
                   struct lsm_error **err);

/**
 * Writes many puts and deletes as one batch in one call: `{u32 klen, u32 vlen, key, value}*`, little-endian and
 * unaligned; vlen 0xFFFFFFFF is a delete and has no value bytes. `*seq` becomes the sequence number of the last one.
 *
 * NULL: `options` (defaults), `seq` and `err` may be, and `packed` when `len` is 0 (which writes nothing).
 * Threads: any number at once. Codes: as `lsm_put`; malformed input is `LSM_E_INVALID` and changes nothing.
 *
 * # Safety
 * As `lsm_put`; `packed` is readable for `len` bytes; `seq` is NULL or writable.
 */
int32_t lsm_write_packed(struct lsm_keyspace *keyspace,
                         const struct lsm_write_options *options,
                         const void *packed,
                         size_t len,
                         uint64_t *seq,
                         struct lsm_error **err);

/**
 * Writes a batch as a whole: a crash or a reader sees all of it or none. `*seq` becomes the sequence number of its last
 * operation (the last committed one for an empty batch). The batch is unchanged and may be written again.
 *
 * NULL: `options` (defaults), `seq` and `err` may be. Threads: any number at once on `db`, one on `batch`.
 * Codes: as `lsm_put`; besides `LSM_E_INVALID` (a batch of another database), `LSM_E_CLOSED` (a freed batch, or a
 * keyspace in it was dropped), `LSM_E_BUSY` (another thread is in a call on the batch).
 *
 * # Safety
 * `db` came from `lsm_open`; `batch` from `lsm_batch_new`; `options` is NULL or readable for its size; `seq` and `err`
 * are NULL or writable.
 */
int32_t lsm_write(struct lsm_db *db,
                  const struct lsm_write_options *options,
                  struct lsm_batch *batch,
                  uint64_t *seq,
                  struct lsm_error **err);

/**
 * A new empty batch for keyspaces of `db`, in `*batch`; free it with `lsm_batch_free`.
 *
 * NULL: `err` may be. Threads: any number at once on `db`.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
 * `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `batch` and `err` are NULL or writable.
 */
int32_t lsm_batch_new(struct lsm_db *db, struct lsm_batch **batch, struct lsm_error **err);

/**
 * Frees a batch.
 *
 * NULL: does nothing; so does a second free, while fewer than 1,024 batches were freed since, and a free in a forked
 * child. Works after `lsm_close`. Threads: the last user.
 *
 * # Safety
 * `batch` is NULL or came from `lsm_batch_new` and is not used again.
 */
void lsm_batch_free(struct lsm_batch *batch);

/**
 * Forgets all operations of a batch and keeps its memory.
 *
 * NULL or closed: does nothing. Threads: one at a time.
 *
 * # Safety
 * `batch` is NULL or came from `lsm_batch_new`.
 */
void lsm_batch_clear(struct lsm_batch *batch);

/**
 * Adds a put to a batch. Key and value are copied.
 *
 * NULL: `err` may be, `key` and `value` when their length is 0. Threads: one at a time on the batch.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a keyspace of another database, a key over 65,536 bytes, a value over 1 GiB,
 * a batch over 2 GiB; the batch is unchanged); `LSM_E_NOMEM`; `LSM_E_CLOSED` (the database, the batch or the keyspace);
 * `LSM_E_BUSY` (inside a callback, or another thread is in a call on the batch); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `batch` came from `lsm_batch_new`, `keyspace` from this library; `key` and `value` are readable for their lengths;
 * `err` is NULL or writable.
 */
int32_t lsm_batch_put(struct lsm_batch *batch,
                      struct lsm_keyspace *keyspace,
                      const void *key,
                      size_t key_len,
                      const void *value,
                      size_t value_len,
                      struct lsm_error **err);

/**
 * Adds a delete to a batch. The key is copied.
 *
 * NULL, threads and codes: as `lsm_batch_put`.
 *
 * # Safety
 * As `lsm_batch_put`.
 */
int32_t lsm_batch_delete(struct lsm_batch *batch,
                         struct lsm_keyspace *keyspace,
                         const void *key,
                         size_t key_len,
                         struct lsm_error **err);

/**
 * Adds many puts and deletes: `{u32 klen, u32 vlen, key, value}*`, little-endian and unaligned; vlen 0xFFFFFFFF is a
 * delete and has no value bytes. All or nothing.
 *
 * NULL: `err` may be, and `packed` when `len` is 0. Threads and codes: as `lsm_batch_put`; malformed input is
 * `LSM_E_INVALID` and changes nothing.
 *
 * # Safety
 * As `lsm_batch_put`; `packed` is readable for `len` bytes.
 */
int32_t lsm_batch_append_packed(struct lsm_batch *batch,
                                struct lsm_keyspace *keyspace,
                                const void *packed,
                                size_t len,
                                struct lsm_error **err);

/**
 * How many operations a batch has; 0 for NULL, a closed one and in a forked child.
 *
 * Threads: one at a time.
 *
 * # Safety
 * `batch` is NULL or came from `lsm_batch_new`.
 */
size_t lsm_batch_count(const struct lsm_batch *batch);

/**
 * How many bytes a batch takes in the log; 0 for NULL, a closed one and in a forked child.
 *
 * Threads: one at a time.
 *
 * # Safety
 * `batch` is NULL or came from `lsm_batch_new`.
 */
size_t lsm_batch_bytes(const struct lsm_batch *batch);

/**
 * Reads a value into the caller's buffer and stores its whole length.
 *
 * NULL: `options` (defaults) and `err` may be, `key` when `key_len` is 0, `buffer` when `capacity` is 0.
 * Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_NOT_FOUND` (nothing is stored); `LSM_TRUNCATED` (the first `capacity` bytes were copied,
 * `*value_len` is the whole length); `LSM_E_INVALID` (a NULL, a key over 65,536 bytes, bad options, a snapshot of another
 * database); `LSM_E_UNSUPPORTED` (a field of a later version); `LSM_E_TIMEOUT`; `LSM_E_IO`; `LSM_E_CORRUPTION`;
 * `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `keyspace` came from this library; `options` is NULL or readable for its size; `key` is readable for `key_len` bytes,
 * `buffer` writable for `capacity`; `value_len` and `err` are NULL or writable.
 */
int32_t lsm_get(struct lsm_keyspace *keyspace,
                const struct lsm_read_options *options,
                const void *key,
                size_t key_len,
                void *buffer,
                size_t capacity,
                size_t *value_len,
                struct lsm_error **err);

/**
 * Reads a value without copying it: `*value` holds it until `lsm_value_release`, `*data` and `*len` say where it is.
 *
 * NULL: `options` (defaults) and `err` may be, `key` when `key_len` is 0. Threads: any number at once.
 * Codes: as `lsm_get`, but for `LSM_TRUNCATED`. On any but `LSM_OK` nothing is stored.
 *
 * # Safety
 * As `lsm_get`; `value`, `data` and `len` are NULL or writable.
 */
int32_t lsm_get_pinned(struct lsm_keyspace *keyspace,
                       const struct lsm_read_options *options,
                       const void *key,
                       size_t key_len,
                       struct lsm_value **value,
                       const uint8_t **data,
                       size_t *len,
                       struct lsm_error **err);

/**
 * Whether a key has a value; its length in `*value_len`.
 *
 * NULL: `options` (defaults), `value_len` and `err` may be, `key` when `key_len` is 0. Threads: any number at once.
 * Codes: as `lsm_get`, but for `LSM_TRUNCATED`.
 *
 * # Safety
 * As `lsm_get`.
 */
int32_t lsm_exists(struct lsm_keyspace *keyspace,
                   const struct lsm_read_options *options,
                   const void *key,
                   size_t key_len,
                   size_t *value_len,
                   struct lsm_error **err);

/**
 * Reads `n` keys as of one moment. `codes[i]` is what `lsm_get_pinned` would answer; `values[i]` is to be released with
 * `lsm_value_release` when `codes[i]` is `LSM_OK` and NULL otherwise.
 *
 * NULL: `options` (defaults) and `err` may be, the arrays when `n` is 0, `keys[i]` when `key_lens[i]` is 0.
 * Threads: any number at once.
 * Codes: `LSM_OK` when every `codes[i]` is 0 or above, else the first negative one, as `lsm_get`. A failure of the call as
 * a whole (NULL arrays, bad options, a closed handle) stores nothing.
 *
 * # Safety
 * As `lsm_get`; the arrays have `n` elements and the keys are readable for their lengths.
 */
int32_t lsm_multi_get(struct lsm_keyspace *keyspace,
                      const struct lsm_read_options *options,
                      size_t n,
                      const void *const *keys,
                      const size_t *key_lens,
                      struct lsm_value **values,
                      int32_t *codes,
                      struct lsm_error **err);

/**
 * Reads `n` keys, packed as `{u32 len, key}*`, as of one moment into `{i32 code, u32 len, value}*`, both little-endian and
 * unaligned. An answer whose code is not `LSM_OK` has length 0.
 *
 * NULL: `options` (defaults) and `err` may be, `keys` when `len` is 0, `buffer` when `capacity` is 0.
 * Threads: any number at once.
 * Codes: as `lsm_multi_get`; besides `LSM_TRUNCATED` (`*used` is the size needed, the buffer is untouched). Malformed keys,
 * or not exactly `n`, are `LSM_E_INVALID` and change nothing. When the code is a negative one of a key, the answers are
 * stored all the same.
 *
 * # Safety
 * As `lsm_get`; `keys` is readable for `len` bytes; `used` is NULL or writable.
 */
int32_t lsm_multi_get_packed(struct lsm_keyspace *keyspace,
                             const struct lsm_read_options *options,
                             const void *keys,
                             size_t len,
                             uint32_t n,
                             void *buffer,
                             size_t capacity,
                             size_t *used,
                             struct lsm_error **err);

/**
 * The bytes of a pinned value and their number in `*len`; they belong to the value.
 *
 * NULL: gives NULL and a length of 0, as a released value does; `len` may be NULL. Threads: any number at once. Works
 * after `lsm_close` and in a forked child.
 *
 * # Safety
 * `value` is NULL or came from this library; `len` is NULL or writable.
 */
const uint8_t *lsm_value_data(const struct lsm_value *value, size_t *len);

/**
 * Releases a pinned value, from any thread, also after `lsm_close`.
 *
 * NULL: does nothing; so does a second release, while fewer than 1,024 values were released since, and a release in a
 * forked child.
 *
 * # Safety
 * `value` is NULL or came from this library and is not used again.
 */
void lsm_value_release(struct lsm_value *value);

/**
 * About how many bytes on disk and keys lie from `from` (included) to `to` (excluded).
 *
 * NULL: `from` and `to` with length 0 mean unbounded; `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a
 * callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `keyspace` came from this library; `from` and `to` are readable for their lengths; the outputs are NULL or writable.
 */
int32_t lsm_approximate(struct lsm_keyspace *keyspace,
                        const void *from,
                        size_t from_len,
                        const void *to,
                        size_t to_len,
                        uint64_t *bytes,
                        uint64_t *keys,
                        struct lsm_error **err);

/**
 * Opens an iterator over a view of now, or of the snapshot in the options, in `*iter`; close it with `lsm_iter_close`.
 * The view does not change until `lsm_iter_refresh`. A fresh iterator stands nowhere: the first next is the first entry,
 * the first prev the last one. The bounds are copied; a snapshot may be released before the iterator.
 *
 * NULL: `options` (defaults) and `err` may be; bounds and prefix mean unbounded. Threads: any number at once on the
 * keyspace.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, bad options, a snapshot of another database); `LSM_E_UNSUPPORTED` (a field of
 * a later version); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
 * `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `keyspace` came from this library; `options` is NULL or readable for its size; `iter` and `err` are NULL or writable.
 */
int32_t lsm_iter_open(struct lsm_keyspace *keyspace,
                      const struct lsm_read_options *options,
                      struct lsm_iter **iter,
                      struct lsm_error **err);

/**
 * Positions an iterator and shows the entry there: `LSM_SEEK_FIRST`, `LSM_SEEK_LAST` (the key is ignored), `LSM_SEEK_GE`,
 * `LSM_SEEK_GT`, `LSM_SEEK_LE`, `LSM_SEEK_LT`. Bounds and prefix clamp the target. A missed GE or GT leaves the iterator
 * after the last entry, a missed LE or LT before the first.
 *
 * NULL: `err` may be, `key` when `key_len` is 0. Threads: one at a time on the iterator.
 * Codes: `LSM_OK`; `LSM_END` (no such entry; `*entry` is untouched); `LSM_E_INVALID` (a NULL, another `where`, a key over
 * 65,536 bytes); `LSM_E_TIMEOUT`; `LSM_E_STALLED` (more than `max_skip` hidden entries; the position is kept);
 * `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback, or another thread is in
 * a call on the iterator); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `iter` came from `lsm_iter_open`; `key` is readable for `key_len` bytes; `entry` and `err` are NULL or writable.
 */
int32_t lsm_iter_seek(struct lsm_iter *iter,
                      int32_t where,
                      const void *key,
                      size_t key_len,
                      struct lsm_entry *entry,
                      struct lsm_error **err);

/**
 * One step forward. On a fresh iterator the first entry; past the back end it stays `LSM_END`; past the front end it
 * gives the first entry. The entry's bytes are valid until the next call on the iterator. After an error of reading
 * every step answers that error until a seek or a refresh succeeds.
 *
 * NULL: `err` may be. Threads: one at a time on the iterator. Codes: as `lsm_iter_seek`.
 *
 * # Safety
 * As `lsm_iter_seek`.
 */
int32_t lsm_iter_next(struct lsm_iter *iter, struct lsm_entry *entry, struct lsm_error **err);

/**
 * One step back. On a fresh iterator the last entry; past the front end it stays `LSM_END`; past the back end it gives
 * the last entry.
 *
 * NULL, threads and codes: as `lsm_iter_next`.
 *
 * # Safety
 * As `lsm_iter_seek`.
 */
int32_t lsm_iter_prev(struct lsm_iter *iter,
                      struct lsm_entry *entry,
                      struct lsm_error **err);

/**
 * Many steps in one call: up to `max` entries, all valid until the next call on the iterator. `*n` says how many; fewer
 * than `max` does not mean the end.
 *
 * NULL: `err` may be. Threads: one at a time on the iterator.
 * Codes: `LSM_OK` with 1 to `max` entries; `LSM_END` with none (`*n` is 0); `LSM_E_INVALID` (a NULL, `max` 0, another
 * `direction`); the others of `lsm_iter_seek`.
 *
 * # Safety
 * `iter` came from `lsm_iter_open`; `entries` is writable for `max` elements; `n` and `err` are NULL or writable.
 */
int32_t lsm_iter_read(struct lsm_iter *iter,
                      int32_t direction,
                      struct lsm_entry *entries,
                      size_t max,
                      size_t *n,
                      struct lsm_error **err);

/**
 * Many steps into the caller's buffer, as `{u32 klen, u32 vlen, key, value}*`, little-endian and unaligned. `*n` says how
 * many entries, `*used` how many bytes.
 *
 * NULL: `err` may be, `buffer` when `capacity` is 0. Threads: one at a time on the iterator.
 * Codes: `LSM_OK` with at least one entry; `LSM_END` with none (`*n` and `*used` are 0); `LSM_TRUNCATED` (not even one
 * entry fits: `*n` is 0, `*used` the bytes needed, the iterator has not moved); `LSM_E_INVALID` (a NULL, another
 * `direction`); the others of `lsm_iter_seek`.
 *
 * # Safety
 * `iter` came from `lsm_iter_open`; `buffer` is writable for `capacity` bytes; `used`, `n` and `err` are NULL or writable.
 */
int32_t lsm_iter_read_packed(struct lsm_iter *iter,
                             int32_t direction,
                             void *buffer,
                             size_t capacity,
                             size_t *used,
                             uint32_t *n,
                             struct lsm_error **err);

/**
 * Makes an iterator as if newly opened, over the newest state; a snapshot given at open is dropped, bounds and prefix
 * stay.
 *
 * NULL: `err` may be. Threads: one at a time on the iterator.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); the failures of `lsm_iter_open`.
 *
 * # Safety
 * `iter` came from `lsm_iter_open`; `err` is NULL or writable.
 */
int32_t lsm_iter_refresh(struct lsm_iter *iter, struct lsm_error **err);

/**
 * Closes an iterator; the bytes it showed are gone.
 *
 * NULL: does nothing; so does a second close, while fewer than 1,024 iterators were closed since, and a close in a
 * forked child. Works after `lsm_close`. Threads: the last user.
 *
 * # Safety
 * `iter` is NULL or came from `lsm_iter_open` and is not used again.
 */
void lsm_iter_close(struct lsm_iter *iter);

/**
 * Takes a snapshot of now, in `*snapshot`. It keeps what it sees from being dropped; release it soon with
 * `lsm_snapshot_release`. Give it to reads in `lsm_read_options.snapshot`.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback);
 * `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `snapshot` is NULL or writable; `err` is NULL or writable.
 */
int32_t lsm_snapshot_new(struct lsm_db *db, struct lsm_snapshot **snapshot, struct lsm_error **err);

/**
 * The last sequence number that the snapshot sees; 0 for NULL, for a closed one and in a forked child.
 *
 * Threads: any number at once.
 *
 * # Safety
 * `snapshot` is NULL or came from `lsm_snapshot_new`.
 */
uint64_t lsm_snapshot_sequence(const struct lsm_snapshot *snapshot);

/**
 * Releases a snapshot. Iterators opened with it go on.
 *
 * NULL: does nothing; so does a second release, while fewer than 1,024 snapshots were released since, and a release
 * in a forked child. Threads: the last user. Works after `lsm_close`.
 *
 * # Safety
 * `snapshot` is NULL or came from `lsm_snapshot_new` and is not used again.
 */
void lsm_snapshot_release(struct lsm_snapshot *snapshot);

/**
 * Reads and checks every byte of the database: `CURRENT`, the manifest, every table (whole-file checksum, every block, the
 * order and number of entries, the filter, what the manifest says of it) and the log up to what is committed now. Reads and
 * writes go on meanwhile; nothing is written. It goes on past the first damage.
 *
 * `*report_json` is a JSON object: `result` ("sound" or "damaged"), counts, and in `damaged` an object for each damaged
 * file with `file` (its name in the folder), `keyspace` (for tables) and `reason`. Free it with `lsm_free`.
 *
 * NULL: `err` may be. Threads: any number at once. An `lsm_close` of another thread ends it at the next table.
 * Codes: `LSM_OK` (all sound); `LSM_E_CORRUPTION` (something is damaged, missing or cannot be read: `*report_json` is
 * written, and the message names the first file); `LSM_E_IO` (the folder cannot be listed); `LSM_E_INVALID` (a NULL);
 * `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`. `*report_json` is
 * written with the first two only.
 *
 * # Safety
 * `db` came from `lsm_open`; `report_json` and `err` are NULL or writable.
 */
int32_t lsm_verify(struct lsm_db *db,
                   char **report_json,
                   struct lsm_error **err);

/**
 * Repairs a damaged database that nobody has open, so that it can be opened again with every entry that can still be read.
 *
 * A database without damage is left as it is, also one that a crash left: opening it does what is to be done. Otherwise
 * what is left of damaged tables and of a damaged log is written into new tables, what is unreadable is set aside in the
 * folder as `NAME.damaged` (never removed), and a new manifest is put in force. A lost or damaged `CURRENT` or manifest is
 * rebuilt from the tables and the log; then tables whose keys overlap are merged, which needs as much free space as they
 * take. An entry that is lost may uncover an older value of its key. Calling it again changes nothing more; after a crash
 * or a failure inside, call it again.
 *
 * `*report_json` is a JSON object: `result` ("sound" or "repaired"), `tables`, `entries_kept`, `entries_lost` (known to be),
 * and lists: `damaged` (`file`, `reason`), `lost` (`file`, `reason`, `keyspace`, `key_from` and `key_to` in hexadecimal
 * digits or null, or `sequence_from` and `sequence_to` for the log), `set_aside` (`file`, `as`), `notes`. Free it with
 * `lsm_free`.
 *
 * NULL: `options` (defaults; used over the persisted ones for the tables that are written) and `err` may be. Threads: any.
 * Codes: `LSM_OK` (sound, or repaired; the report says which and what was lost); `LSM_E_INVALID` (a NULL, a folder that is
 * no database, `mode = ro`); `LSM_E_LOCKED` (open here or in another process); `LSM_E_CORRUPTION` (nothing is left that
 * says whose database it is); `LSM_E_VERSION` (written by a later version: not damage); `LSM_E_IO` (no such folder, a call
 * refused); `LSM_E_NOSPACE`; `LSM_E_NOMEM`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`. On failure the folder is as it
 * was, and nothing is written to `*report_json`.
 *
 * # Safety
 * `path` ends in NUL; `options` is NULL or a live bag; `report_json` and `err` are NULL or writable.
 */
int32_t lsm_repair(const char *path,
                   const struct lsm_options *options,
                   char **report_json,
                   struct lsm_error **err);

/**
 * Tries again, now, what failed in the background or for want of room, and waits for it: for a caller that has made room
 * or mended the cause. Without it the same happens by itself, within 10 s for a compaction, sooner for the rest.
 *
 * A failure after which acknowledgements could not be kept (a store or sync of the log that failed: `LSM_ERROR_FATAL`) is
 * not cleared: close the database and open it again, which rewrites what is left of the log.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK` (nothing fails any more); `LSM_E_NOSPACE`, `LSM_E_IO`, `LSM_E_CORRUPTION`, `LSM_E_NOMEM` (it fails still,
 * and why; with `LSM_ERROR_FATAL`: open again); `LSM_E_READONLY`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY`
 * (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `err` is NULL or writable.
 */
int32_t lsm_resume(struct lsm_db *db,
                   struct lsm_error **err);

/**
 * Writes the memory of one keyspace, or of all, to tables and waits for it.
 *
 * NULL: `keyspace` (all) and `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, a keyspace of another database); `LSM_E_IO`; `LSM_E_NOSPACE`;
 * `LSM_E_READONLY`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `keyspace` is NULL or came from this library; `err` is NULL or writable.
 */
int32_t lsm_flush(struct lsm_db *db, struct lsm_keyspace *keyspace, struct lsm_error **err);

/**
 * Compacts the keys from `from` (included) to `to` (excluded) down to the last level and waits for it.
 *
 * NULL: `from` and `to` with length 0 mean unbounded; `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_IO`; `LSM_E_CORRUPTION`; `LSM_E_NOSPACE`; `LSM_E_READONLY`;
 * `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `keyspace` came from this library; `from` and `to` are readable for their lengths; `err` is NULL or writable.
 */
int32_t lsm_compact(struct lsm_keyspace *keyspace,
                    const void *from,
                    size_t from_len,
                    const void *to,
                    size_t to_len,
                    struct lsm_error **err);

/**
 * A property as text, of the database or of one keyspace, in `*value`; free it with `lsm_free`.
 *
 * Texts: stats, levels, options, wal.io. Numbers, too: cache.hits, cache.misses, cache.bytes, memtable.bytes,
 * memory.bytes, disk.bytes, wal.bytes, levels.N.files, levels.N.bytes, compaction.jobs_run, compaction.jobs_running,
 * compaction.bytes_read, compaction.bytes_written, compaction.parallel_merges, compaction.pending_bytes,
 * flush.jobs_run, stall.micros, keys.estimate.
 *
 * NULL: `keyspace` and `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_NOT_FOUND` (no such property; `*value` is untouched); `LSM_E_INVALID` (a NULL, a keyspace of
 * another database); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `keyspace` is NULL or came from this library; `name` ends in NUL; `value` and `err` are NULL
 * or writable.
 */
int32_t lsm_property(struct lsm_db *db,
                     struct lsm_keyspace *keyspace,
                     const char *name,
                     char **value,
                     struct lsm_error **err);

/**
 * A property as a number, in `*value`.
 *
 * NULL, threads and codes: as `lsm_property`; a property that is no number is `LSM_NOT_FOUND`.
 *
 * # Safety
 * As `lsm_property`.
 */
int32_t lsm_property_u64(struct lsm_db *db,
                         struct lsm_keyspace *keyspace,
                         const char *name,
                         uint64_t *value,
                         struct lsm_error **err);

/**
 * All metrics, as `LSM_METRICS_PROMETHEUS` text or `LSM_METRICS_JSON`, in `*text`; free it with `lsm_free`.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL, another format); `LSM_E_NOMEM`; `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a
 * callback); `LSM_E_PANIC`; `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `text` and `err` are NULL or writable.
 */
int32_t lsm_metrics(struct lsm_db *db, int32_t format, char **text, struct lsm_error **err);

/**
 * Empties the block cache.
 *
 * NULL: `err` may be. Threads: any number at once.
 * Codes: `LSM_OK`; `LSM_E_INVALID` (a NULL); `LSM_E_CLOSED`; `LSM_E_BUSY` (inside a callback); `LSM_E_PANIC`;
 * `LSM_E_FORKED`.
 *
 * # Safety
 * `db` came from `lsm_open`; `err` is NULL or writable.
 */
int32_t lsm_cache_clear(struct lsm_db *db, struct lsm_error **err);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LSM_H */
