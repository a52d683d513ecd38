//! The benches are in `benches/`; there is nothing here.
