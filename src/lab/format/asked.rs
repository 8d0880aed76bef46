//! `asked:` of a check: a line of kubectl. It is compiled to a search of the trace for the request
//! that such a line makes, so every client that asks the same is as good.
//!
//! Example: `kubectl get pods -n shop` becomes a search for a list of `Pod/shop/*` without a
//! selector, which the API server has answered with 200.

use crate::lines::objects;
use api::kinds::Kind;
use cluster::guest::LESSON_NAMESPACE;
use kubectl::parse::{self, Parsed};
use serde_json::Value as Json;

/// The verbs that are understood, and the flags of each.
const VERBS: &[(&str, &[&str])] = &[
    ("get", &["namespace", "all-namespaces", "selector", "field-selector", "output", "as"]),
    ("describe", &["namespace", "all-namespaces", "selector", "as"]),
    ("logs", &["namespace", "as"]),
    ("exec", &["namespace", "as"]),
    ("delete", &["namespace"]),
    ("create", &["namespace", "as"]),
    ("run", &["namespace", "as"]),
    ("scale", &["namespace", "as"]),
    ("label", &["namespace", "as"]),
    ("annotate", &["namespace", "as"]),
    ("patch", &["namespace", "as"]),
    ("edit", &["namespace", "as"]),
];

/// Flags that every verb has.
const GLOBAL: &[&str] = &[
    "as",
    "as-group",
    "as-uid",
    "certificate-authority",
    "client-certificate",
    "client-key",
    "cluster",
    "context",
    "insecure-skip-tls-verify",
    "kubeconfig",
    "namespace",
    "request-timeout",
    "server",
    "tls-server-name",
    "token",
    "user",
    "v",
];

/// An object that a line names: its kind, and its name if it names one.
struct Named {
    kind: &'static Kind,
    name: Option<String>,
}

/// The expression for a line. `code`: how the API server has answered; else it has agreed.
///
/// # Errors
/// What is wrong with the line.
pub(super) fn source(line: &str, code: Option<u16>) -> Result<String, String> {
    let words = shlex::split(line).ok_or("a quote does not end")?;
    let Some(("kubectl", rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) else {
        return Err("`asked` is a line that begins with kubectl".into());
    };
    let parsed = parse::parse(rest).map_err(|fail| {
        let report = fail.report().0;
        report.lines().next().unwrap_or("kubectl does not understand it").to_string()
    })?;
    let mut path = parsed.verb.path.split(' ');
    let verb = path.next().unwrap_or_default();
    let Some((_, flags)) = VERBS.iter().find(|(known, _)| *known == verb) else {
        let all: Vec<&str> = VERBS.iter().map(|(verb, _)| *verb).collect();
        return Err(format!("`asked` understands {}; for other requests write `is`", all.join(", ")));
    };
    let all = parsed.verb.flags.iter().map(|flag| flag.name).chain(GLOBAL.iter().copied());
    if let Some(flag) = all.into_iter().find(|flag| parsed.flags.changed(flag) && !flags.contains(flag)) {
        return Err(format!("`asked` does not look at --{flag} of kubectl {verb}; write `is`"));
    }
    if parsed.dash.is_some() {
        return Err("`asked` does not look at what follows --; leave it out".into());
    }
    let named = match verb {
        "create" => vec![Named { kind: kind(path.next().unwrap_or_default())?, name: only(&parsed.args)? }],
        "run" | "exec" | "logs" => vec![pod(&parsed.args)?],
        _ => objects(&parsed.args)?,
    };
    if named.is_empty() {
        return Err("`asked` names a kind".into());
    }
    let one = |named: &Named| search(verb, &parsed, named, code);
    Ok(named.iter().map(one).collect::<Result<Vec<_>, _>>()?.join(" && "))
}

fn kind(word: &str) -> Result<&'static Kind, String> {
    objects::kind_of(word).ok_or_else(|| format!("there is no kind {word:?} here"))
}

/// The one name among the words.
fn only(args: &[String]) -> Result<Option<String>, String> {
    match args {
        [name] => Ok(Some(name.clone())),
        _ => Err(format!("`asked` wants one name here, not {}", args.len())),
    }
}

/// The pod that a line is about: `web` or `pod/web`.
fn pod(args: &[String]) -> Result<Named, String> {
    let name = only(args)?.unwrap_or_default();
    let (of, name) = name.split_once('/').unwrap_or(("pod", &name));
    match kind(of)? {
        kind if kind.plural == "pods" => Ok(Named { kind, name: Some(name.into()) }),
        _ => Err("`asked` wants the name of a pod here".into()),
    }
}

