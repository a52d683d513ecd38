/* The hot calls of the Python package in C: the same classes as src/lsm/_portable.py, which is what they have to be like.
 *
 * It is not linked with liblsm: the package finds and loads the library through ctypes and hands the addresses over
 * (`bind`), so one build works with whatever library is found. The GIL is released around every call of the library: a call
 * may wait for the device, or for a thread that waits for the GIL in a log callback. What Python code of another thread
 * could change meanwhile is guarded by a flag (`busy`) or a count (`uses`), both only touched with the GIL.
 */
#ifndef LSM_PYTHON_CORE_H
#define LSM_PYTHON_CORE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <lsm.h>
#include <structmember.h>

#define FUNCTIONS(X) \
  X(lsm_error_code) X(lsm_error_os) X(lsm_error_flags) X(lsm_error_message) X(lsm_error_free) \
  X(lsm_put) X(lsm_delete) X(lsm_write_packed) X(lsm_write) \
  X(lsm_batch_new) X(lsm_batch_free) X(lsm_batch_append_packed) \
  X(lsm_get) X(lsm_get_pinned) X(lsm_exists) X(lsm_multi_get_packed) X(lsm_value_release) \
  X(lsm_iter_open) X(lsm_iter_seek) X(lsm_iter_read_packed) X(lsm_iter_refresh) X(lsm_iter_close) \
  X(lsm_snapshot_sequence) X(lsm_snapshot_release)

#define POINTER(name) __typeof__(name) *name;
struct api { FUNCTIONS(POINTER) };
#undef POINTER
extern struct api api;

/* Makes an exception of (operation, code, errno, flags, message); set by `bind`. */
extern PyObject *make_error;

typedef struct {
  PyObject_HEAD
  lsm_keyspace *c; /* NULL: closed */
  lsm_db *db;
  PyObject *owner; /* what keeps the database open; NULL for a database itself */
} Keyspace;

typedef struct {
  PyObject_HEAD
  lsm_snapshot *c; /* NULL: closed */
  PyObject *owner;
  Py_ssize_t uses; /* calls that use it now */
  int is_closing;  /* the last of them releases it */
} Snapshot;

typedef struct {
  PyObject_HEAD
  lsm_value *c;
  const uint8_t *data;
  Py_ssize_t len;
  Py_ssize_t exports; /* buffers that somebody looks through */
} Value;

typedef struct {
  PyObject_HEAD
  uint8_t *packed;
  size_t len, capacity;
  PyObject *keyspaces; /* list: one for each run, None for the default one */
  size_t *ends;        /* where each run ends in the packed bytes */
  size_t runs, runs_capacity;
  Py_ssize_t count;
  int busy;
} Batch;

typedef struct {
  PyObject_HEAD
  lsm_iter *c; /* NULL: closed */
  PyObject *owner;
  uint8_t *chunk;
  size_t capacity;  /* of the memory */
  size_t fetch;     /* what the next fetch asks for */
  size_t fetch_max;
  size_t at, end;   /* of what was not shown yet */
  size_t shown;     /* where the entry shown begins; it has a key only while has_shown */
  int has_shown;
  int32_t direction; /* of the chunk */
  int32_t default_direction;
  int what; /* of WHAT_* */
  int busy;
} Cursor;

enum { WHAT_ITEMS, WHAT_KEYS, WHAT_VALUES };

extern PyTypeObject KeyspaceType, SnapshotType, ValueType, BatchType, CursorType;

/* A bytes-like argument. */
typedef struct {
  const void *data;
  size_t len;
  Py_buffer buffer;
  int has_buffer;
} Bytes;

int bytes_of(PyObject *object, Bytes *bytes);
void bytes_done(Bytes *bytes);

/* Read and write settings from keyword arguments. */
typedef struct {
  lsm_read_options c;
  const lsm_read_options *given; /* NULL: defaults */
  Snapshot *snapshot;
} Read;

typedef struct {
  lsm_write_options c;
  const lsm_write_options *given;
} Write;

/* Takes the settings; `fallback` is where `default=` goes, or NULL if there is no such keyword. */
int read_keywords(PyObject *const *values, PyObject *names, Read *read, PyObject **fallback);
int write_keywords(PyObject *const *values, PyObject *names, Write *write);
int seconds_of(PyObject *seconds, uint64_t *micros);
int snapshot_hold(Snapshot *snapshot);
void snapshot_done(Snapshot *snapshot);

/* Raises what the library said and frees it; gives NULL. */
PyObject *fail(const char *operation, int32_t code, lsm_error *err);
PyObject *fail_text(const char *operation, int32_t code, const char *message);

void put_u32(uint8_t *at, size_t number);
size_t get_u32(const uint8_t *at);

extern PyMethodDef keyspace_methods[];
PyObject *batch_write(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names);

#endif
