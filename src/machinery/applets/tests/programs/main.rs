//! The room's programs as processes of their own. The shell forks only where no thread runs, and
//! signals, closed pipes and exit statuses exist only between processes, so unit tests do not reach
//! them. This file has no test harness: called under the name of a program it is that program.

mod awk;
mod curl;
mod gnu;
mod net;
mod pipes;
mod servers;
mod shell;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// A test's name, and what it does; it panics if it fails.
type Test = (&'static str, fn(&Room));

const TESTS: &[Test] = &[
    ("a_reader_that_is_gone_ends_a_program_quietly", pipes::a_reader_that_is_gone_ends_a_program_quietly),
    (
        "busybox_runs_the_program_that_its_first_argument_names",
        shell::busybox_runs_the_program_that_its_first_argument_names,
    ),
    ("awk_does_what_mawk_does", awk::awk_does_what_mawk_does),
    ("awk_expressions_have_their_values", awk::awk_expressions_have_their_values),
    (
        "awk_ends_with_a_message_when_something_is_too_deep",
        awk::awk_ends_with_a_message_when_something_is_too_deep,
    ),
    ("awk_tells_a_file_from_a_command_of_its_name", awk::awk_tells_a_file_from_a_command_of_its_name),
    ("awk_reads_a_long_record_from_a_pipe", awk::awk_reads_a_long_record_from_a_pipe),
    ("awk_waits_for_its_commands", awk::awk_waits_for_its_commands),
    ("awk_warns_once_of_what_only_gawk_heeds", awk::awk_warns_once_of_what_only_gawk_heeds),
    ("curl_does_what_curl_7_88_1_does", curl::curl_does_what_curl_7_88_1_does),
    ("a_retry_sends_no_rest_of_standard_input", net::a_retry_sends_no_rest_of_standard_input),
    (
        "a_pattern_without_end_takes_no_memory_and_ends_at_a_signal",
        net::a_pattern_without_end_takes_no_memory_and_ends_at_a_signal,
    ),
    ("ports_may_be_given_from_the_last_to_the_first", net::ports_may_be_given_from_the_last_to_the_first),
    (
        "a_key_value_server_that_is_killed_loses_nothing",
        servers::a_key_value_server_that_is_killed_loses_nothing,
    ),
    ("a_shop_says_which_of_its_parts_is_missing", servers::a_shop_says_which_of_its_parts_is_missing),
    ("a_conversation_outlives_quit", shell::a_conversation_outlives_quit),
    ("scripts_do_what_dash_does", shell::scripts_do_what_dash_does),
    ("sed_and_grep_do_what_gnu_does", gnu::sed_and_grep_do_what_gnu_does),
    ("sed_takes_long_scripts_and_refuses_deep_ones", gnu::sed_takes_long_scripts_and_refuses_deep_ones),
];

/// What a program printed, and its exit status: 128 and the signal if one ended it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
    /// The exit status.
    pub code: i32,
}

/// A folder with a link for each program, and an empty one to work in.
pub struct Room {
    _dir: tempfile::TempDir,
    bin: PathBuf,
    /// The empty directory: the programs' working directory.
    pub work: PathBuf,
}

impl Room {
    fn new() -> Room {
        let dir = tempfile::tempdir().unwrap();
        let (bin, work) = (dir.path().join("bin"), dir.path().join("work"));
        std::fs::create_dir(&bin).unwrap();
        std::fs::create_dir(&work).unwrap();
        let own = std::env::current_exe().unwrap();
        for name in [
            "awk", "cat", "chmod", "chown", "grep", "head", "id", "ln", "ls", "mkdir", "sed", "seq", "sh",
            "sleep", "tar", "wc", "yes",
        ] {
            std::os::unix::fs::symlink(&own, bin.join(name)).unwrap();
        }
        Room { _dir: dir, bin, work }
    }

    /// Makes a call of this binary under a program's name. Only the room's own programs are in its
    /// PATH.
    pub fn program(&self, name: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg0(name).env_clear().env("PATH", &self.bin).current_dir(&self.work).stdin(Stdio::null());
        command
    }

    /// Runs a script in the room's shell.
    pub fn sh(&self, script: &str) -> Outcome {
        outcome(self.program("sh").args(["-c", script]))
    }
}

/// Runs a program to its end.
pub fn outcome(command: &mut Command) -> Outcome {
    use std::os::unix::process::ExitStatusExt;
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
    Outcome { out: text(&output.stdout), err: text(&output.stderr), code }
}

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let name = args.first().and_then(|name| Path::new(name).file_name()).unwrap_or_default();
    if let Some(code) = applets::run(&name.to_string_lossy(), args.clone()) {
        return ExitCode::from(code as u8);
    }
    let words: Vec<String> = args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    if words.iter().any(|word| word == "--list") {
        TESTS.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let filter = words.iter().find(|word| !word.starts_with('-')).map_or("", String::as_str);
    let room = Room::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(filter)) {
        test(&room); // a failure is a panic, which ends this process
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
