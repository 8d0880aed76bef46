//! Shells inside containers. What is typed in such a shell leaves no line of its own, so a check
//! that reads lines accepts the line that began it. Every spelling of the options counts.

/// Words that stand before a command and run it.
const BEFORE: [&str; 15] = [
    "time", "timeout", "nohup", "nice", "env", "sudo", "command", "do", "then", "else", "if", "while",
    "until", "!", "{",
];
/// Shells of the images, and of others that a learner may know.
pub(super) const SHELLS: [&str; 5] = ["sh", "ash", "bash", "dash", "zsh"];
/// Letters among `kubectl exec`'s options that take no value, and its long options without one;
/// `-i` and `--stdin` are looked at apart.
const SWITCHES: [char; 2] = ['t', 'q'];
const LONG_SWITCHES: [&str; 6] = [
    "tty",
    "quiet",
    "disable-compression",
    "insecure-skip-tls-verify",
    "match-server-version",
    "warnings-as-errors",
];
/// Options of shells whose value is the next word.
const SHELL_VALUES: [&str; 6] = ["-o", "+o", "-O", "+O", "--rcfile", "--init-file"];

/// Returns whether a line begins a shell in a container that reads its commands from the terminal
/// or from a pipe: `kubectl exec` with its standard input open, and a shell without `-c` as the
/// program.
///
/// ```text
/// kubectl exec -it tester -- sh                          yes
/// kubectl exec tester --stdin=true --tty -- /bin/sh      yes
/// echo hostname | kubectl exec -i tester -- sh           yes
/// kubectl exec -it tester -- sh -c 'nslookup web'        no: the line says what ran
/// kubectl exec --tty tester -- sh                        no: nothing can be typed
/// echo kubectl exec -it tester -- sh                     no: these are words of echo
/// ```
pub(super) fn opens_shell(line: &str) -> bool {
    // A here-document behind the first line may have a single quotation mark.
    let words = shlex::split(line).or_else(|| shlex::split(line.lines().next()?));
    let words = words.unwrap_or_default();
    let mut commands = words.split(|word| matches!(word.as_str(), "|" | "||" | "&&" | "&" | ";"));
    commands.any(|command| {
        // `sleep 1; kubectl …`: the sign stands at the end of a word.
        command.split_inclusive(|word| word.ends_with(';')).any(is_shell_by_exec)
    })
}

fn is_shell_by_exec(command: &[String]) -> bool {
    // `timeout -k 2 20 env A=1 kubectl …`: options, numbers and assignments stand before it, too.
    let is_value =
        |word: &str| word.contains('=') || word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let is_before = |word: &&str| BEFORE.contains(word) || is_value(word);
    let words = command.iter().map(|word| word.trim_matches(['(', ')', ';'])).filter(|word| !word.is_empty());
    let words: Vec<&str> = words.skip_while(is_before).collect();
    let Some(exec) = words.iter().position(|word| *word == "exec") else { return false };
    let is_kubectl = |word: &&str| matches!(file_name(word), "kubectl" | "k");
    // At Ropewalk's prompt the word kubectl may be left out.
    if exec > 0 && !words.first().is_some_and(is_kubectl) {
        return false;
    }
    let Some(end) = words.iter().skip(exec).position(|word| *word == "--") else { return false };
    let (options, program) = words.split_at(exec + end);
    let (options, program) = (options.get(exec + 1..), program.get(1..));
    has_stdin(options.unwrap_or_default()) && is_bare_shell(program.unwrap_or_default())
}

/// Returns whether the options of `kubectl exec` open the standard input. With a question for help
/// nothing runs.
fn has_stdin(options: &[&str]) -> bool {
    let mut is_open = false;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        if let Some(long) = option.strip_prefix("--") {
            match long.split_once('=') {
                None if long == "help" => return false,
                None if long == "stdin" => is_open = true,
                None if !LONG_SWITCHES.contains(&long) => drop(options.next()), // its value
                Some(("stdin", value)) => is_open = is_true(value),
                _ => {}
            }
            continue;
        }
        let Some(letters) = option.strip_prefix('-') else { continue };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            let rest = letters.as_str();
            match letter {
                'h' => return false,
                'i' => is_open = rest.strip_prefix('=').is_none_or(is_true),
                letter if SWITCHES.contains(&letter) => {}
                _ if rest.is_empty() => {
                    options.next(); // its value
                }
                _ => break, // the rest is its value
            }
        }
    }
    is_open
}

