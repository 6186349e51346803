//! The model's answers and the tools' results are parsed deeply.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=524288");
}
