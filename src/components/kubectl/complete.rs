//! Completion of verbs, flags, kinds and names: for the REPL and for `kubectl completion`.

use super::flag::Flag;
use super::table::{self, Verb};
use api::kinds;

/// One word that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// The whole word, as it is inserted: `--namespace`, `deployments.apps`, `web-1`.
    pub text: String,
    /// One line about it; may be empty.
    pub help: String,
}

fn candidate(text: impl Into<String>, help: &str) -> Candidate {
    Candidate { text: text.into(), help: help.to_string() }
}

/// Verbs whose first argument is a type.
const TYPED: &[&str] = &[
    "get",
    "describe",
    "delete",
    "edit",
    "scale",
    "expose",
    "label",
    "annotate",
    "patch",
    "explain",
    "wait",
    "rollout status",
    "rollout history",
    "rollout undo",
    "rollout restart",
    "rollout pause",
    "rollout resume",
    "set image",
    "set env",
    "set resources",
    "set serviceaccount",
    "autoscale",
];
/// Verbs whose first argument is a pod.
const OF_PODS: &[&str] = &["logs", "exec", "attach", "port-forward", "cp"];
const OF_NODES: &[&str] = &["cordon", "uncordon", "drain"];

/// As [`of_words`], at the end of `line[..cursor]` (a line with or without `kubectl` before it).
#[cfg(test)]
fn complete(line: &str, cursor: usize, live: impl Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    let line = line.get(..cursor).unwrap_or(line);
    let mut words: Vec<String> = line.split_whitespace().map(String::from).collect();
    let last = if line.ends_with(char::is_whitespace) || line.is_empty() {
        String::new()
    } else {
        words.pop().unwrap_or_default()
    };
    if words.first().is_some_and(|w| w == "kubectl" || w == "k") {
        words.remove(0);
    }
    of_words(&words, &last, &live)
}

/// Returns what may stand for `last`, sorted; `words` are those before it, behind `kubectl`.
/// `live(resource, namespace)` names the objects that exist; the namespace is empty if the line
/// names none.
pub fn of_words(words: &[String], last: &str, live: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    let Some(line) = Line::read(words) else { return vec![] };
    let mut found = match line.flag_value {
        Some(name) => values_of(line.verb, name, live),
        None if last.starts_with('-') => flags_of(line.verb, last, live),
        None => words_of(line.verb, &line.args, last, &line.namespace, live),
    };
    found.retain(|c| c.text.starts_with(last));
    found.sort();
    found.dedup_by(|a, b| a.text == b.text);
    found
}

/// The global flags of a line but `--namespace`, one word each: they name the cluster of the
/// command, and the user.
pub(crate) fn global_flags(words: &[String]) -> Vec<String> {
    Line::read(words).map_or(vec![], |line| line.global)
}

/// The words of a line before the one to complete.
struct Line {
    verb: &'static Verb,
    args: Vec<String>,
    /// Empty if the line names none.
    namespace: String,
    /// The flag whose value is to be completed.
    flag_value: Option<&'static str>,
    /// As [`global_flags`] returns them.
    global: Vec<String>,
}

