/* Batches, packed as the library reads them, and their writing. */
#include "core.h"

static int is_idle(Batch *self) {
  if (!self->busy) return 1;
  fail_text("batch", LSM_E_BUSY, "another thread is writing the batch");
  return 0;
}

static int grow(void **memory, size_t *capacity, size_t need, size_t unit) {
  if (need <= *capacity) return 1;
  size_t larger = need * 2 < 64 ? 64 : need * 2;
  void *moved = PyMem_Realloc(*memory, larger * unit);
  if (!moved) {
    PyErr_NoMemory();
    return 0;
  }
  *memory = moved;
  *capacity = larger;
  return 1;
}

/* The operations behind the last run belong to `keyspace` (NULL or None: the default one). */
static int note_run(Batch *self, PyObject *keyspace) {
  PyObject *last = self->runs ? PyList_GET_ITEM(self->keyspaces, self->runs - 1) : NULL;
  if (!keyspace) keyspace = Py_None;
  if (last != keyspace) {
    void *ends = self->ends;
    if (keyspace != Py_None && !PyObject_TypeCheck(keyspace, &KeyspaceType)) {
      PyErr_SetString(PyExc_TypeError, "keyspace must be a Keyspace or None");
      return 0;
    }
    int grown = grow(&ends, &self->runs_capacity, self->runs + 1, sizeof *self->ends);
    self->ends = ends;
    if (!grown || PyList_Append(self->keyspaces, keyspace) != 0) return 0;
    self->runs++;
  }
  self->ends[self->runs - 1] = self->len;
  return 1;
}

/* Appends one operation; `value` NULL is a delete. */
static int append(Batch *self, const Bytes *key, const Bytes *value, PyObject *keyspace) {
  size_t value_len = value ? value->len : 0;
  void *packed = self->packed;
  if (key->len > 65536 || value_len > (size_t)1 << 30) {
    fail_text("batch", LSM_E_INVALID, "a key over 65,536 bytes or a value over 1 GiB");
    return 0;
  }
  int grown = grow(&packed, &self->capacity, self->len + 8 + key->len + value_len, 1);
  self->packed = packed;
  if (!grown) return 0;
  size_t before = self->len;
  uint8_t *at = self->packed + before;
  put_u32(at, key->len);
  put_u32(at + 4, value ? value_len : 0xFFFFFFFFu);
  memcpy(at + 8, key->data, key->len);
  if (value) memcpy(at + 8 + key->len, value->data, value_len);
  self->len += 8 + key->len + value_len;
  if (!note_run(self, keyspace)) {
    self->len = before;
    return 0;
  }
  self->count++;
  return 1;
}

static int append_objects(Batch *self, PyObject *key_object, PyObject *value_object, PyObject *keyspace) {
  Bytes key, value;
  if (!bytes_of(key_object, &key)) return 0;
  if (value_object && !bytes_of(value_object, &value)) {
    bytes_done(&key);
    return 0;
  }
  int done = is_idle(self) && append(self, &key, value_object ? &value : NULL, keyspace);
  bytes_done(&key);
  if (value_object) bytes_done(&value);
  return done;
}

static int keyspace_keyword(PyObject *const *values, PyObject *names, PyObject **keyspace) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "keyspace") != 0) {
      PyErr_Format(PyExc_TypeError, "unknown keyword argument '%U'", PyTuple_GET_ITEM(names, i));
      return 0;
    }
    *keyspace = values[i];
  }
  return 1;
}

static PyObject *batch_put(Batch *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  PyObject *keyspace = NULL;
  if (nargs != 2) return PyErr_Format(PyExc_TypeError, "put takes a key and a value (%zd given)", nargs);
  if (names && !keyspace_keyword(args + nargs, names, &keyspace)) return NULL;
  if (!append_objects(self, args[0], args[1], keyspace)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *batch_delete(Batch *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  PyObject *keyspace = NULL;
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "delete takes a key (%zd given)", nargs);
  if (names && !keyspace_keyword(args + nargs, names, &keyspace)) return NULL;
  if (!append_objects(self, args[0], NULL, keyspace)) return NULL;
  Py_RETURN_NONE;
}

static PyObject *batch_put_many(Batch *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  PyObject *keyspace = NULL, *pair;
  if (nargs != 1) return PyErr_Format(PyExc_TypeError, "put_many takes pairs (%zd arguments given)", nargs);
  if (names && !keyspace_keyword(args + nargs, names, &keyspace)) return NULL;
  PyObject *pairs = PyObject_GetIter(args[0]);
  if (!pairs) return NULL;
  int done = 1;
  while (done && (pair = PyIter_Next(pairs))) {
    if (!PyTuple_CheckExact(pair) || PyTuple_GET_SIZE(pair) != 2) {
      PyErr_SetString(PyExc_TypeError, "put_many takes tuples of a key and a value");
      done = 0;
    } else {
      done = append_objects(self, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), keyspace);
    }
    Py_DECREF(pair);
  }
  Py_DECREF(pairs);
  if (!done || PyErr_Occurred()) return NULL;
  Py_RETURN_NONE;
}

static int batch_assign(Batch *self, PyObject *key, PyObject *value) {
  return append_objects(self, key, value, NULL) ? 0 : -1;
}

static PyObject *batch_clear_all(Batch *self, PyObject *Py_UNUSED(unused)) {
  if (!is_idle(self)) return NULL;
  if (PyList_SetSlice(self->keyspaces, 0, PY_SSIZE_T_MAX, NULL) != 0) return NULL;
  self->len = 0;
  self->runs = 0;
  self->count = 0;
  Py_RETURN_NONE;
}

