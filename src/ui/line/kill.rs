//! Finds the processes that a line of the shell signals with `kill`. Pure.

use super::cut;

/// Words that may stand in front of a command.
const IN_FRONT: &[&str] = &["!", "builtin", "command", "doas", "env", "exec", "nohup", "sudo", "time"];

/// Returns the numbers of the processes that a line signals, for example 1 and 7 of
/// `sudo kill -9 1; kill 7`. Jobs (`%1`), names and variables are left out, because only the shell
/// knows the processes. A signal 0 only asks whether the process is there. What stands in quotes is
/// no command, nor are the lines of a here-document.
pub(crate) fn killed(text: &str) -> Vec<i32> {
    let text = if text.contains("<<") { text.lines().next().unwrap_or_default() } else { text };
    let (mut quote, mut is_escaped) = (None, false);
    let commands = text.split(|c: char| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match (c, quote) {
            ('\\', None | Some('"')) => is_escaped = true,
            (c, Some(open)) => quote = Some(open).filter(|_| c != open),
            ('\'' | '"', None) => quote = Some(c),
            (c, None) => return matches!(c, ';' | '|' | '&' | '\n' | '(' | ')'),
        }
        false
    });
    let commands: Vec<&str> = commands.collect();
    commands.into_iter().flat_map(|command| of_command(&cut(command).words)).collect()
}

/// Returns the numbers of the processes that one command signals; `words` are its name and its
/// arguments.
fn of_command(words: &[String]) -> Vec<i32> {
    let mut words = words.iter().map(String::as_str).skip_while(|word| IN_FRONT.contains(word));
    if !words.next().is_some_and(|word| word == "kill" || word.ends_with("/kill")) {
        return vec![];
    }
    let (mut pids, mut has_signal) = (vec![], false);
    while let Some(word) = words.next() {
        match word {
            "-l" | "-L" | "--list" | "--table" | "-0" if !has_signal => return vec![],
            "-s" | "-n" | "--signal" if !has_signal => match words.next() {
                Some("0") => return vec![],
                _ => has_signal = true,
            },
            // A group of processes begins with a minus, too, but not before the signal or `--`.
            word if word.starts_with('-') && !has_signal => has_signal = true,
            word => pids.extend(word.parse::<i32>().ok()),
        }
    }
    pids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_processes_are_found_wherever_the_command_stands() {
        for (text, pids) in [
            ("kill 1", &[1][..]),
            ("kill -9 1 7", &[1, 7]),
            ("kill -s TERM 1", &[1]),
            ("kill --signal KILL 1", &[1]),
            ("sudo /bin/kill -KILL 1", &[1]),
            ("sleep 1 && kill 1", &[1]),
            ("(kill 1; kill 7)", &[1, 7]),
            ("kill -9 -1", &[-1]),
            ("kill -- -1", &[-1]),
            ("kill \"1\"", &[1]),
            ("! kill 1", &[1]),
            ("echo it\\'s; kill 1", &[1]),
            ("echo \"a\\\"\"; kill 1", &[1]),
        ] {
            assert_eq!(killed(text), pids, "{text}");
        }
        for text in [
            "kill",
            "kill %1",
            "kill $!",
            "kill -0 1",
            "kill -s 0 1",
            "kill -l 9",
            "kill -1",
            "echo kill 1",
            "echo 'a; kill 1'",
            "echo \\; kill 1",
            "kubectl exec web -- kill 1 | cat",
            "kubectl exec web -- sh -c 'sleep 1; kill 1' | cat",
            "cat <<EOF\nkill 1\nEOF",
            "skill 1",
        ] {
            assert_eq!(killed(text), Vec::<i32>::new(), "{text}");
        }
    }
}
