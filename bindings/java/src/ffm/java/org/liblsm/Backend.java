package org.liblsm;

/** Java 22 and later have FFM. This class replaces the one of the same name for Java 17. */
final class Backend {
    /** Read once, when {@link FfmFunctions} is initialised. */
    static String path;

    private Backend() {}

    static boolean hasFfm() {
        return true;
    }

    static Library ffm(String liblsm) {
        path = liblsm;
        try {
            return new FfmLibrary();
        } catch (ExceptionInInitializerError e) {
            throw e.getCause() instanceof Error error ? error : e;
        }
    }
}
