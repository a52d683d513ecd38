package lsm

// #include "bridge.h"
import "C"

import (
	"encoding/binary"
	"runtime"
)

// IterOptions are the settings of an iterator; nil means the zero value.
type IterOptions struct {
	ReadOptions
	// Lower is the first key shown; nil is no bound.
	Lower []byte
	// Upper is the first key not shown; nil is no bound.
	Upper []byte
	// Prefix: only keys that begin so are shown, within the bounds.
	Prefix []byte
	// KeysOnly: values are not read and shown as empty.
	KeysOnly bool
	// MaxSkip: a step that passes more deleted entries than this ends with ErrStalled, keeps its position and may be
	// made again; 0 is no limit.
	MaxSkip uint64
	// Readahead is a hint in bytes for scans of files; 0 is automatic.
	Readahead uint32
	// ChunkMax is the most that one call fetches ahead, in bytes; 0 is 64 KiB. Chunks begin small and double.
	ChunkMax int
}

// Where a seek goes.
type Where int32

// The first or last entry; the first one at or above, above, the last one at or below, below the key.
const (
	SeekFirst Where = 0
	SeekLast  Where = 1
	SeekGE    Where = 2
	SeekGT    Where = 3
	SeekLE    Where = 4
	SeekLT    Where = 5
)

const (
	forward  C.int32_t = C.LSM_FORWARD
	backward C.int32_t = C.LSM_BACKWARD

	chunkFirst = 4 << 10
	chunkMax   = 64 << 10
)

// An Iterator walks over the entries of a keyspace as of one moment, in both directions. A new one stands nowhere: the
// first Next is the first entry, the first Prev the last one. Past an end, the other direction gives that end's entry.
// It belongs to one goroutine at a time.
//
//	for it.Next() {
//		use(it.Key(), it.Value())
//	}
//	return it.Err()
type Iterator struct {
	c        *C.lsm_iter
	keyspace *Keyspace
	// The chunk that was fetched last, in one direction; rest is the part behind the entry shown. The library's
	// position is the last entry of the chunk, so it is the entry shown when rest is empty.
	buffer    []byte
	rest      []byte
	direction C.int32_t
	chunk     int
	chunkMax  int
	key       []byte
	value     []byte
	valid     bool
	err       error
	trace     trace
}

// Iter opens an iterator over the keyspace as of now, or as of the snapshot in the options.
func (k *Keyspace) Iter(o *IterOptions) (*Iterator, error) {
	c := k.load()
	if c == nil {
		return nil, closed("iterator")
	}
	if o == nil {
		o = &IterOptions{}
	}
	r, err := o.ReadOptions.c("iterator")
	if err != nil {
		return nil, err
	}
	if o.KeysOnly {
		r.flags |= C.LSM_READ_KEYS_ONLY
	}
	s := C.lsmgo_iter_open(c, r, C.uint64_t(o.MaxSkip), C.uint32_t(o.Readahead),
		address(o.Lower), C.size_t(len(o.Lower)), isSet(o.Lower), address(o.Upper), C.size_t(len(o.Upper)), isSet(o.Upper),
		address(o.Prefix), C.size_t(len(o.Prefix)))
	o.release()
	runtime.KeepAlive(k.handle)
	if err := check("iterator", s.code, s.err); err != nil {
		return nil, err
	}
	it := &Iterator{c: (*C.lsm_iter)(s.handle), keyspace: k, chunk: chunkFirst, chunkMax: o.ChunkMax}
	if it.chunkMax <= 0 {
		it.chunkMax = chunkMax
	}
	if it.chunk > it.chunkMax {
		it.chunk = it.chunkMax
	}
	it.trace = openIterators.opened()
	runtime.SetFinalizer(it, func(it *Iterator) {
		openIterators.leaked(it.trace)
		it.Close()
	})
	return it, nil
}

// A slice that is empty but not nil is a bound.
func isSet(b []byte) C.int32_t {
	if b == nil {
		return 0
	}
	return 1
}

// ForEach calls a function with every entry, in order, and ends at the first error. Key and value are valid until it
// returns.
func (k *Keyspace) ForEach(o *IterOptions, visit func(key, value []byte) error) error {
	it, err := k.Iter(o)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.Next() {
		if err := visit(it.key, it.value); err != nil {
			return err
		}
	}
	return it.Err()
}

// Next goes to the next entry and says whether there is one; if not, Err tells why.
func (it *Iterator) Next() bool {
	if len(it.rest) > 0 && it.direction == forward {
		it.take()
		return true
	}
	return it.move(forward)
}

// Prev goes to the entry before and says whether there is one; if not, Err tells why.
func (it *Iterator) Prev() bool {
	if len(it.rest) > 0 && it.direction == backward {
		it.take()
		return true
	}
	return it.move(backward)
}

