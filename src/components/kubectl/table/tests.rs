//! The table against the code behind it, and flags that are refused.

use super::*;

/// Flags that kubectl takes and that change nothing, there as here: its code sets itself what
/// they would say (`run.go`, `apply.go`, `replace.go`), or they only divide large answers.
const IDLE: &[(&str, &str)] = &[
    ("run", "filename"),
    ("run", "force"),
    ("run", "grace-period"),
    ("run", "kustomize"),
    ("run", "recursive"),
    ("run", "timeout"),
    ("run", "wait"),
    ("drain", "chunk-size"),
    ("describe", "chunk-size"),
    ("events", "chunk-size"),
    ("apply", "wait"),
    ("replace", "wait"),
];

/// Reading fails, too, where a verb has no function or no verb takes a shared flag.
#[test]
fn the_text_of_the_table_is_read() {
    let read = text::read(TEXT, FUNCTIONS);
    assert_eq!(read.as_ref().err(), None);
    assert_eq!(read.map_or(0, |table| table.verbs.len()), FUNCTIONS.len());
    assert_eq!(all().len(), FUNCTIONS.len());
}

#[test]
fn a_text_with_a_mistake_leaves_a_kubectl_that_says_so() {
    let table = Table::unreadable("line 7: no kind of flag is called \"number\"");
    let help = crate::help::of(&table.verbs[0]);
    assert!(help.contains("cannot be read: line 7: no kind of flag is called \"number\".\n"), "{help}");
}

#[test]
fn every_flag_is_read_or_refused() {
    let code = reads::Code::of_room();
    let readers = code.readers();
    let known = |flag: &Flag| REFUSED.contains(&flag.name) || WITHOUT_EFFECT.contains(&flag.name);
    let mut idle = vec![];
    for verb in all().iter().filter(|verb| !verb.path.is_empty()) {
        let text = &readers[verb.path];
        let read = |flag: &Flag| text.contains(&format!("\"{}\"", flag.name));
        let unread = verb.flags.iter().filter(|flag| !known(flag) && !read(flag));
        idle.extend(unread.map(|flag| (verb.path, flag.name)));
    }
    assert_eq!(idle, IDLE, "the code behind a verb does not read a flag of it, or does by now");
    // Global flags are read by shared code, not by each verb.
    let all = code.everything();
    for flag in global().iter().filter(|flag| !known(flag)) {
        assert!(all.contains(&format!("\"{}\"", flag.name)), "no code reads --{}", flag.name);
    }
}

/// The help of a shared flag has to be true for every verb that takes it.
#[test]
fn the_help_of_a_flag_is_about_its_verb() {
    let help = |path: &str, name: &str| named(path).flag(name).map_or("", |flag| flag.help);
    for (path, name, want) in [
        ("create", "filename", "to use to create the resource"),
        ("delete", "filename", "containing the resource to delete"),
        ("get", "filename", "identifying the resource"),
        ("get", "raw", "Raw URI to request"),
        ("get", "output", "custom-columns-file, wide)"),
        ("expose", "selector", "for this service"),
        ("expose", "type", "ClusterIP, NodePort"),
        ("run", "port", "this container exposes"),
        ("", "certificate-authority", "for the certificate authority"),
        ("", "user", "kubeconfig user to use"),
        ("config set-cluster", "certificate-authority", "for the cluster entry"),
        ("exec", "container", "Container name"),
        ("logs", "container", "Print the logs"),
        ("drain", "force", "do not declare a controller"),
        ("label", "overwrite", "allow labels"),
        ("apply", "overwrite", "resolve conflicts"),
        ("wait", "for", "condition to wait on"),
        ("create configmap", "from-literal", "in configmap (i.e. mykey=somevalue)"),
        ("create secret generic", "from-literal", "in secret (i.e. mykey=somevalue)"),
        ("set image", "local", "the command will NOT contact"),
        ("rollout status", "timeout", "before ending watch"),
    ] {
        assert!(help(path, name).contains(want), "{path} --{name}: {}", help(path, name));
    }
    for verb in all() {
        for flag in verb.all_flags() {
            let count = |bracket: char| flag.help.matches(bracket).count();
            assert_eq!(count('('), count(')'), "{} --{}: {}", verb.path, flag.name, flag.help);
        }
    }
}

/// As kubectl's help shows them.
#[test]
fn flags_have_the_letters_and_defaults_of_kubectl() {
    assert_eq!(named("explain").short_flag('o').map(|flag| flag.name), Some("output"));
    let help = crate::help::of(named("port-forward"));
    assert!(help.contains("    --address=[localhost]:\n"), "{help}");
    let help = crate::help::of(named("top node"));
    assert!(help.contains("    -l, --selector='':\n"), "{help}");
}

#[tokio::test]
async fn a_refused_flag_is_named() {
    let server = crate::testing::Server::start().await;
    let result = server.kubectl(&["get", "cm", "--server-print=false"]).await;
    assert!(result.code == 1 && result.err.contains("--server-print is not implemented"), "{result:?}");
    let result = server.kubectl(&["get", "cm", "--server-print=true", "-o", "name"]).await;
    assert_eq!(result.code, 0, "{result:?}");
}

#[tokio::test]
async fn a_flag_that_a_verb_cannot_obey_is_refused() {
    let server = crate::testing::Server::start().await;
    for (words, why) in [
        (vec!["kustomize", ".", "-e", "A=1"], "--env is not implemented in ropewalk's built-in kubectl"),
        (vec!["wait", "--local", "--for=delete", "cm/a"], "--local cannot be used with wait"),
        (vec!["config", "view", "--merge=false"], "if merge==false a precise file must be specified"),
        (vec!["exec", "p", "--pod-running-timeout=0s", "--", "x"], "--pod-running-timeout must be higher"),
        (vec!["attach", "p", "--pod-running-timeout=0s"], "--pod-running-timeout must be higher"),
        (vec!["port-forward", "p", "80", "--pod-running-timeout=0s"], "--pod-running-timeout must be higher"),
        (vec!["cluster-info", "dump", "--pod-running-timeout=0s"], "--pod-running-timeout must be higher"),
    ] {
        let result = server.kubectl(&words).await;
        assert!(result.code == 1 && result.err.contains(why), "{words:?}: {result:?}");
    }
    assert!(server.requests().is_empty());
}
