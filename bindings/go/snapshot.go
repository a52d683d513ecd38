package lsm

// #include "bridge.h"
import "C"

import (
	"runtime"
	"sync"
)

// A Snapshot shows one moment of the database to reads that name it in their options. It keeps what it sees from being
// dropped, so release it soon. Any number of goroutines may read with it.
type Snapshot struct {
	// Readers hold it shared, Release alone: a snapshot in use is not released under a read.
	lock  sync.RWMutex
	c     *C.lsm_snapshot
	trace trace
}

// Snapshot takes one of this moment.
func (db *DB) Snapshot() (*Snapshot, error) {
	s := C.lsmgo_snapshot_new(db.handle.c)
	runtime.KeepAlive(db)
	if err := check("snapshot", s.code, s.err); err != nil {
		return nil, err
	}
	snapshot := &Snapshot{c: (*C.lsm_snapshot)(s.handle), trace: openSnapshots.opened()}
	runtime.SetFinalizer(snapshot, func(s *Snapshot) {
		openSnapshots.leaked(s.trace)
		s.Release()
	})
	return snapshot, nil
}

// Sequence is the number of the last write that the snapshot sees; 0 after Release.
func (s *Snapshot) Sequence() uint64 {
	c := s.hold()
	if c == nil {
		return 0
	}
	defer s.letGo()
	return uint64(C.lsm_snapshot_sequence(c))
}

// Release ends the snapshot; iterators that were opened with it go on. It waits for reads that use the snapshot now. A
// second one does nothing.
func (s *Snapshot) Release() {
	s.lock.Lock()
	defer s.lock.Unlock()
	if s.c == nil {
		return
	}
	runtime.SetFinalizer(s, nil)
	openSnapshots.closed()
	C.lsm_snapshot_release(s.c)
	s.c = nil
}

// hold gives the handle for one call, nil after Release; letGo must follow when it is not nil.
func (s *Snapshot) hold() *C.lsm_snapshot {
	s.lock.RLock()
	c := s.c
	if c == nil {
		s.lock.RUnlock()
	}
	return c
}

func (s *Snapshot) letGo() { s.lock.RUnlock() }