/// The words that Go's `strconv.ParseBool` takes for true.
fn is_true(word: &str) -> bool {
    matches!(word, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Returns whether the program in the container is a shell that reads commands from its standard
/// input.
fn is_bare_shell(program: &[&str]) -> bool {
    // What the outer shell redirects is not the program's.
    let mut words = program.iter().copied().take_while(|word| !word.contains(['<', '>']));
    let Some(shell) = first_program(&mut words) else { return false };
    if !SHELLS.contains(&shell) {
        return false;
    }
    // `-l` and `-i` still read; `-c` and a file's name do not, nor does a question for help.
    while let Some(word) = words.next() {
        let is_short = word.starts_with('-') && !word.starts_with("--");
        match word {
            "--help" | "--version" => return false,
            "-s" => return true, // what follows are the shell's arguments
            _ if SHELL_VALUES.contains(&word) => drop(words.next()),
            _ if is_short && word.contains('c') => return false,
            _ if word.starts_with(['-', '+']) => {}
            _ => return false,
        }
    }
    true
}

/// The name of the program that words run, behind `env` with its options, `busybox` and `exec`.
fn first_program<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut is_env = false;
    loop {
        let word = words.next()?;
        match file_name(word) {
            "env" => is_env = true,
            "busybox" | "exec" => is_env = false,
            _ if word.contains('=') => {}
            _ if is_env && matches!(word, "-u" | "--unset" | "-C" | "--chdir") => drop(words.next()),
            _ if is_env && word.starts_with('-') => {}
            name => return Some(name),
        }
    }
}

/// Returns a program's name without its directories.
pub(super) fn file_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::opens_shell;

    #[test]
    fn every_spelling_of_the_options_opens_a_shell() {
        for line in [
            "kubectl exec -it tester -- sh",
            "kubectl exec -ti tester -- /bin/sh",
            "kubectl exec -i -t tester -- sh",
            "kubectl exec tester -it -- sh",
            "kubectl exec --stdin --tty tester -- sh",
            "kubectl exec --tty --stdin=true tester -- ash -l",
            "kubectl exec -i=true tester -- sh",
            "kubectl exec -itc writer pair -- sh",
            "kubectl exec -qit pair --container writer -- sh",
            "kubectl -n market exec guest --stdin --tty -- sh",
            "k exec -it guest --namespace=market -- sh",
            "exec -it tester -- sh",
            "/usr/local/bin/kubectl exec -it tester -- env TERM=dumb sh",
            "KUBECONFIG=mine.yaml kubectl exec -it tester -- sh",
            "echo hostname | kubectl exec -i tester -- sh",
            "kubectl exec --stdin tester -- sh < script",
            "kubectl exec -i tester -- sh 2>/dev/null < script",
            "kubectl exec -i tester -- sh <<'EOF'\nwget -qO- http://web # it's there\nEOF",
            "sleep 1; kubectl exec -it tester -- sh",
            "kubectl get pods && kubectl exec -it tester -- sh; echo over",
            "timeout 20 kubectl exec -it tester -- sh",
            "(kubectl exec -it tester -- sh)",
            "kubectl exec -it tester -- bash --norc",
            "kubectl exec -it tester -- bash --rcfile /tmp/rc -i",
            "kubectl exec -it tester -- env -i sh",
            "kubectl exec -it tester -- env -u HOME -i TERM=dumb sh -l",
            "kubectl exec -it tester -- sh -o vi",
            "kubectl exec -it tester -- sh -h",
            "kubectl exec -i tester -- sh -s web",
            "kubectl exec -c writer -it tester -- sh",
            "kubectl exec --container writer --stdin tester -- sh",
        ] {
            assert!(opens_shell(line), "{line}");
        }
    }

    #[test]
    fn a_line_that_says_what_ran_or_runs_no_shell_opens_none() {
        for line in [
            "",
            "sh",
            "kubectl exec tester -- sh",
            "kubectl exec --tty tester -- sh",
            "kubectl exec -i=false tester -- sh",
            "kubectl exec --stdin=false -t tester -- sh",
            "kubectl exec -it tester -- sh -c 'nslookup web'",
            "kubectl exec -it tester -- sh script",
            "kubectl exec -it tester -- hostname",
            "kubectl exec tester -- ls -i sh",
            "kubectl exec tester -c -it -- sh -c true",
            "kubectl exec tester -c -it -- sh",
            "kubectl exec tester --container --stdin -- sh",
            "kubectl exec -it tester -h -- sh",
            "kubectl exec -it tester --help -- sh",
            "kubectl exec -ith tester -- sh",
            "kubectl exec -it tester -- bash --version",
            "kubectl exec -it tester -- bash --norc script",
            "kubectl exec -it tester -- env -i",
            "kubectl exec -it tester -- env -u sh hostname",
            "kubectl exec -it tester -- sh -lc hostname",
            "kubectl exec -citit tester -- sh",
            "kubectl logs -it tester -- sh",
            "echo kubectl exec -it tester -- sh",
            "printf 'kubectl exec -it tester -- sh'",
            "# kubectl exec -it tester -- sh",
            "kubectl exec -it tester",
            "kubectl get pods; echo exec -it tester -- sh",
        ] {
            assert!(!opens_shell(line), "{line}");
        }
    }
}
