package lsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"liblsm.internal/lsm"
)

func TestBatchIsWrittenAsAWhole(t *testing.T) {
	db := open(t, nil)
	users, err := db.OpenKeyspace("users", nil)
	must(t, err)
	must(t, db.Put([]byte("gone"), []byte("x"), nil))
	var b lsm.Batch
	b.Put([]byte("a"), []byte("1"))
	b.PutIn(users, []byte("a"), []byte("user"))
	b.Delete([]byte("gone"))
	b.Put([]byte("a"), []byte("2")) // a later operation wins, also across keyspaces
	b.DeleteIn(users, []byte("none"))
	if b.Len() != 5 || b.Size() == 0 {
		t.Fatal(b.Len(), b.Size())
	}
	before, _, err := db.Sequence()
	must(t, err)
	must(t, db.Write(&b, lsm.Sync))
	committed, durable, err := db.Sequence()
	must(t, err)
	if b.Sequence() != committed || committed != before+5 || durable != committed {
		t.Fatal(b.Sequence(), before, committed, durable)
	}
	got, err := db.Get([]byte("a"), nil)
	want(t, got, err, "2")
	got, err = users.Get([]byte("a"), nil)
	want(t, got, err, "user")
	if there, err := db.Exists([]byte("gone"), nil); there || err != nil {
		t.Fatal(there, err)
	}
}

func TestBatchOfOneKeyspaceAndAgain(t *testing.T) {
	db := open(t, nil)
	users, err := db.OpenKeyspace("users", nil)
	must(t, err)
	var b lsm.Batch
	must(t, db.Write(&b, nil)) // an empty one
	for i := 0; i < 100; i++ {
		b.PutIn(users, []byte(fmt.Sprint(i)), bytes.Repeat([]byte{7}, i))
	}
	must(t, db.Write(&b, nil))
	first := b.Sequence()
	must(t, db.Write(&b, nil))
	if b.Sequence() != first+100 {
		t.Fatal(first, b.Sequence())
	}
	got, err := users.Get([]byte("99"), nil)
	if err != nil || len(got) != 99 {
		t.Fatal(len(got), err)
	}
	b.Reset()
	if b.Len() != 0 || b.Size() != 0 {
		t.Fatal(b.Len(), b.Size())
	}
	b.Delete([]byte("x"))
	must(t, db.Write(&b, nil))
}

func TestBatchRefusesWhatItCannotHold(t *testing.T) {
	db := open(t, nil)
	other, err := lsm.Open(filepath.Join(t.TempDir(), "other"), nil)
	must(t, err)
	defer other.Close()
	foreign, err := other.OpenKeyspace("k", nil)
	must(t, err)
	var b lsm.Batch
	b.Put([]byte("kept"), nil)
	b.Put(make([]byte, 65537), nil)
	if !errors.Is(b.Err(), lsm.ErrInvalid) || !errors.Is(db.Write(&b, nil), lsm.ErrInvalid) {
		t.Fatal(b.Err())
	}
	b.Reset()
	b.DeleteIn(foreign, []byte("x"))
	if err := db.Write(&b, nil); !errors.Is(err, lsm.ErrInvalid) {
		t.Fatal(err)
	}
	b.Reset()
	own, err := db.OpenKeyspace("k", nil)
	must(t, err)
	b.PutIn(own, []byte("x"), nil)
	own.Release()
	if err := db.Write(&b, nil); !errors.Is(err, lsm.ErrClosed) {
		t.Fatal(err)
	}
	if there, _ := db.Exists([]byte("kept"), nil); there {
		t.Fatal("a refused batch was written")
	}
}
