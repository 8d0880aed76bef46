//! Parses what a shell has written to the pipe of its reports. Pure.

/// Stands behind the code of a report that no prompt gives, because the prompt is read-only. What
/// was said before such a report is the learner's own prompt.
pub(super) const FIXED: char = '.';

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

/// Returns what a shell has said to the learner beside its reports: without the trace that
/// `set -x` makes of our own commands. That of the `eval`, and of typed lines for the history, has
/// as many lines as what stands in it.
pub(crate) fn told_beside(before: &str) -> String {
    let mut of_eval = false;
    let lines = before.lines().filter(|line| {
        let own = line.contains("__ropewalk");
        if own {
            of_eval = ["__ropewalk_begin", "__ropewalk_history"].iter().any(|name| line.contains(name));
        }
        !own && !of_eval
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::KEEP_CODE;

    #[test]
    fn reports_are_found_between_other_words_and_across_reads() {
        assert_eq!(report(b"", "t"), None);
        assert_eq!(report(b"[1]+ Done [t:3:12", "t"), None);
        assert_eq!(report(b"[1]+ Done\n[t:3:127][t:3:0]", "t"), Some(("[1]+ Done\n".into(), 3, 127, 19)));
        assert_eq!(report(b"$ [t:3:127.]", "t"), Some((String::new(), 3, 127, 12)), "a read-only prompt");
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
        let eval = format!("+ eval 'echo a\necho b{KEEP_CODE}'");
        let before = format!("+ __ropewalk_begin 0 4\n{eval}\n+ __ropewalk 0 4\n[1]+ Done\n");
        assert_eq!(told_beside(&before), "[1]+ Done");
        let typed = "+ __ropewalk_history 'cat <<E\na\nE'\n+ __ropewalk_begin 0 5\n";
        assert_eq!(told_beside(&format!("{typed}{before}")), "[1]+ Done");
    }
}
