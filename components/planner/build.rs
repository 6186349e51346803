//! The model's answers are parsed deeply.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=1048576");
}
