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
        Native.register(JnaLibrary.class, NativeLibrary.getInstance(path));
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

    // What follows is bound by Native.register.

    @Override
    native int lsm_abi_version();

    @Override
    native long lsm_version();

    @Override
    native int lsm_has_feature(long name);

    @Override
    native void lsm_free(long buffer);

    @Override
    native int lsm_error_code(long error);

    @Override
    native int lsm_error_os(long error);

    @Override
    native int lsm_error_flags(long error);

    @Override
    native long lsm_error_message(long error);

    @Override
    native void lsm_error_free(long error);

    @Override
    native long lsm_code_name(int code);

    @Override
    native long lsm_options_new();

    @Override
    native long lsm_options_clone(long options);

    @Override
    native void lsm_options_free(long options);

    @Override
    native int lsm_options_set(long options, long key, long value, long err);

    @Override
    native int lsm_options_set_int(long options, long key, long value, long err);

    @Override
    native int lsm_options_set_float(long options, long key, double value, long err);

    @Override
    native int lsm_options_set_callbacks(long options, long key, long table, long err);

    @Override
    native int lsm_options_get(long options, long key, long value, long err);

    @Override
    native int lsm_options_load(long options, long text, long length, long err);

    @Override
    native int lsm_options_dump(long options, long text, long err);

    @Override
    native int lsm_options_describe(long json);

    @Override
    native int lsm_open(long path, long options, long db, long err);

    @Override
    native int lsm_close(long db, long err);

    @Override
    native int lsm_destroy(long path, long err);

    @Override
    native int lsm_sync(long db, long err);

    @Override
    native int lsm_sequence(long db, long committed, long durable);

    @Override
    native int lsm_flush(long db, long keyspace, long err);

    @Override
    native int lsm_compact(long keyspace, long from, long fromLength, long to, long toLength, long err);

    @Override
    native int lsm_property(long db, long keyspace, long name, long value, long err);

    @Override
    native int lsm_property_u64(long db, long keyspace, long name, long value, long err);

    @Override
    native int lsm_metrics(long db, int format, long text, long err);

    @Override
    native int lsm_cache_clear(long db, long err);

    @Override
    native int lsm_verify(long db, long report, long err);

    @Override
    native int lsm_repair(long path, long options, long report, long err);

    @Override
    native int lsm_resume(long db, long err);

    @Override
    native long lsm_default_keyspace(long db);

    @Override
    native int lsm_keyspace_open(long db, long name, long options, long keyspace, long err);

    @Override
    native void lsm_keyspace_release(long keyspace);

    @Override
    native int lsm_keyspace_drop(long db, long name, long err);

    @Override
    native int lsm_keyspace_list(long db, long list, long err);

    @Override
    native long lsm_list_len(long list);

    @Override
    native long lsm_list_get(long list, long index);

    @Override
    native void lsm_list_free(long list);

    @Override
    native int lsm_put(
            long keyspace, long options, long key, long keyLength, long value, long valueLength, long err);

    @Override
    native int lsm_delete(long keyspace, long options, long key, long keyLength, long err);

    @Override
    native int lsm_write_packed(long keyspace, long options, long packed, long length, long seq, long err);

    @Override
    native int lsm_batch_new(long db, long batch, long err);

    @Override
    native int lsm_batch_append_packed(long batch, long keyspace, long packed, long length, long err);

    @Override
    native int lsm_write(long db, long options, long batch, long seq, long err);

    @Override
    native void lsm_batch_free(long batch);

    @Override
    native int lsm_get(
            long keyspace, long options, long key, long keyLength, long buffer, long capacity, long length, long err);

    @Override
    native int lsm_get_pinned(
            long keyspace, long options, long key, long keyLength, long value, long data, long length, long err);

    @Override
    native int lsm_exists(long keyspace, long options, long key, long keyLength, long length, long err);

    @Override
    native int lsm_multi_get(
            long keyspace, long options, long n, long keys, long lengths, long values, long codes, long err);

    @Override
    native int lsm_multi_get_packed(
            long keyspace, long options, long keys, long length, int n, long buffer, long capacity, long used, long err);

    @Override
    native long lsm_value_data(long value, long length);

    @Override
    native void lsm_value_release(long value);

    @Override
    native int lsm_approximate(
            long keyspace, long from, long fromLength, long to, long toLength, long bytes, long keys, long err);

    @Override
    native int lsm_iter_open(long keyspace, long options, long iter, long err);

    @Override
    native int lsm_iter_seek(long iter, int where, long key, long keyLength, long entry, long err);

    @Override
    native int lsm_iter_next(long iter, long entry, long err);

    @Override
    native int lsm_iter_prev(long iter, long entry, long err);

    @Override
    native int lsm_iter_read(long iter, int direction, long entries, long max, long n, long err);

    @Override
    native int lsm_iter_read_packed(
            long iter, int direction, long buffer, long capacity, long used, long n, long err);

    @Override
    native int lsm_iter_refresh(long iter, long err);

    @Override
    native void lsm_iter_close(long iter);

    @Override
    native int lsm_snapshot_new(long db, long snapshot, long err);

    @Override
    native long lsm_snapshot_sequence(long snapshot);

    @Override
    native void lsm_snapshot_release(long snapshot);
}
