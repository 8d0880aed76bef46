//! The lines of a lesson or a lab: which of them may fail, what a manifest or a here-document is
//! made of, and what the teacher, who has no shell, can play.

use kubectl::table;
use std::collections::BTreeSet;

/// The line without a `-` before it, and whether there was one.
pub(crate) fn may_fail(line: &str) -> (&str, bool) {
    line.strip_prefix('-').map_or((line, false), |rest| (rest.trim_start(), true))
}

/// The word that ends the here-document of this line: `EOF` of `cat > db.yaml <<'EOF'`.
fn here_document(line: &str) -> Option<String> {
    let (_, after) = line.split_once("<<").filter(|(_, after)| !after.starts_with('<'))?;
    let word = after.trim_start_matches('-').trim_start().trim_start_matches(['\'', '"', '\\']);
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    Some(word[..end].to_string()).filter(|word| !word.is_empty())
}

/// Lines without the `-` before those that may fail, and the positions of these. In a manifest or a
/// here-document a `-` begins an item of a list, and `---` the next object.
pub(crate) fn unmarked(lines: Vec<String>) -> (Vec<String>, BTreeSet<usize>) {
    let (mut plain, mut marked, mut in_manifest) = (Vec::new(), BTreeSet::new(), false);
    let mut until: Option<String> = None;
    for (at, line) in lines.into_iter().enumerate() {
        if until.is_some() {
            until = until.filter(|end| line.trim() != end.as_str());
            plain.push(line);
            continue;
        }
        if in_manifest {
            in_manifest = !ends_manifest(&line);
            plain.push(line);
            continue;
        }
        until = here_document(&line);
        in_manifest = until.is_none() && reads_manifest(&line);
        let (text, may_fail) = may_fail(&line);
        if may_fail {
            marked.insert(at);
        }
        plain.push(text.into());
    }
    (plain, marked)
}

/// Is there a line among these that only a shell can run? Then the teacher plays none of them.
pub(crate) fn needs_shell(lines: &[String]) -> bool {
    commands(lines).iter().any(|(line, _)| !is_plain(may_fail(line).0))
}

/// Nothing in it only a shell could do. What stands in quotes is a word like any other, but for
/// what a shell puts into double ones.
pub(crate) fn is_plain(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let known = word.is_empty()
        || ["fault", "k", "kubectl"].contains(&word)
        || table::root().children().any(|v| v.name() == word);
    let is_shells = |(_, c, place): (usize, char, Place)| match place {
        Place::Literal => false,
        Place::Double => matches!(c, '$' | '`'),
        Place::Bare => matches!(c, '$' | '`' | '|' | '>' | '<' | ';' | '&'),
    };
    known && !letters(line).any(is_shells)
}

/// How a shell reads a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no quotes: it may be a sign of the shell.
    Bare,
    /// In double quotes, where `$` and a backquote are signs.
    Double,
    /// In single quotes or behind a backslash.
    Literal,
}

/// The letters of a line with their positions in bytes, and how a shell reads them. The quotes
/// themselves, and backslashes that quote, are left out.
///
/// Example: of `a "b;" \;` the first `;` is [`Place::Double`] and the second [`Place::Literal`].
pub(crate) fn letters(line: &str) -> impl Iterator<Item = (usize, char, Place)> {
    let (mut quote, mut escaped) = (None, false);
    line.char_indices().filter_map(move |(at, c)| {
        if std::mem::take(&mut escaped) {
            return Some((at, c, Place::Literal));
        }
        match quote {
            Some(own) if c == own => quote = None,
            Some('\'') => return Some((at, c, Place::Literal)),
            _ if c == '\\' => escaped = true,
            Some(_) => return Some((at, c, Place::Double)),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => return Some((at, c, Place::Bare)),
        }
        None
    })
}

/// Is it a learner's answer to the question of a step? The teacher plays none.
pub(crate) fn is_answer(line: &str) -> bool {
    line.split_whitespace().next() == Some("answer")
}

/// Lines as (command, what it reads): a manifest follows its `-f -` up to a line `.`. Answers of
/// the learner's are left out.
pub(crate) fn commands(lines: &[String]) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut rest = lines.iter();
    while let Some(line) = rest.next() {
        let mut input = String::new();
        if reads_manifest(line) {
            for more in rest.by_ref().take_while(|l| !ends_manifest(l)) {
                input.push_str(more);
                input.push('\n');
            }
        }
        if !is_answer(line) {
            all.push((line.clone(), input));
        }
    }
    all
}

/// Does a manifest follow this line? A line that is not kubectl's alone is looked at by its words.
pub(crate) fn reads_manifest(line: &str) -> bool {
    let words = shlex::split(may_fail(line).0).unwrap_or_default();
    // Most lines name no standard input, and need not be parsed for that to be known.
    let is_there = |word: &String| word.split(['=', ',']).any(|part| part.ends_with('-'));
    if !words.is_empty() && !words.iter().any(is_there) {
        return false;
    }
    let args = match words.first().map(String::as_str) {
        Some("kubectl" | "k") => &words[1..],
        _ => &words[..],
    };
    if let Ok(parsed) = kubectl::parse::parse(args) {
        return parsed.reads_stdin();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).any(|w| matches!(w[0], "-f" | "--filename") && w[1] == "-")
}

/// Is this the line behind the last one of a manifest?
pub(crate) fn ends_manifest(line: &str) -> bool {
    matches!(line, "." | "EOF")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_marks_no_line_of_a_here_document() {
        let lines = [
            "-cat > db.yaml <<'EOF'",
            "- a",
            "---",
            "EOF",
            "-kubectl apply -f - <<EOF",
            "---",
            "EOF",
            "-true",
        ];
        let (plain, marked) = unmarked(lines.map(String::from).to_vec());
        assert_eq!(plain[1..4], ["- a", "---", "EOF"]);
        assert_eq!((&*plain[5], &*plain[7]), ("---", "true"));
        assert_eq!(marked, [0, 4, 7].into());
        assert_eq!(here_document("cat <<-\"END\" > x"), Some("END".to_string()));
        assert_eq!(here_document("cat <<<word"), None);
    }

    #[test]
    fn letters_are_read_as_a_shell_reads_them() {
        let places = |line: &str| -> Vec<(char, Place)> {
            letters(line).filter(|(_, c, _)| *c != ' ').map(|(_, c, place)| (c, place)).collect()
        };
        assert_eq!(
            places(r#"; ";'" ';"\' \; "\"$""#),
            [
                (';', Place::Bare),
                (';', Place::Double),
                ('\'', Place::Double),
                (';', Place::Literal),
                ('"', Place::Literal),
                ('\\', Place::Literal),
                (';', Place::Literal),
                ('"', Place::Literal),
                ('$', Place::Double),
            ]
        );
        assert_eq!(letters("가;").last(), Some((3, ';', Place::Bare)));
        for (line, plain) in [("get po -l 'a>b'", true), ("get po \"$x\"", false), (r"get po a\;b", true)] {
            assert_eq!(is_plain(line), plain, "{line}");
        }
    }

    #[test]
    fn a_manifest_follows_a_line_that_reads_standard_input() {
        for line in
            ["kubectl apply -Rf -", "-k create --filename=-", "apply -f-", "sed s/a/b/ | kubectl apply -f -"]
        {
            assert!(reads_manifest(line), "{line}");
        }
        for line in ["kubectl logs -f web", "kubectl exec web -- tar -f -", "apply -f web.yaml"] {
            assert!(!reads_manifest(line), "{line}");
        }
    }
}
