//! What is said to a shell so that it runs lines for us and tells how each ended. Pure.
//!
//! The shell reads commands from a pipe, so nothing is echoed and nothing that a program leaves
//! unread on the terminal is taken for a command. Each line is an `eval` whose standard input and
//! error are the terminal (descriptors 7 and 8). The shell's own prompt, which it prints whenever
//! it is ready for the next command, even after Ctrl-C or a syntax error, is the report: it carries
//! the exit code and goes to a pipe of its own. Shells without a terminal print no prompt; a
//! function writes the same report to descriptor 9.

use std::path::Path;

/// Which shells differ in what we need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Bash,
    Zsh,
    /// dash, ash, ksh and whatever else keeps to POSIX.
    Posix,
}

impl Dialect {
    /// By the program's name; `None` for shells with another grammar (fish, tcsh, nu).
    pub fn of(shell: &Path) -> Option<Dialect> {
        match shell.file_name()?.to_str()? {
            "bash" => Some(Dialect::Bash),
            "zsh" => Some(Dialect::Zsh),
            "sh" | "dash" | "ash" | "ksh" | "mksh" | "busybox" => Some(Dialect::Posix),
            _ => None,
        }
    }

    /// Arguments with which it reads commands from standard input.
    pub fn arguments(self, terminal: bool, start_files: bool) -> &'static [&'static str] {
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

    /// The first commands: the report, then what the learner's lines rely on. Two lines, because a
    /// function named like an alias can only be defined on a line after the alias went.
    pub fn preparation(self, surroundings: &Surroundings<'_>, token: &str, terminal: bool) -> String {
        let report = match (self, terminal) {
            (_, false) => format!("printf '[{token}:%s]' \"$1\" >&9"),
            (Dialect::Zsh, true) => format!("PS1='[{token}:%?]'"),
            (Dialect::Bash, true) => format!("PROMPT_COMMAND=; PS1='[{token}:$?]'"),
            (Dialect::Posix, true) => format!("PS1='[{token}:$?]'"),
        };
        let own = match self {
            Dialect::Bash => "set +H 2>/dev/null; shopt -s expand_aliases; ",
            Dialect::Zsh => {
                "setopt interactivecomments; unsetopt notify prompt_sp prompt_cr 2>/dev/null; precmd_functions=; "
            }
            Dialect::Posix => "",
        };
        let Surroundings { program, kubeconfig, bin, spare } = surroundings;
        let (program, kubeconfig) = (quote(&program.to_string_lossy()), quote(&kubeconfig.to_string_lossy()));
        let bin = quote(&bin.to_string_lossy());
        let spare = quote(&spare.to_string_lossy());
        format!(
            "unalias k kubectl ropewalk 2>/dev/null; unset HISTFILE; PS2=\n\
             {own}export KUBECONFIG={kubeconfig}; export PATH={bin}:\"$PATH\":{spare}; \
             k() {{ kubectl \"$@\"; }}; ropewalk() {{ {program} \"$@\"; }}; \
             __ropewalk_last() {{ return \"$1\"; }}; \
             __ropewalk() {{ {report}; return \"$1\"; }}; __ropewalk 0\n"
        )
    }

    /// A line of the learner's, as a command for the shell. `last` is what `$?` is to be in it.
    pub fn order(self, line: &str, last: i32, terminal: bool) -> String {
        let channels = if terminal { "<&7 2>&8 7<&- 8>&-" } else { "<&7 7<&- 9>&-" };
        format!("__ropewalk_last {last}; eval {} {channels}; __ropewalk $?\n", quote(line))
    }
}

/// What lines in the shell rely on.
pub struct Surroundings<'a> {
    /// This program.
    pub program: &'a Path,
    pub kubeconfig: &'a Path,
    /// Before everything else on PATH: the built-in tools.
    pub bin: &'a Path,
    /// After everything else on PATH: stand-ins for tools that a machine may lack.
    pub spare: &'a Path,
}

/// A word that a shell takes literally.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Finds the next report in what a shell has said: what came before it, the code, and where the
/// rest begins.
pub fn report(heard: &[u8], token: &str) -> Option<(String, i32, usize)> {
    let mark = format!("[{token}:");
    let at = heard.windows(mark.len()).position(|w| w == mark.as_bytes())?;
    let rest = &heard[at + mark.len()..];
    let end = rest.iter().position(|b| *b == b']')?;
    let code = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((String::from_utf8_lossy(&heard[..at]).into_owned(), code, at + mark.len() + end + 1))
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
        assert_eq!(report(b"[1]+ Done [t:12", "t"), None);
        assert_eq!(report(b"[1]+ Done\n[t:127][t:0]", "t"), Some(("[1]+ Done\n".into(), 127, 17)));
    }

    #[test]
    fn shells_of_another_grammar_are_not_driven() {
        assert_eq!(Dialect::of(Path::new("/usr/bin/zsh")), Some(Dialect::Zsh));
        assert_eq!(Dialect::of(Path::new("/usr/bin/fish")), None);
        assert_eq!(Dialect::of(Path::new("")), None);
    }
}
