/* Keyspaces: put, get, delete, exists, pinned values, many keys at once. */
#include "core.h"

static int is_open(Keyspace *self, const char *operation) {
  if (self->c) return 1;
  fail_text(operation, LSM_E_CLOSED, "it was closed before");
  return 0;
}

static PyObject *keyspace_bind(Keyspace *self, PyObject *args) {
  unsigned long long c, db;
  PyObject *owner;
  if (!PyArg_ParseTuple(args, "KKO", &c, &db, &owner)) return NULL;
  self->c = (lsm_keyspace *)(uintptr_t)c;
  self->db = (lsm_db *)(uintptr_t)db;
  if (owner == Py_None) owner = NULL;
  Py_XINCREF(owner);
  Py_XSETREF(self->owner, owner);
  Py_RETURN_NONE;
}

static PyObject *keyspace_unbind(Keyspace *self, PyObject *Py_UNUSED(unused)) {
  PyObject *c = PyLong_FromVoidPtr(self->c);
  self->c = NULL;
  return c;
}

/* --- writes --- */

static int put_bytes(Keyspace *self, PyObject *key_object, PyObject *value_object, const Write *write) {
  Bytes key, value;
  lsm_error *err = NULL;
  int32_t code;
  if (!is_open(self, "put") || !bytes_of(key_object, &key)) return 0;
  if (!bytes_of(value_object, &value)) {
    bytes_done(&key);
    return 0;
  }
  lsm_keyspace *c = self->c;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_put(c, write->given, key.data, key.len, value.data, value.len, &err);
  Py_END_ALLOW_THREADS
  bytes_done(&key);
  bytes_done(&value);
  if (code == LSM_OK) return 1;
  fail("put", code, err);
  return 0;
}

static int delete_bytes(Keyspace *self, PyObject *key_object, const Write *write) {
  Bytes key;
  lsm_error *err = NULL;
  int32_t code;
  if (!is_open(self, "delete") || !bytes_of(key_object, &key)) return 0;
  lsm_keyspace *c = self->c;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_delete(c, write->given, key.data, key.len, &err);
  Py_END_ALLOW_THREADS
  bytes_done(&key);
  if (code == LSM_OK) return 1;
  fail("delete", code, err);
  return 0;
}

static PyObject *keyspace_put(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Write write = {.given = NULL};
  if (nargs != 2) return PyErr_Format(PyExc_TypeError, "put takes a key and a value (%zd given)", nargs);
  if (names && !write_keywords(args + nargs, names, &write)) return NULL;
  if (!put_bytes(self, args[0], args[1], &write)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *keyspace_delete(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Write write = {.given = NULL};
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "delete takes a key (%zd given)", nargs);
  if (names && !write_keywords(args + nargs, names, &write)) return NULL;
  if (!delete_bytes(self, args[0], &write)) return NULL;
  Py_RETURN_NONE;
}

static int keyspace_assign(Keyspace *self, PyObject *key, PyObject *value) {
  Write write = {.given = NULL};
  return (value ? put_bytes(self, key, value, &write) : delete_bytes(self, key, &write)) ? 0 : -1;
}

/* --- reads --- */

#define STACK_BYTES 4096

/* A new bytes object; NULL without an exception when there is no such key. */
static PyObject *read_bytes(Keyspace *self, PyObject *key_object, Read *read) {
  Bytes key;
  char stack[STACK_BYTES];
  size_t len = 0;
  const uint8_t *data = NULL;
  lsm_value *value = NULL;
  lsm_error *err = NULL;
  int32_t code;
  if (!is_open(self, "get") || !bytes_of(key_object, &key)) return NULL;
  if (!snapshot_hold(read->snapshot)) {
    bytes_done(&key);
    return NULL;
  }
  lsm_keyspace *c = self->c;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_get(c, read->given, key.data, key.len, stack, sizeof stack, &len, &err);
  /* A longer one is pinned, so that it is copied once and its length is known. */
  if (code == LSM_TRUNCATED) code = api.lsm_get_pinned(c, read->given, key.data, key.len, &value, &data, &len, &err);
  Py_END_ALLOW_THREADS
  bytes_done(&key);
  snapshot_done(read->snapshot);
  if (code == LSM_NOT_FOUND) return NULL;
  if (code != LSM_OK) return fail("get", code, err);
  PyObject *result = PyBytes_FromStringAndSize(value ? (const char *)data : stack, (Py_ssize_t)len);
  if (value) api.lsm_value_release(value);
  return result;
}

static PyObject *keyspace_get(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Read read = {.given = NULL, .snapshot = NULL};
  PyObject *fallback = Py_None;
  if (nargs < 1 || nargs > 2) return PyErr_Format(PyExc_TypeError, "get takes a key and a default (%zd given)", nargs);
  if (nargs == 2) fallback = args[1];
  if (names && !read_keywords(args + nargs, names, &read, &fallback)) return NULL;
  PyObject *value = read_bytes(self, args[0], &read);
  if (value || PyErr_Occurred()) return value;
  Py_INCREF(fallback);
  return fallback;
}

static PyObject *keyspace_subscript(Keyspace *self, PyObject *key) {
  Read read = {.given = NULL, .snapshot = NULL};
  PyObject *value = read_bytes(self, key, &read);
  if (!value && !PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, key);
  return value;
}

/* The length of a value: -1 when there is none, -2 with an exception. */
static Py_ssize_t length_of(Keyspace *self, PyObject *key_object, Read *read) {
  Bytes key;
  size_t len = 0;
  lsm_error *err = NULL;
  int32_t code;
  if (!is_open(self, "exists") || !bytes_of(key_object, &key)) return -2;
  if (!snapshot_hold(read->snapshot)) {
    bytes_done(&key);
    return -2;
  }
  lsm_keyspace *c = self->c;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_exists(c, read->given, key.data, key.len, &len, &err);
  Py_END_ALLOW_THREADS
  bytes_done(&key);
  snapshot_done(read->snapshot);
  if (code == LSM_NOT_FOUND) return -1;
  if (code == LSM_OK) return (Py_ssize_t)len;
  fail("exists", code, err);
  return -2;
}

static int keyspace_contains(Keyspace *self, PyObject *key) {
  Read read = {.given = NULL, .snapshot = NULL};
  Py_ssize_t len = length_of(self, key, &read);
  return len == -2 ? -1 : len >= 0;
}

static PyObject *keyspace_exists(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Read read = {.given = NULL, .snapshot = NULL};
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "exists takes a key (%zd given)", nargs);
  if (names && !read_keywords(args + nargs, names, &read, NULL)) return NULL;
  Py_ssize_t len = length_of(self, args[0], &read);
  return len == -2 ? NULL : PyBool_FromLong(len >= 0);
}

