package lsm

// #include "bridge.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// A Value is a value in the library's memory, not copied. It stays readable until Release, whatever happens to the key or
// the database. It belongs to one goroutine at a time.
type Value struct {
	c     *C.lsm_value
	data  []byte
	trace trace
}

// GetPinned reads a value without copying it; ErrNotFound if there is none.
func (k *Keyspace) GetPinned(key []byte, o *ReadOptions) (*Value, error) {
	s, err := k.pin(key, o)
	if err != nil {
		return nil, err
	}
	value := &Value{c: s.value, data: view(s), trace: openValues.opened()}
	runtime.SetFinalizer(value, func(v *Value) {
		openValues.leaked(v.trace)
		v.Release()
	})
	return value, nil
}

// Bytes is the value. It must not be changed, nor used after Release: copy what has to stay.
func (v *Value) Bytes() []byte { return v.data }

// Release gives the value back. A second one does nothing.
func (v *Value) Release() {
	if v.c == nil {
		return
	}
	runtime.SetFinalizer(v, nil)
	openValues.closed()
	C.lsm_value_release(v.c)
	v.c, v.data = nil, nil
}

// View calls a function with a value that is not copied and returns what it returns; ErrNotFound, without a call, if
// there is none. The slice must not be changed, nor used after the function has returned.
func (k *Keyspace) View(key []byte, o *ReadOptions, look func(value []byte) error) error {
	s, err := k.pin(key, o)
	if err != nil {
		return err
	}
	defer C.lsm_value_release(s.value)
	return look(view(s))
}

func (k *Keyspace) pin(key []byte, o *ReadOptions) (s C.lsmgo_pinned, err error) {
	c := k.load()
	if c == nil {
		return s, closed("get pinned")
	}
	r, err := o.c("get pinned")
	if err != nil {
		return s, err
	}
	s = C.lsmgo_get_pinned(c, r, address(key), C.size_t(len(key)))
	o.release()
	runtime.KeepAlive(k.handle)
	return s, check("get pinned", s.code, s.err)
}

// view is the C memory as a slice; an empty value is an empty slice, not nil.
func view(s C.lsmgo_pinned) []byte {
	if s.len == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(s.data)), int(s.len))
}