// Valid says whether the iterator shows an entry.
func (it *Iterator) Valid() bool { return it.valid }

// Key is the key of the entry shown, nil if there is none. It is valid until the next call on the iterator.
func (it *Iterator) Key() []byte {
	if !it.valid {
		return nil
	}
	return it.key
}

// Value is the value of the entry shown, as Key.
func (it *Iterator) Value() []byte {
	if !it.valid {
		return nil
	}
	return it.value
}

// Err is why the last move found no entry: nil at an end. After ErrTimeout and ErrStalled the position is kept and the
// move may be made again.
func (it *Iterator) Err() error { return it.err }

// Seek goes to a place and says whether there is an entry; bounds and prefix hold. SeekFirst and SeekLast ignore the key.
// A missed SeekGE or SeekGT leaves the iterator behind the last entry, a missed SeekLE or SeekLT before the first.
func (it *Iterator) Seek(where Where, key []byte) bool {
	return it.seek(C.int32_t(where), key)
}

// First goes to the first entry.
func (it *Iterator) First() bool { return it.seek(C.LSM_SEEK_FIRST, nil) }

// Last goes to the last entry.
func (it *Iterator) Last() bool { return it.seek(C.LSM_SEEK_LAST, nil) }

// Refresh makes the iterator as if newly opened, over the newest state; a snapshot given at open is dropped.
func (it *Iterator) Refresh() error {
	if it.c == nil {
		return closed("refresh")
	}
	s := C.lsmgo_iter_refresh(it.c)
	it.forget()
	it.err = check("refresh", s.code, s.err)
	runtime.KeepAlive(it)
	return it.err
}

// Close ends the iterator. A second one does nothing.
func (it *Iterator) Close() {
	if it.c == nil {
		return
	}
	runtime.SetFinalizer(it, nil)
	openIterators.closed()
	C.lsm_iter_close(it.c)
	it.c, it.buffer = nil, nil
	it.forget()
}

func (it *Iterator) forget() {
	it.rest, it.key, it.value, it.valid, it.err = nil, nil, nil, false, nil
	it.chunk = chunkFirst
	if it.chunk > it.chunkMax {
		it.chunk = it.chunkMax
	}
}

// take shows the next entry of the chunk.
func (it *Iterator) take() {
	rest := it.rest
	keyEnd := 8 + int(binary.LittleEndian.Uint32(rest))
	end := keyEnd + int(binary.LittleEndian.Uint32(rest[4:]))
	it.key, it.value, it.rest = rest[8:keyEnd:keyEnd], rest[keyEnd:end:end], rest[end:]
	it.valid = true
}

// move fetches a chunk and shows its first entry.
func (it *Iterator) move(direction C.int32_t) bool {
	if len(it.rest) > 0 {
		// The library stands at the end of a chunk in the other direction: bring it back to the entry shown.
		where := C.int32_t(C.LSM_SEEK_GT)
		if direction == backward {
			where = C.LSM_SEEK_LT
		}
		return it.seek(where, it.key)
	}
	if it.c == nil {
		it.err = closed("iterator")
		return false
	}
	capacity := it.chunk
	for {
		it.fit(capacity)
		s := C.lsmgo_iter_read(it.c, direction, address(it.buffer), C.size_t(capacity))
		if s.code == C.LSM_TRUNCATED {
			capacity = int(s.used)
			continue
		}
		if s.code == C.LSM_OK && it.chunk < it.chunkMax {
			it.chunk *= 2
		}
		return it.show(s, direction)
	}
}

func (it *Iterator) seek(where C.int32_t, key []byte) bool {
	if it.c == nil {
		it.err = closed("iterator")
		return false
	}
	it.fit(chunkFirst)
	// The key may lie in the buffer: that is written to only after the library has found the entry.
	for {
		s := C.lsmgo_iter_seek(it.c, where, address(key), C.size_t(len(key)), address(it.buffer), C.size_t(len(it.buffer)))
		if s.code == C.LSM_TRUNCATED {
			it.fit(int(s.used))
			continue
		}
		it.chunk = chunkFirst
		return it.show(s, it.direction)
	}
}

// fit makes the buffer at least so long. What is shown from the old one stays as it is.
func (it *Iterator) fit(length int) {
	if len(it.buffer) < length {
		it.buffer = make([]byte, length)
	}
}

// show takes what a call answered.
func (it *Iterator) show(s C.lsmgo_chunk, direction C.int32_t) bool {
	runtime.KeepAlive(it)
	code := Code(s.code)
	if code == codeOK {
		it.rest, it.direction, it.err = it.buffer[:s.used], direction, nil
		it.take()
		return true
	}
	it.valid, it.err = false, nil
	if code == codeEnd {
		it.rest = nil
	} else {
		// The library has not moved: what is left of the chunk still says where it is.
		it.err = failure("iterator", code, s.err)
	}
	return false
}
