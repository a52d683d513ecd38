package lsm

// #cgo pkg-config: lsm
// #include "bridge.h"
import "C"

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// abi is the binary interface that this package is written for.
const abi = 1

// A DB is an open database, and its default keyspace: Get, Put, Iter and the others of Keyspace work on it directly.
type DB struct {
	*Keyspace
	handle *handle
}

// handle is what the finalizer hangs on: keyspaces point to it, and it to nothing, so that it is no part of a cycle.
// Its slot in the library is never freed: a late call answers ErrClosed.
type handle struct {
	c     *C.lsm_db
	open  atomic.Bool
	trace trace
}

// Open opens the database in a folder and creates it by default (the last component of the path only). One process has
// it open for writing, or any number read-only (Options{"mode": "ro"}).
func Open(path string, options Options) (*DB, error) { return OpenLogged(path, options, nil) }

// OpenLogged is Open with a function that takes the lines of the log.
func OpenLogged(path string, options Options, log LogFunc) (*DB, error) {
	if have := ABIVersion(); have != abi {
		return nil, &Error{Op: "open", Code: ErrVersion, Message: "liblsm has another binary interface"}
	}
	name, err := cString("open", path)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(name))
	bag, err := options.bag(log)
	if err != nil {
		return nil, err
	}
	defer C.lsm_options_free(bag)
	s := C.lsmgo_open(name, bag)
	if err := check("open", s.code, s.err); err != nil {
		return nil, err
	}
	h := &handle{c: (*C.lsm_db)(s.handle), trace: openDBs.opened()}
	h.open.Store(true)
	runtime.SetFinalizer(h, func(h *handle) {
		openDBs.leaked(h.trace)
		// Closing writes what is in memory: not on the garbage collector's goroutine.
		go func() { _ = h.close() }()
	})
	return &DB{handle: h, Keyspace: newKeyspace(h, C.lsm_default_keyspace(h.c), "default")}, nil
}

// Close ends the database: waiting calls wake with ErrClosed, calls in flight are waited for, what was acknowledged
// becomes durable. Snapshots and keyspaces then answer ErrClosed, and iterators do after what they had fetched; pinned
// values stay readable. A second Close answers ErrClosed.
func (db *DB) Close() error {
	err := db.handle.close()
	runtime.KeepAlive(db)
	return err
}

func (h *handle) close() error {
	s := C.lsmgo_close(h.c)
	err := check("close", s.code, s.err)
	// In a callback (ErrBusy) and in a forked child nothing has happened.
	if s.code != C.LSM_E_BUSY && s.code != C.LSM_E_FORKED && h.open.Swap(false) {
		runtime.SetFinalizer(h, nil)
		openDBs.closed()
	}
	return err
}

// Destroy removes a database that nobody has open: the files that the library made, and the folder if it is empty then.
func Destroy(path string) error {
	name, err := cString("destroy", path)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(name))
	s := C.lsmgo_destroy(name)
	return check("destroy", s.code, s.err)
}

// Repair makes a damaged database that nobody has open one that can be opened, with every entry that can still be read. The
// report, as JSON, says what was lost; a database without damage is left as it is.
func Repair(path string, options Options) (report string, err error) {
	name, err := cString("repair", path)
	if err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(name))
	bag, err := options.bag(nil)
	if err != nil {
		return "", err
	}
	defer C.lsm_options_free(bag)
	s := C.lsmgo_repair(name, bag)
	if err := check("repair", s.code, s.err); err != nil {
		return "", err
	}
	return takeText(s.text), nil
}

// OpenKeyspace opens a keyspace by name and creates a missing one, unless the options say create_if_missing = false: then a
// missing one is ErrNotFound. A new keyspace's own settings are among the options.
func (db *DB) OpenKeyspace(name string, options Options) (*Keyspace, error) {
	c, err := cString("open keyspace", name)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(c))
	bag, err := options.bag(nil)
	if err != nil {
		return nil, err
	}
	defer C.lsm_options_free(bag)
	s := C.lsmgo_keyspace_open(db.handle.c, c, bag)
	runtime.KeepAlive(db)
	if err := check("open keyspace", s.code, s.err); err != nil {
		return nil, err
	}
	return newKeyspace(db.handle, (*C.lsm_keyspace)(s.handle), name), nil
}

// DropKeyspace removes a keyspace and all its data. ErrNotFound if there is none.
func (db *DB) DropKeyspace(name string) error {
	c, err := cString("drop keyspace", name)
	if err != nil {
		return err
	}
	defer C.free(unsafe.Pointer(c))
	s := C.lsmgo_keyspace_drop(db.handle.c, c)
	runtime.KeepAlive(db)
	return check("drop keyspace", s.code, s.err)
}

