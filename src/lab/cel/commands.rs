//! The commands that a typed line surely ran. Words between quotes, behind `#` or in a
//! here-document run nothing, and what stands behind `||` or inside `if` may not have run.

use super::line::{Part, Sign, split};
use super::shell::file_name;
use super::value;
use crate::lines::is_assignment;
use cel::Value;
use chrono::Duration;

/// How deep commands may stand in `$(…)` and `(…)`.
const DEPTH_MAX: usize = 8;
/// Words that begin what may run, run often, or end the shell: what follows is not known.
const UNKNOWN: [&str; 14] = [
    "if", "then", "elif", "else", "while", "until", "case", "select", "function", "exit", "return", "break",
    "continue", "exec",
];
/// How long a command without `timeout` may run: longer than any sitting, in hours.
const UNLIMITED: i64 = 24;

/// A command with its words, as the shell hands them to the program.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    /// The program's name, without directories.
    pub program: String,
    pub args: Vec<String>,
    /// The time after which `timeout` ends it.
    pub limit: Duration,
    /// The line did not wait for its end.
    pub is_background: bool,
}

impl Command {
    /// Returns whether it runs this program with this subcommand. Options may stand before the
    /// subcommand, each with a value; a question for help runs nothing.
    ///
    /// ```text
    /// wanted: etcdctl get
    /// etcdctl -w json get foo    yes
    /// etcdctl put get foo        no: `get` is the key
    /// etcdctl get --help         no
    ///
    /// wanted: kubectl rollout undo
    /// kubectl rollout undo deployment web      yes
    /// kubectl rollout status deployment web    no
    /// ```
    pub(super) fn is(&self, wanted: &str) -> bool {
        let mut wanted = wanted.split(' ');
        if wanted.next() != Some(self.program.as_str())
            || self.args.iter().any(|arg| matches!(arg.as_str(), "-h" | "--help"))
        {
            return false;
        }
        let is_option = |arg: &String| arg.starts_with('-');
        let mut args = self.args.as_slice();
        for subcommand in wanted {
            let Some(at) = args.iter().position(|arg| arg == subcommand) else { return false };
            let (before, rest) = args.split_at(at);
            let is_of_option =
                |at: usize| at.checked_sub(1).and_then(|at| before.get(at)).is_some_and(is_option);
            if !before.iter().enumerate().all(|(at, arg)| is_option(arg) || is_of_option(at)) {
                return false;
            }
            args = rest.get(1..).unwrap_or_default();
        }
        true
    }

    /// What expressions see of the command.
    pub(super) fn value(&self) -> Value {
        value::map([
            ("program", value::text(&self.program)),
            ("args", value::list(self.args.iter().map(|arg| value::text(arg)).collect())),
            ("limit", Value::Duration(self.limit)),
            ("background", Value::Bool(self.is_background)),
        ])
    }
}

/// Returns the commands that a line ran, those in `$(…)` first. `code` is the exit code of the
/// line: after `&&` a command counts only at the end of a line that succeeded.
///
/// ```text
/// etcdctl version; timeout 5 etcdctl get foo    etcdctl version, and etcdctl get foo (limit 5 s)
/// echo 'x; etcdctl get foo'                     echo
/// true || etcdctl get foo                       true
/// ```
pub(super) fn commands(line: &str, code: i64) -> Vec<Command> {
    let mut found = Vec::new();
    // A line that ends inside quotes is a mistake of its syntax, and nothing of it ran.
    if let Some(parts) = split(line) {
        read(&parts, code, 0, &mut found);
    }
    found
}

fn is_end(part: &Part) -> bool {
    matches!(part, Part::Sign(Sign::End | Sign::Background))
}

fn is_pipe(part: &Part) -> bool {
    matches!(part, Part::Sign(Sign::Pipe))
}

/// Reads lists of commands, one after the other, until something comes that may not have run.
fn read(parts: &[Part], code: i64, depth: usize, found: &mut Vec<Command>) {
    let lists: Vec<&[Part]> = parts.split_inclusive(is_end).collect();
    let is_command = |part: &Part| matches!(part, Part::Word(_) | Part::Inner(_));
    let last = lists.iter().rposition(|list| list.iter().any(is_command));
    for (at, list) in lists.iter().enumerate() {
        let is_background = matches!(list.last(), Some(Part::Sign(Sign::Background)));
        // The line's exit code is that of its last list.
        let has_succeeded = code == 0 && !is_background && Some(at) == last;
        let begun = found.len();
        let is_known = read_list(list, has_succeeded, depth, found);
        for command in found.iter_mut().skip(begun) {
            command.is_background |= is_background;
        }
        if !is_known {
            return;
        }
    }
}

