//! `apply -f -`: the lines that follow are the manifest. Pure.

/// Returns whether a kubectl command reads a manifest from standard input. Where kubectl would
/// refuse the command, its words decide: the manifest that follows must not be run by the shell.
pub(crate) fn reads_stdin(words: &[String]) -> bool {
    let args = match words.first().map(String::as_str) {
        Some("kubectl" | "k") => &words[1..],
        _ => words,
    };
    match kubectl::parse::parse(args) {
        // kubectl prints its help instead.
        Ok(parsed) => parsed.reads_stdin() && !parsed.help,
        Err(_) => names_stdin(args),
    }
}

fn names_stdin(args: &[String]) -> bool {
    let args: Vec<&str> = args.iter().map(String::as_str).take_while(|a| *a != "--").collect();
    let pairs = args.windows(2).any(|w| matches!(w[0], "-f" | "--filename" | "--patch-file") && w[1] == "-");
    pairs || args.iter().any(|a| matches!(*a, "-f-" | "-f=-" | "--filename=-" | "--patch-file=-"))
}

/// A manifest on its way in.
#[derive(Debug, Default)]
pub(crate) struct Paste {
    text: String,
}

impl Paste {
    /// Takes one input: a line, or a whole paste. `EOF` or `.` ends it. If a person types, an empty
    /// input after a complete object does so, too; empty lines inside a paste belong to it. Lines
    /// of a script come one at a time, so there an empty one may be in the middle of a manifest.
    /// Returns what follows the end, which is not part of it; `None`: more is to come.
    pub(crate) fn take(&mut self, input: &str, typed: bool) -> Option<String> {
        if typed && input.trim().is_empty() && !input.contains('\n') && complete(&self.text) {
            return Some(String::new());
        }
        let mut lines = input.split('\n');
        while let Some(line) = lines.next() {
            if matches!(line.trim_end(), "EOF" | ".") {
                return Some(lines.collect::<Vec<_>>().join("\n"));
            }
            self.text.push_str(line);
            self.text.push('\n');
        }
        None
    }

    /// The manifest.
    pub(crate) fn text(self) -> String {
        self.text
    }
}

/// Kinds that are whole with nothing but a name.
const BODILESS: &[&str] = &["Namespace", "ServiceAccount"];

/// Returns whether a text is a manifest of whole objects. A heading alone (apiVersion, kind,
/// metadata) is not: its spec will follow. It is read as kubectl reads it, so that a key may stand
/// twice.
pub(crate) fn complete(text: &str) -> bool {
    let mut any = false;
    let Ok(documents) = kubectl::manifest::documents(text.as_bytes()) else { return false };
    for value in documents {
        let Some(object) = value.as_object() else { return false };
        let kind = object.get("kind").and_then(|k| k.as_str()).unwrap_or_default();
        let has = |key: &str| object.get(key).is_some_and(|v| !v.is_null());
        let named = value["metadata"]["name"].is_string()
            || value["metadata"]["generateName"].is_string()
            || has("items");
        let body = BODILESS.contains(&kind)
            || object
                .iter()
                .any(|(k, v)| !matches!(k.as_str(), "apiVersion" | "kind" | "metadata") && !v.is_null());
        if !has("apiVersion") || kind.is_empty() || !named || !body {
            return false;
        }
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n\nspec:\n  containers: []";

    fn args(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn only_a_dash_for_a_file_reads_standard_input() {
        for yes in [
            "apply -f -",
            "create --filename=-",
            "delete -f- -n x",
            "replace --filename -",
            "apply -Rf -",
            "kubectl apply -Rf-",
            "k -n x apply -f a.yaml,-",
            "apply -f - --nope",
        ] {
            assert!(reads_stdin(&args(yes)), "{yes}");
        }
        for no in [
            "apply -f - --help",
            "create -h -f -",
            "apply -f a.yaml",
            "get pods -",
            "exec web -- tar -f -",
            "kubectl logs -f -",
        ] {
            assert!(!reads_stdin(&args(no)), "{no}");
        }
    }

    #[test]
    fn a_pasted_manifest_keeps_its_empty_lines_and_ends_at_an_empty_input() {
        let mut paste = Paste::default();
        assert_eq!(paste.take(POD, true), None);
        assert_eq!(paste.take("", true), Some(String::new()));
        assert_eq!(paste.text(), format!("{POD}\n"));
    }

    #[test]
    fn a_typed_manifest_does_not_end_at_an_empty_line_before_its_spec() {
        let mut paste = Paste::default();
        for line in POD.lines() {
            assert_eq!(paste.take(line, true), None, "{line:?}");
        }
        assert_eq!(paste.take("", true), Some(String::new()));
        assert_eq!(paste.text(), format!("{POD}\n"));
    }

    #[test]
    fn a_manifest_in_a_script_keeps_its_empty_lines() {
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: init}\ndata:\n  run.sh: |\n    set -x\n\n    ls\n";
        for end in ["EOF", "."] {
            let mut paste = Paste::default();
            for line in text.lines() {
                assert_eq!(paste.take(line, false), None, "{line:?}");
            }
            assert_eq!(paste.take(end, false), Some(String::new()));
            assert_eq!(paste.text(), text);
        }
    }

    #[test]
    fn eof_ends_it_wherever_it_stands() {
        let mut paste = Paste::default();
        assert_eq!(paste.take("a: 1\nEOF\nget pods", true), Some("get pods".into()));
        assert_eq!(paste.text(), "a: 1\n");
    }

    #[test]
    fn broken_and_half_objects_are_not_complete() {
        assert!(complete("apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\n"));
        assert!(complete("apiVersion: v1\nkind: Namespace\nmetadata: {name: b, name: a}\n"));
        for half in [
            "",
            "a: [",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
            "apiVersion: v1\nkind: Pod\nspec:\n",
            "- 1",
        ] {
            assert!(!complete(half), "{half}");
        }
    }
}
