//! The face of the engine's `error.rs`.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    NoMem,
}

#[derive(Debug)]
pub struct Error(Code, String);

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(code: Code, text: String) -> Error {
        Error(code, text)
    }
}
