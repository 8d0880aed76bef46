//! What Tab offers: verbs, flags, kinds and live names of kubectl, words of this place, files for the shell.

use super::commands;
use super::line::{self, BARE_VERBS, SHADOWED, WORDS};
use super::names::Names;
use crate::api::kinds::{self, Kind};
use std::sync::Arc;

/// Where names come from; a test has its own.
pub trait Source {
    fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String>;
}

impl Source for Arc<Names> {
    fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String> {
        self.of(kind, namespace)
    }
}

/// What fits at the end of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Offer {
    /// Words, sorted, that begin with what was typed.
    Words(Vec<String>),
    /// Names of files.
    #[default]
    Files,
}

const FLAGS: &[(&str, &[&str])] = &[
    ("", &["--namespace", "--kubeconfig", "--context", "--help", "-n"]),
    (
        "get",
        &[
            "--all-namespaces",
            "-A",
            "--output",
            "-o",
            "--selector",
            "-l",
            "--watch",
            "-w",
            "--show-labels",
            "--sort-by",
            "--field-selector",
            "--no-headers",
            "--filename",
            "-f",
        ],
    ),
    ("describe", &["--all-namespaces", "-A", "--selector", "-l", "--filename", "-f", "--show-events"]),
    (
        "delete",
        &[
            "--all",
            "--filename",
            "-f",
            "--force",
            "--grace-period",
            "--cascade",
            "--now",
            "--selector",
            "-l",
            "--wait",
            "--dry-run",
        ],
    ),
    (
        "apply",
        &[
            "--filename",
            "-f",
            "--dry-run",
            "--server-side",
            "--prune",
            "--output",
            "-o",
            "--validate",
            "--recursive",
        ],
    ),
    (
        "create",
        &[
            "--filename",
            "-f",
            "--dry-run",
            "--output",
            "-o",
            "--save-config",
            "--image",
            "--replicas",
            "--port",
            "--from-literal",
            "--from-file",
            "--tcp",
        ],
    ),
    (
        "run",
        &[
            "--image",
            "--restart",
            "--port",
            "--env",
            "--labels",
            "-l",
            "--command",
            "--rm",
            "-it",
            "--dry-run",
            "--output",
            "-o",
            "--expose",
        ],
    ),
    (
        "expose",
        &[
            "--port",
            "--target-port",
            "--type",
            "--name",
            "--protocol",
            "--selector",
            "--dry-run",
            "--output",
            "-o",
        ],
    ),
    (
        "logs",
        &[
            "--follow",
            "-f",
            "--previous",
            "-p",
            "--container",
            "-c",
            "--tail",
            "--since",
            "--timestamps",
            "--all-containers",
            "--selector",
            "-l",
        ],
    ),
    ("exec", &["-it", "--stdin", "-i", "--tty", "-t", "--container", "-c"]),
    ("scale", &["--replicas", "--current-replicas"]),
    ("rollout", &["--to-revision", "--revision", "--watch", "--timeout"]),
    ("wait", &["--for", "--timeout", "--all", "--selector", "-l"]),
    ("edit", &["--output", "-o", "--save-config", "--subresource"]),
    ("diff", &["--filename", "-f", "--server-side"]),
    ("replace", &["--filename", "-f", "--force"]),
    ("patch", &["--patch", "-p", "--type", "--subresource", "--dry-run"]),
    ("set", &["--all", "--selector", "-l", "--dry-run", "--output", "-o"]),
    ("explain", &["--recursive", "--api-version"]),
    ("api-resources", &["--namespaced", "--verbs", "--api-group", "--output", "-o"]),
    ("drain", &["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--grace-period"]),
    ("label", &["--overwrite", "--all", "--list", "--selector", "-l"]),
    ("annotate", &["--overwrite", "--all", "--list", "--selector", "-l"]),
    ("version", &["--client", "--output", "-o"]),
];
const OUTPUTS: &[&str] = &["custom-columns=", "json", "jsonpath=", "name", "wide", "yaml"];
const SECOND: &[(&str, &[&str])] = &[
    (
        "create",
        &[
            "clusterrole",
            "clusterrolebinding",
            "configmap",
            "deployment",
            "namespace",
            "priorityclass",
            "role",
            "rolebinding",
            "secret",
            "service",
            "serviceaccount",
            "token",
        ],
    ),
    ("rollout", &["history", "pause", "restart", "resume", "status", "undo"]),
    ("config", &["current-context", "get-contexts", "set-context", "use-context", "view"]),
    ("set", &["env", "image", "resources", "selector", "serviceaccount"]),
    ("auth", &["can-i", "whoami"]),
    ("top", &["node", "pod"]),
    ("cluster-info", &["dump"]),
];
const COMPONENTS: &[&str] = &[
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
    "storage-provisioner",
];

