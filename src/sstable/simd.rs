//! Fingerprint search and prefetch: the only place of `sstable` with processor intrinsics.
//!
//! `match_mask` compares up to 64 fingerprints at once: SSE2, which every x86-64 has, or AVX2 where the processor has it
//! and the environment does not say `LSM_CPU=baseline`. `match_mask_scalar` is its twin for other processors and Miri;
//! a property test holds them together.
//!
//! Threads: pure functions.
#![cfg_attr(all(target_arch = "x86_64", not(miri)), expect(unsafe_code, reason = "processor intrinsics"))]

/// A bit for each of the first 64 bytes of `prints` (fewer if it is shorter) that equals `wanted`.
/// The length of `prints` is a multiple of 16, so that no load passes its end.
#[inline(always)]
pub(super) fn match_mask(prints: &[u8], wanted: u8) -> u64 {
    debug_assert!(prints.len().is_multiple_of(16));
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        // Short blocks are not worth the call: two inlined SSE2 steps cost the same.
        if prints.len() > 32 && x86::has_avx2() {
            // SAFETY: the processor has AVX2.
            return unsafe { x86::match_mask_avx2(prints, wanted) };
        }
        x86::match_mask_sse2(prints, wanted)
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    match_mask_scalar(prints, wanted)
}

/// The same without intrinsics.
#[cfg_attr(all(target_arch = "x86_64", not(miri), not(test)), expect(dead_code, reason = "the twin for tests"))]
pub(super) fn match_mask_scalar(prints: &[u8], wanted: u8) -> u64 {
    prints.iter().take(64).enumerate().fold(0, |mask, (i, print)| mask | (u64::from(*print == wanted) << i))
}

/// Asks the processor to load the cache line of `bytes[at]`; nothing happens past the end.
#[inline(always)]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if let Some(byte) = bytes.get(at) {
        // SAFETY: a prefetch of a valid address; it has no effect a program can see.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(std::ptr::from_ref(byte).cast())
        };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (bytes, at);
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86 {
    use crate::base::sync::{AtomicU8, Ordering};
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm256_cmpeq_epi8,
        _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8,
    };

    const UNKNOWN: u8 = 0;
    const PLAIN: u8 = 1;
    const AVX2: u8 = 2;
    static LEVEL: AtomicU8 = AtomicU8::new(UNKNOWN);

    /// Whether AVX2 is there and allowed.
    #[inline(always)]
    pub(super) fn has_avx2() -> bool {
        // Relaxed: the value does not depend on anything else in memory; two threads that race find the same.
        match LEVEL.load(Ordering::Relaxed) {
            AVX2 => true,
            PLAIN => false,
            _ => detect(),
        }
    }

    #[cold]
    fn detect() -> bool {
        let baseline = std::env::var_os("LSM_CPU").is_some_and(|v| v == "baseline");
        let found = !baseline && std::arch::is_x86_feature_detected!("avx2");
        // Relaxed: see `has_avx2`.
        LEVEL.store(if found { AVX2 } else { PLAIN }, Ordering::Relaxed);
        found
    }

    #[inline(always)]
    pub(super) fn match_mask_sse2(prints: &[u8], wanted: u8) -> u64 {
        // SAFETY: SSE2 is part of x86-64.
        let needle = unsafe { _mm_set1_epi8(wanted.cast_signed()) };
        let mut mask = 0u64;
        for (i, chunk) in prints.as_chunks::<16>().0.iter().take(4).enumerate() {
            // SAFETY: `chunk` is 16 readable bytes and the load needs no alignment.
            let bytes = unsafe { _mm_loadu_si128(chunk.as_ptr().cast::<__m128i>()) };
            // SAFETY: SSE2 is part of x86-64.
            let equal = unsafe { _mm_cmpeq_epi8(bytes, needle) };
            // SAFETY: SSE2 is part of x86-64.
            let bits = unsafe { _mm_movemask_epi8(equal) };
            mask |= u64::from(bits.cast_unsigned() & 0xffff) << (16 * i);
        }
        mask
    }

    /// # Safety
    /// The processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn match_mask_avx2(prints: &[u8], wanted: u8) -> u64 {
        let needle = _mm256_set1_epi8(wanted.cast_signed());
        let mut mask = 0u64;
        let head = &prints[..prints.len().min(64)];
        let (chunks, rest) = head.as_chunks::<32>();
        for (i, chunk) in chunks.iter().enumerate() {
            // SAFETY: `chunk` is 32 readable bytes and the load needs no alignment.
            let bytes = unsafe { _mm256_loadu_si256(chunk.as_ptr().cast::<__m256i>()) };
            let bits = _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, needle));
            mask |= u64::from(bits.cast_unsigned()) << (32 * i);
        }
        if !rest.is_empty() {
            mask |= match_mask_sse2(rest, wanted) << (32 * chunks.len());
        }
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_agrees_with_the_scalar_twin() {
        let mut state = 0x1234_5678_9abc_def1u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..2000 {
            let len = 16 * (random() % 9) as usize;
            // Few distinct values, so that there are many matches.
            let prints: Vec<u8> = (0..len).map(|_| (random() % 4) as u8 * 85).collect();
            let wanted = (random() % 4) as u8 * 85;
            let expected = match_mask_scalar(&prints, wanted);
            assert_eq!(match_mask(&prints, wanted), expected, "round {round} {prints:?} {wanted}");
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            {
                assert_eq!(x86::match_mask_sse2(&prints, wanted), expected);
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: checked in the line above.
                    assert_eq!(unsafe { x86::match_mask_avx2(&prints, wanted) }, expected);
                }
            }
        }
    }
}
