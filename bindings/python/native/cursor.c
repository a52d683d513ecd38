/* Cursors, which fetch chunks of entries, and pinned values. */
#include "core.h"

#define CHUNK_FIRST 4096

/* --- one entry at a time, out of a chunk --- */

static PyObject *entry_object(Cursor *self, const uint8_t *entry) {
  size_t key_len = get_u32(entry), value_len = get_u32(entry + 4);
  const char *key_data = (const char *)entry + 8, *value_data = key_data + key_len;
  if (self->what == WHAT_KEYS) return PyBytes_FromStringAndSize(key_data, (Py_ssize_t)key_len);
  if (self->what == WHAT_VALUES) return PyBytes_FromStringAndSize(value_data, (Py_ssize_t)value_len);
  PyObject *key = PyBytes_FromStringAndSize(key_data, (Py_ssize_t)key_len);
  PyObject *value = PyBytes_FromStringAndSize(value_data, (Py_ssize_t)value_len);
  PyObject *pair = key && value ? PyTuple_New(2) : NULL;
  if (!pair) {
    Py_XDECREF(key);
    Py_XDECREF(value);
    return NULL;
  }
  PyTuple_SET_ITEM(pair, 0, key);
  PyTuple_SET_ITEM(pair, 1, value);
  return pair;
}

static PyObject *take(Cursor *self) {
  const uint8_t *entry = self->chunk + self->at;
  self->shown = self->at;
  self->has_shown = 1;
  self->at += 8 + get_u32(entry) + get_u32(entry + 4);
  return entry_object(self, entry);
}

static int is_ready(Cursor *self) {
  if (!self->c) {
    fail_text("cursor", LSM_E_CLOSED, "the cursor is closed");
    return 0;
  }
  if (self->busy) {
    fail_text("cursor", LSM_E_BUSY, "another thread is in a call on the cursor");
    return 0;
  }
  return 1;
}

static int make_room(Cursor *self, size_t need) {
  if (need <= self->capacity) return 1;
  uint8_t *longer = PyMem_Realloc(self->chunk, need);
  if (!longer) {
    PyErr_NoMemory();
    return 0;
  }
  self->chunk = longer;
  self->capacity = need;
  return 1;
}

/* What a call answered: an entry, None at an end, NULL for an error. After an error the library has not moved, and what is
 * left of the chunk still says where it is. */
static PyObject *answer(Cursor *self, int32_t code, size_t used, lsm_error *err) {
  if (code == LSM_OK) {
    self->at = 0;
    self->end = used;
    return take(self);
  }
  if (code != LSM_END) return fail("cursor", code, err);
  self->at = self->end = 0;
  self->has_shown = 0;
  Py_RETURN_NONE;
}

/* The library answers LSM_OK with the entry in the chunk, or LSM_TRUNCATED with the bytes needed in `used`. */
static int32_t seek_packed(Cursor *self, int32_t where, const void *key, size_t key_len, size_t *used, lsm_error **err) {
  lsm_entry e;
  int32_t code = api.lsm_iter_seek(self->c, where, key, key_len, &e, err);
  if (code != LSM_OK) return code;
  *used = 8 + e.key_len + e.value_len;
  if (*used > self->capacity) return LSM_TRUNCATED;
  put_u32(self->chunk, e.key_len);
  put_u32(self->chunk + 4, e.value_len);
  if (e.key_len) memcpy(self->chunk + 8, e.key, e.key_len);
  if (e.value_len) memcpy(self->chunk + 8 + e.key_len, e.value, e.value_len);
  return LSM_OK;
}

/* `key` may lie in the chunk: that is written to only after the library has found the entry. */
static PyObject *seek(Cursor *self, int32_t where, const void *key, size_t key_len) {
  size_t used = CHUNK_FIRST;
  lsm_error *err = NULL;
  int32_t code;
  const uint8_t *inside = self->has_shown && key == self->chunk + self->shown + 8 ? self->chunk + self->shown + 8 : NULL;
  do {
    size_t shift = self->shown + 8;
    if (!make_room(self, used)) return NULL;
    if (inside) key = self->chunk + shift;
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    code = seek_packed(self, where, key, key_len, &used, &err);
    Py_END_ALLOW_THREADS
    self->busy = 0;
  } while (code == LSM_TRUNCATED);
  self->fetch = CHUNK_FIRST < self->fetch_max ? CHUNK_FIRST : self->fetch_max;
  return answer(self, code, used, err);
}

static PyObject *fetch(Cursor *self, int32_t direction) {
  size_t used = self->fetch;
  uint32_t n = 0;
  lsm_error *err = NULL;
  int32_t code;
  do {
    size_t capacity = used;
    if (!make_room(self, capacity)) return NULL;
    lsm_iter *c = self->c;
    uint8_t *chunk = self->chunk;
    self->busy = 1;
    Py_BEGIN_ALLOW_THREADS
    code = api.lsm_iter_read_packed(c, direction, chunk, capacity, &used, &n, &err);
    Py_END_ALLOW_THREADS
    self->busy = 0;
  } while (code == LSM_TRUNCATED);
  if (code == LSM_OK) {
    self->direction = direction;
    if (self->fetch < self->fetch_max) self->fetch *= 2;
  }
  return answer(self, code, used, err);
}

