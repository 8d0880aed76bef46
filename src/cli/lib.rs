//! # The command line
//!
//! ## In Kubernetes
//! kubectl, kubeadm and a dozen tools beside them.
//! ## How this one works
//! One program, one table of commands ([`args`]); each does its work in a room below and turns the
//! outcome into a text and an exit code: 0 ok, 1 failed (for `why`: something is wrong; for
//! `trace`: nothing was found), 2 usage, 128 + N ended by signal N, 141 the reader of the output
//! left. `status` ends with 3 if the cluster does not run, with 4 if that is not known; `kubectl`
//! and `etcdctl` end with codes of their own.
//! ## Left out
//! Commands for classrooms, exams, images of one's own, nodes that join or leave, and the files of
//! a bug report; a file that describes a cluster (`up --config`). They are planned.
//! ## Read next
//! `cluster`, which `up` starts.

#![warn(missing_docs)]

mod answer;
mod args;
mod beside;
mod clusters;
mod codes;
mod doctor;
mod drill;
mod korean;
mod lab;
mod language;
mod layout;
mod lesson;
mod named;
mod net;
mod paths;
mod progress;
mod running;
mod trace;
mod undo;
mod usage;
mod what;
mod why;
mod words;

use args::{Args, Command, Net};
use clap::Parser;
use lang::Lang;
use lang::charset::{eprintln, print};
use paths::absolute;
use std::ffi::OsString;
use std::path::PathBuf;
use ui::options::Options;

/// Installs a panic hook for output that cannot be written. A reader that left (EPIPE, `… | head`)
/// ends the program quietly with 141; any other error, as a full disk, is reported, with code 1.
fn end_with_the_reader() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let message = panic.payload().downcast_ref::<String>().map(String::as_str).unwrap_or_default();
        if let Some(code) = write_failure(message) {
            if code != 141 {
                use std::io::Write;
                let _ = writeln!(std::io::stderr(), "ropewalk: {message}"); // it may be what failed
            }
            std::process::exit(code);
        }
        others(panic);
    }));
}

/// The exit code for a panic of `print!` and its like; `None` for any other panic.
fn write_failure(panic: &str) -> Option<i32> {
    let broken_pipe = format!("(os error {})", nix::libc::EPIPE);
    let failed = panic.starts_with("failed printing to std");
    failed.then(|| if panic.ends_with(&broken_pipe) { 141 } else { 1 })
}

/// Runs one command line, which begins with the program's name, and returns the exit code.
pub fn run(args: Vec<OsString>) -> i32 {
    linux::signal::notice_children(); // a cluster's processes inherit it
    end_with_the_reader();
    let written = korean::asked_language(&args);
    let words = args::behind_the_subcommand(args);
    let args = match Args::try_parse_from(&words) {
        Ok(args) => args,
        Err(error) => return usage::report(&words, written, &error),
    };
    // A session has a language of its own, which the learner may change while it runs.
    let is_session =
        matches!(args.command, None | Some(Command::Repl { .. } | Command::Learn { .. } | Command::Drill(_)));
    if let Some(lang) = args.session.lang.filter(|_| !is_session) {
        ui::settings::ask_for(lang);
    }
    if let Some(command) = args.command.as_ref().filter(|command| answers_shell(command))
        && !ui::settings::in_prompt()
    {
        lang::typed::read_in_shell(cluster_of(command));
    }
    if let Some(result) = args.command.as_ref().and_then(without_threads) {
        return finish(result, None);
    }
    let chosen = args.session.lang;
    block_on(dispatch(args), chosen)
}

/// True for commands whose answer is read in the shell that ran them, unless that is the prompt's.
/// Not for sessions, and for proofs, which hold sessions. A session that `drill` or `lab` opens
/// says itself that its reader is at the prompt.
fn answers_shell(command: &Command) -> bool {
    match command {
        Command::Repl { .. } | Command::Learn { .. } | Command::Bench { .. } => false,
        Command::Drill(practice) => !matches!(practice.command, Some(args::Drill::Test { .. })),
        Command::Lesson(lesson) => !matches!(lesson.command, args::Lesson::Test { .. }),
        Command::Lab(lab) => !matches!(lab.command, args::Lab::Test { .. }),
        _ => true,
    }
}

