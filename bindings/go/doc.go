// Package lsm is the Go binding of liblsm, an embedded ordered key-value store.
//
//	db, err := lsm.Open("people.db", nil)
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	if err := db.Put([]byte("ada"), []byte("Countess"), nil); err != nil {
//		return err
//	}
//	value, err := db.Get([]byte("ada"), nil) // errors.Is(err, lsm.ErrNotFound) when there is none
//
// A DB is also its default keyspace; DB.OpenKeyspace opens others by name. Option arguments may be nil.
//
// # Goroutines
//
// DB, Keyspace and Snapshot may be used by any number of goroutines at once, also while another one closes them: a call
// that comes too late answers ErrClosed. Iterator, Batch and Value belong to one goroutine at a time and may move. There
// is no tie to an operating system thread. A write that waits for the device keeps one thread in the C call, as file
// input and output in Go does.
//
// # Memory
//
// Keys and values given to a call are copied before it returns, so a caller may reuse its slices. Get, AppendGet and
// MultiGet return slices that belong to the caller. What Iterator.Key and Iterator.Value show is valid until the next
// call on the iterator. View and GetPinned show memory of the library without copying it: View until the function
// returns, GetPinned until Value.Release.
//
// # Closing
//
// DB, Iterator, Snapshot and Value have to be closed. One that the garbage collector finds open is released and reported
// (SetLeakHandler, TraceLeaks); Live counts what is open now. Nothing depends on the order: a child may be closed before or
// after its database.
//
// # What a call costs
//
// A cgo call costs tens of nanoseconds. Iterators fetch chunks of entries, MultiGet all its keys, and Write a whole batch
// in one call, whatever the number of keyspaces in it.
package lsm
