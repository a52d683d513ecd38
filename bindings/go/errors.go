package lsm

// #include "bridge.h"
import "C"

import (
	"errors"
	"fmt"
	"syscall"
)

// Code is a status of the C interface. It is an error itself: errors.Is(err, lsm.ErrClosed) looks for the code, whatever
// the message says.
type Code int32

// The outcomes and errors that a call can answer. Their meaning is told in lsm.h.
const (
	codeOK        Code = 0
	codeEnd       Code = 2
	codeTruncated Code = 3

	ErrNotFound     Code = 1
	ErrInvalid      Code = -1
	ErrIO           Code = -2
	ErrCorruption   Code = -3
	ErrConflict     Code = -4
	ErrDeadlock     Code = -5
	ErrTimeout      Code = -6
	ErrBusy         Code = -7
	ErrLocked       Code = -8
	ErrNoSpace      Code = -9
	ErrNoMemory     Code = -10
	ErrReadOnly     Code = -11
	ErrExists       Code = -12
	ErrUnsupported  Code = -13
	ErrClosed       Code = -14
	ErrCancelled    Code = -15
	ErrStalled      Code = -16
	ErrVersion      Code = -17
	ErrCallback     Code = -18
	ErrSequenceGone Code = -19
	ErrPrecondition Code = -20
	ErrFenced       Code = -21
	ErrPanic        Code = -22
	ErrForked       Code = -23
)

// String is the name of the code in lsm.h, for example "LSM_E_IO".
func (c Code) String() string {
	return C.GoString(C.lsm_code_name(C.int32_t(c)))
}

// Error makes a code an error.
func (c Code) Error() string {
	if c == ErrNotFound {
		return "lsm: not found"
	}
	return "lsm: " + c.String()
}

// Error is what a failed call says. errors.As finds it, errors.Is compares its Code, and also its Errno: an Error from a
// missing folder is both ErrIO and fs.ErrNotExist.
type Error struct {
	// Op is the call that failed, for example "open".
	Op string
	// Code says what kind of failure it is.
	Code Code
	// Errno is the answer of the operating system, or 0.
	Errno syscall.Errno
	// Retryable: the same call may succeed later.
	Retryable bool
	// Fatal: no more writes until the database is opened again.
	Fatal bool
	// Background: it happened in a thread of the library, not in this call.
	Background bool
	// Message names the file and offset, the key or the option concerned.
	Message string
}

// Error is the operation, the code and the message.
func (e *Error) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("lsm: %s: %s", e.Op, e.Code.String())
	}
	return fmt.Sprintf("lsm: %s: %s: %s", e.Op, e.Code.String(), e.Message)
}

// Is compares codes, so that errors.Is(err, lsm.ErrLocked) works.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// Unwrap is the errno, if there is one.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Timeout says whether the deadline passed, as in net.Error.
func (e *Error) Timeout() bool { return e.Code == ErrTimeout }

// Temporary is Retryable under the name that net.Error has for it.
func (e *Error) Temporary() bool { return e.Retryable }

// Retryable says whether an error of this package may go away by itself.
func Retryable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Retryable
}

// Kept as values: making an error interface of a negative Code allocates.
var errNotFound error = ErrNotFound

// check turns a status into an error and frees the details.
func check(op string, code C.int32_t, details *C.lsm_error) error {
	if code == C.LSM_OK {
		return nil
	}
	return failure(op, Code(code), details)
}

func failure(op string, code Code, details *C.lsm_error) error {
	if code == ErrNotFound {
		return errNotFound
	}
	e := &Error{Op: op, Code: code}
	if details != nil {
		flags := C.lsm_error_flags(details)
		e.Errno = syscall.Errno(C.lsm_error_os(details))
		e.Retryable = flags&C.LSM_ERROR_RETRYABLE != 0
		e.Fatal = flags&C.LSM_ERROR_FATAL != 0
		e.Background = flags&C.LSM_ERROR_BACKGROUND != 0
		e.Message = C.GoString(C.lsm_error_message(details))
		C.lsm_error_free(details)
	}
	return e
}

func closed(op string) error { return &Error{Op: op, Code: ErrClosed, Message: "it was closed before"} }

func invalid(op, message string) error { return &Error{Op: op, Code: ErrInvalid, Message: message} }

// late is told without a call: a fast one could be done within the shortest deadline that there is.
func late(op string) error {
	return &Error{Op: op, Code: ErrTimeout, Retryable: true, Message: "the deadline had passed before the call"}
}