// Keyspaces are the names of all keyspaces, sorted.
func (db *DB) Keyspaces() ([]string, error) {
	s := C.lsmgo_keyspace_list(db.handle.c)
	runtime.KeepAlive(db)
	if err := check("list keyspaces", s.code, s.err); err != nil {
		return nil, err
	}
	list := (*C.lsm_list)(s.handle)
	defer C.lsm_list_free(list)
	names := make([]string, int(C.lsm_list_len(list)))
	for i := range names {
		names[i] = C.GoString(C.lsm_list_get(list, C.size_t(i)))
	}
	return names, nil
}

// Sync makes everything acknowledged so far durable: it survives a power cut.
func (db *DB) Sync() error {
	s := C.lsmgo_sync(db.handle.c)
	runtime.KeepAlive(db)
	return check("sync", s.code, s.err)
}

// Sequence is the number of the last committed and of the last durable write.
func (db *DB) Sequence() (committed, durable uint64, err error) {
	s := C.lsmgo_sequence(db.handle.c)
	runtime.KeepAlive(db)
	return uint64(s.first), uint64(s.second), check("sequence", s.code, s.err)
}

// Flush writes the memory of all keyspaces to tables and waits for it.
func (db *DB) Flush() error {
	s := C.lsmgo_flush(db.handle.c, nil)
	runtime.KeepAlive(db)
	return check("flush", s.code, s.err)
}

// Property is a text about the database, for example "stats", "levels", "options" or "wal.io"; ErrNotFound if there is
// no such property.
func (db *DB) Property(name string) (string, error) { return property(db.handle, nil, name) }

// PropertyUint is a number about the database, for example "cache.hits" or "disk.bytes".
func (db *DB) PropertyUint(name string) (uint64, error) { return propertyUint(db.handle, nil, name) }

// Prometheus is all metrics in the Prometheus text format.
func (db *DB) Prometheus() (string, error) { return db.metrics(C.LSM_METRICS_PROMETHEUS) }

// MetricsJSON is all metrics as JSON.
func (db *DB) MetricsJSON() (string, error) { return db.metrics(C.LSM_METRICS_JSON) }

func (db *DB) metrics(format C.int32_t) (string, error) {
	s := C.lsmgo_metrics(db.handle.c, format)
	runtime.KeepAlive(db)
	if err := check("metrics", s.code, s.err); err != nil {
		return "", err
	}
	return takeText(s.text), nil
}

// ClearCache empties the block cache.
func (db *DB) ClearCache() error {
	s := C.lsmgo_cache_clear(db.handle.c)
	runtime.KeepAlive(db)
	return check("clear cache", s.code, s.err)
}

// Verify reads and checks every byte of the database. The report, as JSON, tells what is damaged; it also comes with
// ErrCorruption.
func (db *DB) Verify() (report string, err error) {
	s := C.lsmgo_verify(db.handle.c)
	runtime.KeepAlive(db)
	if s.text != nil {
		report = takeText(s.text)
	}
	return report, check("verify", s.code, s.err)
}

// Resume tries again, now, what failed in the background or for want of room, and waits for it.
func (db *DB) Resume() error {
	s := C.lsmgo_resume(db.handle.c)
	runtime.KeepAlive(db)
	return check("resume", s.code, s.err)
}

// Version is the version of the library that was loaded, for example "0.1.0".
func Version() string { return C.GoString(C.lsm_version()) }

// ABIVersion is the number of the library's binary interface.
func ABIVersion() int { return int(C.lsm_abi_version()) }

// HasFeature says whether the library was built with a part that is optional: "lz4", "zstd".
func HasFeature(name string) bool {
	c, err := cString("feature", name)
	if err != nil {
		return false
	}
	defer C.free(unsafe.Pointer(c))
	return C.lsm_has_feature(c) == 1
}

func property(h *handle, k *C.lsm_keyspace, name string) (string, error) {
	c, err := cString("property", name)
	if err != nil {
		return "", err
	}
	defer C.free(unsafe.Pointer(c))
	s := C.lsmgo_property(h.c, k, c)
	runtime.KeepAlive(h)
	if err := check("property", s.code, s.err); err != nil {
		return "", err
	}
	return takeText(s.text), nil
}

func propertyUint(h *handle, k *C.lsm_keyspace, name string) (uint64, error) {
	c, err := cString("property", name)
	if err != nil {
		return 0, err
	}
	defer C.free(unsafe.Pointer(c))
	s := C.lsmgo_property_u64(h.c, k, c)
	runtime.KeepAlive(h)
	return uint64(s.number), check("property", s.code, s.err)
}