/// Reads pipelines joined by `&&` and `||`. Returns whether what follows can be known.
///
/// The first one runs. `a || b && c` runs c if it succeeds as a whole; of b nothing is known.
fn read_list(list: &[Part], has_succeeded: bool, depth: usize, found: &mut Vec<Command>) -> bool {
    let is_joint = |part: &Part| matches!(part, Part::Sign(Sign::And | Sign::Or));
    let last_or = list.iter().rposition(|part| matches!(part, Part::Sign(Sign::Or)));
    let mut begin = 0_usize;
    for pipeline in list.split(is_joint) {
        let joint = begin.checked_sub(1); // where the sign before it stands
        let is_sure = joint.is_none_or(|joint| has_succeeded && last_or.is_none_or(|or| joint > or));
        begin += pipeline.len() + 1;
        for simple in pipeline.split(is_pipe) {
            if !read_command(simple, is_sure, depth, found) {
                return false;
            }
        }
    }
    true
}

/// Reads one command. Returns whether what follows can be known.
fn read_command(parts: &[Part], is_sure: bool, depth: usize, found: &mut Vec<Command>) -> bool {
    let mut words = Vec::new();
    for part in parts {
        match part {
            Part::Word(word) => words.push(word.as_str()),
            Part::Inner(text) if is_sure && depth < DEPTH_MAX => {
                if let Some(parts) = split(text) {
                    read(&parts, -1, depth + 1, found); // its exit code is not known
                }
            }
            Part::Unknown => return false,
            _ => {}
        }
    }
    match words.first() {
        Some(word) if UNKNOWN.contains(word) => false,
        // The block's later commands are behind a `;` of their own.
        Some(&("{" | "for")) if !is_sure => false,
        // `for i in 1 2` has something to do, `for i in` has nothing.
        Some(&"for") => words.len() > 3,
        _ => {
            if is_sure {
                found.extend(command(&words));
            }
            true
        }
    }
}

/// Returns the program that words run, behind assignments, `timeout` and the like. `None`: they run
/// nothing, such as `A=1`, `done` or `timeout --help`.
fn command(words: &[&str]) -> Option<Command> {
    let mut limit = Duration::hours(UNLIMITED);
    let mut words = words;
    loop {
        let (first, rest) = words.split_first()?;
        let is_option_next = rest.first().is_some_and(|word| word.starts_with('-'));
        words = match file_name(first) {
            _ if is_assignment(first) => rest,
            "}" | "done" | "fi" | "esac" => return None,
            "do" | "{" | "!" => rest,
            "command" if !is_option_next => rest,
            "time" | "nohup" => behind_options(rest, &[])?,
            "env" => behind_options(rest, &["-u", "-C"])?,
            "nice" => behind_options(rest, &["-n"])?,
            "sudo" => behind_options(rest, &["-u", "-g"])?,
            "ropewalk" => behind_options(rest, &["--home", "--context", "--lang", "--name"])?,
            "timeout" => {
                let (time, rest) = behind_options(rest, &["-k", "-s"])?.split_first()?;
                limit = seconds(time)?;
                rest
            }
            program => {
                let args = rest.iter().map(|arg| arg.to_string()).collect();
                return Some(Command { program: program.into(), args, limit, is_background: false });
            }
        };
    }
}

/// Returns the words behind options; `valued` are those whose value is the next word. `None`: help
/// was asked for, and nothing runs.
fn behind_options<'a, 'b>(words: &'a [&'b str], valued: &[&str]) -> Option<&'a [&'b str]> {
    let mut words = words;
    while let Some((first, rest)) = words.split_first() {
        match *first {
            "--help" | "--version" => return None,
            option if valued.contains(&option) => words = rest.get(1..)?,
            option if option.starts_with('-') => words = rest,
            _ => break,
        }
    }
    Some(words)
}

