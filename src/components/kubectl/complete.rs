//! Completion of verbs, flags, kinds and names: for the REPL and for `kubectl completion`.

use super::table::{self, Verb};
use api::kinds;

/// One word that may stand at the cursor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
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

/// What may stand at the end of `line[..cursor]` (a line with or without `kubectl` before it).
/// `live(resource, namespace)` names the objects that exist; the namespace is empty if the line
/// names none.
pub fn complete(line: &str, cursor: usize, live: impl Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
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

/// As [`complete`], with the words before the one to complete.
pub fn of_words(words: &[String], last: &str, live: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    let (mut verb, mut args, mut namespace, mut flag_value) = (table::root(), vec![], String::new(), None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            return vec![];
        }
        if word.starts_with('-') {
            let name = word.trim_start_matches('-');
            let (name, inline) = match name.split_once('=') {
                Some((name, text)) => (name, Some(text)),
                None => (name, None),
            };
            let flag = if word.starts_with("--") {
                verb.flag(name)
            } else {
                name.chars().next().and_then(|c| verb.short_flag(c))
            };
            let needs = flag.is_some_and(|f| f.alone.is_empty()) && inline.is_none();
            let text = if needs { words.next().map(String::as_str) } else { inline };
            match (flag.map(|f| f.name), text) {
                (Some("namespace"), Some(text)) => namespace = text.to_string(),
                (Some(name), None) if needs => flag_value = Some(name),
                _ => {}
            }
        } else if let Some(child) = verb.child(word).filter(|_| args.is_empty()) {
            verb = child;
        } else {
            args.push(word.clone());
        }
    }
    let mut found = match flag_value {
        Some(name) => values_of(name, live),
        None if last.starts_with('-') => flags_of(verb, last, live),
        None => words_of(verb, &args, last, &namespace, live),
    };
    found.retain(|c| c.text.starts_with(last));
    found.sort();
    found.dedup_by(|a, b| a.text == b.text);
    found
}

fn values_of(flag: &str, live: &dyn Fn(&str, &str) -> Vec<String>) -> Vec<Candidate> {
    let fixed = |list: &[&str]| list.iter().map(|t| candidate(*t, "")).collect();
    match flag {
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
        let values = values_of(name, live).into_iter();
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

/// `po`, `pod`, `Pod` are `pods`; what is unknown stays as it is.
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
        assert_eq!(texts("get -n kube"), ["kube-system"]);
        assert_eq!(texts("scale deploy/"), ["deploy/web"]);
        assert_eq!(texts("get pods --show-l"), ["--show-labels"]);
        assert_eq!(texts("create deployment x --dry-run=c"), ["--dry-run=client"]);
        assert!(texts("exec web-1 -- l").is_empty());
        assert!(texts("get pods -o ").contains(&"yaml".to_string()));
    }
}
