//! The lines of a lesson or a lab: which of them may fail, and what a manifest or a here-document
//! is made of.
//!
//! What is read from them stands in the parts: [`objects`] that they make, delete or change, those
//! that the teacher plays [`without_shell`], and those that reach the [`machine`]. [`look`] tells
//! how to find out what a line would take before it runs. [`Act`] is what a verb of kubectl's does,
//! wherever that is asked. [`in_scope`] rewrites lines for a namespace of the lesson's own.

mod files;
pub(crate) mod in_scope;
pub(crate) mod look;
pub(crate) mod machine;
pub(crate) mod objects;
mod shell;
mod verbs;
pub(crate) mod without_shell;

use kubectl::flag::{Flag, Kind};
use kubectl::table::{self, Verb};
use std::collections::BTreeSet;

pub(crate) use files::{Files, written};
pub(crate) use shell::{
    Place, cluster_program, commands_in, first_command, is_assignment, is_plain, knows_namespaces, letters,
};
pub(crate) use verbs::Act;

/// Lines of a here-document. The end of a longer one is not looked for.
const HERE_MAX: usize = 1000;

/// The line without a `-` before it, and whether there was one.
pub(crate) fn may_fail(line: &str) -> (&str, bool) {
    line.strip_prefix('-').map_or((line, false), |rest| (rest.trim_start(), true))
}

/// The word that ends the here-document which follows this line: `EOF` of `cat > db.yaml <<'EOF'`.
/// `None` too if the line has all of the document in it.
pub(crate) fn here_document(line: &str) -> Option<String> {
    document(line).filter(|(_, is_within)| !is_within).map(|(word, _)| word)
}

/// The word that ends the here-document of a line, and whether that stands within it. What stands
/// in quotes begins none, and `<<<` is a text on the line itself.
fn document(line: &str) -> Option<(String, bool)> {
    let signs = letters(line).filter(|(_, c, place)| *c == '<' && *place == Place::Bare);
    let at: Vec<usize> = signs.map(|(at, ..)| at).collect();
    let mut runs = at.chunk_by(|one, next| one + 1 == *next);
    let after = &line[runs.find(|run| run.len() == 2)?[1] + 1..];
    let word = after.trim_start_matches('-').trim_start().trim_start_matches(['\'', '"', '\\']);
    let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    let word = &word[..end];
    let is_within = after.lines().skip(1).any(|line| line.trim_start_matches('\t') == word);
    (!word.is_empty()).then(|| (word.to_string(), is_within))
}

/// Lines without the `-` before those that may fail, and the positions of these. In a manifest or a
/// here-document a `-` begins an item of a list, and `---` the next object.
pub(crate) fn unmarked(lines: Vec<String>) -> (Vec<String>, BTreeSet<usize>) {
    let (mut plain, mut marked, mut rest) = (Vec::new(), BTreeSet::new(), lines.as_slice());
    while let Some((line, after)) = rest.split_first() {
        let (text, is_marked) = may_fail(line);
        if is_marked {
            marked.insert(plain.len());
        }
        plain.push(text.to_string());
        let (_, behind) = following(line, after);
        plain.extend_from_slice(&after[..after.len() - behind.len()]);
        rest = behind;
    }
    (plain, marked)
}

/// The arguments of a command of kubectl's: its words without the `kubectl` or `k` before them,
/// which a line may leave out.
pub(crate) fn arguments(words: &[String]) -> &[String] {
    match words.split_first() {
        Some((program, rest)) if matches!(program.as_str(), "kubectl" | "k") => rest,
        _ => words,
    }
}

/// The words of a command of kubectl's that are no flags and no values of flags, up to `--`: the
/// verb first.
///
/// Example: `-n shop delete -l app=web pods` has the words `delete` and `pods`.
pub(crate) fn bare_words(words: &[String]) -> Vec<&str> {
    verb_and_words(words).1
}

/// Returns the verb of a command of kubectl's, and its [`bare_words`], which begin with those of
/// the verb. Other than by `kubectl::parse` the verb is found, too, where a flag has a value that
/// the shell has yet to fill in (`--timeout=$T`). A command without a verb has that of `kubectl`
/// itself.
///
/// Example: `rollout undo --to-revision 2 deploy/web` has the verb `rollout undo` and the words
/// `rollout`, `undo` and `deploy/web`.
pub(crate) fn verb_and_words(words: &[String]) -> (&'static Verb, Vec<&str>) {
    // Before the verb only kubectl's own flags may stand.
    let (mut verb, mut is_whole) = (table::root(), false);
    let mut found = Vec::new();
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word.len() > 1
            && let Some(name) = word.strip_prefix('-')
        {
            let flag = name.strip_prefix('-').map_or_else(|| last_flag(verb, name), |long| verb.flag(long));
            if flag.is_some_and(|f| f.kind != Kind::Bool && f.alone.is_empty()) {
                words.next();
            }
            continue;
        }
        match verb.child(word).filter(|_| !is_whole) {
            Some(child) => verb = child,
            None => is_whole = true,
        }
        found.push(word.as_str());
    }
    (verb, found)
}

/// Returns the last of the short flags that stand together in a word. `None`: the value of one of
/// them is in this word, or there is no such flag.
///
/// ```text
/// -wn        n: `w` has no value
/// -nshop     none: `shop` is the value of `n`
/// -o=wide    none
/// ```
fn last_flag(verb: &Verb, letters: &str) -> Option<&'static Flag> {
    let mut letters = letters.chars();
    let last = letters.next_back()?;
    let has_no_value = |letter| verb.short_flag(letter).is_some_and(|flag| flag.kind == Kind::Bool);
    letters.all(has_no_value).then(|| verb.short_flag(last))?
}

