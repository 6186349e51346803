//! A script that nests recurses in the parser and in the interpreter; both bound their depth.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=1048576");
}
