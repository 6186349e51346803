//! A program that recurses in the interpreter recurses in the interpreter's own stack too.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=1048576");
}
