//! sed and grep, and what GNU's do where they are installed.

use crate::Room;
use crate::awk::run;
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

/// Returns GNU's program, where the version is installed that the calls are from.
fn gnu(name: &str) -> Option<Command> {
    let path = format!("/usr/bin/{name}");
    let output = Command::new(&path).arg("--version").output().ok()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let mut command = Command::new(path);
    command.env("LC_ALL", "C");
    VERSIONS.iter().any(|version| printed.starts_with(version)).then_some(command)
}
