package lsm

// #include "bridge.h"
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A Keyspace is an ordered set of keys with values of its own. Any number of goroutines may use it at once.
type Keyspace struct {
	// The *C.lsm_keyspace, nil after Release; changed atomically. Not an atomic.Pointer: from Go 1.20 on a type of C that is
	// only declared is no type argument.
	pointer unsafe.Pointer
	handle  *handle // keeps the database open while the keyspace is in use
	name    string
}

func newKeyspace(h *handle, c *C.lsm_keyspace, name string) *Keyspace {
	return &Keyspace{pointer: unsafe.Pointer(c), handle: h, name: name}
}

func (k *Keyspace) load() *C.lsm_keyspace { return (*C.lsm_keyspace)(atomic.LoadPointer(&k.pointer)) }

// scratch are buffers for answers whose length is not known before.
var scratch = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// scratchMax: a larger buffer is not kept.
const scratchMax = 1 << 20

func keep(b *[]byte) {
	if cap(*b) <= scratchMax {
		scratch.Put(b)
	}
}

// address is that of a slice, nil for an empty one.
func address(b []byte) *C.uint8_t {
	if len(b) == 0 {
		return nil
	}
	return (*C.uint8_t)(unsafe.Pointer(&b[0]))
}

// Name is the name that the keyspace was opened by.
func (k *Keyspace) Name() string { return k.name }

// Release gives the keyspace back; its data stay. A second one does nothing, and so does that of the default keyspace.
// A keyspace that is not released costs nothing but a slot until the database is closed.
func (k *Keyspace) Release() {
	if k.name == "default" {
		return
	}
	if c := (*C.lsm_keyspace)(atomic.SwapPointer(&k.pointer, nil)); c != nil {
		C.lsm_keyspace_release(c)
	}
	runtime.KeepAlive(k.handle)
}

// Put stores a value under a key and replaces an older one.
func (k *Keyspace) Put(key, value []byte, o *WriteOptions) error {
	c := k.load()
	if c == nil {
		return closed("put")
	}
	w, err := o.c("put")
	if err != nil {
		return err
	}
	s := C.lsmgo_put(c, w, address(key), C.size_t(len(key)), address(value), C.size_t(len(value)))
	runtime.KeepAlive(k.handle)
	return check("put", s.code, s.err)
}

// Delete removes a key; it is no error if there is none.
func (k *Keyspace) Delete(key []byte, o *WriteOptions) error {
	c := k.load()
	if c == nil {
		return closed("delete")
	}
	w, err := o.c("delete")
	if err != nil {
		return err
	}
	s := C.lsmgo_delete(c, w, address(key), C.size_t(len(key)))
	runtime.KeepAlive(k.handle)
	return check("delete", s.code, s.err)
}

// Get returns a copy of the value; ErrNotFound if there is none.
func (k *Keyspace) Get(key []byte, o *ReadOptions) ([]byte, error) {
	buffer := scratch.Get().(*[]byte)
	n, err := k.read("get", buffer, 0, key, o)
	if err != nil {
		keep(buffer)
		return nil, err
	}
	value := make([]byte, n)
	copy(value, *buffer)
	keep(buffer)
	return value, nil
}

// AppendGet appends the value to dst and returns the longer slice, so that one buffer serves many reads. ErrNotFound if
// there is none; dst is then returned as it was.
func (k *Keyspace) AppendGet(dst, key []byte, o *ReadOptions) ([]byte, error) {
	whole := dst[:cap(dst)]
	n, err := k.read("get", &whole, len(dst), key, o)
	if err != nil {
		return dst, err
	}
	return whole[:len(dst)+n], nil
}

// read reads a value to (*buffer)[at:], and makes that longer when it has to.
func (k *Keyspace) read(op string, buffer *[]byte, at int, key []byte, o *ReadOptions) (int, error) {
	c := k.load()
	if c == nil {
		return 0, closed(op)
	}
	r, err := o.c(op)
	if err != nil {
		return 0, err
	}
	for {
		free := (*buffer)[at:]
		s := C.lsmgo_get(c, r, address(key), C.size_t(len(key)), address(free), C.size_t(len(free)))
		if s.code == C.LSM_TRUNCATED {
			// The value may be replaced by a longer one in between: then once more.
			longer := make([]byte, at+int(s.number))
			copy(longer, (*buffer)[:at])
			*buffer = longer
			continue
		}
		o.release()
		runtime.KeepAlive(k.handle)
		return int(s.number), check(op, s.code, s.err)
	}
}

// Exists says whether a key has a value.
func (k *Keyspace) Exists(key []byte, o *ReadOptions) (bool, error) {
	_, err := k.ValueLen(key, o)
	if err == errNotFound {
		return false, nil
	}
	return err == nil, err
}

// ValueLen is the length of a value; ErrNotFound if there is none.
func (k *Keyspace) ValueLen(key []byte, o *ReadOptions) (int, error) {
	c := k.load()
	if c == nil {
		return 0, closed("exists")
	}
	r, err := o.c("exists")
	if err != nil {
		return 0, err
	}
	s := C.lsmgo_exists(c, r, address(key), C.size_t(len(key)))
	o.release()
	runtime.KeepAlive(k.handle)
	return int(s.number), check("exists", s.code, s.err)
}

// Approximate is about how many bytes on disk and keys lie from from (included) to to (excluded); an empty bound is none.
func (k *Keyspace) Approximate(from, to []byte) (size, keys uint64, err error) {
	c := k.load()
	if c == nil {
		return 0, 0, closed("approximate")
	}
	s := C.lsmgo_approximate(c, address(from), C.size_t(len(from)), address(to), C.size_t(len(to)))
	runtime.KeepAlive(k.handle)
	return uint64(s.first), uint64(s.second), check("approximate", s.code, s.err)
}

// Compact rewrites the keys from from (included) to to (excluded) to the last level and waits for it; an empty bound is
// none.
func (k *Keyspace) Compact(from, to []byte) error {
	c := k.load()
	if c == nil {
		return closed("compact")
	}
	s := C.lsmgo_compact(c, address(from), C.size_t(len(from)), address(to), C.size_t(len(to)))
	runtime.KeepAlive(k.handle)
	return check("compact", s.code, s.err)
}

// Flush writes the memory of the keyspace to a table and waits for it.
func (k *Keyspace) Flush() error {
	c := k.load()
	if c == nil {
		return closed("flush")
	}
	s := C.lsmgo_flush(k.handle.c, c)
	runtime.KeepAlive(k.handle)
	return check("flush", s.code, s.err)
}

// Property is a text about the keyspace, as DB.Property.
func (k *Keyspace) Property(name string) (string, error) {
	c := k.load()
	if c == nil {
		return "", closed("property")
	}
	return property(k.handle, c, name)
}

// PropertyUint is a number about the keyspace, as DB.PropertyUint: "levels.0.files", "keys.estimate".
func (k *Keyspace) PropertyUint(name string) (uint64, error) {
	c := k.load()
	if c == nil {
		return 0, closed("property")
	}
	return propertyUint(k.handle, c, name)
}