/// What stands behind the verb: `pods`, `pods,services`, `pod web`, `pod/web service/web`.
fn objects(args: &[String]) -> Result<Vec<Named>, String> {
    let Some((first, names)) = args.split_first() else { return Ok(vec![]) };
    if first.contains('/') {
        let one = |word: &String| {
            let (of, name) = word.split_once('/').ok_or_else(|| format!("{word:?} has no kind"))?;
            Ok(Named { kind: kind(of)?, name: Some(name.into()) })
        };
        return args.iter().map(one).collect();
    }
    let mut all = Vec::new();
    for word in first.split(',') {
        let kind = kind(word)?;
        all.extend(names.iter().map(|name| Named { kind, name: Some(name.clone()) }));
        if names.is_empty() {
            all.push(Named { kind, name: None });
        }
    }
    Ok(all)
}

/// The search for the request about one object, or about a list.
fn search(verb: &str, parsed: &Parsed, named: &Named, code: Option<u16>) -> Result<String, String> {
    let text = |text: &str| Json::from(text).to_string();
    let kind = named.kind;
    let namespace = match (kind.namespaced, parsed.flags.text("namespace")) {
        (false, _) => "",
        (true, "") => LESSON_NAMESPACE,
        (true, given) => given,
    };
    let whole = verb == "get" || verb == "describe";
    let name = match &named.name {
        None if !whole => return Err(format!("kubectl {verb} needs a name here")),
        None => "*",
        Some(name) if name.contains('=') || name.ends_with('-') => {
            return Err(format!("`asked` does not look at {name:?}; leave it out"));
        }
        Some(name) => name,
    };
    let object = format!("{}/{namespace}/{name}", kind.kind);
    if verb == "delete" {
        return match code {
            None => Ok(format!("trace.exists(t, removes(t, {}))", text(&object))),
            Some(code) => Ok(format!(
                "trace.exists(t, t.own && t.verb == \"delete\" && t.object == {} && !t.dry_run && t.code == {code})",
                text(&object)
            )),
        };
    }
    let user = match parsed.flags.text("as") {
        "" => "learner",
        user => user,
    };
    let mut tests = vec!["t.own".to_string(), format!("t.user == {}", text(user))];
    let mut agreed = "t.code < 300";
    match verb {
        "get" | "describe" => tests.extend(look(verb, parsed, named.name.is_none(), &object)?),
        "logs" => {
            let log = text(&format!("{object}/log"));
            let act = format!("t.verb == \"get\" && t.object == {log} && t.tail != 0");
            tests.push(or_refused(act, verb, &object, code));
        }
        "exec" => {
            agreed = "t.code < 400";
            let act = format!("t.object == {}", text(&format!("{object}/exec")));
            tests.push(or_refused(act, verb, &object, code));
        }
        "create" | "run" => {
            tests.push(format!("t.verb == \"create\" && t.object == {} && !t.dry_run", text(&object)));
        }
        _ => {
            let scale = text(&format!("{object}/scale"));
            let objects = if verb == "scale" { format!("{}, {scale}", text(&object)) } else { text(&object) };
            let act = format!("t.verb in [\"patch\", \"update\"] && t.object in [{objects}] && !t.dry_run");
            tests.push(or_refused(act, verb, &object, code));
        }
    }
    tests.push(code.map_or(agreed.to_string(), |code| format!("t.code == {code}")));
    Ok(format!("trace.exists(t, {})", tests.join(" && ")))
}

/// The test for an act on an object. Where a refusal is wanted, it may be that of the request
/// before the act: kubectl gets the object first, and goes no further if it is refused.
///
/// Example: `kubectl logs ghost` with the code 404 is a `get` of `Pod/default/ghost`; the log of a
/// pod that does not exist is never asked for.
fn or_refused(act: String, verb: &str, object: &str, code: Option<u16>) -> String {
    if code.is_none_or(|code| code < 400) {
        return act;
    }
    let (object, command) = (Json::from(object), Json::from(format!("kubectl {verb}")));
    format!("({act} || t.verb == \"get\" && t.object == {object} && t.command == {command})")
}

