//! Linker arguments of the shared library: its SONAME, and `nodelete`, because background threads and thread-local
//! destructors may outlive a `dlclose`; the host would then jump into unmapped code.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,liblsm.so.1");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
