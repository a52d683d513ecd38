package org.liblsm;

import java.io.File;
import java.lang.reflect.InvocationTargetException;
import java.nio.ByteOrder;

/**
 * Finds {@code liblsm.so.1} and the backend for it. System properties: {@code liblsm.path} names the file;
 * {@code liblsm.backend} is {@code ffm}, {@code jna} or {@code auto} (FFM where there is one).
 */
final class Loader {
    private static final int ABI = 1;
    private static final String FILE = "liblsm.so." + ABI;

    private Loader() {}

    static Library load() {
        if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN || !"64".equals(System.getProperty("sun.arch.data.model", "64"))) {
            throw new UnsatisfiedLinkError("liblsm for Java needs a 64-bit little-endian machine");
        }
        String path = path();
        Library library = switch (System.getProperty("liblsm.backend", "auto")) {
            case "ffm" -> Backend.ffm(path);
            case "jna" -> jna(path);
            case "auto" -> Backend.hasFfm() ? Backend.ffm(path) : jna(path);
            default -> throw new UnsatisfiedLinkError("liblsm.backend is ffm, jna or auto, not "
                    + System.getProperty("liblsm.backend"));
        };
        int abi = library.lsm_abi_version();
        if (abi != ABI) {
            throw new UnsatisfiedLinkError(path + " has binary interface " + abi + ", this binding needs " + ABI);
        }
        return library;
    }

    /** A full path when a property or {@code java.library.path} leads to one, else the bare name for the system's search. */
    private static String path() {
        String given = System.getProperty("liblsm.path");
        if (given != null) {
            return new File(given).getAbsolutePath();
        }
        for (String folder : System.getProperty("java.library.path", "").split(File.pathSeparator)) {
            File file = new File(folder, FILE);
            if (!folder.isEmpty() && file.isFile()) {
                return file.getAbsolutePath();
            }
        }
        return FILE;
    }

    /** By name, because JNA need not be there where FFM is. */
    private static Library jna(String path) {
        try {
            return (Library) Class.forName("org.liblsm.JnaLibrary").getDeclaredConstructor(String.class).newInstance(path);
        } catch (InvocationTargetException e) {
            throw unusable(path, e.getCause());
        } catch (ReflectiveOperationException | LinkageError e) {
            throw unusable(path, e);
        }
    }

    private static UnsatisfiedLinkError unusable(String path, Throwable cause) {
        String why = cause instanceof NoClassDefFoundError || cause instanceof ClassNotFoundException
                ? "JNA is not on the class path; it is needed before Java 22"
                : String.valueOf(cause.getMessage());
        UnsatisfiedLinkError error = new UnsatisfiedLinkError("cannot load " + path + ": " + why);
        error.initCause(cause);
        return error;
    }
}
