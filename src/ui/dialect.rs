//! What is said to a shell so that it runs lines for us and tells how each ended. Pure.
//!
//! The shell reads commands from a pipe, so nothing is echoed and nothing that a program leaves
//! unread on the terminal is taken for a command. Each line is an `eval` whose standard input and
//! error are the terminal (descriptors 7 and 8). The shell's own prompt, which it prints whenever
//! it is ready for the next command, even after Ctrl-C or a syntax error, is the report: it carries
//! the line's number and the exit code, and goes to a pipe of its own. Shells without a terminal
//! print no prompt; a function writes the same report to descriptor 9.
//!
//! The prompt belongs to the learner, too: a line may set it, or install a hook that sets it. So
//! each line begins and ends with a new prompt without hooks, and a line that is not reported is
//! asked about by a command of its own ([`question`]), which the shell reads once it is ready. That
//! may give two reports of a line; by their number the second one is known.

use std::path::Path;

/// Stands behind the code of a report that no prompt gives, because the prompt is read-only. What
/// was said before such a report is the learner's own prompt.
const FIXED: char = '.';

/// A function that writes the variables that the shell exports into the file named. A program that
/// the shell starts has them in `/proc/self/environ` whatever their values are; `export -p` quotes
/// them as each shell likes. `>|` also writes with `set -C`.
const EXPORTS: &str =
    "__ropewalk_exports() { { command cat /proc/self/environ >|\"$1\" || :; } 2>/dev/null; }; ";

/// Which shells differ in what we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Bash,
    Zsh,
    /// dash, ash, ksh and whatever else keeps to POSIX.
    Posix,
}

impl Dialect {
    /// By the program's name; `None` for shells with another grammar (fish, tcsh, nu).
    pub(crate) fn of(shell: &Path) -> Option<Dialect> {
        match shell.file_name()?.to_str()? {
            "bash" => Some(Dialect::Bash),
            "zsh" => Some(Dialect::Zsh),
            "sh" | "dash" | "ash" | "ksh" | "mksh" | "busybox" => Some(Dialect::Posix),
            _ => None,
        }
    }

    /// Arguments with which it reads commands from standard input.
    pub(crate) fn arguments(self, terminal: bool, start_files: bool) -> &'static [&'static str] {
        match (self, terminal, start_files) {
            (Dialect::Bash, true, true) => &["--noediting", "-i"],
            (Dialect::Bash, true, false) => &["--noediting", "--norc", "-i"],
            (Dialect::Bash, false, _) => &["--noprofile", "--norc"],
            (Dialect::Zsh, true, true) => &["-i", "+o", "zle", "-o", "shinstdin"],
            (Dialect::Zsh, true, false) => &["-f", "-i", "+o", "zle", "-o", "shinstdin"],
            (Dialect::Zsh, false, _) => &["-f", "-s"],
            (Dialect::Posix, true, _) => &["-i"],
            (Dialect::Posix, false, _) => &["-s"],
        }
    }

    /// The first commands: the report, then what the learner's lines rely on. Several lines,
    /// because a function named like an alias can only be defined on a line after the alias went.
    /// They are reported as line 0.
    pub(crate) fn preparation(self, surroundings: &Surroundings<'_>, token: &str, terminal: bool) -> String {
        let own = match self {
            Dialect::Bash => "set +H 2>/dev/null; shopt -s expand_aliases; ",
            Dialect::Zsh => "setopt interactivecomments; unsetopt notify prompt_sp prompt_cr 2>/dev/null; ",
            Dialect::Posix => "",
        };
        let Surroundings { program, kubeconfig, bin, spare } = surroundings;
        let (program, kubeconfig) = (quote(&program.to_string_lossy()), quote(&kubeconfig.to_string_lossy()));
        let bin = quote(&bin.to_string_lossy());
        let spare = quote(&spare.to_string_lossy());
        let functions = self.functions(token, terminal);
        // With TMOUT the shell would end while it waits for the next line. The subshell tries first
        // whether it is read-only: a failed `unset` may give up the commands behind it.
        format!(
            "unalias k kubectl ropewalk 2>/dev/null; unset HISTFILE; PS2=\n\
             (unset TMOUT) 2>/dev/null && unset TMOUT\n\
             {own}export KUBECONFIG={kubeconfig}; export PATH={bin}:\"$PATH\":{spare}; \
             k() {{ kubectl \"$@\"; }}; ropewalk() {{ {program} \"$@\"; }}; {functions}__ropewalk 0 0\n"
        )
    }

    /// The functions of [`Dialect::order`] and [`question`]. Each is called with an exit code,
    /// which it returns, and the number of a line. None of their commands may fail: after the
    /// learner's `set -e` that would end the shell. For the code that they return their callers see
    /// to that.
    fn functions(self, token: &str, terminal: bool) -> String {
        let report = format!("printf '[{token}:%s:%s]' \"$2\" \"$1\"");
        if !terminal {
            return format!(
                "__ropewalk_begin() {{ return \"$1\"; }}; \
                 __ropewalk() {{ {report} >&9; return \"$1\"; }}; \
                 __ropewalk_again() {{ __ropewalk \"$@\"; }}; {EXPORTS}"
            );
        }
        // The trace of `set -x` goes to /dev/null. What would replace the prompt, or print it
        // unexpanded, is undone. In zsh both the function `precmd` and those that the array names
        // run before each prompt (zshmisc(1), hook functions); bash 5.1 knows PROMPT_COMMAND as an
        // array.
        //
        // An assignment to a read-only PS1 would give up the whole order, the learner's line in it.
        // So a subshell tries it first, and in zsh the attribute is asked for. If PS1 cannot be
        // set, the function itself reports the line.
        let prompt = match self {
            Dialect::Zsh => format!(
                "precmd_functions=(); unset -f precmd 2>/dev/null || :; setopt prompt_percent; \
                 [[ ${{(t)PS1}} != *readonly* ]] && PS1=\"[{token}:$2:%?]\""
            ),
            Dialect::Bash => format!(
                "unset -v PROMPT_COMMAND 2>/dev/null || :; shopt -s promptvars; \
                 (PS1=) && PS1=\"[{token}:$2:\\$?]\""
            ),
            Dialect::Posix => format!("(PS1=) && PS1=\"[{token}:$2:\\$?]\""),
        };
        let fixed = format!("printf '[{token}:%s:%s{FIXED}]' \"$2\" \"$1\"");
        format!(
            "__ropewalk_prompt() {{ {prompt}; }}; \
             __ropewalk() {{ {{ __ropewalk_prompt \"$@\" || {fixed} >&3; return \"$1\"; }} 3>&2 2>/dev/null; }}; \
             __ropewalk_begin() {{ {{ __ropewalk_prompt \"$@\" || :; return \"$1\"; }} 2>/dev/null; }}; \
             __ropewalk_again() {{ {{ {report} >&3; }} 3>&2 2>/dev/null; __ropewalk \"$@\"; }}; {EXPORTS}"
        )
    }

    /// A line of the learner's, as a command for the shell. `number` is told in its report, `last`
    /// is what `$?` is to be in it.
    pub(crate) fn order(self, line: &str, number: u64, last: i32, terminal: bool) -> String {
        let channels = if terminal { "<&7 2>&8 7<&- 8>&-" } else { "<&7 7<&- 9>&-" };
        let line = quote(line);
        // Where a failure ends the shell (`set -e`), the code of a line that this program has run
        // is none: it may be there only for `$?`. A list does not count its first command (POSIX,
        // XCU 2.15, `set`).
        let join = if last == 0 { ";" } else { " ||" };
        format!("__ropewalk_begin {last} {number}{join} eval {line} {channels}; __ropewalk $? {number}\n")
    }
}