/* One step: an entry, None at an end. */
static PyObject *step(Cursor *self, int32_t direction) {
  if (!is_ready(self)) return NULL;
  if (self->at < self->end) {
    if (self->direction == direction) return take(self);
    /* The library stands at the end of a chunk in the other direction: bring it back to the entry shown. */
    const uint8_t *entry = self->chunk + self->shown;
    return seek(self, direction == LSM_FORWARD ? LSM_SEEK_GT : LSM_SEEK_LT, entry + 8, get_u32(entry));
  }
  return fetch(self, direction);
}

/* --- methods --- */

static PyObject *cursor_next(Cursor *self, PyObject *Py_UNUSED(unused)) { return step(self, LSM_FORWARD); }
static PyObject *cursor_prev(Cursor *self, PyObject *Py_UNUSED(unused)) { return step(self, LSM_BACKWARD); }

static PyObject *cursor_iternext(Cursor *self) {
  PyObject *entry = step(self, self->default_direction);
  if (entry == Py_None) Py_CLEAR(entry);
  return entry;
}

static PyObject *cursor_seek(Cursor *self, PyObject *args) {
  int where;
  PyObject *object = NULL;
  Bytes key = {.data = NULL, .len = 0, .has_buffer = 0};
  if (!PyArg_ParseTuple(args, "i|O", &where, &object) || !is_ready(self)) return NULL;
  if (object && object != Py_None && !bytes_of(object, &key)) return NULL;
  PyObject *entry = seek(self, where, key.data, key.len);
  bytes_done(&key);
  return entry;
}

static PyObject *cursor_refresh(Cursor *self, PyObject *Py_UNUSED(unused)) {
  lsm_error *err = NULL;
  int32_t code;
  if (!is_ready(self)) return NULL;
  lsm_iter *c = self->c;
  self->busy = 1;
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_iter_refresh(c, &err);
  Py_END_ALLOW_THREADS
  self->busy = 0;
  self->at = self->end = 0;
  self->has_shown = 0;
  if (code != LSM_OK) return fail("refresh", code, err);
  Py_RETURN_NONE;
}

static void cursor_release(Cursor *self) {
  lsm_iter *c = self->c;
  self->c = NULL;
  self->at = self->end = 0;
  self->has_shown = 0;
  if (!c) return;
  Py_BEGIN_ALLOW_THREADS
  api.lsm_iter_close(c);
  Py_END_ALLOW_THREADS
}

static PyObject *cursor_close(Cursor *self, PyObject *Py_UNUSED(unused)) {
  if (self->c && !is_ready(self)) return NULL;
  cursor_release(self);
  Py_CLEAR(self->owner);
  Py_RETURN_NONE;
}

typedef struct {
  lsm_read_options c;
  Bytes lower, upper, prefix;
} Bounds;

static int bound(PyObject *object, Bytes *bytes, const void **data, size_t *len) {
  if (object == Py_None) return 1;
  if (!bytes_of(object, bytes)) return 0;
  /* An empty bound is one, too: it needs an address. */
  *data = bytes->len ? bytes->data : "";
  *len = bytes->len;
  return 1;
}

static PyObject *open_cursor(Cursor *self, Keyspace *keyspace, const lsm_read_options *options) {
  lsm_error *err = NULL;
  lsm_iter *iter = NULL;
  int32_t code;
  lsm_keyspace *c = keyspace->c;
  if (!c) return fail_text("cursor", LSM_E_CLOSED, "it was closed before");
  if (self->c) return fail_text("cursor", LSM_E_INVALID, "it is open already");
  Py_BEGIN_ALLOW_THREADS
  code = api.lsm_iter_open(c, options, &iter, &err);
  Py_END_ALLOW_THREADS
  if (code != LSM_OK) return fail("cursor", code, err);
  self->c = iter;
  Py_INCREF(keyspace);
  Py_XSETREF(self->owner, (PyObject *)keyspace);
  Py_RETURN_NONE;
}