/// The time of `timeout`: `5`, `0.5s`, `2m`. Zero is no limit.
fn seconds(word: &str) -> Option<Duration> {
    let (number, unit) = match word.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) if word.ends_with('m') => (number, 60.0),
        Some(number) if word.ends_with('h') => (number, 3_600.0),
        Some(number) if word.ends_with('d') => (number, 86_400.0),
        Some(number) => (number, 1.0),
        None => (word, 1.0),
    };
    let time = number.parse::<f64>().ok()? * unit;
    let unlimited = Duration::hours(UNLIMITED);
    if time == 0.0 || time > unlimited.num_seconds() as f64 {
        return Some(unlimited);
    }
    Some(Duration::milliseconds((time * 1_000.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::super::facts::Line;
    use super::super::{Expr, Facts, Use};
    use super::{Command, commands};
    use std::sync::Arc;

    /// The commands as texts, and whether they ran in the background.
    fn told(line: &str, code: i64) -> Vec<String> {
        let told = |command: Command| {
            let words: Vec<String> = std::iter::once(command.program).chain(command.args).collect();
            format!("{}{}", words.join(" "), if command.is_background { " &" } else { "" })
        };
        commands(line, code).into_iter().map(told).collect()
    }

    #[test]
    fn a_command_counts_however_it_is_written() {
        for line in [
            "etcdctl get foo",
            "etcdctl  get 'foo' # and look",
            "/usr/bin/etcdctl get \"foo\" 2>&1",
            "ETCDCTL_API=3 etcdctl get foo >/tmp/out",
            "timeout -k 2 20 env A=1 etcdctl get foo < /dev/null",
            "ropewalk --home x etcdctl get foo",
            "(etcdctl get foo)",
            "{ etcdctl get foo; }",
            "for i in 1 2; do etcdctl get foo; done",
            "etcdctl get foo &>/tmp/out",
            "etcdctl get foo <<EOF\netcdctl get bar\nEOF",
            "etcdctl get f\\oo",
        ] {
            assert_eq!(told(line, 0), ["etcdctl get foo"], "{line}");
        }
    }

    #[test]
    fn every_command_of_a_line_is_told() {
        for (line, wanted) in [
            ("a; b c | d\ne", ["a", "b c", "d", "e"].as_slice()),
            ("a & sleep 1; b", &["a &", "sleep 1", "b"]),
            ("echo \"$(a b)\" `c`", &["a b", "c", "echo  "]),
            ("a && b && c", &["a", "b", "c"]),
            ("a || b && c", &["a", "c"]),
            ("echo -n world | etcdctl put foo", &["echo -n world", "etcdctl put foo"]),
            ("etcdctl put foo ''", &["etcdctl put foo "]),
            ("(a; b) &", &["a &", "b &"]),
            ("a -f <(b c) -n d", &["b c", "a -f /dev/fd/63 -n d"]),
            ("a <(b) <(c | d) >out", &["b", "c", "d", "a /dev/fd/63 /dev/fd/63"]),
            ("a < <(b); c", &["b", "a", "c"]),
        ] {
            assert_eq!(told(line, 0), wanted, "{line}");
        }
    }

    #[test]
    fn words_that_ran_nothing_do_not_count() {
        for line in [
            "echo 'x; etcdctl get foo'",
            "echo \"x; etcdctl get foo\"",
            "echo x # ; etcdctl get foo",
            "cat <<EOF\netcdctl get foo\nEOF",
            "true || etcdctl get foo",
            "true || { :; etcdctl get foo; }",
            "true || (etcdctl get foo)",
            "false && etcdctl get foo; true",
            "false && etcdctl get foo &",
            "if false; then etcdctl get foo; fi",
            "for i in; do etcdctl get foo; done",
            "etcdctl() { :; }; etcdctl get foo",
            "exit 0; etcdctl get foo",
            "command -v etcdctl get foo",
            "timeout --help 5 etcdctl get foo",
            "echo 'etcdctl get foo",
        ] {
            assert!(!told(line, 0).iter().any(|command| command.starts_with("etcdctl")), "{line}");
        }
        assert_eq!(told("a && b", 1), ["a"], "it may be a that failed");
    }

    #[test]
    fn a_subcommand_stands_before_the_names_that_it_takes() {
        for (line, wanted, is) in [
            ("etcdctl get foo", "etcdctl get", true),
            ("etcdctl -w json get foo", "etcdctl get", true),
            ("etcdctl --write-out=json --debug get foo", "etcdctl get", true),
            ("etcdctl put get foo", "etcdctl get", false),
            ("etcdctl get --help", "etcdctl get", false),
            ("etcdctl foo", "etcdctl get", false),
            ("trace pod/parcel", "trace", true),
            ("trace -h", "trace", false),
            ("echo get", "etcdctl get", false),
            ("kubectl -n a rollout --v=2 undo deployment web", "kubectl rollout undo", true),
            ("kubectl rollout status deployment undo", "kubectl rollout undo", false),
            ("kubectl rollout", "kubectl rollout undo", false),
        ] {
            assert_eq!(commands(line, 0).iter().any(|command| command.is(wanted)), is, "{line}");
        }
    }

    #[test]
    fn timeout_tells_how_long_a_command_may_run() {
        let limit = |line: &str| commands(line, 0).first().map(|command| command.limit.num_milliseconds());
        assert_eq!(limit("timeout 60 etcdctl watch foo &"), Some(60_000));
        assert_eq!(limit("timeout -s INT 0.5s etcdctl watch foo"), Some(500));
        assert_eq!(limit("timeout 2m etcdctl watch foo"), Some(120_000));
        assert_eq!(limit("timeout 0 etcdctl watch foo"), limit("etcdctl watch foo"));
        assert_eq!(limit("timeout long etcdctl watch foo"), None);
    }

    #[test]
    fn a_check_asks_for_a_command_and_its_words() {
        let check = r#"ran.exists(r, commands(r, "etcdctl watch").exists(c,
            c.background && "foo" in c.args && c.limit > duration("30s")))"#;
        let check = Expr::compile(check, Use::Check, &[]).unwrap();
        let holds = |line: &str| {
            let ran = vec![Line { line: line.into(), ..Line::default() }];
            check.holds(&Arc::new(Facts { ran, ..Facts::default() }))
        };
        assert!(holds("timeout 60 etcdctl watch foo &"));
        assert!(!holds("timeout 5 etcdctl watch foo &"), "it ends too early");
        assert!(!holds("etcdctl watch foo"), "the line has waited for it");
        assert!(!holds("echo 'x; etcdctl watch foo &'"), "words between quotes");
    }
}
