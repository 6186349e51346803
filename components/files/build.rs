//! Room on the stack for what recurses here: compiling a regular expression.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=262144");
}
