//! What the benches share: the program, a client of its cluster, and a table of figures beside
//! their aims.

use std::path::Path;
use std::process::Command;

pub(crate) const ROPEWALK: &str = env!("CARGO_BIN_EXE_ropewalk");
/// Prints a line a figure: what, how much, and the aim or the peer.
pub(crate) struct Figures;

impl Figures {
    pub(crate) fn value(&self, what: &str, text: &str, aim: &str) {
        println!("{what:<46} {text:<44} aim {aim}");
    }
}

pub(crate) fn ropewalk(home: &Path, args: &[&str]) -> String {
    let output =
        Command::new(ROPEWALK).args(args).env("ROPEWALK_HOME", home).output().expect("the program runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
