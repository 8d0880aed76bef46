//! Lessons are part of the binary: a new file among them is reason enough to build again.
fn main() {
    println!("cargo:rerun-if-changed=lessons");
    println!("cargo:rerun-if-changed=labs");
}
