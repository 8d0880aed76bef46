//! The lines of a lesson or a lab: which of them may fail, and what a manifest or a here-document
//! is made of.

use super::own;
use kubectl::flag::Kind;
use kubectl::table;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a file that a here-document writes: of a longer one the text is not remembered.
const FILE_MAX: usize = 64 * 1024;
/// Files whose texts are remembered at a time.
const FILES_MAX: usize = 16;
/// Bytes that all commands of some lines read of such files. Beyond that their text is not known.
const READ_MAX: usize = 1024 * 1024;
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
    let (mut plain, mut marked, mut in_manifest) = (Vec::new(), BTreeSet::new(), false);
    let mut until: Option<String> = None;
    for (at, line) in lines.into_iter().enumerate() {
        if until.is_some() {
            until = until.filter(|end| line.trim_start_matches('\t') != end.as_str());
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

/// A line up to the first pipe or other sign of the shell that stands in no quotes. The number of a
/// file before its redirection (`2>`) is the shell's, too.
pub(crate) fn first_command(line: &str) -> &str {
    let is_end = |c: char, place: Place| place == Place::Bare && matches!(c, '|' | ';' | '&' | '>' | '<');
    let Some((end, sign, _)) = letters(line).find(|(_, c, place)| is_end(*c, *place)) else { return line };
    let command = &line[..end];
    let bare = command.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_files = matches!(sign, '>' | '<') && bare.ends_with(char::is_whitespace);
    if is_files { bare } else { command }
}

/// The words of a command of kubectl's that are no flags and no values of flags, up to `--`: the
/// verb first.
///
/// Example: `-n shop delete -l app=web pods` has the words `delete` and `pods`.
pub(crate) fn bare_words(words: &[String]) -> Vec<&str> {
    // Before the verb only kubectl's own flags may stand.
    let mut verb = table::root();
    let mut found = Vec::new();
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        if word.len() > 1
            && let Some(name) = word.strip_prefix('-')
        {
            let flag = match (name.strip_prefix('-'), name.chars().next()) {
                (Some(long), _) => verb.flag(long),
                (None, Some(letter)) if name.len() == 1 => verb.short_flag(letter),
                _ => None, // `-nshop`, `-it`, `-o=wide`: nothing follows
            };
            if flag.is_some_and(|f| f.kind != Kind::Bool && f.alone.is_empty()) {
                words.next();
            }
            continue;
        }
        if found.is_empty() {
            verb = verb.child(word).unwrap_or(verb);
        }
        found.push(word.as_str());
    }
    found
}

/// Is it a learner's answer to the question of a step? The teacher plays none.
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

/// Of the lines after a command, the text that is its standard input, and the lines behind that.
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

/// The texts of files that here-documents have written, by the names of the files.
#[derive(Default)]
pub(crate) struct Files {
    texts: BTreeMap<String, String>,
    /// The bytes that were read of them. A few lines could name one file very often.
    read: usize,
}

impl Files {
    /// Follows a line whose standard input is `input`, and returns all that it reads.
    pub(crate) fn follow(&mut self, line: &str, input: String) -> String {
        if let Some((name, appends)) = written(line) {
            let before = self.texts.remove(&name);
            let text = match (appends, before) {
                (false, _) => input.clone(),
                (true, Some(before)) => before + &input,
                // The beginning of the file is not known.
                (true, None) => return input,
            };
            if text.len() <= FILE_MAX && self.texts.len() < FILES_MAX {
                self.texts.insert(name, text);
            }
            return input;
        }
        if self.texts.is_empty() {
            return input;
        }
        if let Some(text) = self.read_by(line, &input) {
            return text;
        }
        // Another program may change the files that it names: `sed -i s/a/b/ web.yaml`.
        if !is_plain(may_fail(line).0) {
            self.texts.retain(|name, _| !line.contains(name.as_str()));
        }
        input
    }

    /// A line of kubectl's with `-f -` in the place of a file, and the text that it reads. `input`:
    /// what follows the line. `None`: the text of a file that it names is not known.
    pub(crate) fn as_input(&self, line: &str, input: String) -> Option<(String, String)> {
        let names = own::parsed(line).map(|parsed| parsed.flags.list("filename")).unwrap_or_default();
        let [name] = names.as_slice() else { return names.is_empty().then(|| (line.into(), input)) };
        if name == "-" {
            return Some((line.into(), input));
        }
        let text = self.texts.get(plain_path(name))?;
        let mut words: Vec<&str> = line.split(' ').collect();
        let is_here = |pair: &[&str]| matches!(pair[0], "-f" | "--filename") && pair[1] == name;
        let at = words.windows(2).position(is_here)?;
        words[at + 1] = "-";
        Some((words.join(" "), text.clone()))
    }

    /// The manifests that a line of kubectl's makes or deletes objects from, as one text. `None`:
    /// it does neither, or reads none of the files.
    fn read_by(&mut self, line: &str, input: &str) -> Option<String> {
        let parsed = own::parsed(line)?;
        if parsed.flags.is_trial() || !matches!(parsed.verb.path, "apply" | "create" | "delete" | "replace") {
            return None;
        }
        let names = parsed.flags.list("filename");
        let text_of = |name: &String| match name.as_str() {
            "-" => Some(input),
            name => self.texts.get(plain_path(name)).map(String::as_str),
        };
        let texts: Vec<&str> = names.iter().filter_map(text_of).collect();
        let bytes: usize = texts.iter().map(|text| text.len() + 4).sum();
        if texts.is_empty() || self.read + bytes > READ_MAX {
            return None;
        }
        self.read += bytes;
        Some(texts.join("---\n"))
    }
}

/// The file that a line writes its here-document to, and whether it appends it: (`db.yaml`, false)
/// of `cat > db.yaml <<'EOF'`. `None`: the line does something else, or more than that.
pub(crate) fn written(line: &str) -> Option<(String, bool)> {
    here_document(line)?;
    let words = shlex::split(may_fail(line).0)?;
    let (program, rest) = words.split_first()?;
    if program != "cat" {
        return None;
    }
    let (mut found, mut rest) = (None, rest.iter());
    while let Some(word) = rest.next() {
        if let Some(end) = word.strip_prefix("<<") {
            // The word that ends it may stand alone.
            if matches!(end, "" | "-") {
                rest.next()?;
            }
            continue;
        }
        let name = word.strip_prefix('>')?;
        let (name, appends) = name.strip_prefix('>').map_or((name, false), |name| (name, true));
        let name = if name.is_empty() { rest.next()?.as_str() } else { name };
        if found.replace((plain_path(name).to_string(), appends)).is_some() {
            return None;
        }
    }
    found
}

/// The name of a file in the current directory without `./` before it.
fn plain_path(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

/// Does a manifest follow this line? A line that is not kubectl's alone is looked at by its words.
pub(crate) fn reads_manifest(line: &str) -> bool {
    if document(line).is_some_and(|(_, is_within)| is_within) {
        return false;
    }
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
        assert_eq!(here_document("cat <<<'<<A' <<B"), Some("B".to_string()));
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

    /// What each command of these lines reads.
    fn read_by(lines: &[&str]) -> Vec<String> {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        commands(&lines).into_iter().map(|(_, input)| input).collect()
    }

    #[test]
    fn a_file_that_a_here_document_wrote_is_read_by_its_name() {
        let lines = [
            "cat > a.yaml <<'END'",
            "kind: A",
            "END",
            "-cat <<\"E\" >./b.yaml",
            "kubectl delete ns x",
            "E",
            "cat >> a.yaml << E",
            "a: 1",
            "E",
            "kubectl get pods",
            "kubectl apply -n x -f ./a.yaml && kubectl wait pod a --for=delete",
            "-kubectl create -f b.yaml,a.yaml",
            "kubectl replace --filename=b.yaml -f a.yaml",
        ];
        let a = "kind: A\na: 1\n";
        let b = "kubectl delete ns x\n";
        let both = format!("{b}---\n{a}");
        assert_eq!(read_by(&lines), ["kind: A\n", b, "a: 1\n", "", a, &both, &both]);
        assert_eq!(
            read_by(&["kubectl apply -f - <<END", "a: 1", ".", "END", "kubectl get pods"]),
            ["a: 1\n.\n", ""],
            "it ends with its own word"
        );
        assert_eq!(read_by(&["cat <<END", "answer a"]).len(), 1, "a here-document without an end");
    }

    /// A pack may have very many such lines, and one line may name its file very often.
    #[test]
    fn what_commands_read_of_files_has_a_bound() {
        let text = "a".repeat(FILE_MAX - 1);
        let often = format!("kubectl apply -f {}", ["a.yaml"; 100].join(","));
        let mut lines = vec!["cat > a.yaml <<E", &text, "E", &often];
        assert_eq!(read_by(&lines).pop().unwrap_or_default(), "");
        lines.pop();
        lines.extend(["kubectl apply -f a.yaml"; 100]);
        let read: usize = read_by(&lines).iter().skip(1).map(String::len).sum();
        assert!((READ_MAX / 2..=READ_MAX).contains(&read), "{read}");
        let far = vec!["kind: A"; HERE_MAX];
        let lines: Vec<&str> = [&["cat > a.yaml <<E"][..], &far, &["E"]].concat();
        assert_eq!(read_by(&lines)[0], "", "its end is too far away");
    }

    #[test]
    fn a_file_whose_text_is_not_known_is_not_read() {
        let after = |line: &str, command: &str| {
            read_by(&["cat > a.yaml <<E", "kind: A", "E", line, command]).pop().unwrap_or_default()
        };
        let apply = "kubectl apply -f a.yaml";
        assert_eq!(after("kubectl diff -f a.yaml", apply), "kind: A\n");
        for line in ["sed -i s/A/B/ a.yaml", "kubectl get pod a -o yaml > a.yaml", "vi a.yaml"] {
            assert_eq!(after(line, apply), "", "{line}");
        }
        for command in [
            "kubectl apply -f other.yaml",
            "kubectl apply -f a.yaml --dry-run=server",
            "kubectl get -f a.yaml",
            "echo kubectl apply -f a.yaml",
        ] {
            assert_eq!(after("kubectl get pods", command), "", "{command}");
        }
        let appended = ["cat >> a.yaml <<E", "kind: A", "E", apply];
        assert_eq!(read_by(&appended)[1], "", "the beginning of the file is not known");
        let long = "a".repeat(FILE_MAX);
        assert_eq!(read_by(&["cat > a.yaml <<E", &long, "E", apply])[1], "");
    }
}
