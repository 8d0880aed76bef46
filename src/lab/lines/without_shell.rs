//! Lines as the teacher plays them, who has neither a shell nor the learner's folder.
//!
//! Most of what a shell would do in a solution the teacher can do without one:
//! ```text
//! sleep 3                   a pause
//! trace pod/web             left out: it only shows something
//! cat > a.yaml <<'END'      remembered
//! kind: Pod
//! END
//! kubectl apply -f a.yaml   kubectl apply -f -, which reads what was remembered
//! ```

use super::{Files, Place, following, is_answer, is_plain, letters, may_fail, written};
use std::time::Duration;

/// A longer pause is left to the learner's shell.
const PAUSE_MAX: Duration = Duration::from_secs(120);

/// Programs of Ropewalk's that show something and change nothing.
pub(crate) const LOOKS: [&str; 4] = ["status", "trace", "what", "why"];

/// The commands of these lines as the teacher plays them, and what each reads. Answers of the
/// learner's are left out.
///
/// # Errors
/// The first line that only a shell in the learner's folder can run.
pub(crate) fn played_commands(lines: &[String]) -> Result<Vec<(String, String)>, String> {
    let (mut all, mut files, mut rest) = (Vec::new(), Files::default(), lines);
    while let Some((line, after)) = rest.split_first() {
        let (text, behind) = following(line, after);
        rest = behind;
        files.follow(line, text.clone());
        if !is_answer(line) {
            all.push(as_played(line, text, &files).ok_or_else(|| line.clone())?);
        }
    }
    Ok(all)
}

/// Returns whether only a shell can run one of these lines. Then the teacher plays none of them.
pub(crate) fn needs_shell(lines: &[String]) -> bool {
    played_commands(lines).is_err()
}

/// Returns whether the teacher can play this line, which has no `-` before it, without a shell.
pub(crate) fn is_playable(line: &str) -> bool {
    is_plain(line) || is_idle(line)
}

/// Returns whether the line changes nothing: it is a pause, or only shows something.
fn is_idle(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let is_shells = |c: char| matches!(c, '$' | '`' | '|' | '>' | '<' | ';' | '&');
    pause(line).is_some() || LOOKS.contains(&word) && !line.contains(is_shells)
}

/// How long a line of `sleep` waits: `sleep 3`, `sleep 0.5`.
pub(crate) fn pause(line: &str) -> Option<Duration> {
    let seconds = line.trim().strip_prefix("sleep ")?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().filter(|pause| *pause <= PAUSE_MAX)
}

/// A command as the teacher plays it, and what it reads. `text`: what follows it.
fn as_played(line: &str, text: String, files: &Files) -> Option<(String, String)> {
    let (plain, _) = may_fail(line);
    if is_plain(plain) {
        return files.as_input(line, text);
    }
    if is_idle(plain) || written(line).is_some() && is_literal(line, &text) {
        return Some((line.into(), String::new()));
    }
    let command = line[..document_at(line)?].trim_end();
    let is_all = line[command.len()..].split_whitespace().count() == 1;
    (is_all && is_plain(may_fail(command).0) && is_literal(line, &text)).then(|| (command.into(), text))
}

/// Where the sign of a line's here-document stands.
fn document_at(line: &str) -> Option<usize> {
    letters(line).find(|(_, c, place)| *c == '<' && *place == Place::Bare).map(|(at, ..)| at)
}

/// Returns whether a shell takes the text of this line's here-document as it stands. With a word in
/// quotes it does, and where nothing in the text is a sign of the shell.
fn is_literal(line: &str, text: &str) -> bool {
    let word = document_at(line).and_then(|at| line[at..].strip_prefix("<<")).map(str::trim_start);
    word.is_some_and(|word| {
        !word.starts_with(['-', '<'])
            && (word.starts_with(['\'', '"', '\\']) || !text.contains(['$', '`', '\\']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::library::Library;

    fn played(lines: &[&str]) -> Result<Vec<(String, String)>, String> {
        played_commands(&lines.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn pairs(all: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(all.iter().map(|(line, text)| (line.to_string(), text.to_string())).collect())
    }

    #[test]
    fn a_pause_a_look_and_a_file_that_is_written_need_no_shell() {
        let lines = [
            "sleep 0.5",
            "trace pod/web",
            "cat > a.yaml <<'END'",
            "value: $HOME",
            "END",
            "-kubectl apply -n x -f ./a.yaml --server-side",
            "kubectl get -f a.yaml",
            "kubectl apply -f - <<E",
            "kind: Pod",
            "E",
            "kubectl apply -f -",
            "kind: Service",
            ".",
            "answer $(date)",
        ];
        let a = "value: $HOME\n";
        let want = [
            ("sleep 0.5", ""),
            ("trace pod/web", ""),
            ("cat > a.yaml <<'END'", ""),
            ("-kubectl apply -n x -f - --server-side", a),
            ("kubectl get -f -", a),
            ("kubectl apply -f -", "kind: Pod\n"),
            ("kubectl apply -f -", "kind: Service\n"),
        ];
        assert_eq!(played(&lines), pairs(&want));
        assert_eq!(pause("sleep 3"), Some(Duration::from_secs(3)));
    }

    #[test]
    fn what_only_a_shell_in_the_learners_folder_can_do_is_named() {
        for line in [
            "sleep 900",
            "sleep -1",
            "sleep NaN",
            "sleep 1 &",
            "sleep $N",
            "trace pod/web | head",
            "status > /tmp/x",
            "kubectl apply -f web.yaml",
            "kubectl get pods | head -1",
            "kubectl apply -f a.yaml,b.yaml",
            "curl localhost",
        ] {
            assert_eq!(played(&["cat > a.yaml <<E", "a: 1", "E", line]), Err(line.into()));
        }
        for document in ["cat > a.yaml <<E", "kubectl apply -f - <<E", "kubectl apply -f - <<-'E'"] {
            assert_eq!(played(&[document, "a: $A", "E"]), Err(document.into()));
        }
        let piped = "kubectl apply -f - <<'E' | tee x";
        assert_eq!(played(&[piped, "a: 1", "E"]), Err(piped.into()));
    }

    /// `goto` plays the steps before its target up to the first that needs a shell.
    #[test]
    fn goto_plays_the_built_in_steps_that_wait_and_that_write_a_file() {
        let library = Library::built_in();
        for (id, steps) in [
            ("control-tower/07", &["back"][..]),
            ("control-tower/10", &["named", "measure", "record"]),
            ("first-voyage/13", &["recreate"]),
            ("first-voyage/19", &["apply"]),
            ("first-voyage/20", &["claim", "db", "backup"]),
        ] {
            let lesson = library.find(id, None).unwrap();
            for step in steps {
                let step = &lesson.steps[lesson.step(step).unwrap()];
                assert!(
                    !needs_shell(&step.whole()),
                    "{id} {}: {:?}",
                    step.id,
                    played_commands(&step.whole())
                );
            }
        }
    }
}