/* --- writing --- */

/* The handles of the runs, in memory of PyMem. */
static lsm_keyspace **handles(Keyspace *self, Batch *batch) {
  lsm_keyspace **c = PyMem_Malloc((batch->runs + 1) * sizeof *c);
  if (!c) {
    PyErr_NoMemory();
    return NULL;
  }
  for (size_t i = 0; i < batch->runs; i++) {
    PyObject *object = PyList_GET_ITEM(batch->keyspaces, (Py_ssize_t)i);
    Keyspace *keyspace = object == Py_None ? self : (Keyspace *)object;
    c[i] = keyspace->c;
    if (!keyspace->c) {
      fail_text("write", LSM_E_CLOSED, "a keyspace of the batch was closed before");
    } else if (keyspace->db != self->db) {
      fail_text("write", LSM_E_INVALID, "a keyspace of another database");
    } else {
      continue;
    }
    PyMem_Free(c);
    return NULL;
  }
  return c;
}

static int32_t write_runs(lsm_db *db, const Write *write, Batch *self, lsm_keyspace **c, uint64_t *sequence, lsm_error **err) {
  lsm_batch *batch = NULL;
  size_t from = 0;
  int32_t code = api.lsm_batch_new(db, &batch, err);
  for (size_t i = 0; i < self->runs && code == LSM_OK; from = self->ends[i++])
    code = api.lsm_batch_append_packed(batch, c[i], self->packed + from, self->ends[i] - from, err);
  if (code == LSM_OK) code = api.lsm_write(db, write->given, batch, sequence, err);
  api.lsm_batch_free(batch);
  return code;
}

PyObject *batch_write(Keyspace *self, PyObject *const *args, Py_ssize_t nargs, PyObject *names) {
  Write write = {.given = NULL};
  uint64_t sequence = 0;
  lsm_error *err = NULL;
  int32_t code;
  if (nargs != 1 || !PyObject_TypeCheck(args[0], &BatchType)) {
    PyErr_SetString(PyExc_TypeError, "write takes a Batch");
    return NULL;
  }
  if (names && !write_keywords(args + nargs, names, &write)) return NULL;
  Batch *batch = (Batch *)args[0];
  if (!self->c) return fail_text("write", LSM_E_CLOSED, "it was closed before");
  if (!is_idle(batch)) return NULL;
  lsm_keyspace **c = handles(self, batch);
  if (!c) return NULL;
  lsm_keyspace *only = batch->runs ? c[0] : self->c;
  batch->busy = 1;
  Py_BEGIN_ALLOW_THREADS
  if (batch->runs <= 1) {
    code = api.lsm_write_packed(only, write.given, batch->packed, batch->len, &sequence, &err);
  } else {
    code = write_runs(self->db, &write, batch, c, &sequence, &err);
  }
  Py_END_ALLOW_THREADS
  batch->busy = 0;
  PyMem_Free(c);
  if (code != LSM_OK) return fail("write", code, err);
  return PyLong_FromUnsignedLongLong(sequence);
}

/* --- the type --- */

static PyObject *batch_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(keywords)) {
  Batch *self = (Batch *)type->tp_alloc(type, 0);
  if (self && !(self->keyspaces = PyList_New(0))) Py_CLEAR(self);
  return (PyObject *)self;
}

static int batch_traverse(Batch *self, visitproc visit, void *arg) {
  Py_VISIT(self->keyspaces);
  return 0;
}

static int batch_clear(Batch *self) {
  self->runs = 0;
  self->len = 0;
  Py_CLEAR(self->keyspaces);
  return 0;
}

static void batch_dealloc(Batch *self) {
  PyObject_GC_UnTrack(self);
  Py_CLEAR(self->keyspaces);
  PyMem_Free(self->packed);
  PyMem_Free(self->ends);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

static Py_ssize_t batch_len(Batch *self) { return self->count; }

static PyObject *batch_size(Batch *self, void *Py_UNUSED(unused)) { return PyLong_FromSize_t(self->len); }

#define FAST METH_FASTCALL | METH_KEYWORDS
#define METHOD(function) (PyCFunction)(void (*)(void))function

static PyMethodDef batch_methods[] = {
    {"put", METHOD(batch_put), FAST, "Adds a put."},
    {"delete", METHOD(batch_delete), FAST, "Adds a delete."},
    {"put_many", METHOD(batch_put_many), FAST, "Adds a put for each tuple of a key and a value."},
    {"clear", METHOD(batch_clear_all), METH_NOARGS, "Forgets all operations and keeps the memory."},
    {NULL, NULL, 0, NULL},
};

static PyMappingMethods batch_mapping = {.mp_length = (lenfunc)batch_len, .mp_ass_subscript = (objobjargproc)batch_assign};

static PyGetSetDef batch_getset[] = {
    {"size", (getter)batch_size, NULL, "Bytes that the operations take.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject BatchType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lsm._native.BatchCore",
    .tp_basicsize = sizeof(Batch),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = batch_new,
    .tp_dealloc = (destructor)batch_dealloc,
    .tp_traverse = (traverseproc)batch_traverse,
    .tp_clear = (inquiry)batch_clear,
    .tp_methods = batch_methods,
    .tp_getset = batch_getset,
    .tp_as_mapping = &batch_mapping,
};
