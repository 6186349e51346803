//! Room on the stack for what recurses here: a filter that calls itself.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=1048576");
}