/// A command that reports a line whose prompt was lost. For a line that still runs it changes
/// nothing: the shell reads it afterwards.
pub(crate) fn question(number: u64) -> String {
    format!("__ropewalk_again $? {number} || :\n")
}

/// A command that writes the variables that the shell exports into a file, as `/proc/PID/environ`
/// has them, and reports that under this number.
pub(crate) fn ask_for_exports(file: &str, number: u64) -> String {
    format!("__ropewalk_exports {}; __ropewalk 0 {number}\n", quote(file))
}

/// What lines in the shell rely on.
pub(crate) struct Surroundings<'a> {
    /// This program.
    pub program: &'a Path,
    pub kubeconfig: &'a Path,
    /// Before everything else on PATH: the built-in tools.
    pub bin: &'a Path,
    /// After everything else on PATH: stand-ins for tools that a machine may lack.
    pub spare: &'a Path,
}

/// A word that a shell takes literally.
pub(crate) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Finds the next report in what a shell has said: what came before it, the line's number, the
/// code, and where the rest begins. A report that was printed unexpanded, e.g. in the trace of
/// `set -x`, is none.
pub(crate) fn report(heard: &[u8], token: &str) -> Option<(String, u64, i32, usize)> {
    let mark = format!("[{token}:");
    let mut from = 0;
    loop {
        let at = from + heard[from..].windows(mark.len()).position(|w| w == mark.as_bytes())?;
        from = at + mark.len();
        let rest = &heard[from..];
        let end = rest.iter().position(|b| *b == b']')?;
        let told = std::str::from_utf8(&rest[..end]).ok().and_then(|told| told.split_once(':'));
        let told = told.map(|(number, code)| match code.strip_suffix(FIXED) {
            Some(code) => (number, code, true),
            None => (number, code, false),
        });
        let read = |(n, code, fixed): (&str, &str, bool)| Some((n.parse().ok()?, code.parse().ok()?, fixed));
        let Some((number, code, fixed)) = told.and_then(read) else { continue };
        let before = if fixed { "".into() } else { String::from_utf8_lossy(&heard[..at]) };
        return Some((before.into_owned(), number, code, from + end + 1));
    }
}

