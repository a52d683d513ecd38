package org.liblsm;

import com.sun.jna.Callback;
import com.sun.jna.CallbackReference;
import com.sun.jna.CallbackThreadInitializer;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The backend for Java 17 to 21: JNA with directly mapped functions, which is several times faster than its proxies.
 * Everything crosses as a number, because JNA turns any object into work for each call.
 */
final class JnaLibrary extends Library {
    JnaLibrary(String path) {
        Native.register(C.class, NativeLibrary.getInstance(path));
    }

    @Override
    String name() {
        return "jna";
    }

    @Override
    long address(ByteBuffer direct) {
        // What JNA gives is where the buffer's memory begins, whatever its position.
        return Pointer.nativeValue(Native.getDirectBufferPointer(direct));
    }

    @Override
    ByteBuffer view(long address, long length) {
        return new Pointer(address).getByteBuffer(0, length).order(ByteOrder.nativeOrder());
    }

    /** The JVM cannot revoke such a buffer, so the memory is given back when no view of it is left. */
    @Override
    Scope scope(long address, long length) {
        return new Scope() {
            private ByteBuffer memory = view(address, length);

            @Override
            ByteBuffer buffer() {
                return memory.asReadOnlyBuffer();
            }

            @Override
            void close(Runnable release) {
                // Views refer to the buffer that they were made from.
                Leaks.CLEANER.register(memory, release);
                memory = null;
            }
        };
    }

    @Override
    Scope scopeOfThread(long address, long length) {
        return scope(address, length);
    }

    @Override
    long malloc(long bytes) {
        return Native.malloc(bytes);
    }

    @Override
    void free(long address) {
        Native.free(address);
    }

    @Override
    String string(long address) {
        return new Pointer(address).getString(0, "UTF-8");
    }

    @Override
    long logFunction() {
        return Callbacks.address(Callbacks.LOG);
    }

    @Override
    long dropFunction() {
        return Callbacks.address(Callbacks.DROP);
    }

    /** Kept for good: the library may hold them as long as the process lives. */
    private static final class Callbacks {
        static final Log LOG = (id, level, message, length) -> Logs.log(id, level, message);
        static final Drop DROP = Logs::drop;

        static {
            // Threads of the library stay known to the JVM, as daemons, until they end.
            CallbackThreadInitializer threads = new CallbackThreadInitializer(true, false, "liblsm");
            Native.setCallbackThreadInitializer(LOG, threads);
            Native.setCallbackThreadInitializer(DROP, threads);
        }

        interface Log extends Callback {
            void invoke(long id, int level, long message, long length);
        }

        interface Drop extends Callback {
            void invoke(long id);
        }

        static long address(Callback callback) {
            return Pointer.nativeValue(CallbackReference.getFunctionPointer(callback));
        }
    }

    @Override
    int lsm_abi_version() {
        return C.lsm_abi_version();
    }

    @Override
    long lsm_version() {
        return C.lsm_version();
    }

    @Override
    int lsm_has_feature(long name) {
        return C.lsm_has_feature(name);
    }

    @Override
    void lsm_free(long buffer) {
        C.lsm_free(buffer);
    }

    @Override
    int lsm_error_code(long error) {
        return C.lsm_error_code(error);
    }

    @Override
    int lsm_error_os(long error) {
        return C.lsm_error_os(error);
    }

    @Override
    int lsm_error_flags(long error) {
        return C.lsm_error_flags(error);
    }

    @Override
    long lsm_error_message(long error) {
        return C.lsm_error_message(error);
    }

    @Override
    void lsm_error_free(long error) {
        C.lsm_error_free(error);
    }

    @Override
    long lsm_code_name(int code) {
        return C.lsm_code_name(code);
    }

    @Override
    long lsm_options_new() {
        return C.lsm_options_new();
    }

    @Override
    long lsm_options_clone(long options) {
        return C.lsm_options_clone(options);
    }

    @Override
    void lsm_options_free(long options) {
        C.lsm_options_free(options);
    }

    @Override
    int lsm_options_set(long options, long key, long value, long err) {
        return C.lsm_options_set(options, key, value, err);
    }