static PyObject *keyspace_value_len(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Read read = {.given = NULL, .snapshot = NULL};
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "value_len takes a key (%zd given)", nargs);
  if (names && !read_keywords(args + nargs, names, &read, NULL)) return NULL;
  Py_ssize_t len = length_of(self, args[0], &read);
  if (len == -2) return NULL;
  if (len == -1) Py_RETURN_NONE;
  return PyLong_FromSsize_t(len);
}

static PyObject *keyspace_pin(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Read read = {.given = NULL, .snapshot = NULL};
  Bytes key;
  size_t len = 0;
  lsm_error *err = NULL;
  int32_t code;
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "pinned takes a key (%zd given)", nargs);
  if (names && !read_keywords(args + nargs, names, &read, NULL)) return NULL;
  if (!is_open(self, "pinned") || !bytes_of(args[0], &key)) return NULL;
  Value *value = (Value *)ValueType.tp_alloc(&ValueType, 0);
  if (!value || !snapshot_hold(read.snapshot)) {
    bytes_done(&key);
    Py_XDECREF(value);
    return NULL;
  }
  lsm_keyspace *c = self->c;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_get_pinned(c, read.given, key.data, key.len, &value->c, &value->data, &len, &err);
  Py_END_ALLOW_THREADS
  bytes_done(&key);
  snapshot_done(read.snapshot);
  value->len = (Py_ssize_t)len;
  if (code == LSM_OK) return (PyObject *)value;
  Py_DECREF(value);
  if (code == LSM_NOT_FOUND) Py_RETURN_NONE;
  return fail("pinned", code, err);
}

/* --- many keys --- */

/* {u32 length, key}* of a sequence, in memory of PyMem. */
static uint8_t *pack_keys(PyObject *sequence, size_t *len) {
  size_t capacity = 4096;
  uint8_t *packed = PyMem_Malloc(capacity);
  *len = 0;
  for (Py_ssize_t i = 0; packed && i < PySequence_Fast_GET_SIZE(sequence); i++) {
    Bytes key;
    if (!bytes_of(PySequence_Fast_GET_ITEM(sequence, i), &key)) {
      PyMem_Free(packed);
      return NULL;
    }
    size_t need = *len + 4 + key.len;
    if (need > capacity) {
      capacity = need * 2;
      uint8_t *longer = PyMem_Realloc(packed, capacity);
      if (!longer) PyMem_Free(packed);
      packed = longer;
    }
    if (packed && key.len <= UINT32_MAX) {
      put_u32(packed + *len, key.len);
      memcpy(packed + *len + 4, key.data, key.len);
      *len = need;
    }
    bytes_done(&key);
  }
  if (!packed) PyErr_NoMemory();
  return packed;
}

static PyObject *unpack_values(const uint8_t *at, Py_ssize_t n) {
  PyObject *list = PyList_New(n);
  for (Py_ssize_t i = 0; list && i < n; i++) {
    int32_t code = (int32_t)(uint32_t)get_u32(at);
    size_t len = get_u32(at + 4);
    PyObject *value = Py_None;
    if (code == LSM_OK) {
      value = PyBytes_FromStringAndSize((const char *)at + 8, (Py_ssize_t)len);
    } else {
      Py_INCREF(value);
    }
    if (!value) {
      Py_CLEAR(list);
    } else {
      PyList_SET_ITEM(list, i, value);
    }
    at += 8 + len;
  }
  return list;
}

