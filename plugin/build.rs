//! Compiles the callbacks' entry and sets how the shared library is linked.

/// Source of the C interface, which says its version.
const ABI: &str = "src/abi.rs";

fn main() {
    println!("cargo:rerun-if-changed=src/entry.c");
    cc::Build::new()
        .file("src/entry.c")
        .std("c99")
        .warnings(true)
        .extra_warnings(true)
        .compile("h5zsae_entry");
    // HDF5 unloads its plugins at H5close. Code of ours may still be needed then: thread-local destructors, and
    // callbacks of a second HDF5 library in the process.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libh5zsae.so.{}", abi_version());
    // Line tables are for programs of this project; in the plugin they would take 12 of 14 MB.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,--strip-debug");
    }
}

/// H5ZSAE_ABI_VERSION: programs that were linked with a library of another number must not load this one.
fn abi_version() -> String {
    println!("cargo:rerun-if-changed={ABI}");
    let source = std::fs::read_to_string(ABI).expect("the source of the C interface");
    let (_, rest) = source.split_once("pub const H5ZSAE_ABI_VERSION: u32 = ").expect("its version");
    rest.chars().take_while(char::is_ascii_digit).collect()
}
