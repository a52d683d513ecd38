package lsm

// #include "bridge.h"
import "C"

import (
	"encoding/binary"
	"runtime"
)

// MultiGet reads many keys as of one moment in one call. The i-th value is nil when the i-th key has none. When reading
// one of them fails, the error is the first such, and the values that could be read are returned with it.
func (k *Keyspace) MultiGet(keys [][]byte, o *ReadOptions) ([][]byte, error) {
	c := k.load()
	if c == nil {
		return nil, closed("multi-get")
	}
	if len(keys) == 0 {
		return nil, nil
	}
	packed := scratch.Get().(*[]byte)
	defer keep(packed)
	*packed = packKeys((*packed)[:0], keys)
	r, err := o.c("multi-get")
	if err != nil {
		return nil, err
	}
	defer o.release()
	buffer := scratch.Get().(*[]byte)
	defer keep(buffer)
	*buffer = (*buffer)[:cap(*buffer)]
	for {
		s := C.lsmgo_multi_get(c, r, address(*packed), C.size_t(len(*packed)), C.uint32_t(len(keys)), address(*buffer),
			C.size_t(len(*buffer)))
		if s.code == C.LSM_TRUNCATED {
			*buffer = make([]byte, int(s.number))
			continue
		}
		runtime.KeepAlive(k.handle)
		err := check("multi-get", s.code, s.err)
		// A failure of the call as a whole stores nothing.
		if err != nil && s.number == 0 {
			return nil, err
		}
		return unpackValues((*buffer)[:s.number], len(keys)), err
	}
}

// packKeys writes {u32 length, key}*.
func packKeys(to []byte, keys [][]byte) []byte {
	for _, key := range keys {
		to = binary.LittleEndian.AppendUint32(to, uint32(len(key)))
		to = append(to, key...)
	}
	return to
}

// unpackValues copies {i32 code, u32 length, value}* into one allocation and cuts it up.
func unpackValues(packed []byte, n int) [][]byte {
	values := make([][]byte, n)
	backing := make([]byte, 0, len(packed)-8*n)
	for i := range values {
		code := Code(binary.LittleEndian.Uint32(packed))
		length := int(binary.LittleEndian.Uint32(packed[4:]))
		if code == codeOK {
			from := len(backing)
			backing = append(backing, packed[8:8+length]...)
			values[i] = backing[from:len(backing):len(backing)]
		}
		packed = packed[8+length:]
	}
	return values
}