impl Line {
    /// Reads the words; `None` behind `--`, where they are those of the container's command.
    fn read(words: &[String]) -> Option<Line> {
        let mut line = Line {
            verb: table::root(),
            args: vec![],
            namespace: String::new(),
            flag_value: None,
            global: vec![],
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                return None;
            }
            if word.starts_with('-') {
                line.read_flags(word, &mut words);
            } else if let Some(child) = line.verb.child(word).filter(|_| line.args.is_empty()) {
                line.verb = child;
            } else {
                line.args.push(word.clone());
            }
        }
        Some(line)
    }

    /// Reads the flags of a word, and the last one's value if that is the next word. Letters of
    /// switches may stand together, and the value behind its letter: `-fnshop`.
    fn read_flags(&mut self, word: &str, rest: &mut std::slice::Iter<'_, String>) {
        if let Some(long) = word.strip_prefix("--") {
            let (name, inline) = long.split_once('=').map_or((long, None), |(name, text)| (name, Some(text)));
            if let Some(flag) = self.verb.flag(name) {
                self.take_flag(flag, inline, rest);
            }
            return;
        }
        let mut letters = word.trim_start_matches('-').chars();
        while let Some(letter) = letters.next() {
            let Some(flag) = self.verb.short_flag(letter) else { return };
            let behind = letters.as_str();
            let inline = match behind.strip_prefix('=') {
                None if !flag.alone.is_empty() => None,
                None => Some(behind).filter(|text| !text.is_empty()),
                text => text,
            };
            self.take_flag(flag, inline, rest);
            if inline.is_some() || flag.alone.is_empty() {
                return;
            }
        }
    }

    /// Takes a flag with the value that stands in its word, or else in the next one.
    fn take_flag(
        &mut self,
        flag: &'static Flag,
        inline: Option<&str>,
        rest: &mut std::slice::Iter<'_, String>,
    ) {
        let needs = flag.alone.is_empty() && inline.is_none();
        let text = if needs { rest.next().map(String::as_str) } else { inline };
        let is_own = self.verb.flags.iter().any(|own| own.name == flag.name);
        match (flag.name, text) {
            ("namespace", Some(text)) => self.namespace = text.to_string(),
            (name, None) if needs => self.flag_value = Some(name),
            (name, Some(text)) if !is_own => self.global.push(format!("--{name}={text}")),
            (name, None) if !is_own => self.global.push(format!("--{name}")),
            _ => {}
        }
    }
}

