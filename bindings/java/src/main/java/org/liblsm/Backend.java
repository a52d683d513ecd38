package org.liblsm;

/** Java 17 to 21 have no FFM. The class of the same name under {@code META-INF/versions/22} replaces this one. */
final class Backend {
    private Backend() {}

    static boolean hasFfm() {
        return false;
    }

    static Library ffm(String path) {
        throw new UnsatisfiedLinkError("cannot load " + path + " through FFM: that needs Java 22 or later, this is "
                + System.getProperty("java.version"));
    }
}