/// Returns whether a line is a learner's answer to the question of a step. The teacher plays none.
pub(crate) fn is_answer(line: &str) -> bool {
    line.split_whitespace().next() == Some("answer")
}

/// Lines as (command, what it reads): a manifest follows its `-f -` up to a line `.`, and a
/// here-document follows its line up to the word that it names. A later `-f FILE` reads the text
/// that a here-document wrote to this file. Answers of the learner's are left out.
///
/// ```text
/// cat > a.yaml <<'END'     ("cat > a.yaml <<'END'", "kind: Pod\n")
/// kind: Pod
/// END
/// kubectl apply -f a.yaml  ("kubectl apply -f a.yaml", "kind: Pod\n")
/// ```
pub(crate) fn commands(lines: &[String]) -> Vec<(String, String)> {
    let (mut all, mut files, mut rest) = (Vec::new(), Files::default(), lines);
    while let Some((line, after)) = rest.split_first() {
        let (input, behind) = following(line, after);
        rest = behind;
        let input = files.follow(line, input);
        if !is_answer(line) {
            all.push((line.clone(), input));
        }
    }
    all
}

/// Returns the text behind a command that is its standard input, and the lines behind that text.
/// `after`: the lines after the command.
pub(crate) fn following<'a>(line: &str, after: &'a [String]) -> (String, &'a [String]) {
    let near = &after[..after.len().min(HERE_MAX)];
    let ends = |word: String| near.iter().position(|l| l.trim_start_matches('\t') == word);
    let count = match here_document(line).and_then(ends) {
        Some(count) => count,
        None if reads_manifest(line) => after.iter().position(|l| ends_manifest(l)).unwrap_or(after.len()),
        None => return (String::new(), after),
    };
    let text = after[..count].iter().flat_map(|l| [l.as_str(), "\n"]).collect();
    (text, after.get(count + 1..).unwrap_or_default())
}

/// Returns whether a manifest follows this line. A line that is not kubectl's alone is looked at by
/// its words.
pub(crate) fn reads_manifest(line: &str) -> bool {
    if document(line).is_some_and(|(_, is_within)| is_within) {
        return false;
    }
    let words = shlex::split(may_fail(line).0).unwrap_or_default();
    // Most lines name no standard input, and need not be parsed for that to be known.
    let may_be_stdin = |word: &String| word.split(['=', ',']).any(|part| part.ends_with('-'));
    if !words.is_empty() && !words.iter().any(may_be_stdin) {
        return false;
    }
    if let Ok(parsed) = kubectl::parse::parse(arguments(&words)) {
        return parsed.reads_stdin();
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    words.windows(2).any(|w| matches!(w[0], "-f" | "--filename") && w[1] == "-")
}

/// Returns whether this is the line behind the last one of a manifest.
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
        assert_eq!(here_document("cat <<<'<<A' <<B"), Some("B".to_string()));
    }

    /// Else such a line would be run with its `-`, as a command of its own.
    #[test]
    fn a_here_document_without_an_end_has_no_lines() {
        let lines = ["cat > a <<END".to_string(), "-true".to_string()];
        assert_eq!(unmarked(lines.to_vec()).1, [1].into());
        let commands: Vec<String> = commands(&lines).into_iter().map(|(line, _)| line).collect();
        assert_eq!(commands, lines);
    }

    #[test]
    fn quoted_signs_begin_no_here_document() {
        for line in
            ["echo 'a <<EOF'", "echo \"a <<EOF\"", r"echo a \<\<EOF", r"echo a \<<EOF", "grep '<'<EOF"]
        {
            assert_eq!(here_document(line), None, "{line}");
        }
        let lines = ["kubectl create cm a --from-literal=b='x <<y'", "-kubectl get pods", "y"];
        let (plain, marked) = unmarked(lines.map(String::from).to_vec());
        assert_eq!((&*plain[1], marked), ("kubectl get pods", [1].into()));
        let indented =
            ["cat > a.yaml <<'END'", "text: |", "  END", "- item", "END"].map(String::from).to_vec();
        assert_eq!(unmarked(indented.clone()), (indented, BTreeSet::new()), "a shell goes on, too");
        assert_eq!(here_document("echo '<<A' \"<<B\" <<C"), Some("C".to_string()));
    }

    /// The value of `--to-revision` was read as the object's name.
    #[test]
    fn a_verb_of_several_words_has_its_own_flags() {
        for (line, path, bare) in [
            ("rollout undo --to-revision 2 deploy/web", "rollout undo", "rollout undo deploy/web"),
            ("-n shop delete -l app=web pods", "delete", "delete pods"),
            ("create ns delete", "create namespace", "create ns delete"),
            ("create deploy --image nginx web", "create deployment", "create deploy web"),
            ("apply view-last-applied -f a.yaml", "apply view-last-applied", "apply view-last-applied"),
            ("delete pod get --timeout=$T -- x", "delete", "delete pod get"),
            ("rollout $DO undo", "rollout", "rollout $DO undo"),
            ("get -wn shop pods", "get", "get pods"),
            ("get -nshop pods -o=wide web", "get", "get pods web"),
            ("exec -it web -c app -- sh", "exec", "exec web"),
            ("apply -Rf shop", "apply", "apply"),
            ("$DO get", "", "$DO get"),
        ] {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            let (verb, found) = verb_and_words(&words);
            assert_eq!((verb.path, found.join(" ").as_str()), (path, bare), "{line}");
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

    #[test]
    fn manifests_follow_their_command() {
        let lines = ["kubectl apply -f -", "a: 1", "b: 2", ".", "kubectl get pods"].map(String::from);
        let want = [("kubectl apply -f -", "a: 1\nb: 2\n"), ("kubectl get pods", "")];
        assert_eq!(commands(&lines), want.map(|(a, b)| (a.to_string(), b.to_string())));
    }
}
