package org.liblsm;

/** Where {@link Cursor#seek} goes. The order is that of {@code lsm.h}. */
public enum Seek {
    /** The first entry; no key. */
    FIRST,
    /** The last entry; no key. */
    LAST,
    /** The first entry at or above the key. */
    GE,
    /** The first entry above the key. */
    GT,
    /** The last entry at or below the key. */
    LE,
    /** The last entry below the key. */
    LT
}
