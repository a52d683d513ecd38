/* The module: binding to the library, arguments, errors, snapshots. */
#include "core.h"

struct api api;
PyObject *make_error;

/* --- errors --- */

PyObject *fail_text(const char *operation, int32_t code, const char *message) {
  PyObject *error = PyObject_CallFunction(make_error, "siiIs", operation, (int)code, 0, 0u, message);
  if (error) {
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
  }
  return NULL;
}

PyObject *fail(const char *operation, int32_t code, lsm_error *err) {
  if (!err) return fail_text(operation, code, "");
  PyObject *message = PyUnicode_DecodeUTF8(api.lsm_error_message(err), (Py_ssize_t)strlen(api.lsm_error_message(err)), "replace");
  PyObject *error = !message ? NULL
                             : PyObject_CallFunction(make_error, "siiIO", operation, (int)code, (int)api.lsm_error_os(err),
                                                     (unsigned)api.lsm_error_flags(err), message);
  api.lsm_error_free(err);
  Py_XDECREF(message);
  if (error) {
    PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_DECREF(error);
  }
  return NULL;
}

/* --- arguments --- */

int bytes_of(PyObject *object, Bytes *bytes) {
  bytes->has_buffer = 0;
  if (PyBytes_CheckExact(object)) {
    bytes->data = PyBytes_AS_STRING(object);
    bytes->len = (size_t)PyBytes_GET_SIZE(object);
    return 1;
  }
  if (PyObject_GetBuffer(object, &bytes->buffer, PyBUF_SIMPLE) != 0) return 0;
  bytes->has_buffer = 1;
  bytes->data = bytes->buffer.buf;
  bytes->len = (size_t)bytes->buffer.len;
  return 1;
}

void bytes_done(Bytes *bytes) {
  if (bytes->has_buffer) PyBuffer_Release(&bytes->buffer);
}

int seconds_of(PyObject *seconds, uint64_t *micros) {
  *micros = 0;
  if (seconds == Py_None) return 1;
  double value = PyFloat_AsDouble(seconds);
  if (value == -1.0 && PyErr_Occurred()) return 0;
  if (!(value >= 0)) {
    PyErr_SetString(PyExc_ValueError, "timeout must be None or a number of seconds from 0");
    return 0;
  }
  /* 0 would mean none: the shortest is a microsecond. */
  *micros = value >= 9e12 ? 0 : value * 1e6 < 1 ? 1 : (uint64_t)(value * 1e6);
  return 1;
}

static int flag_of(PyObject *value, int is_inverted, uint32_t flag, uint32_t *flags) {
  int is_true = PyObject_IsTrue(value);
  if (is_true < 0) return 0;
  if (is_true != is_inverted) *flags |= flag;
  return 1;
}

static int unknown_keyword(PyObject *name) {
  PyErr_Format(PyExc_TypeError, "unknown keyword argument '%U'", name);
  return 0;
}

static int is_named(PyObject *name, const char *text) { return PyUnicode_CompareWithASCIIString(name, text) == 0; }

int read_keywords(PyObject *const *values, PyObject *names, Read *read, PyObject **fallback) {
  memset(&read->c, 0, sizeof read->c);
  read->c.size = (uint32_t)sizeof read->c;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
    PyObject *name = PyTuple_GET_ITEM(names, i), *value = values[i];
    int held = 1;
    if (is_named(name, "snapshot")) {
      if (value != Py_None && !PyObject_TypeCheck(value, &SnapshotType)) {
        PyErr_SetString(PyExc_TypeError, "snapshot must be a Snapshot or None");
        return 0;
      }
      read->snapshot = value == Py_None ? NULL : (Snapshot *)value;
    } else if (is_named(name, "timeout")) {
      held = seconds_of(value, &read->c.deadline_micros);
    } else if (is_named(name, "fill_cache")) {
      held = flag_of(value, 1, LSM_READ_NO_FILL_CACHE, &read->c.flags);
    } else if (is_named(name, "verify_checksums")) {
      held = flag_of(value, 0, LSM_READ_VERIFY_CHECKSUMS, &read->c.flags);
    } else if (fallback && is_named(name, "default")) {
      *fallback = value;
    } else {
      return unknown_keyword(name);
    }
    if (!held) return 0;
  }
  if (read->snapshot) read->c.snapshot = read->snapshot->c;
  read->given = &read->c;
  return 1;
}

int write_keywords(PyObject *const *values, PyObject *names, Write *write) {
  memset(&write->c, 0, sizeof write->c);
  write->c.size = (uint32_t)sizeof write->c;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
    PyObject *name = PyTuple_GET_ITEM(names, i);
    if (is_named(name, "durability")) {
      long level = PyLong_AsLong(values[i]);
      if (level == -1 && PyErr_Occurred()) return 0;
      write->c.durability = level < -1 || level > 1000 ? 1000 : (int32_t)level; /* the library refuses it */
    } else if (is_named(name, "timeout")) {
      if (!seconds_of(values[i], &write->c.deadline_micros)) return 0;
    } else {
      return unknown_keyword(name);
    }
  }
  write->given = &write->c;
  return 1;
}