    @Override
    int lsm_options_set_int(long options, long key, long value, long err) {
        return C.lsm_options_set_int(options, key, value, err);
    }

    @Override
    int lsm_options_set_float(long options, long key, double value, long err) {
        return C.lsm_options_set_float(options, key, value, err);
    }

    @Override
    int lsm_options_set_callbacks(long options, long key, long table, long err) {
        return C.lsm_options_set_callbacks(options, key, table, err);
    }

    @Override
    int lsm_options_get(long options, long key, long value, long err) {
        return C.lsm_options_get(options, key, value, err);
    }

    @Override
    int lsm_options_load(long options, long text, long length, long err) {
        return C.lsm_options_load(options, text, length, err);
    }

    @Override
    int lsm_options_dump(long options, long text, long err) {
        return C.lsm_options_dump(options, text, err);
    }

    @Override
    int lsm_options_describe(long json) {
        return C.lsm_options_describe(json);
    }

    @Override
    int lsm_open(long path, long options, long db, long err) {
        return C.lsm_open(path, options, db, err);
    }

    @Override
    int lsm_close(long db, long err) {
        return C.lsm_close(db, err);
    }

    @Override
    int lsm_destroy(long path, long err) {
        return C.lsm_destroy(path, err);
    }

    @Override
    int lsm_sync(long db, long err) {
        return C.lsm_sync(db, err);
    }

    @Override
    int lsm_sequence(long db, long committed, long durable) {
        return C.lsm_sequence(db, committed, durable);
    }

    @Override
    int lsm_flush(long db, long keyspace, long err) {
        return C.lsm_flush(db, keyspace, err);
    }

    @Override
    int lsm_compact(long keyspace, long from, long fromLength, long to, long toLength, long err) {
        return C.lsm_compact(keyspace, from, fromLength, to, toLength, err);
    }

    @Override
    int lsm_property(long db, long keyspace, long name, long value, long err) {
        return C.lsm_property(db, keyspace, name, value, err);
    }

    @Override
    int lsm_property_u64(long db, long keyspace, long name, long value, long err) {
        return C.lsm_property_u64(db, keyspace, name, value, err);
    }

    @Override
    int lsm_metrics(long db, int format, long text, long err) {
        return C.lsm_metrics(db, format, text, err);
    }

    @Override
    int lsm_cache_clear(long db, long err) {
        return C.lsm_cache_clear(db, err);
    }

    @Override
    int lsm_verify(long db, long report, long err) {
        return C.lsm_verify(db, report, err);
    }

    @Override
    int lsm_repair(long path, long options, long report, long err) {
        return C.lsm_repair(path, options, report, err);
    }

    @Override
    int lsm_resume(long db, long err) {
        return C.lsm_resume(db, err);
    }

    @Override
    long lsm_default_keyspace(long db) {
        return C.lsm_default_keyspace(db);
    }

    @Override
    int lsm_keyspace_open(long db, long name, long options, long keyspace, long err) {
        return C.lsm_keyspace_open(db, name, options, keyspace, err);
    }

    @Override
    void lsm_keyspace_release(long keyspace) {
        C.lsm_keyspace_release(keyspace);
    }

    @Override
    int lsm_keyspace_drop(long db, long name, long err) {
        return C.lsm_keyspace_drop(db, name, err);
    }

    @Override
    int lsm_keyspace_list(long db, long list, long err) {
        return C.lsm_keyspace_list(db, list, err);
    }

    @Override
    long lsm_list_len(long list) {
        return C.lsm_list_len(list);
    }

    @Override
    long lsm_list_get(long list, long index) {
        return C.lsm_list_get(list, index);
    }

    @Override
    void lsm_list_free(long list) {
        C.lsm_list_free(list);
    }

    @Override
    int lsm_put(long keyspace, long options, long key, long keyLength, long value, long valueLength, long err) {
        return C.lsm_put(keyspace, options, key, keyLength, value, valueLength, err);
    }

    @Override
    int lsm_delete(long keyspace, long options, long key, long keyLength, long err) {
        return C.lsm_delete(keyspace, options, key, keyLength, err);
    }

    @Override
    int lsm_write_packed(long keyspace, long options, long packed, long length, long seq, long err) {
        return C.lsm_write_packed(keyspace, options, packed, length, seq, err);
    }

