//! Lessons and labs are part of the program: a new file among them is reason enough to build again.

fn main() {
    println!("cargo:rerun-if-changed=../../lessons");
    println!("cargo:rerun-if-changed=../../labs");
    println!("cargo:rerun-if-changed=build.rs");
}