/// What a shell has told beside its reports, for the learner: without the trace that `set -x` makes
/// of our own commands.
pub(crate) fn told_beside(before: &str) -> String {
    let lines = before.lines().filter(|line| !line.contains("__ropewalk"));
    lines.collect::<Vec<_>>().join("\n").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_quoted_word_comes_out_of_a_shell_as_it_went_in() {
        let nasty = "it's $HOME `x` \"q\" \\ *\nend";
        let out =
            Command::new("/bin/sh").args(["-c", &format!("printf %s {}", quote(nasty))]).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), nasty);
    }

    #[test]
    fn reports_are_found_between_other_words_and_across_reads() {
        assert_eq!(report(b"", "t"), None);
        assert_eq!(report(b"[1]+ Done [t:3:12", "t"), None);
        assert_eq!(report(b"[1]+ Done\n[t:3:127][t:3:0]", "t"), Some(("[1]+ Done\n".into(), 3, 127, 19)));
        assert_eq!(report(b"$ [t:3:127.]", "t"), Some((String::new(), 3, 127, 12)), "a read-only prompt");
    }

    /// A shell that waits for a line would end after TMOUT seconds (bash(1)).
    #[test]
    fn a_shell_waits_for_the_next_line_for_as_long_as_it_takes() {
        let surroundings = Surroundings {
            program: Path::new("/bin/true"),
            kubeconfig: Path::new("/config"),
            bin: Path::new("/none"),
            spare: Path::new("/none"),
        };
        for (shell, before, kept) in
            [("/bin/bash", "", "none"), ("/bin/sh", "", "none"), ("/bin/bash", "readonly TMOUT", "300")]
        {
            let dialect = Dialect::of(Path::new(shell)).unwrap();
            let preparation = dialect.preparation(&surroundings, "t", false);
            let text = format!("exec 9>&2\n{before}\n{preparation}echo ${{TMOUT-none}} $KUBECONFIG\n");
            let ran = Command::new(shell).args(["-c", &text]).env("TMOUT", "300").output().unwrap();
            let said = String::from_utf8_lossy(&ran.stdout);
            assert_eq!(said.trim(), format!("{kept} /config"), "{shell} {before}");
        }
    }

    /// POSIX, XCU 2.15, `set -e`: only what the learner's own line does ends the shell.
    #[test]
    fn a_code_from_elsewhere_ends_no_shell_that_ends_at_failures() {
        for (shell, dialect) in [("/bin/bash", Dialect::Bash), ("/bin/sh", Dialect::Posix)] {
            let run = |text: &str| {
                let functions = dialect.functions("t", false);
                let text = format!("exec 7</dev/null 9>/dev/null; {functions}\nset -e\n{text}echo end\n");
                let ran = Command::new(shell).args(["-c", &text]).output().unwrap();
                String::from_utf8_lossy(&ran.stdout).lines().collect::<Vec<_>>().join(" ")
            };
            assert_eq!(run(&dialect.order("echo code $?", 1, 130, false)), "code 130 end", "{shell}");
            assert_eq!(run(&dialect.order("false; echo on", 1, 130, false)), "", "{shell}");
            assert_eq!(run(&format!("! true\n{}", question(1))), "end", "{shell}");
        }
    }

    #[test]
    fn a_report_that_nobody_expanded_hides_no_other() {
        let heard = b"+ PS1='[t:3:$?]'\n[t:3:%?][t:3:1]";
        let (before, number, code, rest) = report(heard, "t").unwrap();
        assert_eq!((number, code, rest), (3, 1, heard.len()));
        assert!(before.starts_with("+ PS1"));
    }

    #[test]
    fn the_trace_of_our_own_commands_is_not_told() {
        assert_eq!(told_beside("+ __ropewalk 0 3\n[1]+ Done\n+ __ropewalk_begin 0 4\n"), "[1]+ Done");
    }

    /// zshmisc(1): the function `precmd` and those in `precmd_functions` run before each prompt, so
    /// each prompt of ours goes without them.
    #[test]
    fn no_hook_of_zsh_comes_after_the_prompt_is_set() {
        let functions = Dialect::Zsh.functions("t", true);
        let prompt = functions.split("__ropewalk_prompt() {").nth(1).unwrap().split("};").next().unwrap();
        let at = |what: &str| prompt.find(what).unwrap_or_else(|| panic!("{what} in {prompt}"));
        let set = at("PS1=\"[t:$2:%?]\"");
        for undone in ["precmd_functions=()", "unset -f precmd 2>/dev/null || :", "setopt prompt_percent"] {
            assert!(at(undone) < set, "{undone}");
        }
        assert!(functions.contains("__ropewalk_begin() { { __ropewalk_prompt"), "also before a line");
    }

    #[test]
    fn shells_of_another_grammar_are_not_driven() {
        assert_eq!(Dialect::of(Path::new("/usr/bin/zsh")), Some(Dialect::Zsh));
        assert_eq!(Dialect::of(Path::new("/usr/bin/fish")), None);
        assert_eq!(Dialect::of(Path::new("")), None);
    }
}
