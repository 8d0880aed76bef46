//! sed and grep, and what GNU's do where they are installed.

use crate::awk::run;
use crate::{Room, outcome};
use serde_json::Value;
use std::process::Command;

/// Calls of GNU sed 4.9 and GNU grep 3.8 in the locale `C`, one in each line: `run`, the program
/// and its arguments, the `files` that were in the working directory, standard input, standard
/// output and the status.
const CALLS: &str = include_str!("gnu.jsonl");

/// How the programs begin to tell their versions.
const VERSIONS: [&str; 2] = ["sed (GNU sed) 4.9", "grep (GNU grep) 3.8"];

pub(crate) fn sed_and_grep_do_what_gnu_does(room: &Room) {
    for line in CALLS.lines() {
        let call: Value = serde_json::from_str(line).unwrap();
        let words: Vec<&str> = call["run"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let (name, args) = words.split_first().unwrap();
        let work = tempfile::tempdir_in(&room.work).unwrap();
        for (file, text) in call["files"].as_object().into_iter().flatten() {
            std::fs::write(work.path().join(file), text.as_str().unwrap()).unwrap();
        }
        let code = i32::try_from(call["code"].as_i64().unwrap()).unwrap();
        let wanted = (call["out"].as_str().unwrap().to_string(), Some(code));
        for mut command in [Some(room.program(name)), gnu(name)].into_iter().flatten() {
            command.current_dir(&work);
            let whose = command.get_program().to_owned();
            assert_eq!(
                run(command, args, call["in"].as_str().unwrap().as_bytes()),
                wanted,
                "{whose:?} {line}"
            );
        }
    }
}

/// uutils' sed would end with SIGSEGV at each of them.
pub(crate) fn sed_takes_long_scripts_and_refuses_deep_ones(room: &Room) {
    let sed = |script: &str| {
        std::fs::write(room.work.join("long.sed"), script).unwrap();
        std::fs::write(room.work.join("input"), "a\n").unwrap();
        outcome(room.program("sed").args(["-f", "long.sed", "input"]))
    };
    let deep = |depth: usize| format!("{}p\n{}", "{\n".repeat(depth), "}\n".repeat(depth));
    let ended = [sed(&"h\n".repeat(200_000)), sed(&deep(1000))];
    assert_eq!(ended.each_ref().map(|ended| (ended.out.as_str(), ended.code)), [("a\n", 0), ("a\na\n", 0)]);
    let refused = sed(&deep(100_000));
    assert_eq!((refused.out.as_str(), refused.code), ("", 1));
    assert_eq!(refused.err, "sed: more than 1000 blocks {} are inside each other\n");
}

/// Returns GNU's program, where the version is installed that the calls are from.
fn gnu(name: &str) -> Option<Command> {
    let path = format!("/usr/bin/{name}");
    let output = Command::new(&path).arg("--version").output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut command = Command::new(path);
    command.env("LC_ALL", "C");
    VERSIONS.iter().any(|version| printed.starts_with(version)).then_some(command)
}