/// Returns the option with which a command line names its cluster. Empty for the usual cluster, and
/// for commands that need no option in their texts: they are about no cluster, their texts have its
/// name already (`kubeconfig`), or they open a session, whose reader is at the prompt.
fn cluster_of(command: &Command) -> String {
    match command {
        Command::Drill(practice) => named::option(&practice.name),
        Command::Lab(lab) => named::option(&lab.name),
        Command::Lesson(lesson) => match &lesson.kubeconfig {
            Some(file) => named::of_file(file),
            None => named::option(&lesson.name),
        },
        Command::Up(up) => named::option(&up.name),
        Command::Progress(progress) => named::option(&progress.name),
        Command::Down { name }
        | Command::Fault { name, .. }
        | Command::Net { name, .. }
        | Command::Redo { name, .. }
        | Command::Reset { name, .. }
        | Command::Rewind { name, .. }
        | Command::Status { name, .. }
        | Command::Trace { name, .. }
        | Command::Undo { name, .. }
        | Command::Why { name, .. } => named::option(name),
        Command::Bench { .. }
        | Command::Completion { .. }
        | Command::Doctor { .. }
        | Command::Etcdctl { .. }
        | Command::Kubeconfig { .. }
        | Command::Kubectl { .. }
        | Command::Lang { .. }
        | Command::Learn { .. }
        | Command::Repl { .. }
        | Command::Version { .. }
        | Command::What { .. } => String::new(),
    }
}

/// Runs a command that forks, and therefore has to run before there are threads. `None`: another
/// command.
fn without_threads(command: &Command) -> Option<anyhow::Result<i32>> {
    match command {
        Command::Doctor { output } => Some(doctor::doctor(*output)),
        Command::Bench { what, runs, output, peer_kubeconfig, inside } => {
            Some(bench(what, runs.map(usize::from), *output, peer_kubeconfig.as_deref(), inside.clone()))
        }
        _ => None,
    }
}

/// Runs measurements, or a single one (`inside`) in a process of its own.
fn bench(
    what: &[bench::What],
    runs: Option<usize>,
    output: Option<args::Output>,
    peer: Option<&std::path::Path>,
    inside: Option<PathBuf>,
) -> anyhow::Result<i32> {
    if peer.is_some() && !what.is_empty() && !what.contains(&bench::What::Api) {
        let lang = ui::settings::language(None, &cluster::Home::find()?);
        eprintln!("ropewalk: {}", lang.say(words::Word::BenchPeer, &[]));
        return Ok(codes::USAGE);
    }
    // Relative paths in a kubeconfig begin at its directory, so its own path must stay valid in
    // the directory where the measurement runs.
    let peer = peer.map(std::path::absolute).transpose()?;
    let peer = peer.as_deref();
    match (inside, what) {
        (Some(dir), [what]) => bench::inside(dir, *what, runs),
        _ => bench::run(what, runs, peer, output == Some(args::Output::Json)).map(|()| 0),
    }
}

/// Runs `etcdctl` under its own name: on the cluster that `KUBECONFIG` belongs to, else on `main`.
/// `words`: its arguments, without a program's name. Returns the exit code.
pub fn etcdctl(words: Vec<String>) -> i32 {
    linux::signal::notice_children(); // of `lock` and `watch`
    end_with_the_reader();
    block_on(clusters::etcdctl_alone(words), None)
}

/// Runs a command to its end. `chosen`: the language of its errors.
fn block_on(work: impl Future<Output = anyhow::Result<i32>>, chosen: Option<Lang>) -> i32 {
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("ropewalk: cannot start: {error}");
            return 1;
        }
    };
    let result = runtime.block_on(work);
    // A thread may still wait for a key that never comes.
    runtime.shutdown_background();
    finish(result, chosen)
}

