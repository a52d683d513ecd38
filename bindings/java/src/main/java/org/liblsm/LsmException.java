package org.liblsm;

/**
 * What the library refused. Each code has a class of its own, so that one can be caught alone:
 * {@code catch (LsmException.Locked e)}. "Not found" is no exception: reads give {@code null}.
 */
public class LsmException extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final int RETRYABLE = 1;
    private static final int FATAL = 2;
    private static final int BACKGROUND = 4;

    private final Code code;
    private final int os;
    private final int flags;

    LsmException(Code code, int os, int flags, String message) {
        super(message);
        this.code = code;
        this.os = os;
        this.flags = flags;
    }

    /** Which code of {@code lsm.h} this is. */
    public Code code() {
        return code;
    }

    /** The errno of the system call that was refused, or 0. */
    public int osError() {
        return os;
    }

    /** Whether the same call may succeed later. */
    public boolean isRetryable() {
        return (flags & RETRYABLE) != 0;
    }

    /** Whether the database takes no more writes until it is opened again. */
    public boolean isFatal() {
        return (flags & FATAL) != 0;
    }

    /** Whether it happened in a background thread before and is told again. */
    public boolean isBackground() {
        return (flags & BACKGROUND) != 0;
    }

    /** The exception of the class that belongs to {@code number}. */
    static LsmException of(int number, int os, int flags, String message) {
        Code code = Code.of(number);
        return switch (code) {
            case INVALID -> new Invalid(code, os, flags, message);
            case IO -> new Io(code, os, flags, message);
            case CORRUPTION -> new Corruption(code, os, flags, message);
            case TIMEOUT -> new Timeout(code, os, flags, message);
            case BUSY -> new Busy(code, os, flags, message);
            case LOCKED -> new Locked(code, os, flags, message);
            case NO_SPACE -> new NoSpace(code, os, flags, message);
            case NO_MEMORY -> new NoMemory(code, os, flags, message);
            case READ_ONLY -> new ReadOnly(code, os, flags, message);
            case EXISTS -> new Exists(code, os, flags, message);
            case UNSUPPORTED -> new Unsupported(code, os, flags, message);
            case CLOSED -> new Closed(code, os, flags, message);
            case STALLED -> new Stalled(code, os, flags, message);
            case VERSION -> new Version(code, os, flags, message);
            case PANIC -> new Panic(code, os, flags, message);
            case FORKED -> new Forked(code, os, flags, message);
            case NOT_FOUND -> new NotFound(code, os, flags, message);
            default -> new LsmException(code, os, flags, message);
        };
    }

    static LsmException invalid(String message) {
        return of(Code.INVALID.number(), 0, 0, message);
    }

    static LsmException closed(String what) {
        return of(Code.CLOSED.number(), 0, 0, what + " is closed");
    }

    /** An argument or option is out of its range. */
    public static final class Invalid extends LsmException {
        private static final long serialVersionUID = 1;

        Invalid(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The operating system refused a call; {@link #osError} says how. */
    public static final class Io extends LsmException {
        private static final long serialVersionUID = 1;

        Io(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** Bytes on disk are not what was written; the message names file and offset. */
    public static final class Corruption extends LsmException {
        private static final long serialVersionUID = 1;

        Corruption(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The deadline passed before any effect. */
    public static final class Timeout extends LsmException {
        private static final long serialVersionUID = 1;

        Timeout(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** Not possible now: two threads in one cursor or batch. */
    public static final class Busy extends LsmException {
        private static final long serialVersionUID = 1;

        Busy(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The folder is open elsewhere, in this process or another. */
    public static final class Locked extends LsmException {
        private static final long serialVersionUID = 1;

        Locked(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The device is full. */
    public static final class NoSpace extends LsmException {
        private static final long serialVersionUID = 1;

        NoSpace(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The library could not get memory. */
    public static final class NoMemory extends LsmException {
        private static final long serialVersionUID = 1;

        NoMemory(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The database is open read-only. */
    public static final class ReadOnly extends LsmException {
        private static final long serialVersionUID = 1;

        ReadOnly(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The database exists and {@code error_if_exists} is set. */
    public static final class Exists extends LsmException {
        private static final long serialVersionUID = 1;

        Exists(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** Known, but not part of this version or build of the library. */
    public static final class Unsupported extends LsmException {
        private static final long serialVersionUID = 1;

        Unsupported(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The database, the keyspace or the object itself is closed. */
    public static final class Closed extends LsmException {
        private static final long serialVersionUID = 1;

        Closed(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** A cursor's step passed more hidden entries than {@code maxSkip}; its position is kept, a further step goes on. */
    public static final class Stalled extends LsmException {
        private static final long serialVersionUID = 1;

        Stalled(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The files are of a format that the library does not read. */
    public static final class Version extends LsmException {
        private static final long serialVersionUID = 1;

        Version(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** A bug inside the library was caught; only closing the database works now. */
    public static final class Panic extends LsmException {
        private static final long serialVersionUID = 1;

        Panic(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** The handle belongs to the parent process. */
    public static final class Forked extends LsmException {
        private static final long serialVersionUID = 1;

        Forked(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }

    /** A keyspace that must exist does not. */
    public static final class NotFound extends LsmException {
        private static final long serialVersionUID = 1;

        NotFound(Code code, int os, int flags, String message) {
            super(code, os, flags, message);
        }
    }
}
