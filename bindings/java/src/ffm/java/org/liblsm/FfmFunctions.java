package org.liblsm;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/**
 * One method handle and one method for each function of {@code lsm.h}. The handles are constants, so that the compiler
 * makes a plain call of each. Pointers and {@code size_t} cross as 64-bit numbers: on the machines that liblsm runs on they
 * travel in the same registers.
 *
 * <p>None of the calls is "critical" (without a thread transition): nearly all may wait for a lock or a disk, and a garbage
 * collection would wait with them.
 */
abstract class FfmFunctions extends Library {
    static final Linker LINKER = Linker.nativeLinker();
    private static final SymbolLookup SYMBOLS = symbols(Backend.path);

    private static final MethodHandle ABI_VERSION = bind("lsm_abi_version", "", "I");
    private static final MethodHandle VERSION = bind("lsm_version", "", "J");
    private static final MethodHandle HAS_FEATURE = bind("lsm_has_feature", "J", "I");
    private static final MethodHandle FREE = bind("lsm_free", "J", "V");
    private static final MethodHandle ERROR_CODE = bind("lsm_error_code", "J", "I");
    private static final MethodHandle ERROR_OS = bind("lsm_error_os", "J", "I");
    private static final MethodHandle ERROR_FLAGS = bind("lsm_error_flags", "J", "I");
    private static final MethodHandle ERROR_MESSAGE = bind("lsm_error_message", "J", "J");
    private static final MethodHandle ERROR_FREE = bind("lsm_error_free", "J", "V");
    private static final MethodHandle CODE_NAME = bind("lsm_code_name", "I", "J");
    private static final MethodHandle OPTIONS_NEW = bind("lsm_options_new", "", "J");
    private static final MethodHandle OPTIONS_CLONE = bind("lsm_options_clone", "J", "J");
    private static final MethodHandle OPTIONS_FREE = bind("lsm_options_free", "J", "V");
    private static final MethodHandle OPTIONS_SET = bind("lsm_options_set", "JJJJ", "I");
    private static final MethodHandle OPTIONS_SET_INT = bind("lsm_options_set_int", "JJJJ", "I");
    private static final MethodHandle OPTIONS_SET_FLOAT = bind("lsm_options_set_float", "JJDJ", "I");
    private static final MethodHandle OPTIONS_SET_CALLBACKS = bind("lsm_options_set_callbacks", "JJJJ", "I");
    private static final MethodHandle OPTIONS_GET = bind("lsm_options_get", "JJJJ", "I");
    private static final MethodHandle OPTIONS_LOAD = bind("lsm_options_load", "JJJJ", "I");
    private static final MethodHandle OPTIONS_DUMP = bind("lsm_options_dump", "JJJ", "I");
    private static final MethodHandle OPTIONS_DESCRIBE = bind("lsm_options_describe", "J", "I");
    private static final MethodHandle OPEN = bind("lsm_open", "JJJJ", "I");
    private static final MethodHandle CLOSE = bind("lsm_close", "JJ", "I");
    private static final MethodHandle DESTROY = bind("lsm_destroy", "JJ", "I");
    private static final MethodHandle SYNC = bind("lsm_sync", "JJ", "I");
    private static final MethodHandle SEQUENCE = bind("lsm_sequence", "JJJ", "I");
    private static final MethodHandle FLUSH = bind("lsm_flush", "JJJ", "I");
    private static final MethodHandle COMPACT = bind("lsm_compact", "JJJJJJ", "I");
    private static final MethodHandle PROPERTY = bind("lsm_property", "JJJJJ", "I");
    private static final MethodHandle PROPERTY_U64 = bind("lsm_property_u64", "JJJJJ", "I");
    private static final MethodHandle METRICS = bind("lsm_metrics", "JIJJ", "I");
    private static final MethodHandle CACHE_CLEAR = bind("lsm_cache_clear", "JJ", "I");
    private static final MethodHandle VERIFY = bind("lsm_verify", "JJJ", "I");
    private static final MethodHandle REPAIR = bind("lsm_repair", "JJJJ", "I");
    private static final MethodHandle RESUME = bind("lsm_resume", "JJ", "I");
    private static final MethodHandle DEFAULT_KEYSPACE = bind("lsm_default_keyspace", "J", "J");
    private static final MethodHandle KEYSPACE_OPEN = bind("lsm_keyspace_open", "JJJJJ", "I");
    private static final MethodHandle KEYSPACE_RELEASE = bind("lsm_keyspace_release", "J", "V");
    private static final MethodHandle KEYSPACE_DROP = bind("lsm_keyspace_drop", "JJJ", "I");
    private static final MethodHandle KEYSPACE_LIST = bind("lsm_keyspace_list", "JJJ", "I");
    private static final MethodHandle LIST_LEN = bind("lsm_list_len", "J", "J");
    private static final MethodHandle LIST_GET = bind("lsm_list_get", "JJ", "J");
    private static final MethodHandle LIST_FREE = bind("lsm_list_free", "J", "V");
    private static final MethodHandle PUT = bind("lsm_put", "JJJJJJJ", "I");
    private static final MethodHandle DELETE = bind("lsm_delete", "JJJJJ", "I");
    private static final MethodHandle WRITE_PACKED = bind("lsm_write_packed", "JJJJJJ", "I");
    private static final MethodHandle BATCH_NEW = bind("lsm_batch_new", "JJJ", "I");
    private static final MethodHandle BATCH_APPEND_PACKED = bind("lsm_batch_append_packed", "JJJJJ", "I");
    private static final MethodHandle WRITE = bind("lsm_write", "JJJJJ", "I");
    private static final MethodHandle BATCH_FREE = bind("lsm_batch_free", "J", "V");
    private static final MethodHandle GET = bind("lsm_get", "JJJJJJJJ", "I");
    private static final MethodHandle GET_PINNED = bind("lsm_get_pinned", "JJJJJJJJ", "I");
    private static final MethodHandle EXISTS = bind("lsm_exists", "JJJJJJ", "I");
    private static final MethodHandle MULTI_GET = bind("lsm_multi_get", "JJJJJJJJ", "I");
    private static final MethodHandle MULTI_GET_PACKED = bind("lsm_multi_get_packed", "JJJJIJJJJ", "I");
    private static final MethodHandle VALUE_DATA = bind("lsm_value_data", "JJ", "J");
    private static final MethodHandle VALUE_RELEASE = bind("lsm_value_release", "J", "V");
    private static final MethodHandle APPROXIMATE = bind("lsm_approximate", "JJJJJJJJ", "I");
    private static final MethodHandle ITER_OPEN = bind("lsm_iter_open", "JJJJ", "I");
    private static final MethodHandle ITER_SEEK = bind("lsm_iter_seek", "JIJJJJ", "I");
    private static final MethodHandle ITER_NEXT = bind("lsm_iter_next", "JJJ", "I");
    private static final MethodHandle ITER_PREV = bind("lsm_iter_prev", "JJJ", "I");
    private static final MethodHandle ITER_READ = bind("lsm_iter_read", "JIJJJJ", "I");
    private static final MethodHandle ITER_READ_PACKED = bind("lsm_iter_read_packed", "JIJJJJJ", "I");
    private static final MethodHandle ITER_REFRESH = bind("lsm_iter_refresh", "JJ", "I");
    private static final MethodHandle ITER_CLOSE = bind("lsm_iter_close", "J", "V");
    private static final MethodHandle SNAPSHOT_NEW = bind("lsm_snapshot_new", "JJJ", "I");
    private static final MethodHandle SNAPSHOT_SEQUENCE = bind("lsm_snapshot_sequence", "J", "J");
    private static final MethodHandle SNAPSHOT_RELEASE = bind("lsm_snapshot_release", "J", "V");

