package org.liblsm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** The backend for Java 22 and later: the JDK's own foreign functions and memory. */
final class FfmLibrary extends FfmFunctions {
    private static final MethodHandle MALLOC = LINKER.downcallHandle(
            LINKER.defaultLookup().find("malloc").orElseThrow(), shape("J", "J"));
    private static final MethodHandle FREE = LINKER.downcallHandle(
            LINKER.defaultLookup().find("free").orElseThrow(), shape("J", "V"));

    @Override
    String name() {
        return "ffm";
    }

    @Override
    long address(ByteBuffer direct) {
        // A buffer's segment begins at its position; callers count from the beginning.
        return MemorySegment.ofBuffer(direct).address() - direct.position();
    }

    @Override
    ByteBuffer view(long address, long length) {
        return MemorySegment.ofAddress(address).reinterpret(length).asByteBuffer().order(ByteOrder.nativeOrder());
    }

    @Override
    <T> T as(ByteBuffer buffer, Class<T> type) {
        return type == MemorySegment.class ? type.cast(MemorySegment.ofBuffer(buffer)) : super.as(buffer, type);
    }

    @Override
    String types() {
        return "MemorySegment, ByteBuffer and byte[]";
    }

    @Override
    Scope scope(long address, long length) {
        return scope(Arena.ofShared(), address, length);
    }

    @Override
    Scope scopeOfThread(long address, long length) {
        return scope(Arena.ofConfined(), address, length);
    }

    private static Scope scope(Arena arena, long address, long length) {
        ByteBuffer buffer = MemorySegment.ofAddress(address).reinterpret(length, arena, null).asReadOnly().asByteBuffer();
        return new Scope() {
            @Override
            ByteBuffer buffer() {
                return buffer;
            }

            @Override
            void close(Runnable release) {
                arena.close(); // every view throws from here on
                release.run();
            }
        };
    }

    @Override
    long malloc(long bytes) {
        try { return (long) MALLOC.invokeExact(bytes); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    void free(long address) {
        try { FREE.invokeExact(address); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    String string(long address) {
        return MemorySegment.ofAddress(address).reinterpret(Long.MAX_VALUE).getString(0, StandardCharsets.UTF_8);
    }

    @Override
    long logFunction() {
        return Callbacks.LOG;
    }

    @Override
    long dropFunction() {
        return Callbacks.DROP;
    }

    /** Made when first asked for, and then kept: the library may hold them as long as the process lives. */
    private static final class Callbacks {
        static final long LOG = stub("log", MethodType.methodType(void.class, long.class, int.class, long.class, long.class), "JIJJ");
        static final long DROP = stub("drop", MethodType.methodType(void.class, long.class), "J");

        private static long stub(String name, MethodType type, String parameters) {
            try {
                MethodHandle target = MethodHandles.lookup().findStatic(Callbacks.class, name, type);
                return LINKER.upcallStub(target, shape(parameters, "V"), Arena.global()).address();
            } catch (ReflectiveOperationException e) {
                throw new ExceptionInInitializerError(e);
            }
        }

        private static void log(long id, int level, long message, long length) {
            Logs.log(id, level, message);
        }

        private static void drop(long id) {
            Logs.drop(id);
        }
    }
}