    @Override
    int lsm_batch_new(long db, long batch, long err) {
        return C.lsm_batch_new(db, batch, err);
    }

    @Override
    int lsm_batch_append_packed(long batch, long keyspace, long packed, long length, long err) {
        return C.lsm_batch_append_packed(batch, keyspace, packed, length, err);
    }

    @Override
    int lsm_write(long db, long options, long batch, long seq, long err) {
        return C.lsm_write(db, options, batch, seq, err);
    }

    @Override
    void lsm_batch_free(long batch) {
        C.lsm_batch_free(batch);
    }

    @Override
    int lsm_get(
            long keyspace, long options, long key, long keyLength, long buffer, long capacity, long length, long err) {
        return C.lsm_get(keyspace, options, key, keyLength, buffer, capacity, length, err);
    }

    @Override
    int lsm_get_pinned(
            long keyspace, long options, long key, long keyLength, long value, long data, long length, long err) {
        return C.lsm_get_pinned(keyspace, options, key, keyLength, value, data, length, err);
    }

    @Override
    int lsm_exists(long keyspace, long options, long key, long keyLength, long length, long err) {
        return C.lsm_exists(keyspace, options, key, keyLength, length, err);
    }

    @Override
    int lsm_multi_get(long keyspace, long options, long n, long keys, long lengths, long values, long codes, long err) {
        return C.lsm_multi_get(keyspace, options, n, keys, lengths, values, codes, err);
    }

    @Override
    int lsm_multi_get_packed(
            long keyspace, long options, long keys, long length, int n, long buffer, long capacity, long used, long err) {
        return C.lsm_multi_get_packed(keyspace, options, keys, length, n, buffer, capacity, used, err);
    }

    @Override
    long lsm_value_data(long value, long length) {
        return C.lsm_value_data(value, length);
    }

    @Override
    void lsm_value_release(long value) {
        C.lsm_value_release(value);
    }

    @Override
    int lsm_approximate(
            long keyspace, long from, long fromLength, long to, long toLength, long bytes, long keys, long err) {
        return C.lsm_approximate(keyspace, from, fromLength, to, toLength, bytes, keys, err);
    }

    @Override
    int lsm_iter_open(long keyspace, long options, long iter, long err) {
        return C.lsm_iter_open(keyspace, options, iter, err);
    }

    @Override
    int lsm_iter_seek(long iter, int where, long key, long keyLength, long entry, long err) {
        return C.lsm_iter_seek(iter, where, key, keyLength, entry, err);
    }

    @Override
    int lsm_iter_next(long iter, long entry, long err) {
        return C.lsm_iter_next(iter, entry, err);
    }

    @Override
    int lsm_iter_prev(long iter, long entry, long err) {
        return C.lsm_iter_prev(iter, entry, err);
    }

    @Override
    int lsm_iter_read(long iter, int direction, long entries, long max, long n, long err) {
        return C.lsm_iter_read(iter, direction, entries, max, n, err);
    }

    @Override
    int lsm_iter_read_packed(long iter, int direction, long buffer, long capacity, long used, long n, long err) {
        return C.lsm_iter_read_packed(iter, direction, buffer, capacity, used, n, err);
    }

    @Override
    int lsm_iter_refresh(long iter, long err) {
        return C.lsm_iter_refresh(iter, err);
    }

    @Override
    void lsm_iter_close(long iter) {
        C.lsm_iter_close(iter);
    }

    @Override
    int lsm_snapshot_new(long db, long snapshot, long err) {
        return C.lsm_snapshot_new(db, snapshot, err);
    }

    @Override
    long lsm_snapshot_sequence(long snapshot) {
        return C.lsm_snapshot_sequence(snapshot);
    }

    @Override
    void lsm_snapshot_release(long snapshot) {
        C.lsm_snapshot_release(snapshot);
    }

    /** Bound by {@link Native#register}. */
    private static final class C {
        static native int lsm_abi_version();

        static native long lsm_version();

        static native int lsm_has_feature(long name);

        static native void lsm_free(long buffer);

        static native int lsm_error_code(long error);

        static native int lsm_error_os(long error);

        static native int lsm_error_flags(long error);