void put_u32(uint8_t *at, size_t number) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(number >> (8 * i));
}

size_t get_u32(const uint8_t *at) { return (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24; }

/* --- snapshots --- */

int snapshot_hold(Snapshot *snapshot) {
  if (!snapshot) return 1;
  if (!snapshot->c || snapshot->is_closing) {
    fail_text("read", LSM_E_CLOSED, "the snapshot is closed");
    return 0;
  }
  snapshot->uses++;
  Py_INCREF(snapshot);
  return 1;
}

static void snapshot_release(Snapshot *self) {
  lsm_snapshot *c = self->c;
  self->c = NULL;
  if (!c) return;
  Py_BEGIN_ALLOW_THREADS
  api.lsm_snapshot_release(c);
  Py_END_ALLOW_THREADS
}

void snapshot_done(Snapshot *snapshot) {
  if (!snapshot) return;
  if (--snapshot->uses == 0 && snapshot->is_closing) snapshot_release(snapshot);
  Py_DECREF(snapshot);
}

static PyObject *snapshot_bind(Snapshot *self, PyObject *args) {
  unsigned long long c;
  PyObject *owner;
  if (!PyArg_ParseTuple(args, "KO", &c, &owner)) return NULL;
  self->c = (lsm_snapshot *)(uintptr_t)c;
  Py_INCREF(owner);
  Py_XSETREF(self->owner, owner);
  Py_RETURN_NONE;
}

static PyObject *snapshot_close(Snapshot *self, PyObject *Py_UNUSED(unused)) {
  self->is_closing = 1;
  if (self->uses == 0) snapshot_release(self);
  Py_RETURN_NONE;
}

static PyObject *snapshot_sequence(Snapshot *self, void *Py_UNUSED(unused)) {
  return PyLong_FromUnsignedLongLong(self->c ? api.lsm_snapshot_sequence(self->c) : 0);
}

static int snapshot_traverse(Snapshot *self, visitproc visit, void *arg) {
  Py_VISIT(self->owner);
  return 0;
}

static int snapshot_clear(Snapshot *self) {
  Py_CLEAR(self->owner);
  return 0;
}

static void snapshot_dealloc(Snapshot *self) {
  PyObject_GC_UnTrack(self);
  snapshot_release(self);
  Py_CLEAR(self->owner);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef snapshot_methods[] = {
    {"_bind", (PyCFunction)snapshot_bind, METH_VARARGS, NULL},
    {"close", (PyCFunction)snapshot_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef snapshot_getset[] = {
    {"sequence", (getter)snapshot_sequence, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject SnapshotType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lsm._native.SnapshotCore",
    .tp_basicsize = sizeof(Snapshot),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)snapshot_dealloc,
    .tp_traverse = (traverseproc)snapshot_traverse,
    .tp_clear = (inquiry)snapshot_clear,
    .tp_methods = snapshot_methods,
    .tp_getset = snapshot_getset,
};

/* --- module --- */

static PyObject *bind(PyObject *Py_UNUSED(module), PyObject *args) {
  PyObject *addresses, *maker;
  if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &addresses, &maker)) return NULL;
#define TAKE(name)                                                      \
  {                                                                     \
    PyObject *address = PyDict_GetItemString(addresses, #name);         \
    if (!address) return PyErr_Format(PyExc_KeyError, "%s", #name);     \
    void *pointer = PyLong_AsVoidPtr(address);                          \
    if (!pointer) return PyErr_Format(PyExc_ValueError, "%s", #name);   \
    memcpy(&api.name, &pointer, sizeof pointer);                        \
  }
  FUNCTIONS(TAKE)
#undef TAKE
  Py_INCREF(maker);
  Py_XSETREF(make_error, maker);
  Py_RETURN_NONE;
}

static PyObject *names(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(unused)) {
  PyObject *list = PyList_New(0);
#define NAME(name)                                              \
  if (list) {                                                   \
    PyObject *text = PyUnicode_FromString(#name);               \
    if (!text || PyList_Append(list, text) != 0) Py_CLEAR(list); \
    Py_XDECREF(text);                                           \
  }
  FUNCTIONS(NAME)
#undef NAME
  return list;
}

static PyMethodDef module_methods[] = {
    {"bind", bind, METH_VARARGS, "Takes the addresses of the library's functions and a maker of exceptions."},
    {"names", names, METH_NOARGS, "The functions that bind wants."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "lsm._native", "The hot calls of lsm in C.", -1, module_methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) {
  static const struct {
    const char *name;
    PyTypeObject *type;
  } types[] = {{"KeyspaceCore", &KeyspaceType},
               {"SnapshotCore", &SnapshotType},
               {"Value", &ValueType},
               {"BatchCore", &BatchType},
               {"CursorCore", &CursorType}};
  PyObject *self = PyModule_Create(&module);
  for (size_t i = 0; self && i < sizeof types / sizeof *types; i++) {
    if (PyType_Ready(types[i].type) != 0) {
      Py_CLEAR(self);
      break;
    }
    Py_INCREF(types[i].type);
    if (PyModule_AddObject(self, types[i].name, (PyObject *)types[i].type) != 0) Py_CLEAR(self);
  }
  return self;
}
