//! Ropewalk's Raft core beside raft-rs, through the same histories. The oracle is a package with a
//! lock file of its own, in `tests/oracle`: what it needs must not become a dependency of the
//! program.

use std::path::Path;
use std::process::Command;

#[test]
fn raft_rs_goes_through_the_same_histories() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let seeds = std::env::var("ROPEWALK_ORACLE_SEEDS").unwrap_or_else(|_| "80".into());
    let out = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(root.join("tests/oracle/Cargo.toml"))
        .arg("--target-dir")
        .arg(root.join("target/oracle"))
        .args(["--", &seeds])
        .current_dir(root)
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&out.stdout);
    print!("{said}");
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(said.matches("ratio").count(), 4, "both sizes were run, with lost messages and without");
}
