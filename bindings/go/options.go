package lsm

// #include "bridge.h"
import "C"

import (
	"encoding/json"
	"sort"
	"strings"
	"time"
	"unsafe"
)

// Options are settings of a database or keyspace by name, as text: Options{"memtable.size": "64MiB"}. What is not set
// keeps the value it had when the database was created. DescribeOptions lists the names with their ranges.
type Options map[string]string

// An Option describes one setting.
type Option struct {
	Key     string  `json:"key"`
	Type    string  `json:"type"`
	Default *string `json:"default"` // nil when it depends on the machine
	Range   string  `json:"range"`
	Unit    string  `json:"unit"`
	Scope   string  `json:"scope"`
	Mutable bool    `json:"mutable"`
	Text    string  `json:"text"`
}

// DescribeOptions lists every setting of the library.
func DescribeOptions() ([]Option, error) {
	s := C.lsmgo_options_describe()
	if err := check("describe options", s.code, s.err); err != nil {
		return nil, err
	}
	var all []Option
	err := json.Unmarshal([]byte(takeText(s.text)), &all)
	return all, err
}

// ParseOptions reads lines "key = value"; empty lines and lines that begin with # are ignored. Values come back in their
// canonical form.
func ParseOptions(text string) (Options, error) {
	bag := C.lsm_options_new()
	defer C.lsm_options_free(bag)
	c := C.CString(text)
	defer C.free(unsafe.Pointer(c))
	s := C.lsmgo_options_load(bag, c, C.size_t(len(text)))
	if err := check("parse options", s.code, s.err); err != nil {
		return nil, err
	}
	return dump(bag)
}

// Canonical checks all settings and returns them in their canonical form, so that equal settings compare equal.
func (o Options) Canonical() (Options, error) {
	bag, err := o.bag(nil)
	if err != nil {
		return nil, err
	}
	defer C.lsm_options_free(bag)
	return dump(bag)
}

// Effective is the canonical value of one setting, its default when it is not among the options.
func (o Options) Effective(key string) (string, error) {
	bag, err := o.bag(nil)
	if err != nil {
		return "", err
	}
	defer C.lsm_options_free(bag)
	name, err := cString("get option", key)
	if err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(name))
	s := C.lsmgo_options_get(bag, name)
	if err := check("get option", s.code, s.err); err != nil {
		return "", err
	}
	return takeText(s.text), nil
}

func dump(bag *C.lsm_options) (Options, error) {
	s := C.lsmgo_options_dump(bag)
	if err := check("dump options", s.code, s.err); err != nil {
		return nil, err
	}
	o := Options{}
	for _, line := range strings.Split(takeText(s.text), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok {
			o[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return o, nil
}

// bag makes the C form, in the order of the names, so that of several wrong ones always the same is told.
func (o Options) bag(log LogFunc) (*C.lsm_options, error) {
	bag := C.lsm_options_new()
	if bag == nil {
		return nil, &Error{Op: "options", Code: ErrNoMemory}
	}
	keys := make([]string, 0, len(o))
	for key := range o {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		if err := setOption(bag, key, o[key]); err != nil {
			C.lsm_options_free(bag)
			return nil, err
		}
	}
	if log != nil {
		if err := setLog(bag, log); err != nil {
			C.lsm_options_free(bag)
			return nil, err
		}
	}
	return bag, nil
}

func setOption(bag *C.lsm_options, key, value string) error {
	k, err := cString("set option", key)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(k))
	v, err := cString("set option", value)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(v))
	s := C.lsmgo_options_set(bag, k, v)
	return check("set option", s.code, s.err)
}

// cString copies a text to C memory; a NUL inside would cut it short there.
func cString(op, text string) (*C.char, error) {
	if strings.IndexByte(text, 0) >= 0 {
		return nil, invalid(op, "a NUL byte in a text")
	}
	return C.CString(text), nil
}

// takeText copies a text of the library and frees it.
func takeText(text *C.char) string {
	defer C.lsm_free(unsafe.Pointer(text))
	return C.GoString(text)
}

// Durability is how far a write has got before it is acknowledged.
type Durability int32

// The levels, weakest first; DurabilityDefault is what the database's option "durability" says.
const (
	DurabilityDefault Durability = 0
	DurabilityMemory  Durability = 1
	DurabilityOS      Durability = 2
	DurabilityFsync   Durability = 3
)

// WriteOptions are the settings of one write; nil means the zero value.
type WriteOptions struct {
	Durability Durability
	// Timeout: gives up with ErrTimeout, before any effect, after so long; 0 is never, and less has passed already: what
	// time.Until says of a moment that is over.
	Timeout time.Duration
}

// Sync is for a write that is on the device when the call returns.
var Sync = &WriteOptions{Durability: DurabilityFsync}

func (o *WriteOptions) c(op string) (w C.lsmgo_write, err error) {
	if o == nil {
		return w, nil
	}
	if o.Timeout < 0 {
		return w, late(op)
	}
	return C.lsmgo_write{deadline: micros(o.Timeout), durability: C.int32_t(o.Durability)}, nil
}

// ReadOptions are the settings of one read; nil means the zero value.
type ReadOptions struct {
	// Snapshot: read as of it; nil is now.
	Snapshot *Snapshot
	// NoFillCache: blocks that are read do not go into the cache.
	NoFillCache bool
	// VerifyChecksums: blocks are read and checked even when they are cached.
	VerifyChecksums bool
	// Timeout: gives up with ErrTimeout after so long; 0 is never, and less has passed already.
	Timeout time.Duration
}

// c makes the C form. While it is used the snapshot is held; release must be called after the call.
func (o *ReadOptions) c(op string) (r C.lsmgo_read, err error) {
	if o == nil {
		return r, nil
	}
	if o.Timeout < 0 {
		return r, late(op)
	}
	r.deadline = micros(o.Timeout)
	if o.NoFillCache {
		r.flags |= C.LSM_READ_NO_FILL_CACHE
	}
	if o.VerifyChecksums {
		r.flags |= C.LSM_READ_VERIFY_CHECKSUMS
	}
	if o.Snapshot != nil {
		if r.snapshot = o.Snapshot.hold(); r.snapshot == nil {
			return r, closed(op)
		}
	}
	return r, nil
}

func (o *ReadOptions) release() {
	if o != nil && o.Snapshot != nil {
		o.Snapshot.letGo()
	}
}

// micros rounds down, but not to 0, which would mean none.
func micros(d time.Duration) C.uint64_t {
	if d == 0 {
		return 0
	}
	if d < time.Microsecond {
		return 1
	}
	return C.uint64_t(d / time.Microsecond)
}