/// Prints an error in the language `chosen`. Returns the exit code.
fn finish(result: anyhow::Result<i32>, chosen: Option<Lang>) -> i32 {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ropewalk: {}", usage::reason(&error, chosen));
            usage::code(&error)
        }
    }
}

/// Runs a command, or a session if the line has none, and returns its exit code.
async fn dispatch(args: Args) -> anyhow::Result<i32> {
    match args.command {
        Some(Command::Up(up)) => clusters::up(up).await,
        Some(Command::Down { name }) => clusters::down(&name).await,
        Some(Command::Status { name, output }) => clusters::status(&name, output).await,
        Some(Command::Reset { name, yes }) => clusters::reset(&name, yes).await,
        Some(Command::Kubeconfig { name, merge }) => clusters::kubeconfig(&name, merge),
        Some(Command::Fault { command, name }) => clusters::fault(&name, command).await,
        Some(Command::Lesson(lesson)) => lesson::run(lesson).await,
        Some(Command::Lab(lab)) => lab::run(lab).await,
        Some(Command::Trace { what, namespace, name, output }) => {
            trace::trace(&name, &what, namespace.as_deref(), output).await
        }
        Some(Command::Net { command: Net::Show { what, namespace, lang, output }, name }) => {
            net::show(&name, what, &namespace, lang, output).await
        }
        Some(Command::What { words, lessons, only, lang, output }) => {
            what::what(&words, lessons.as_deref(), only, lang, output)
        }
        Some(Command::Why { about, namespace, lang, name, output }) => {
            why::why(&name, about, namespace, lang, output).await
        }
        Some(Command::Undo { count, list, yes, name, output }) => {
            let action = if list { undo::Action::List } else { undo::Action::Undo(count.into()) };
            undo::run(&name, action, yes, output).await
        }
        Some(Command::Redo { name, output }) => undo::run(&name, undo::Action::Redo, true, output).await,
        Some(Command::Rewind { to, yes, name, output }) => {
            undo::run(&name, undo::Action::Rewind(to), yes, output).await
        }
        Some(Command::Drill(drill)) => drill::run(drill).await,
        Some(Command::Progress(progress)) => progress::run(&progress),
        Some(Command::Lang { to }) => language::run(to),
        Some(command @ (Command::Doctor { .. } | Command::Bench { .. })) => {
            without_threads(&command).unwrap_or(Ok(0))
        }
        Some(Command::Version { output }) => {
            print!("{}", version(output));
            Ok(0)
        }
        Some(Command::Completion { shell }) => {
            let mut command = <Args as clap::CommandFactory>::command();
            let mut script = Vec::new(); // its writer may not fail, and a reader may leave
            clap_complete::generate(shell, &mut command, "ropewalk", &mut script);
            std::print!("{}", String::from_utf8_lossy(&script));
            Ok(0)
        }
        Some(Command::Kubectl { name, words }) => clusters::kubectl(&name, words).await,
        Some(Command::Etcdctl { name, words }) => clusters::etcdctl(&name, words).await,
        Some(Command::Repl { lines, file, kubeconfig, in_pane, session }) => {
            let kubeconfig = absolute(kubeconfig)?;
            clusters::session(session, |o| Options { lines, file, kubeconfig, in_pane, plain: true, ..o })
                .await
        }
        Some(Command::Learn { lesson, kubeconfig, yes, session }) => {
            let kubeconfig = absolute(kubeconfig)?;
            let options = Options { lesson, kubeconfig, ..clusters::options(session) };
            beside::learn(options, yes).await
        }
        None => clusters::session(args.session, |o| o).await,
    }
}