/// The tests for a request that only looks.
fn look(verb: &str, parsed: &Parsed, is_list: bool, object: &str) -> Result<Vec<String>, String> {
    let text = |text: &str| Json::from(text).to_string();
    let flags = &parsed.flags;
    let mut tests = vec![format!("t.verb == \"{}\"", if is_list { "list" } else { "get" })];
    match flags.is("all-namespaces") {
        true if !is_list => return Err("one object has one namespace: leave -A out".into()),
        true => {
            let kind = object.split('/').next().unwrap_or_default();
            tests.push(format!(
                "t.object in [{}, {}]",
                text(&format!("{kind}//*")),
                text(&format!("{kind}/*/*"))
            ));
        }
        false => tests.push(format!("t.object == {}", text(object))),
    }
    let (labels, fields) = (flags.text("selector"), flags.text("field-selector"));
    match is_list {
        true if labels.is_empty() && fields.is_empty() => tests.push("t.selector == \"\"".into()),
        true => tests.push(format!("t.labels == {} && t.fields == {}", text(labels), text(fields))),
        false if labels.is_empty() && fields.is_empty() => {}
        false => return Err("a name and a selector do not go together".into()),
    }
    tests.push(match verb {
        "describe" => "(t.command == \"kubectl describe\" || t.command == \"\" && !t.table)".into(),
        _ => "t.command in [\"\", \"kubectl get\", \"kubectl describe\"]".to_string(),
    });
    match flags.text("output") {
        "" => {}
        known @ ("wide" | "yaml" | "json" | "name") => {
            tests.push(format!("(!t.output_known || t.output == {})", text(known)));
        }
        other => {
            return Err(format!("`asked` knows -o wide, yaml, json and name, not {other:?}; write `is`"));
        }
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::{self, text};
    use crate::cel::{Expr, Facts, Use};
    use cel::Value;
    use std::sync::Arc;

    /// A request of the learner's, with the fields that are not the usual ones.
    fn request(verb: &str, object: &str, code: i64, other: &[(&str, Value)]) -> Value {
        let mut record = value::map([
            ("own", Value::Bool(true)),
            ("user", text("learner")),
            ("verb", text(verb)),
            ("object", text(object)),
            ("code", Value::Int(code)),
            ("command", text("kubectl get")),
            ("selector", text("")),
            ("labels", text("")),
            ("fields", text("")),
            ("table", Value::Bool(true)),
            ("dry_run", Value::Bool(false)),
            ("output_known", Value::Bool(true)),
            ("output", text("")),
            ("tail", Value::Int(-1)),
        ]);
        for (name, to) in other {
            record = value::with(&record, name, to.clone());
        }
        record
    }

    fn is_asked(line: &str, code: Option<u16>, request: Value) -> bool {
        let source = source(line, code).unwrap();
        let expr = Expr::compile(&source, Use::Check, &[]).unwrap();
        assert!(!expr.is_level(), "{line}: it has happened");
        expr.holds(&Arc::new(Facts { trace: Arc::new(vec![request]), ..Facts::default() }))
    }

    #[test]
    fn a_line_finds_the_request_that_it_makes() {
        let command = |of: &str| vec![("command", text(of))];
        for (line, request) in [
            ("kubectl get pods", request("list", "Pod/default/*", 200, &[])),
            ("kubectl get po -n shop", request("list", "Pod/shop/*", 200, &[])),
            ("kubectl get pods -A", request("list", "Pod//*", 200, &[])),
            ("kubectl get nodes", request("list", "Node//*", 200, &command(""))),
            ("kubectl get pod web", request("get", "Pod/default/web", 200, &[])),
            ("kubectl get pod/web", request("get", "Pod/default/web", 200, &[])),
            (
                "kubectl get pods -l app=web",
                request(
                    "list",
                    "Pod/default/*",
                    200,
                    &[("selector", text("app=web")), ("labels", text("app=web"))],
                ),
            ),
            ("kubectl get pods -o wide", request("list", "Pod/default/*", 200, &[("output", text("wide"))])),
            (
                "kubectl get pods -o wide",
                request("list", "Pod/default/*", 200, &[("output_known", Value::Bool(false))]),
            ),
            (
                "kubectl describe deploy web",
                request("get", "Deployment/default/web", 200, &command("kubectl describe")),
            ),
            ("kubectl logs web", request("get", "Pod/default/web/log", 200, &command("kubectl logs"))),
            ("kubectl exec web", request("create", "Pod/default/web/exec", 101, &command("kubectl exec"))),
            ("kubectl delete pod web", request("delete", "Pod/default/web", 200, &[])),
            ("kubectl create deployment web", request("create", "Deployment/default/web", 201, &[])),
            ("kubectl run web", request("create", "Pod/default/web", 201, &[])),
            ("kubectl scale deployment web", request("patch", "Deployment/default/web/scale", 200, &[])),
            ("kubectl label pod web", request("patch", "Pod/default/web", 200, &[])),
            (
                "kubectl get pods --as guest",
                request("list", "Pod/default/*", 200, &[("user", text("guest"))]),
            ),
        ] {
            assert!(is_asked(line, None, request.clone()), "{line}");
            let others = value::with(&request, "own", Value::Bool(false));
            assert!(!is_asked(line, None, others), "{line}: of a component");
        }
        assert!(is_asked("kubectl get pod ghost", Some(404), request("get", "Pod/default/ghost", 404, &[])));
        assert!(is_asked(
            "kubectl delete pod ghost",
            Some(404),
            request("delete", "Pod/default/ghost", 404, &[])
        ));
    }

    #[test]
    fn a_refusal_may_be_that_of_the_look_before_the_act() {
        for (line, object) in [
            ("kubectl logs ghost", "Pod/default/ghost"),
            ("kubectl exec ghost", "Pod/default/ghost"),
            ("kubectl label pod ghost", "Pod/default/ghost"),
            ("kubectl patch pod ghost", "Pod/default/ghost"),
            ("kubectl scale deployment ghost", "Deployment/default/ghost"),
        ] {
            let verb = line.split(' ').nth(1).unwrap();
            let look = |verb: &str, code| {
                request("get", object, code, &[("command", text(&format!("kubectl {verb}")))])
            };
            assert!(is_asked(line, Some(404), look(verb, 404)), "{line}");
            assert!(!is_asked(line, Some(404), look("get", 404)), "{line}: another command");
            assert!(!is_asked(line, Some(404), look(verb, 403)), "{line}: another refusal");
            assert!(!is_asked(line, None, look(verb, 200)), "{line}: the look alone is no act");
            assert!(!is_asked(line, Some(200), look(verb, 200)), "{line}: the look alone is no act");
        }
        let refused = request("patch", "Pod/default/web", 403, &[]);
        assert!(is_asked("kubectl label pod web", Some(403), refused), "of the act itself");
    }

    #[test]
    fn another_request_is_not_the_one() {
        let dry = [("dry_run", Value::Bool(true))];
        let tried = request("delete", "Pod/default/web", 200, &dry);
        assert!(!is_asked("kubectl delete pod web", Some(200), tried));
        for (line, request) in [
            ("kubectl get pods", request("list", "Pod/shop/*", 200, &[])),
            ("kubectl get pods", request("list", "Pod/default/*", 403, &[])),
            ("kubectl get pods", request("list", "Service/default/*", 200, &[])),
            ("kubectl get pods", request("list", "Pod/default/*", 200, &[("selector", text("a=b"))])),
            ("kubectl get pods", request("list", "Pod/default/*", 200, &[("command", text("kubectl wait"))])),
            ("kubectl get pods -o wide", request("list", "Pod/default/*", 200, &[])),
            ("kubectl get pod web", request("get", "Pod/default/web", 404, &[])),
            ("kubectl describe pod web", request("get", "Pod/default/web", 200, &[])),
            ("kubectl logs web", request("get", "Pod/default/web/log", 200, &[("tail", Value::Int(0))])),
            ("kubectl delete pod web", request("delete", "Pod/default/web", 200, &dry)),
            ("kubectl create deployment web", request("create", "Deployment/default/web", 201, &dry)),
            ("kubectl get pods --as guest", request("list", "Pod/default/*", 200, &[])),
        ] {
            assert!(!is_asked(line, None, request), "{line}");
        }
        let two = source("kubectl get pods,services", None).unwrap();
        assert_eq!(two.matches("trace.exists").count(), 2, "both are wanted");
    }

    #[test]
    fn what_is_not_looked_at_is_refused() {
        for (line, told) in [
            ("get pods", "begins with kubectl"),
            ("kubectl get pods 'x", "a quote does not end"),
            ("kubectl get", "names a kind"),
            ("kubectl get pood", "there is no kind \"pood\" here"),
            ("kubectl gett pods", "unknown command"),
            ("kubectl get pods --nwo", "--nwo"),
            ("kubectl get pods -w", "does not look at --watch"),
            ("kubectl get pods -o jsonpath={.items}", "knows -o wide"),
            ("kubectl get pod web -A", "leave -A out"),
            ("kubectl rollout status deploy/web", "understands get, describe"),
            ("kubectl exec web -- hostname", "does not look at what follows --"),
            ("kubectl scale deploy web --replicas=3", "does not look at --replicas"),
            ("kubectl label pod web app=db", "does not look at \"app=db\""),
            ("kubectl logs deploy/web", "the name of a pod"),
            ("kubectl delete pods", "needs a name"),
            ("kubectl create deployment", "one name here, not 0"),
        ] {
            let error = source(line, None).unwrap_err();
            assert!(error.contains(told), "{line}: {error}");
        }
    }
}