/// What fits after `text`, the line up to the cursor.
pub fn offer(text: &str, source: &dyn Source) -> Offer {
    let text = text.rsplit(['|', ';', '&', '(']).next().unwrap_or(text).trim_start().trim_start_matches('!');
    let mut words = line::cut(text).words;
    if text.is_empty() || text.ends_with(char::is_whitespace) {
        words.push(String::new());
    }
    let Some((last, before)) = words.split_last() else { return Offer::Files };
    let found = match before.first().map(String::as_str) {
        None if last.contains('/') => return Offer::Files,
        None => {
            [&["kubectl", "ropewalk"], BARE_VERBS, WORDS].concat().into_iter().map(String::from).collect()
        }
        Some("kubectl" | "k") => match kubectl(&before[1..], last, source) {
            Some(found) => found,
            None => return Offer::Files,
        },
        Some(verb) if BARE_VERBS.contains(&verb) => match kubectl(before, last, source) {
            Some(found) => found,
            None => return Offer::Files,
        },
        Some("fault") => match before.len() {
            1 => vec!["kill".into()],
            _ => owned(COMPONENTS),
        },
        Some("lang") => vec!["en".into(), "ko".into()],
        Some("help") => owned(BARE_VERBS),
        Some("status" | "trace" | "doctor") if last.starts_with('-') => vec!["-o".into()],
        Some("trace") => match object(last, None, source) {
            Some(found) => found,
            None => {
                kinds::all().iter().filter(|k| k.is_stored()).map(|k| format!("{}/", k.singular)).collect()
            }
        },
        Some(_) => return Offer::Files,
    };
    let mut found: Vec<String> = found.into_iter().filter(|f| f.starts_with(last.as_str())).collect();
    found.sort();
    found.dedup();
    Offer::Words(found)
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Candidates after `kubectl ARGS…`; `None` for a file name.
fn kubectl(args: &[String], last: &str, source: &dyn Source) -> Option<Vec<String>> {
    let asked: Vec<String> = args.iter().cloned().chain([last.to_string()]).collect();
    if let Some(found) = commands::complete(&asked) {
        return Some(found);
    }
    let namespace = value_of(args, &["-n", "--namespace"]);
    match args.last().map(String::as_str) {
        Some("-n" | "--namespace") => return Some(of_kind("namespaces", None, source)),
        Some("-o" | "--output") => return Some(owned(OUTPUTS)),
        Some("-f" | "--filename" | "--kubeconfig") if args.first().is_none_or(|v| v != "logs") => {
            return None;
        }
        Some("-l" | "--selector" | "-c" | "--container" | "--image") => return Some(vec![]),
        _ => {}
    }
    let plain = positional(args);
    let Some(verb) = plain.first() else {
        let verbs = BARE_VERBS.iter().chain(SHADOWED).map(ToString::to_string);
        return Some(verbs.collect());
    };
    if last.starts_with('-') {
        let flags = FLAGS.iter().filter(|(v, _)| v.is_empty() || v == verb);
        return Some(flags.flat_map(|(_, flags)| owned(flags)).collect());
    }
    let two = SECOND.iter().find(|(v, _)| v == verb);
    if let (1, Some((_, second))) = (plain.len(), two) {
        return Some(owned(second));
    }
    let rest = &plain[1 + usize::from(two.is_some())..];
    match *verb {
        "get" | "describe" | "delete" | "edit" | "label" | "annotate" | "patch" | "scale" | "expose"
        | "autoscale" | "wait" | "rollout" | "set" => Some(kind_then_names(rest, last, namespace, source)),
        "explain" => Some(kind_names()),
        "logs" | "exec" | "attach" | "port-forward" | "debug" if rest.is_empty() => {
            Some(object(last, namespace, source).unwrap_or_else(|| of_kind("pods", namespace, source)))
        }
        "cordon" | "uncordon" | "drain" => Some(of_kind("nodes", None, source)),
        "taint" | "top" => Some(match rest.first() {
            _ if *verb == "top" => {
                of_kind(if plain[1].starts_with("no") { "nodes" } else { "pods" }, namespace, source)
            }
            None => owned(&["node"]),
            Some(_) => of_kind("nodes", None, source),
        }),
        "create" | "config" | "run" | "auth" => Some(vec![]),
        _ => None,
    }
}

/// Words that are neither flags nor their values.
fn positional(args: &[String]) -> Vec<&str> {
    let mut plain = Vec::new();
    let mut skip = false;
    for arg in args {
        match arg.as_str() {
            "--" => break,
            _ if std::mem::take(&mut skip) => {}
            "-n" | "--namespace" | "-o" | "--output" | "-l" | "--selector" | "-c" | "--container"
            | "--kubeconfig" | "--context" => skip = true,
            "-f" | "--filename" if plain.first() != Some(&"logs") => skip = true,
            flag if flag.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    plain
}

fn value_of<'a>(args: &'a [String], flags: &[&str]) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| {
        if flags.contains(&arg.as_str()) {
            return args.get(at + 1).map(String::as_str);
        }
        flags.iter().find_map(|f| arg.strip_prefix(f)?.strip_prefix('='))
    })
}