/// The versions of this program and of Kubernetes, whose behaviour it has.
fn version(output: Option<args::Output>) -> String {
    let (own, kubernetes) = (env!("CARGO_PKG_VERSION"), api::VERSION);
    match output {
        Some(args::Output::Json) => {
            format!("{:#}\n", serde_json::json!({"ropewalk": own, "kubernetes": kubernetes}))
        }
        None => format!("ropewalk {own} (Kubernetes {kubernetes})\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_read_the_version() {
        let args = Args::try_parse_from(["ropewalk", "version", "-o", "json"]).unwrap();
        let Some(Command::Version { output }) = args.command else { panic!("another command") };
        let document: serde_json::Value = serde_json::from_str(&version(output)).unwrap();
        assert_eq!(document["ropewalk"], env!("CARGO_PKG_VERSION"));
        assert_eq!(document["kubernetes"], api::VERSION);
        assert!(version(None).starts_with("ropewalk "));
    }

    /// Texts name commands of the prompt, and `lang` says them as a shell takes them.
    #[test]
    fn what_texts_name_in_a_shell_is_a_command() {
        for line in [
            "answer a",
            "back",
            "check",
            "check 4",
            "debrief",
            "doctor",
            "drill --seed 4",
            "drill check",
            "drill skip",
            "drill stop",
            "fault heal",
            "goto 3",
            "hint",
            "lab list",
            "lab start x",
            "lang ko",
            "lesson",
            "lesson again",
            "lesson first-voyage/04 --yes",
            "lesson leave",
            "lesson list",
            "next",
            "progress -o json",
            "redo",
            "rewind 812",
            "skip",
            "stop",
            "solve 4",
            "status",
            "trace pod/web",
            "undo --list",
            "what pod",
            "why pod/web",
        ] {
            let command = lang::typed::in_shell(&format!("`{line}`"), "--name shop");
            let (plain, quoted) = match command.trim_matches('`').split_once('\'') {
                Some((plain, quoted)) => (plain.to_string(), Some(quoted.trim_end_matches('\'').to_string())),
                None => (command.trim_matches('`').to_string(), None),
            };
            let words = plain.split_whitespace().map(String::from).chain(quoted);
            let words: Vec<String> = words.collect();
            assert_eq!(words[0], "ropewalk", "{line}");
            assert!(Args::try_parse_from(&words).is_ok(), "{line}: {words:?}");
        }
    }

    #[test]
    fn a_session_names_the_commands_of_its_prompt() {
        let is_in_shell = |line: &[&str]| {
            let words = ["ropewalk"].iter().chain(line).copied();
            Args::try_parse_from(words).unwrap().command.as_ref().is_some_and(answers_shell)
        };
        for session in
            [&["repl", "-c", "next"][..], &[], &["learn", "4"], &["drill", "test"], &["lesson", "test", "4"]]
        {
            assert!(!is_in_shell(session), "{session:?}");
        }
        for answer in [
            &["lesson", "check"][..],
            &["lab", "show"],
            &["drill", "show"],
            &["progress"],
            &["why"],
            &["undo"],
        ] {
            assert!(is_in_shell(answer), "{answer:?}");
        }
    }

    #[test]
    fn a_command_names_its_cluster_unless_it_is_the_usual_one() {
        for (line, option) in [
            (&["lesson", "check"][..], ""),
            (&["lesson", "check", "--name", "shop"], "--name shop"),
            (&["lesson", "check", "--kubeconfig", "my f"], "--kubeconfig 'my f'"),
            (&["progress", "--name", "shop"], "--name shop"),
            (&["up", "--name", "shop"], "--name shop"),
            (&["what", "pod"], ""),
        ] {
            let words = ["ropewalk"].iter().chain(line).copied();
            assert_eq!(cluster_of(&Args::try_parse_from(words).unwrap().command.unwrap()), option);
        }
    }

    #[test]
    fn only_a_reader_that_left_ends_the_program_quietly() {
        let panic = |os: i32| format!("failed printing to stdout: {}", std::io::Error::from_raw_os_error(os));
        assert_eq!(write_failure(&panic(nix::libc::EPIPE)), Some(141));
        assert_eq!(write_failure(&panic(nix::libc::ENOSPC)), Some(1));
        assert_eq!(write_failure("index out of bounds"), None);
    }
}