/* _open(keyspace, lower, upper, prefix, snapshot, flags, deadline_micros, max_skip, readahead, chunk, what, backward) */
static PyObject *cursor_open(Cursor *self, PyObject *args) {
  Keyspace *keyspace;
  PyObject *lower, *upper, *prefix, *snapshot_object;
  unsigned flags, readahead;
  unsigned long long deadline, max_skip;
  Py_ssize_t chunk;
  int what, is_backward;
  Bounds b;
  memset(&b, 0, sizeof b);
  b.c.size = (uint32_t)sizeof b.c;
  if (!PyArg_ParseTuple(args, "O!OOOOIKKInip", &KeyspaceType, &keyspace, &lower, &upper, &prefix, &snapshot_object, &flags,
                        &deadline, &max_skip, &readahead, &chunk, &what, &is_backward))
    return NULL;
  if (snapshot_object != Py_None && !PyObject_TypeCheck(snapshot_object, &SnapshotType))
    return PyErr_Format(PyExc_TypeError, "snapshot must be a Snapshot or None");
  Snapshot *snapshot = snapshot_object == Py_None ? NULL : (Snapshot *)snapshot_object;
  PyObject *result = NULL;
  if (bound(lower, &b.lower, &b.c.lower, &b.c.lower_len) && bound(upper, &b.upper, &b.c.upper, &b.c.upper_len) &&
      bound(prefix, &b.prefix, &b.c.prefix, &b.c.prefix_len) && snapshot_hold(snapshot)) {
    b.c.flags = flags;
    b.c.snapshot = snapshot ? snapshot->c : NULL;
    b.c.deadline_micros = deadline;
    b.c.max_skip = max_skip;
    b.c.readahead_bytes = readahead;
    self->what = what;
    self->default_direction = is_backward ? LSM_BACKWARD : LSM_FORWARD;
    self->fetch_max = chunk > 0 ? (size_t)chunk : 65536;
    self->fetch = CHUNK_FIRST < self->fetch_max ? CHUNK_FIRST : self->fetch_max;
    result = open_cursor(self, keyspace, &b.c);
    snapshot_done(snapshot);
  }
  bytes_done(&b.lower);
  bytes_done(&b.upper);
  bytes_done(&b.prefix);
  return result;
}

static int cursor_traverse(Cursor *self, visitproc visit, void *arg) {
  Py_VISIT(self->owner);
  return 0;
}

static int cursor_clear(Cursor *self) {
  Py_CLEAR(self->owner);
  return 0;
}

static void cursor_dealloc(Cursor *self) {
  PyObject_GC_UnTrack(self);
  cursor_release(self);
  PyMem_Free(self->chunk);
  Py_CLEAR(self->owner);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

#define METHOD(function) (PyCFunction)(void (*)(void))function

static PyMethodDef cursor_methods[] = {
    {"_open", METHOD(cursor_open), METH_VARARGS, NULL},
    {"next", METHOD(cursor_next), METH_NOARGS, "The next entry, None at the end."},
    {"prev", METHOD(cursor_prev), METH_NOARGS, "The entry before, None at the front."},
    {"_seek", METHOD(cursor_seek), METH_VARARGS, "The entry at a place, None if there is none."},
    {"refresh", METHOD(cursor_refresh), METH_NOARGS, "As if newly opened, over the newest state."},
    {"close", METHOD(cursor_close), METH_NOARGS, "Ends the cursor."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject CursorType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lsm._native.CursorCore",
    .tp_basicsize = sizeof(Cursor),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_dealloc = (destructor)cursor_dealloc,
    .tp_traverse = (traverseproc)cursor_traverse,
    .tp_clear = (inquiry)cursor_clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)cursor_iternext,
    .tp_methods = cursor_methods,
};

/* --- pinned values: a read-only buffer over the library's memory --- */

static int value_getbuffer(Value *self, Py_buffer *view, int flags) {
  if (!self->c) {
    PyErr_SetString(PyExc_ValueError, "the value was released");
    view->obj = NULL;
    return -1;
  }
  static const char empty[1] = "";
  const void *data = self->len ? (const void *)self->data : (const void *)empty;
  if (PyBuffer_FillInfo(view, (PyObject *)self, (void *)(uintptr_t)data, self->len, 1, flags) != 0) return -1;
  self->exports++;
  return 0;
}

static void value_releasebuffer(Value *self, Py_buffer *Py_UNUSED(view)) { self->exports--; }

static void value_free(Value *self) {
  lsm_value *c = self->c;
  self->c = NULL;
  if (c) api.lsm_value_release(c);
}

static PyObject *value_release(Value *self, PyObject *Py_UNUSED(unused)) {
  if (self->exports) {
    PyErr_SetString(PyExc_BufferError, "a memoryview of the value still exists");
    return NULL;
  }
  value_free(self);
  Py_RETURN_NONE;
}

static void value_dealloc(Value *self) {
  value_free(self);
  Py_TYPE(self)->tp_free((PyObject *)self);
}

static Py_ssize_t value_len(Value *self) { return self->c ? self->len : 0; }

static PyMethodDef value_methods[] = {
    {"release", METHOD(value_release), METH_NOARGS, "Gives the value back; a BufferError while a view of it exists."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods value_sequence = {.sq_length = (lenfunc)value_len};

static PyBufferProcs value_buffer = {(getbufferproc)value_getbuffer, (releasebufferproc)value_releasebuffer};

PyTypeObject ValueType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "lsm._native.Value",
    .tp_basicsize = sizeof(Value),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = (destructor)value_dealloc,
    .tp_methods = value_methods,
    .tp_as_sequence = &value_sequence,
    .tp_as_buffer = &value_buffer,
};