fn named(kind: &str) -> Option<&'static Kind> {
    let short = kind.split('.').next().unwrap_or(kind).to_lowercase();
    kinds::all()
        .iter()
        .find(|k| k.plural == short || k.singular == short || k.short_names.contains(&short.as_str()))
}

fn of_kind(kind: &str, namespace: Option<&str>, source: &dyn Source) -> Vec<String> {
    named(kind).map(|k| source.names(k, namespace)).unwrap_or_default()
}

fn kind_names() -> Vec<String> {
    kinds::all().iter().filter(|k| k.is_stored()).map(|k| k.plural.to_string()).collect()
}

/// `KIND/NA…`: names of that kind with the kind in front.
fn object(last: &str, namespace: Option<&str>, source: &dyn Source) -> Option<Vec<String>> {
    let (kind, _) = last.split_once('/')?;
    Some(of_kind(kind, namespace, source).into_iter().map(|n| format!("{kind}/{n}")).collect())
}

fn kind_then_names(rest: &[&str], last: &str, namespace: Option<&str>, source: &dyn Source) -> Vec<String> {
    match rest.first() {
        None => object(last, namespace, source).unwrap_or_else(kind_names),
        Some(kind) if kind.contains('/') => object(last, namespace, source).unwrap_or_default(),
        Some(kind) => of_kind(kind, namespace, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Source for Fixed {
        fn names(&self, kind: &Kind, namespace: Option<&str>) -> Vec<String> {
            vec![format!("{}-{}", kind.singular, namespace.unwrap_or("here")), "web".into()]
        }
    }

    fn words(text: &str) -> Vec<String> {
        match offer(text, &Fixed) {
            Offer::Words(words) => words,
            Offer::Files => vec!["FILES".into()],
        }
    }

    #[test]
    fn verbs_kinds_names_and_flags_are_offered_where_they_fit() {
        assert_eq!(words("des"), ["describe"]);
        assert_eq!(words("kubectl exe"), ["exec"]);
        assert_eq!(words("get deplo"), ["deployments"]);
        assert_eq!(words("k get po "), ["pod-here", "web"]);
        assert_eq!(words("k -n kube-system get pods p"), ["pod-kube-system"]);
        assert_eq!(words("describe pod/w"), ["pod/web"]);
        assert_eq!(words("rollout un"), ["undo"]);
        assert_eq!(words("rollout undo deployment w"), ["web"]);
        assert_eq!(words("get pods --show"), ["--show-labels"]);
        assert_eq!(words("get pods -o y"), ["yaml"]);
        assert_eq!(words("logs -f w"), ["web"]);
        assert_eq!(words("get pods -n "), ["namespace-here", "web"]);
        assert_eq!(words("ls; k get pods w"), ["web"]);
        assert_eq!(words("apply -f "), ["FILES"]);
        assert_eq!(words("vi ma"), ["FILES"]);
        assert_eq!(words("fault kill kube-s"), ["kube-scheduler"]);
        assert_eq!(words("k set image deployment w"), ["web"]);
        assert_eq!(words("set image deployment w"), ["FILES"]); // the shell's set
    }
}