    private static SymbolLookup symbols(String path) {
        try {
            return path.indexOf('/') >= 0
                    ? SymbolLookup.libraryLookup(Path.of(path), Arena.global())
                    : SymbolLookup.libraryLookup(path, Arena.global());
        } catch (IllegalArgumentException e) {
            UnsatisfiedLinkError error = new UnsatisfiedLinkError("cannot load " + path + ": " + e.getMessage());
            error.initCause(e);
            throw error;
        }
    }

    private static MethodHandle bind(String name, String parameters, String result) {
        MemorySegment symbol = SYMBOLS.find(name).orElseThrow(
                () -> new UnsatisfiedLinkError(Backend.path + " has no function " + name + ": it is too old"));
        return LINKER.downcallHandle(symbol, shape(parameters, result));
    }

    /** From one letter a type: J is 64 bits, I is 32, D is a double, V is nothing. */
    static FunctionDescriptor shape(String parameters, String result) {
        MemoryLayout[] layouts = parameters.chars().mapToObj(FfmFunctions::layout).toArray(MemoryLayout[]::new);
        return result.equals("V")
                ? FunctionDescriptor.ofVoid(layouts)
                : FunctionDescriptor.of(layout(result.charAt(0)), layouts);
    }

    private static MemoryLayout layout(int letter) {
        return switch (letter) {
            case 'J' -> ValueLayout.JAVA_LONG;
            case 'I' -> ValueLayout.JAVA_INT;
            case 'D' -> ValueLayout.JAVA_DOUBLE;
            default -> throw new AssertionError("type " + (char) letter);
        };
    }

