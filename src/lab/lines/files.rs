//! Files that here-documents write, and commands that read their texts.

use super::objects;
use super::shell::is_plain;
use super::{Act, here_document, may_fail};
use std::collections::BTreeMap;

/// Bytes of a file that a here-document writes: of a longer one the text is not remembered.
const FILE_MAX: usize = 64 * 1024;
/// Files whose texts are remembered at a time.
const FILES_MAX: usize = 16;
/// Bytes that all commands of some lines read of such files. Beyond that their text is not known.
const READ_MAX: usize = 1024 * 1024;

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
        let names = objects::parsed(line).map(|parsed| parsed.flags.list("filename")).unwrap_or_default();
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

    /// The manifests by which a line of kubectl's makes, changes or deletes objects, as one text.
    /// `None`: it does none of that, or reads none of the files.
    fn read_by(&mut self, line: &str, input: &str) -> Option<String> {
        let parsed = objects::parsed(line)?;
        let acts = matches!(Act::of(parsed.verb), Some(Act::Applies | Act::Creates | Act::Deletes));
        if parsed.flags.is_trial() || !acts {
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
            // A blank may stand between `<<` and the word that ends the here-document.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lines::{HERE_MAX, commands};

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