        static native long lsm_error_message(long error);

        static native void lsm_error_free(long error);

        static native long lsm_code_name(int code);

        static native long lsm_options_new();

        static native long lsm_options_clone(long options);

        static native void lsm_options_free(long options);

        static native int lsm_options_set(long options, long key, long value, long err);

        static native int lsm_options_set_int(long options, long key, long value, long err);

        static native int lsm_options_set_float(long options, long key, double value, long err);

        static native int lsm_options_set_callbacks(long options, long key, long table, long err);

        static native int lsm_options_get(long options, long key, long value, long err);

        static native int lsm_options_load(long options, long text, long length, long err);

        static native int lsm_options_dump(long options, long text, long err);

        static native int lsm_options_describe(long json);

        static native int lsm_open(long path, long options, long db, long err);

        static native int lsm_close(long db, long err);

        static native int lsm_destroy(long path, long err);

        static native int lsm_sync(long db, long err);

        static native int lsm_sequence(long db, long committed, long durable);

        static native int lsm_flush(long db, long keyspace, long err);

        static native int lsm_compact(long keyspace, long from, long fromLength, long to, long toLength, long err);

        static native int lsm_property(long db, long keyspace, long name, long value, long err);

        static native int lsm_property_u64(long db, long keyspace, long name, long value, long err);

        static native int lsm_metrics(long db, int format, long text, long err);

        static native int lsm_cache_clear(long db, long err);

        static native int lsm_verify(long db, long report, long err);

        static native int lsm_repair(long path, long options, long report, long err);

        static native int lsm_resume(long db, long err);

        static native long lsm_default_keyspace(long db);

        static native int lsm_keyspace_open(long db, long name, long options, long keyspace, long err);

        static native void lsm_keyspace_release(long keyspace);

        static native int lsm_keyspace_drop(long db, long name, long err);

        static native int lsm_keyspace_list(long db, long list, long err);

        static native long lsm_list_len(long list);

        static native long lsm_list_get(long list, long index);

        static native void lsm_list_free(long list);

        static native int lsm_put(
                long keyspace, long options, long key, long keyLength, long value, long valueLength, long err);

        static native int lsm_delete(long keyspace, long options, long key, long keyLength, long err);

        static native int lsm_write_packed(long keyspace, long options, long packed, long length, long seq, long err);

        static native int lsm_batch_new(long db, long batch, long err);

        static native int lsm_batch_append_packed(long batch, long keyspace, long packed, long length, long err);

        static native int lsm_write(long db, long options, long batch, long seq, long err);

        static native void lsm_batch_free(long batch);

        static native int lsm_get(
                long keyspace, long options, long key, long keyLength, long buffer, long capacity, long length, long err);

        static native int lsm_get_pinned(
                long keyspace, long options, long key, long keyLength, long value, long data, long length, long err);

        static native int lsm_exists(long keyspace, long options, long key, long keyLength, long length, long err);

        static native int lsm_multi_get(
                long keyspace, long options, long n, long keys, long lengths, long values, long codes, long err);

        static native int lsm_multi_get_packed(
                long keyspace, long options, long keys, long length, int n, long buffer, long capacity, long used, long err);

        static native long lsm_value_data(long value, long length);

        static native void lsm_value_release(long value);

        static native int lsm_approximate(
                long keyspace, long from, long fromLength, long to, long toLength, long bytes, long keys, long err);

        static native int lsm_iter_open(long keyspace, long options, long iter, long err);

        static native int lsm_iter_seek(long iter, int where, long key, long keyLength, long entry, long err);

        static native int lsm_iter_next(long iter, long entry, long err);

        static native int lsm_iter_prev(long iter, long entry, long err);

        static native int lsm_iter_read(long iter, int direction, long entries, long max, long n, long err);

        static native int lsm_iter_read_packed(
                long iter, int direction, long buffer, long capacity, long used, long n, long err);

        static native int lsm_iter_refresh(long iter, long err);

        static native void lsm_iter_close(long iter);

        static native int lsm_snapshot_new(long db, long snapshot, long err);

        static native long lsm_snapshot_sequence(long snapshot);

        static native void lsm_snapshot_release(long snapshot);
    }
}
