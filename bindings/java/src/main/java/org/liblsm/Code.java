package org.liblsm;

/** The status codes of the C interface. Numbers are those of {@code lsm.h}; they never change. */
public enum Code {
    /** Success. */
    OK(0),
    /** The key, keyspace or property does not exist. */
    NOT_FOUND(1),
    /** A cursor is past an end. */
    END(2),
    /** A buffer was too small; the binding asks again. */
    TRUNCATED(3),
    /** Not ready yet (a later version). */
    PENDING(4),
    /** An argument or option is out of its range. */
    INVALID(-1),
    /** The operating system refused a call. */
    IO(-2),
    /** Bytes on disk are not what was written. */
    CORRUPTION(-3),
    /** A transaction met a newer write (a later version). */
    CONFLICT(-4),
    /** A cycle of waiting transactions (a later version). */
    DEADLOCK(-5),
    /** The deadline passed before any effect. */
    TIMEOUT(-6),
    /** Not possible now. */
    BUSY(-7),
    /** The folder is open elsewhere. */
    LOCKED(-8),
    /** The device is full. */
    NO_SPACE(-9),
    /** An allocation was refused. */
    NO_MEMORY(-10),
    /** The database is open read-only. */
    READ_ONLY(-11),
    /** The database exists and must not. */
    EXISTS(-12),
    /** Not part of this version or build of the library. */
    UNSUPPORTED(-13),
    /** The database, the keyspace or the object is closed. */
    CLOSED(-14),
    /** The job was cancelled (a later version). */
    CANCELLED(-15),
    /** A step passed too many hidden entries. */
    STALLED(-16),
    /** The files are of a format that the library does not read. */
    VERSION(-17),
    /** A callback failed (a later version). */
    CALLBACK(-18),
    /** The log position asked for is gone (a later version). */
    SEQUENCE_GONE(-19),
    /** A conditional write did not find what it expected (a later version). */
    PRECONDITION(-20),
    /** A newer leader exists (a later version). */
    FENCED(-21),
    /** A bug inside the library was caught. */
    PANIC(-22),
    /** The handle belongs to the parent process. */
    FORKED(-23),
    /** A number that this version of the binding does not know: the library is newer. */
    UNKNOWN(Integer.MIN_VALUE);

    private static final Code[] ALL = values();

    private final int number;

    Code(int number) {
        this.number = number;
    }

    /** The number in {@code lsm.h}. */
    public int number() {
        return number;
    }

    /** The code with that number, or {@link #UNKNOWN}. */
    public static Code of(int number) {
        for (Code code : ALL) {
            if (code.number == number) {
                return code;
            }
        }
        return UNKNOWN;
    }
}