fn values_of(verb: &Verb, flag: &str, live: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    let fixed = |list: &[&str]| list.iter().map(|t| candidate(*t, "")).collect();
    match flag {
        "type" if verb.path == "patch" => fixed(&["json", "merge", "strategic"]),
        "type" if verb.path != "expose" => vec![],
        "namespace" => live("namespaces", "").into_iter().map(|n| candidate(n, "")).collect(),
        "output" => {
            fixed(&["json", "yaml", "kyaml", "wide", "name", "jsonpath=", "go-template=", "custom-columns="])
        }
        "dry-run" => fixed(&["none", "client", "server"]),
        "restart" => fixed(&["Always", "OnFailure", "Never"]),
        "type" => fixed(&["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
        "cascade" => fixed(&["background", "orphan", "foreground"]),
        _ => vec![],
    }
}

fn flags_of(verb: &Verb, last: &str, live: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    if let Some((name, _)) = last.trim_start_matches('-').split_once('=') {
        let values = values_of(verb, name, live).into_iter();
        return values.map(|c| candidate(format!("--{name}={}", c.text), &c.help)).collect();
    }
    let mut found = vec![candidate("--help", "help about this command")];
    for flag in verb.all_flags() {
        let text =
            if flag.alone.is_empty() { format!("--{}=", flag.name) } else { format!("--{}", flag.name) };
        found.push(candidate(text, flag.help));
        if !flag.short.is_empty() && last.len() < 3 {
            found.push(candidate(format!("-{}", flag.short), flag.help));
        }
    }
    found
}

fn words_of(
    verb: &'static Verb,
    args: &[String],
    last: &str,
    namespace: &str,
    live: &dyn Fn(&str, &str) -> Vec<String>,
) -> Vec<Candidate> {
    if verb.path == "help" {
        let about = args.iter().try_fold(table::root(), |verb, word| verb.child(word));
        let verbs = about.into_iter().flat_map(Verb::listed);
        return verbs.map(|c| candidate(c.name(), c.short)).collect();
    }
    let children: Vec<Candidate> =
        verb.listed().filter(|_| args.is_empty()).map(|c| candidate(c.name(), c.short)).collect();
    if !children.is_empty() {
        return children;
    }
    let names = |kind: &str| live(kind, namespace).into_iter();
    if OF_NODES.contains(&verb.path) {
        return names("nodes").map(|n| candidate(n, "")).collect();
    }
    if OF_PODS.contains(&verb.path) {
        if let Some((kind, _)) = last.split_once('/') {
            return names(&plural(kind)).map(|n| candidate(format!("{kind}/{n}"), "")).collect();
        }
        return if args.is_empty() { names("pods").map(|n| candidate(n, "")).collect() } else { vec![] };
    }
    if !TYPED.contains(&verb.path) {
        return vec![];
    }
    if let Some((kind, _)) = last.split_once('/') {
        return names(&plural(kind)).map(|n| candidate(format!("{kind}/{n}"), "")).collect();
    }
    if let Some(kind) = args.first() {
        if kind.contains('/') {
            return vec![];
        }
        return names(&plural(kind)).filter(|n| !args.contains(n)).map(|n| candidate(n, "")).collect();
    }
    let mut found: Vec<Candidate> = vec![];
    for kind in kinds::all().iter().filter(|k| k.verbs.contains(&"get")) {
        found.push(candidate(kind.plural, kind.kind));
        found.extend(kind.short_names.iter().map(|s| candidate(*s, kind.kind)));
    }
    if verb.path == "get" || verb.path == "delete" {
        found.push(candidate("all", "pods, services, workloads"));
    }
    found
}

/// `po`, `pod`, `Pod` are `pods`; an unknown word stays as it is.
fn plural(word: &str) -> String {
    let word = word.to_lowercase();
    let bare = word.split('.').next().unwrap_or("");
    let known =
        kinds::all().iter().find(|k| k.plural == bare || k.singular == bare || k.short_names.contains(&bare));
    known.map_or(word.clone(), |k| k.plural.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let live = |kind: &str, ns: &str| match (kind, ns) {
            ("pods", "") => vec!["web-1".into(), "web-2".into()],
            ("pods", "kube-system") => vec!["coredns".into()],
            ("namespaces", _) => vec!["default".into(), "kube-system".into()],
            ("deployments", _) => vec!["web".into()],
            _ => vec![],
        };
        complete(line, line.len(), live).into_iter().map(|c| c.text).collect()
    }

    #[test]
    fn verbs_kinds_names_and_flags() {
        assert_eq!(texts("kubectl des"), ["describe"]);
        assert_eq!(texts("rollout st"), ["status"]);
        assert_eq!(texts("kubectl help rollout st"), ["status"]);
        assert_eq!(texts("kubectl help des"), ["describe"]);
        assert!(texts("kubectl help get ").is_empty());
        assert_eq!(texts("k get deplo"), ["deploy", "deployments"]);
        assert_eq!(texts("get po "), ["web-1", "web-2"]);
        assert_eq!(texts("delete pod web-1 "), ["web-2"]);
        assert_eq!(texts("logs -n kube-system "), ["coredns"]);
        assert_eq!(texts("logs -nkube-system "), ["coredns"]);
        assert_eq!(texts("-nkube-system logs -f "), ["coredns"]);
        assert_eq!(texts("logs -n=kube-system "), ["coredns"]);
        for switches in ["-fn kube-system", "-fnkube-system", "-fn=kube-system"] {
            assert_eq!(texts(&format!("logs {switches} ")), ["coredns"], "{switches}");
        }
        assert_eq!(texts("get -n kube"), ["kube-system"]);
        assert_eq!(texts("scale deploy/"), ["deploy/web"]);
        assert_eq!(texts("get pods --show-l"), ["--show-labels"]);
        assert_eq!(texts("create deployment x --dry-run=c"), ["--dry-run=client"]);
        assert_eq!(texts("patch pod web-1 --type="), ["--type=json", "--type=merge", "--type=strategic"]);
        assert!(texts("create secret generic x --type ").is_empty());
        assert!(texts("exec web-1 -- l").is_empty());
        assert!(texts("get pods -o ").contains(&"yaml".to_string()));
    }

    #[test]
    fn global_flags_say_which_cluster_is_asked() {
        for (line, want) in [
            ("--context other -n x delete pod", vec!["--context=other"]),
            (
                "get po -s h:1 --insecure-skip-tls-verify -l a=b",
                vec!["--server=h:1", "--insecure-skip-tls-verify"],
            ),
            ("create rolebinding r --user bob --as=eve", vec!["--as=eve"]),
            ("get po -Lapp=web -sh:1?a=b", vec!["--server=h:1?a=b"]),
            ("get po --kubeconfig", vec![]),
            ("exec p --token=t -- --token=u", vec![]),
        ] {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            assert_eq!(global_flags(&words), want, "{line}");
        }
    }
}
