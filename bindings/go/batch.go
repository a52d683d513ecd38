package lsm

// #include "bridge.h"
import "C"

import (
	"encoding/binary"
	"runtime"
)

// The limits of lsm.h that the packed form could not even express.
const (
	keyMax   = 65536
	valueMax = 1 << 30
	deleted  = 0xFFFFFFFF
)

// A Batch is a list of puts and deletes that DB.Write writes as a whole. It lives in Go memory, packed as the library
// reads it: adding to it calls nothing, and writing it is one call. The zero value is an empty batch. It belongs to one
// goroutine at a time.
type Batch struct {
	packed []byte
	runs   []run
	count  int
	seq    uint64
	err    error
}

// run is a stretch of operations on one keyspace, nil for the default one.
type run struct {
	keyspace *Keyspace
	end      int
}

// Put adds a put in the default keyspace. Key and value are copied.
func (b *Batch) Put(key, value []byte) { b.PutIn(nil, key, value) }

// Delete adds a delete in the default keyspace. The key is copied.
func (b *Batch) Delete(key []byte) { b.DeleteIn(nil, key) }

// PutIn adds a put in a keyspace of the database that the batch will be written to; nil is the default one.
func (b *Batch) PutIn(k *Keyspace, key, value []byte) {
	if len(key) > keyMax || len(value) > valueMax {
		b.refuse("a key over 65,536 bytes or a value over 1 GiB")
		return
	}
	b.packed = binary.LittleEndian.AppendUint32(b.packed, uint32(len(key)))
	b.packed = binary.LittleEndian.AppendUint32(b.packed, uint32(len(value)))
	b.packed = append(b.packed, key...)
	b.packed = append(b.packed, value...)
	b.added(k)
}

// DeleteIn adds a delete in a keyspace; nil is the default one.
func (b *Batch) DeleteIn(k *Keyspace, key []byte) {
	if len(key) > keyMax {
		b.refuse("a key over 65,536 bytes")
		return
	}
	b.packed = binary.LittleEndian.AppendUint32(b.packed, uint32(len(key)))
	b.packed = binary.LittleEndian.AppendUint32(b.packed, deleted)
	b.packed = append(b.packed, key...)
	b.added(k)
}

func (b *Batch) added(k *Keyspace) {
	b.count++
	if last := len(b.runs) - 1; last >= 0 && b.runs[last].keyspace == k {
		b.runs[last].end = len(b.packed)
		return
	}
	b.runs = append(b.runs, run{k, len(b.packed)})
}

// refuse keeps the first thing that was wrong; Write tells it and writes nothing.
func (b *Batch) refuse(message string) {
	if b.err == nil {
		b.err = invalid("batch", message)
	}
}

// Len is the number of operations.
func (b *Batch) Len() int { return b.count }

// Size is the number of bytes that the operations take here.
func (b *Batch) Size() int { return len(b.packed) }

// Err is what is wrong with an operation that was added, or nil. Write tells it too.
func (b *Batch) Err() error { return b.err }

// Sequence is the number of the last operation, set by Write.
func (b *Batch) Sequence() uint64 { return b.seq }

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	// Forget the keyspaces, or they would live as long as the batch.
	for i := range b.runs {
		b.runs[i] = run{}
	}
	*b = Batch{packed: b.packed[:0], runs: b.runs[:0]}
}

// Write writes a batch as a whole: a crash or a reader sees all of it or none. The batch keeps its operations and may be
// written again; Reset empties it.
func (db *DB) Write(b *Batch, o *WriteOptions) error {
	if b.err != nil {
		return b.err
	}
	s, err := db.write(b, o)
	if err != nil {
		return err
	}
	if err := check("write", s.code, s.err); err != nil {
		return err
	}
	b.seq = uint64(s.number)
	return nil
}

func (db *DB) write(b *Batch, o *WriteOptions) (s C.lsmgo_number, err error) {
	defer runtime.KeepAlive(db)
	w, err := o.c("write")
	if err != nil {
		return s, err
	}
	length := C.size_t(len(b.packed))
	if len(b.runs) == 0 || len(b.runs) == 1 && b.runs[0].keyspace == nil {
		return C.lsmgo_write_packed(db.load(), w, address(b.packed), length), nil
	}
	keyspaces := make([]*C.lsm_keyspace, len(b.runs))
	ends := make([]C.size_t, len(b.runs))
	for i, run := range b.runs {
		k := run.keyspace
		if k == nil {
			k = db.Keyspace
		}
		if k.handle != db.handle {
			return s, invalid("write", "a keyspace of another database")
		}
		if keyspaces[i] = k.load(); keyspaces[i] == nil {
			return s, closed("write")
		}
		ends[i] = C.size_t(run.end)
	}
	if len(b.runs) == 1 {
		return C.lsmgo_write_packed(keyspaces[0], w, address(b.packed), length), nil
	}
	return C.lsmgo_write_runs(db.handle.c, w, &keyspaces[0], &ends[0], C.size_t(len(ends)), address(b.packed)), nil
}
