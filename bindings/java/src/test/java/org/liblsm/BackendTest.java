package org.liblsm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** That the right backend is at work, that it binds the whole header, and what is said when there is no library. */
class BackendTest {
    @TempDir
    Path folder;

    @Test
    void theBackendIsTheOneThatTheRunWants() {
        String want = System.getProperty("liblsm.expect");
        assertNotNull(want, "run with -Dliblsm.expect=ffm or jna");
        assertEquals(want, Lsm.backend());
    }

    @Test
    void theVersionIsThatOfTheHeader() throws IOException {
        assertTrue(Lsm.version().matches("\\d+\\.\\d+\\.\\d+.*"), Lsm.version());
        assertTrue(Lsm.hasFeature("lz4"));
        assertFalse(Lsm.hasFeature("no such feature"));
    }

    @Test
    void everyFunctionOfTheFirstHeaderIsBoundOrNamedAsReplaced() throws IOException {
        // The header of the binary interface that this binding was made for, not of one that has more.
        Set<String> declared = new TreeSet<>();
        Matcher names = Pattern.compile("\\b(lsm_[a-z0-9_]+)\\(").matcher(Files.readString(Path.of(header())));
        while (names.find()) {
            declared.add(names.group(1));
        }
        declared.remove("lsm_drop_fn");
        declared.remove("lsm_log_fn");
        assertTrue(declared.size() > 60, declared.size() + " functions");
        Set<String> bound = new TreeSet<>();
        for (Method method : Library.class.getDeclaredMethods()) {
            if (method.getName().startsWith("lsm_")) {
                bound.add(method.getName());
            }
        }
        declared.removeAll(bound);
        // A packed form does what these do, in fewer calls.
        assertEquals(Set.of("lsm_batch_put", "lsm_batch_delete", "lsm_batch_clear", "lsm_batch_count", "lsm_batch_bytes"),
                declared);
    }

    @Test
    void theCodesAreThoseOfTheHeader() throws IOException {
        Matcher defines = Pattern.compile("#define LSM_(E_)?([A-Z_]+) +\\((-?\\d+)\\)").matcher(Files.readString(Path.of(header())));
        int checked = 0;
        while (defines.find()) {
            int number = Integer.parseInt(defines.group(3));
            boolean isStatus = defines.group(1) != null || Set.of("OK", "NOT_FOUND", "END", "TRUNCATED", "PENDING").contains(defines.group(2));
            if (isStatus) {
                assertEquals(defines.group(2).replace("_", ""), Code.of(number).name().replace("_", "")
                        .replace("NOMEMORY", "NOMEM").replace("SEQUENCEGONE", "SEQGONE"));
                checked++;
            }
        }
        assertEquals(Code.values().length - 1, checked);
    }

    private static String header() {
        String header = System.getProperty("liblsm.header");
        assertNotNull(header, "run with -Dliblsm.header=abi/0.1.0/lsm.h");
        return header;
    }

    @Test
    void aMissingLibraryIsNamed() throws Exception {
        String said = child("-Dliblsm.path=" + folder.resolve("nowhere.so"));
        assertTrue(said.contains("UnsatisfiedLinkError") && said.contains("nowhere.so"), said);
    }

    @Test
    void anUnknownBackendIsNamed() throws Exception {
        String said = child("-Dliblsm.path=" + System.getProperty("liblsm.path"), "-Dliblsm.backend=jni");
        assertTrue(said.contains("liblsm.backend is ffm, jna or auto, not jni"), said);
    }

    private static String child(String... flags) throws Exception {
        var command = new java.util.ArrayList<String>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("-Djna.boot.library.path=" + System.getProperty("jna.boot.library.path", ""));
        command.addAll(java.util.List.of(flags));
        command.addAll(java.util.List.of("-cp", System.getProperty("java.class.path"), OpenTest.LeftOpen.class.getName(), "db"));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String said = new String(process.getInputStream().readAllBytes());
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(1, process.exitValue(), said);
        return said;
    }
}
