package org.liblsm;

/** The status codes of the C interface. Numbers are those of {@code lsm.h}; they never change. */
public enum Code {
    OK(0),
    NOT_FOUND(1),
    END(2),
    TRUNCATED(3),
    PENDING(4),
    INVALID(-1),
    IO(-2),
    CORRUPTION(-3),
    CONFLICT(-4),
    DEADLOCK(-5),
    TIMEOUT(-6),
    BUSY(-7),
    LOCKED(-8),
    NO_SPACE(-9),
    NO_MEMORY(-10),
    READ_ONLY(-11),
    EXISTS(-12),
    UNSUPPORTED(-13),
    CLOSED(-14),
    CANCELLED(-15),
    STALLED(-16),
    VERSION(-17),
    CALLBACK(-18),
    SEQUENCE_GONE(-19),
    PRECONDITION(-20),
    FENCED(-21),
    PANIC(-22),
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
