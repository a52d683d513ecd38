package org.liblsm;

/** A key and its value, copied: they stay as they are. */
public record Entry(byte[] key, byte[] value) {}
