package org.liblsm;

import java.nio.ByteBuffer;

/**
 * {@code liblsm.so}, as one of two backends calls it: {@code FfmLibrary} (Java 22 and later) or {@code JnaLibrary}. The
 * functions have the names and the order of {@code lsm.h}; a pointer and a {@code size_t} are a {@code long}, NULL is 0.
 * Nothing here checks anything: a wrong address crashes the process, so only this package calls it.
 *
 * <p>Not bound, because a packed form does the same in fewer calls: {@code lsm_batch_put}, {@code lsm_batch_delete},
 * {@code lsm_batch_clear}, {@code lsm_batch_count}, {@code lsm_batch_bytes}.
 */
abstract class Library {
    /** The one in use. Loading it is what fails when there is no {@code liblsm.so}. */
    static final Library LIB = Loader.load();

    static final int OK = 0;
    static final int NOT_FOUND = 1;
    static final int END = 2;
    static final int TRUNCATED = 3;

    /** "ffm" or "jna". */
    abstract String name();

    /** Where the memory of a direct buffer begins. */
    abstract long address(ByteBuffer direct);

    /** A direct buffer in native byte order over memory that somebody else owns. */
    abstract ByteBuffer view(long address, long length);

    /** A view that {@link Scope#close} makes unusable before the memory is given back. */
    abstract Scope scope(long address, long length);

    /** The same for one thread, which is cheaper; it must also be the one that closes it. */
    abstract Scope scopeOfThread(long address, long length);

    abstract long malloc(long bytes);

    abstract void free(long address);

    /** The C string at that address, which must not be NULL. */
    abstract String string(long address);

    /** The addresses of two C functions that call {@link Logs#log} and {@link Logs#drop}. */
    abstract long logFunction();

    abstract long dropFunction();

    /** The same bytes as another type; the backends know different ones. */
    <T> T as(ByteBuffer buffer, Class<T> type) {
        if (type == ByteBuffer.class) {
            return type.cast(buffer);
        }
        if (type == byte[].class) {
            byte[] copy = new byte[buffer.remaining()];
            buffer.get(buffer.position(), copy);
            return type.cast(copy);
        }
        throw new UnsupportedOperationException(
                "a view as " + type.getName() + ": the backend " + name() + " has " + types());
    }

    String types() {
        return "ByteBuffer and byte[]";
    }

    /** Native memory that users see for a time. */
    abstract static class Scope {
        /** The memory, read-only. */
        abstract ByteBuffer buffer();

        /** Ends the views, then runs {@code release}: now, or when no view is left. */
        abstract void close(Runnable release);
    }

    // Library and errors.
    abstract int lsm_abi_version();

    abstract long lsm_version();

    abstract int lsm_has_feature(long name);

    abstract void lsm_free(long buffer);

    abstract int lsm_error_code(long error);

    abstract int lsm_error_os(long error);

    abstract int lsm_error_flags(long error);

    abstract long lsm_error_message(long error);

    abstract void lsm_error_free(long error);

    abstract long lsm_code_name(int code);

    // Options.
    abstract long lsm_options_new();

    abstract long lsm_options_clone(long options);

    abstract void lsm_options_free(long options);

    abstract int lsm_options_set(long options, long key, long value, long err);

    abstract int lsm_options_set_int(long options, long key, long value, long err);

    abstract int lsm_options_set_float(long options, long key, double value, long err);

    abstract int lsm_options_set_callbacks(long options, long key, long table, long err);

    abstract int lsm_options_get(long options, long key, long value, long err);

    abstract int lsm_options_load(long options, long text, long length, long err);

    abstract int lsm_options_dump(long options, long text, long err);

    abstract int lsm_options_describe(long json);

    // Database.
    abstract int lsm_open(long path, long options, long db, long err);

    abstract int lsm_close(long db, long err);

    abstract int lsm_destroy(long path, long err);

    abstract int lsm_sync(long db, long err);

    abstract int lsm_sequence(long db, long committed, long durable);

    abstract int lsm_flush(long db, long keyspace, long err);

    abstract int lsm_compact(long keyspace, long from, long fromLength, long to, long toLength, long err);

    abstract int lsm_property(long db, long keyspace, long name, long value, long err);

    abstract int lsm_property_u64(long db, long keyspace, long name, long value, long err);

    abstract int lsm_metrics(long db, int format, long text, long err);

    abstract int lsm_cache_clear(long db, long err);

    abstract int lsm_verify(long db, long report, long err);

    abstract int lsm_repair(long path, long options, long report, long err);

    abstract int lsm_resume(long db, long err);

    // Keyspaces.
    abstract long lsm_default_keyspace(long db);

    abstract int lsm_keyspace_open(long db, long name, long options, long keyspace, long err);

    abstract void lsm_keyspace_release(long keyspace);

    abstract int lsm_keyspace_drop(long db, long name, long err);

    abstract int lsm_keyspace_list(long db, long list, long err);

    abstract long lsm_list_len(long list);

    abstract long lsm_list_get(long list, long index);

    abstract void lsm_list_free(long list);

    // Writes.
    abstract int lsm_put(long keyspace, long options, long key, long keyLength, long value, long valueLength, long err);

    abstract int lsm_delete(long keyspace, long options, long key, long keyLength, long err);

    abstract int lsm_write_packed(long keyspace, long options, long packed, long length, long seq, long err);

    abstract int lsm_batch_new(long db, long batch, long err);

    abstract int lsm_batch_append_packed(long batch, long keyspace, long packed, long length, long err);

    abstract int lsm_write(long db, long options, long batch, long seq, long err);

    abstract void lsm_batch_free(long batch);

    // Reads.
    abstract int lsm_get(
            long keyspace, long options, long key, long keyLength, long buffer, long capacity, long length, long err);

    abstract int lsm_get_pinned(
            long keyspace, long options, long key, long keyLength, long value, long data, long length, long err);

    abstract int lsm_exists(long keyspace, long options, long key, long keyLength, long length, long err);

    abstract int lsm_multi_get(
            long keyspace, long options, long n, long keys, long lengths, long values, long codes, long err);

    abstract int lsm_multi_get_packed(
            long keyspace, long options, long keys, long length, int n, long buffer, long capacity, long used, long err);

    abstract long lsm_value_data(long value, long length);

    abstract void lsm_value_release(long value);

    abstract int lsm_approximate(
            long keyspace, long from, long fromLength, long to, long toLength, long bytes, long keys, long err);

    // Iterators and snapshots.
    abstract int lsm_iter_open(long keyspace, long options, long iter, long err);

    abstract int lsm_iter_seek(long iter, int where, long key, long keyLength, long entry, long err);

    abstract int lsm_iter_next(long iter, long entry, long err);

    abstract int lsm_iter_prev(long iter, long entry, long err);

    abstract int lsm_iter_read(long iter, int direction, long entries, long max, long n, long err);

    abstract int lsm_iter_read_packed(
            long iter, int direction, long buffer, long capacity, long used, long n, long err);

    abstract int lsm_iter_refresh(long iter, long err);

    abstract void lsm_iter_close(long iter);

    abstract int lsm_snapshot_new(long db, long snapshot, long err);

    abstract long lsm_snapshot_sequence(long snapshot);

    abstract void lsm_snapshot_release(long snapshot);
}
