package main

// #cgo pkg-config: lsm
// #cgo LDFLAGS: -ldl
// #include "peer.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"path/filepath"
	"unsafe"
)

func cText(text string) *C.char { return C.CString(text) }

func address(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

func failed(text *C.char) {
	if text != nil {
		check(errors.New(C.GoString(text)))
	}
}

func loadPeer(path string) { failed(C.peer_load(cText(path))) }

// An empty crossing, through the cheapest function of the library.
func crossings(n int) {
	for i := 0; i < n; i++ {
		C.lsm_abi_version()
	}
}

// peer is what the Go bindings of RocksDB do: one call for each function of its C interface, values taken from C memory
// that has to be freed, four calls for each entry of a scan.
func peer(folder string, keys [][]byte, figures *figures) {
	failed(C.peer_open(cText(filepath.Join(folder, "put"))))
	figures.time("put, one call each", len(keys), func() {
		for _, key := range keys {
			failed(C.peer_put(address(key), C.size_t(len(key)), address(value), C.size_t(len(value))))
		}
	})
	C.peer_close()
	failed(C.peer_open(cText(filepath.Join(folder, "batch"))))
	figures.time("put, in batches of 1000", len(keys), func() {
		batch := C.peer_batch()
		for i, key := range keys {
			C.peer_batch_put(batch, address(key), C.size_t(len(key)), address(value), C.size_t(len(value)))
			if i%1000 == 999 || i == len(keys)-1 {
				failed(C.peer_write(batch))
				C.peer_batch_clear(batch)
			}
		}
	})
	C.peer_settle()
	for _, name := range []string{"", "get"} {
		figures.time(name, len(keys), func() {
			for _, key := range keys {
				var n C.size_t
				data := C.peer_get(address(key), C.size_t(len(key)), &n)
				expect(len(C.GoBytes(unsafe.Pointer(data), C.int(n))), len(value))
				C.peer_free(unsafe.Pointer(data))
			}
		})
	}
	figures.time("view of a pinned value", len(keys), func() {
		for _, key := range keys {
			var n C.size_t
			pin := C.peer_pin(address(key), C.size_t(len(key)))
			C.peer_pinned(pin, &n)
			expect(int(n), len(value))
			C.peer_unpin(pin)
		}
	})
	for _, name := range []string{"", "scan"} {
		figures.time(name, len(keys), func() {
			n := 0
			it := C.peer_iter()
			for ; C.peer_valid(it) != 0; C.peer_next(it) {
				var keyLen, valueLen C.size_t
				k, v := C.peer_key(it, &keyLen), C.peer_value(it, &valueLen)
				n += len(unsafe.Slice((*byte)(unsafe.Pointer(k)), keyLen)) + len(unsafe.Slice((*byte)(unsafe.Pointer(v)), valueLen))
			}
			C.peer_iter_close(it)
			expect(n, len(keys)*(16+len(value)))
		})
	}
	C.peer_close()
}

// steps scans with one call of liblsm for each entry, which is what the chunks of lsm.Iterator save.
func steps(path string, n int, figures *figures) {
	db := C.step_database(cText(path))
	for _, name := range []string{"", "scan, a call for each entry"} {
		figures.time(name, n, func() {
			var length C.size_t
			it := C.step_open(C.step_keyspace(db))
			for C.step_next(it, &length) == C.LSM_OK {
			}
			C.step_close(it)
			expect(int(length), n*(16+len(value)))
		})
	}
	C.step_database_close(db)
}