static PyObject *read_many(Keyspace *self, PyObject *sequence, Read *read) {
  Py_ssize_t n = PySequence_Fast_GET_SIZE(sequence);
  size_t len, used = 0, capacity = 4096 + (size_t)n * 128;
  lsm_error *err = NULL;
  int32_t code;
  uint8_t *packed = pack_keys(sequence, &len);
  if (!packed) return NULL;
  uint8_t *buffer = PyMem_Malloc(capacity);
  lsm_keyspace *c = self->c;
  for (;;) {
    if (!buffer) {
      PyMem_Free(packed);
      return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    code = api.lsm_multi_get_packed(c, read->given, packed, len, (uint32_t)n, buffer, capacity, &used, &err);
    Py_END_ALLOW_THREADS
    if (code != LSM_TRUNCATED) break;
    capacity = used;
    PyMem_Free(buffer);
    buffer = PyMem_Malloc(capacity);
  }
  PyObject *list = code == LSM_OK ? unpack_values(buffer, n) : fail("multi_get", code, err);
  PyMem_Free(buffer);
  PyMem_Free(packed);
  return list;
}

static PyObject *keyspace_multi_get(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Read read = {.given = NULL, .snapshot = NULL};
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "multi_get takes keys (%zd arguments given)", nargs);
  if (names && !read_keywords(args + nargs, names, &read, NULL)) return NULL;
  if (!is_open(self, "multi_get")) return NULL;
  PyObject *sequence = PySequence_Tuple(args[0]); /* one that nobody can change meanwhile */
  if (!sequence) return NULL;
  PyObject *list = NULL;
  if (snapshot_hold(read.snapshot)) {
    list = read_many(self, sequence, &read);
    snapshot_done(read.snapshot);
  }
  Py_DECREF(sequence);
  return list;
}

/* --- the type --- */

static PyObject *keyspace_pointer(Keyspace *self, void *Py_UNUSED(unused)) { return PyLong_FromVoidPtr(self->c); }
static PyObject *keyspace_database(Keyspace *self, void *Py_UNUSED(unused)) { return PyLong_FromVoidPtr(self->db); }

static int keyspace_traverse(Keyspace *self, visitproc visit, void *arg) {
  Py_VISIT(self->owner);
  return 0;
}

static int keyspace_clear(Keyspace *self) {
  Py_CLEAR(self->owner);
  return 0;
}

static void keyspace_dealloc(Keyspace *self) {
  PyObject_GC_UnTrack(self);
  Py_CLEAR(self->owner);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

#define FAST METH_FASTCALL | METH_KEYWORDS
#define METHOD(function) (PyCFunction)(void (*)(void))function

PyMethodDef keyspace_methods[] = {
    {"_bind", METHOD(keyspace_bind), METH_VARARGS, NULL},
    {"_unbind", METHOD(keyspace_unbind), METH_NOARGS, NULL},
    {"get", METHOD(keyspace_get), FAST, "The value of a key, or the default."},
    {"put", METHOD(keyspace_put), FAST, "Puts a value under a key."},
    {"delete", METHOD(keyspace_delete), FAST, "Deletes a key."},
    {"exists", METHOD(keyspace_exists), FAST, "Whether a key has a value."},
    {"value_len", METHOD(keyspace_value_len), FAST, "The length of a value, or None."},
    {"multi_get", METHOD(keyspace_multi_get), FAST, "The values of many keys as of one moment, None for a missing one."},
    {"_pin", METHOD(keyspace_pin), FAST, "A Value, or None."},
    {"_write", METHOD(batch_write), FAST, "Writes a batch."},
    {NULL, NULL, 0, NULL},
};

static PyMappingMethods keyspace_mapping = {
    .mp_subscript = (binaryfunc)keyspace_subscript,
    .mp_ass_subscript = (objobjargproc)keyspace_assign,
};

static PySequenceMethods keyspace_sequence = {.sq_contains = (objobjproc)keyspace_contains};

static PyGetSetDef keyspace_getset[] = {
    {"_c", (getter)keyspace_pointer, NULL, NULL, NULL},
    {"_db", (getter)keyspace_database, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject KeyspaceType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lsm._native.KeyspaceCore",
    .tp_basicsize = sizeof(Keyspace),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)keyspace_dealloc,
    .tp_traverse = (traverseproc)keyspace_traverse,
    .tp_clear = (inquiry)keyspace_clear,
    .tp_methods = keyspace_methods,
    .tp_getset = keyspace_getset,
    .tp_as_mapping = &keyspace_mapping,
    .tp_as_sequence = &keyspace_sequence,
};
