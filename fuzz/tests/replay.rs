//! Every target over a seeded stream of inputs: a smoke test without libFuzzer. `LSM_FUZZ_INPUTS` says how many.

fn inputs() -> u64 {
    std::env::var("LSM_FUZZ_INPUTS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

fn stream(target: fn(&[u8]), count: u64) {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..count {
        let len = (next() % 300) as usize;
        let data: Vec<u8> = (0..len).map(|_| next() as u8).collect();
        target(&data);
    }
    target(&[]);
}

#[test]
fn batch() {
    stream(lsm_fuzz::batch, inputs() * 100);
}

#[test]
fn options() {
    stream(lsm_fuzz::options, inputs() * 10);
}

#[test]
fn wal() {
    stream(lsm_fuzz::wal, inputs());
}

#[test]
fn table() {
    stream(lsm_fuzz::table, inputs());
}

#[test]
fn manifest() {
    stream(lsm_fuzz::manifest, inputs());
}

#[test]
fn operations() {
    stream(lsm_fuzz::operations, inputs() / 10);
}

/// Sequences of C calls; its self-test comes first.
#[test]
fn calls() {
    let mut calls = lsm_fuzz::calls::Calls::new();
    for seed in 0..inputs() / 5 {
        lsm_fuzz::mutate::Target::run(&mut calls, seed);
    }
}