    /** A call of C throws nothing; what comes out of a handle is an error of the JVM or of this class. */
    static Error bug(Throwable thrown) {
        return thrown instanceof Error error ? error : new AssertionError(thrown);
    }

    @Override
    final int lsm_abi_version() {
        try { return (int) ABI_VERSION.invokeExact(); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_version() {
        try { return (long) VERSION.invokeExact(); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_has_feature(long name) {
        try { return (int) HAS_FEATURE.invokeExact(name); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_free(long buffer) {
        try { FREE.invokeExact(buffer); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_error_code(long error) {
        try { return (int) ERROR_CODE.invokeExact(error); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_error_os(long error) {
        try { return (int) ERROR_OS.invokeExact(error); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_error_flags(long error) {
        try { return (int) ERROR_FLAGS.invokeExact(error); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_error_message(long error) {
        try { return (long) ERROR_MESSAGE.invokeExact(error); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_error_free(long error) {
        try { ERROR_FREE.invokeExact(error); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_code_name(int code) {
        try { return (long) CODE_NAME.invokeExact(code); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_options_new() {
        try { return (long) OPTIONS_NEW.invokeExact(); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_options_clone(long options) {
        try { return (long) OPTIONS_CLONE.invokeExact(options); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_options_free(long options) {
        try { OPTIONS_FREE.invokeExact(options); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_set(long options, long key, long value, long err) {
        try { return (int) OPTIONS_SET.invokeExact(options, key, value, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_set_int(long options, long key, long value, long err) {
        try {
            return (int) OPTIONS_SET_INT.invokeExact(options, key, value, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_set_float(long options, long key, double value, long err) {
        try {
            return (int) OPTIONS_SET_FLOAT.invokeExact(options, key, value, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_set_callbacks(long options, long key, long table, long err) {
        try {
            return (int) OPTIONS_SET_CALLBACKS.invokeExact(options, key, table, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_get(long options, long key, long value, long err) {
        try { return (int) OPTIONS_GET.invokeExact(options, key, value, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_load(long options, long text, long length, long err) {
        try { return (int) OPTIONS_LOAD.invokeExact(options, text, length, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_dump(long options, long text, long err) {
        try { return (int) OPTIONS_DUMP.invokeExact(options, text, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_options_describe(long json) {
        try { return (int) OPTIONS_DESCRIBE.invokeExact(json); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_open(long path, long options, long db, long err) {
        try { return (int) OPEN.invokeExact(path, options, db, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_close(long db, long err) {
        try { return (int) CLOSE.invokeExact(db, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_destroy(long path, long err) {
        try { return (int) DESTROY.invokeExact(path, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_sync(long db, long err) {
        try { return (int) SYNC.invokeExact(db, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_sequence(long db, long committed, long durable) {
        try { return (int) SEQUENCE.invokeExact(db, committed, durable); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_flush(long db, long keyspace, long err) {
        try { return (int) FLUSH.invokeExact(db, keyspace, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_compact(long keyspace, long from, long fromLength, long to, long toLength, long err) {
        try {
            return (int) COMPACT.invokeExact(keyspace, from, fromLength, to, toLength, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_property(long db, long keyspace, long name, long value, long err) {
        try { return (int) PROPERTY.invokeExact(db, keyspace, name, value, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_property_u64(long db, long keyspace, long name, long value, long err) {
        try {
            return (int) PROPERTY_U64.invokeExact(db, keyspace, name, value, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_metrics(long db, int format, long text, long err) {
        try { return (int) METRICS.invokeExact(db, format, text, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_cache_clear(long db, long err) {
        try { return (int) CACHE_CLEAR.invokeExact(db, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_verify(long db, long report, long err) {
        try { return (int) VERIFY.invokeExact(db, report, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_repair(long path, long options, long report, long err) {
        try { return (int) REPAIR.invokeExact(path, options, report, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_resume(long db, long err) {
        try { return (int) RESUME.invokeExact(db, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_default_keyspace(long db) {
        try { return (long) DEFAULT_KEYSPACE.invokeExact(db); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_keyspace_open(long db, long name, long options, long keyspace, long err) {
        try {
            return (int) KEYSPACE_OPEN.invokeExact(db, name, options, keyspace, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_keyspace_release(long keyspace) {
        try { KEYSPACE_RELEASE.invokeExact(keyspace); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_keyspace_drop(long db, long name, long err) {
        try { return (int) KEYSPACE_DROP.invokeExact(db, name, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_keyspace_list(long db, long list, long err) {
        try { return (int) KEYSPACE_LIST.invokeExact(db, list, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_list_len(long list) {
        try { return (long) LIST_LEN.invokeExact(list); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_list_get(long list, long index) {
        try { return (long) LIST_GET.invokeExact(list, index); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_list_free(long list) {
        try { LIST_FREE.invokeExact(list); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_put(long keyspace, long options, long key, long keyLength, long value, long valueLength, long err) {
        try {
            return (int) PUT.invokeExact(keyspace, options, key, keyLength, value, valueLength, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_delete(long keyspace, long options, long key, long keyLength, long err) {
        try {
            return (int) DELETE.invokeExact(keyspace, options, key, keyLength, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_write_packed(long keyspace, long options, long packed, long length, long seq, long err) {
        try {
            return (int) WRITE_PACKED.invokeExact(keyspace, options, packed, length, seq, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_batch_new(long db, long batch, long err) {
        try { return (int) BATCH_NEW.invokeExact(db, batch, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_batch_append_packed(long batch, long keyspace, long packed, long length, long err) {
        try {
            return (int) BATCH_APPEND_PACKED.invokeExact(batch, keyspace, packed, length, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_write(long db, long options, long batch, long seq, long err) {
        try { return (int) WRITE.invokeExact(db, options, batch, seq, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_batch_free(long batch) {
        try { BATCH_FREE.invokeExact(batch); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_get(
            long keyspace, long options, long key, long keyLength, long buffer, long capacity, long length, long err) {
        try {
            return (int) GET.invokeExact(keyspace, options, key, keyLength, buffer, capacity, length, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_get_pinned(
            long keyspace, long options, long key, long keyLength, long value, long data, long length, long err) {
        try {
            return (int) GET_PINNED.invokeExact(keyspace, options, key, keyLength, value, data, length, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_exists(long keyspace, long options, long key, long keyLength, long length, long err) {
        try {
            return (int) EXISTS.invokeExact(keyspace, options, key, keyLength, length, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_multi_get(
            long keyspace, long options, long n, long keys, long lengths, long values, long codes, long err) {
        try {
            return (int) MULTI_GET.invokeExact(keyspace, options, n, keys, lengths, values, codes, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_multi_get_packed(
            long keyspace, long options, long keys, long length, int n, long buffer, long capacity, long used, long err) {
        try {
            return (int) MULTI_GET_PACKED.invokeExact(keyspace, options, keys, length, n, buffer, capacity, used, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_value_data(long value, long length) {
        try { return (long) VALUE_DATA.invokeExact(value, length); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_value_release(long value) {
        try { VALUE_RELEASE.invokeExact(value); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_approximate(
            long keyspace, long from, long fromLength, long to, long toLength, long bytes, long keys, long err) {
        try {
            return (int) APPROXIMATE.invokeExact(keyspace, from, fromLength, to, toLength, bytes, keys, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_open(long keyspace, long options, long iter, long err) {
        try { return (int) ITER_OPEN.invokeExact(keyspace, options, iter, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_seek(long iter, int where, long key, long keyLength, long entry, long err) {
        try {
            return (int) ITER_SEEK.invokeExact(iter, where, key, keyLength, entry, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_next(long iter, long entry, long err) {
        try { return (int) ITER_NEXT.invokeExact(iter, entry, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_prev(long iter, long entry, long err) {
        try { return (int) ITER_PREV.invokeExact(iter, entry, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_read(long iter, int direction, long entries, long max, long n, long err) {
        try {
            return (int) ITER_READ.invokeExact(iter, direction, entries, max, n, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_read_packed(long iter, int direction, long buffer, long capacity, long used, long n, long err) {
        try {
            return (int) ITER_READ_PACKED.invokeExact(iter, direction, buffer, capacity, used, n, err);
        } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_iter_refresh(long iter, long err) {
        try { return (int) ITER_REFRESH.invokeExact(iter, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_iter_close(long iter) {
        try { ITER_CLOSE.invokeExact(iter); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final int lsm_snapshot_new(long db, long snapshot, long err) {
        try { return (int) SNAPSHOT_NEW.invokeExact(db, snapshot, err); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final long lsm_snapshot_sequence(long snapshot) {
        try { return (long) SNAPSHOT_SEQUENCE.invokeExact(snapshot); } catch (Throwable e) { throw bug(e); }
    }

    @Override
    final void lsm_snapshot_release(long snapshot) {
        try { SNAPSHOT_RELEASE.invokeExact(snapshot); } catch (Throwable e) { throw bug(e); }
    }
}
