//! What belongs to a lesson, and not to the learner's own work: of what its lines name, what was
//! made in it.

use super::format::lesson::Lesson;
use super::lines;
use api::kinds::{self, Kind};
use api::status::qualified;
use cluster::guest::USUAL;
use kubectl::{manifest, parse, table};
use serde_json::Value;
use std::collections::BTreeSet;

/// Letters and digits of the names that controllers draw.
const DRAWN: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The name under which an object is noted: `deployments.apps/default/web`. `resource` is the
/// qualified plural.
pub(crate) fn key(resource: &str, namespace: &str, name: &str) -> String {
    format!("{resource}/{namespace}/{name}")
}

/// The qualified plural of a recorded object. Records name the plural alone; the group is in the
/// object itself, or, without a body, the group of the built-in kind with that plural.
pub(crate) fn resource(plural: &str, body: Option<&[u8]>) -> String {
    let body: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    let written = body.as_ref().and_then(|body| body["apiVersion"].as_str());
    let group = match written {
        Some(version) => version.split_once('/').map_or("", |(group, _)| group),
        None => kinds::stored(plural).map_or("", |k| k.group),
    };
    qualified(group, plural)
}

/// The lines of a lesson's setup, and of the setups and solutions of its steps.
pub(crate) fn parts_of(lesson: &Lesson) -> impl Iterator<Item = &Vec<String>> {
    let steps = lesson.steps.iter().flat_map(|step| [&step.setup, &step.solution]);
    std::iter::once(&lesson.setup).chain(steps)
}

/// Keys of the objects that the lines of a lesson's setup and solutions make or delete.
pub(crate) fn objects_of(lesson: &Lesson) -> BTreeSet<String> {
    parts_of(lesson).flat_map(|lines| objects_made_or_deleted(lines)).collect()
}

/// Keys of the objects that these lines make or delete.
pub(crate) fn objects_made_or_deleted(lines: &[String]) -> BTreeSet<String> {
    lines::commands(lines).into_iter().flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Keys of the objects that these lines make and that must not be there before, as far as they name
/// them.
pub(crate) fn objects_made_new(lines: &[String]) -> BTreeSet<String> {
    let all = lines::commands(lines).into_iter().filter(|(line, _)| !line.starts_with('-') && !deletes(line));
    all.flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Keys of the objects that these lines make, whether they may be there before or not.
pub(crate) fn objects_made(lines: &[String]) -> BTreeSet<String> {
    let all = lines::commands(lines).into_iter().filter(|(line, _)| !deletes(line));
    all.flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Returns whether a line is kubectl's `delete`.
fn deletes(line: &str) -> bool {
    parsed(line).is_some_and(|parsed| parsed.verb.path == "delete")
}

/// The namespaces in which a lesson is played. `None`: it changes more than namespaces hold.
pub(crate) fn places(lesson: &Lesson) -> Option<BTreeSet<String>> {
    let all = parts_of(lesson).map(|lines| namespaces(lines)).collect::<Option<Vec<_>>>()?;
    // The learner may do it otherwise, in the namespace that every lesson calls its own.
    Some(all.into_iter().flatten().chain([USUAL.to_string()]).collect())
}

/// Returns whether a way back to a step of the lesson takes back the objects that these lines
/// change. It is bounded by the namespaces in which the lesson is played, unless a solution changes
/// more than that.
///
/// ```text
/// a lesson in `default`               label node --all a=b    no: the nodes keep their label
/// one whose solution cordons a node   label node --all a=b    yes: everything goes back
/// ```
pub fn takes_back(lesson: &Lesson, lines: &[String]) -> bool {
    let Some(places) = places(lesson) else { return true };
    namespaces(lines).is_some_and(|changed| changed.is_subset(&places))
}

/// Words of Ropewalk's that change no object, or only what a way back does not restore, and the one
/// of the shell that prints the words behind it.
const HARMLESS: [&str; 10] =
    ["drill", "echo", "fault", "lab", "lesson", "map", "progress", "trace", "what", "why"];
/// Words of Ropewalk's that change objects of every namespace.
const WHOLE: [&str; 4] = ["etcdctl", "redo", "rewind", "undo"];
/// kubectl's verbs for nodes.
const OF_NODES: [&str; 4] = ["cordon", "drain", "taint", "uncordon"];

/// The namespaces outside which these lines change nothing. `None`: they change objects that are in
/// no namespace, or in namespaces that are not known.
pub(crate) fn namespaces(lines: &[String]) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (line, input) in lines::commands(lines) {
        for command in lines::commands_in(line.trim_start_matches('-').trim()) {
            let command = behind_ropewalk(&command);
            let first = command.first().map_or("", String::as_str);
            if WHOLE.contains(&first) {
                return None;
            }
            // Behind `timeout 5`, `xargs` or a variable, too.
            let kubectl = command.iter().position(|word| word == "kubectl");
            let words = match kubectl {
                _ if HARMLESS.contains(&first) => continue,
                _ if first == "k" => &command[1..],
                _ if is_verb(first) => command,
                Some(at) if at + 1 < command.len() => &command[at + 1..],
                _ => continue,
            };
            let Ok(parsed) = parse::parse(words) else { return None };
            let verb = parsed.verb.path.split(' ').next().unwrap_or_default();
            if matches!(verb, "get" | "describe" | "logs" | "top" | "wait" | "events" | "explain") {
                continue;
            }
            if OF_NODES.contains(&verb) || parsed.flags.is("all-namespaces") {
                return None;
            }
            let keys = keys(&parsed, &input);
            let kind = parsed
                .args
                .iter()
                .find_map(|word| kind_of(word.split(['/', ',']).next().unwrap_or_default()));
            for key in &keys {
                match key.split('/').collect::<Vec<_>>().as_slice() {
                    ["namespaces", "", name] => found.insert(name.to_string()),
                    [_, "", _] => return None,
                    [_, namespace, _] => found.insert(namespace.to_string()),
                    _ => return None,
                };
            }
            if !keys.is_empty() {
                continue;
            }
            if kind.is_some_and(|kind| !kind.namespaced) && verb != "create" {
                found.extend(namespaces_named(&parsed.args)?);
                continue;
            }
            found.insert(namespace_of(&parsed).to_string());
        }
    }
    Some(found)
}

/// The words of a command without a `ropewalk` before them, which runs kubectl and etcdctl, too.
fn behind_ropewalk(words: &[String]) -> &[String] {
    match words {
        [first, rest @ ..] if first == "ropewalk" => rest,
        words => words,
    }
}

/// The namespaces that stand behind a verb as `namespace shop` or `namespace/shop`. `None`: it is
/// about other objects, too, or chooses namespaces by a selector. What would be set on them
/// (`a=b`) or taken away (`a-`) is no name.
fn namespaces_named(args: &[String]) -> Option<Vec<String>> {
    let is_namespaces = |word: &str| kind_of(word).is_some_and(|kind| kind.plural == "namespaces");
    let mut words = args.iter().filter(|word| !word.contains('=') && !word.ends_with('-')).peekable();
    let names: Vec<String> = match words.peek()?.contains('/') {
        true => words
            .map(|word| word.split_once('/').filter(|(kind, _)| is_namespaces(kind)))
            .map(|named| named.map(|(_, name)| name.to_string()))
            .collect::<Option<_>>()?,
        false => {
            words.next().filter(|kind| is_namespaces(kind))?;
            words.cloned().collect()
        }
    };
    (!names.is_empty()).then_some(names)
}

fn is_verb(word: &str) -> bool {
    table::root().children().any(|verb| verb.name() == word)
}

fn namespace_of(parsed: &parse::Parsed) -> &str {
    match parsed.flags.text("namespace") {
        "" => USUAL,
        named => named,
    }
}

fn names_in(line: &str, input: &str) -> Vec<String> {
    parsed(line).map(|parsed| keys(&parsed, input)).unwrap_or_default()
}

/// The first command of a line, if it is one of kubectl's.
pub(crate) fn parsed(line: &str) -> Option<parse::Parsed> {
    let line = lines::first_command(line.trim_start_matches('-').trim());
    let words = shlex::split(line).unwrap_or_default();
    let words = words.into_iter().skip(usize::from(line.starts_with("kubectl ") || line.starts_with("k ")));
    // What a command prints is known to nobody before.
    let is_printed = |word: &str| word.contains("$(") || word.contains('`');
    let words: Vec<String> = words.take_while(|word| !is_printed(word)).collect();
    parse::parse(&words).ok()
}

/// Keys of the objects that a command makes or deletes. `input`: the manifest that it reads.
fn keys(parsed: &parse::Parsed, input: &str) -> Vec<String> {
    let namespace = namespace_of(parsed);
    let noted = |kind: &Kind, namespace: &str, name: &str| {
        key(&kind.qualified(), if kind.namespaced { namespace } else { "" }, name)
    };
    if parsed.flags.changed("filename") {
        let found = manifest::documents(input.as_bytes()).unwrap_or_default();
        let of = |object: &Value| {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str);
            let (group, version) = text("/apiVersion")?.split_once('/').unwrap_or(("", text("/apiVersion")?));
            let kind = kinds::find(group, version, text("/kind")?)?;
            Some(noted(kind, text("/metadata/namespace").unwrap_or(namespace), text("/metadata/name")?))
        };
        return found.iter().flat_map(flat).filter_map(of).collect();
    }
    let args = &parsed.args[..parsed.dash.unwrap_or(parsed.args.len())];
    let given = || args.iter().map(String::as_str);
    let of_word = |word: &str| kind_of(word).into_iter();
    match parsed.verb.path.split(' ').collect::<Vec<_>>().as_slice() {
        ["run"] => {
            let exposed = parsed.flags.is("expose").then_some("services");
            let kinds: Vec<&'static Kind> = ["pods"].into_iter().chain(exposed).filter_map(kind_of).collect();
            given().take(1).flat_map(|name| kinds.iter().map(move |k| (*k, name))).collect::<Vec<_>>()
        }
        // Called as what they stand for, or as the flag says.
        [verb @ ("autoscale" | "expose")] => {
            let named = match parsed.flags.text("name") {
                "" => args.last().map(|word| word.rsplit('/').next().unwrap_or(word)),
                name => Some(name),
            };
            let made = if *verb == "expose" { "services" } else { "horizontalpodautoscalers" };
            named.into_iter().flat_map(|name| of_word(made).map(move |k| (k, name))).collect()
        }
        ["create", kind, ..] => {
            args.last().into_iter().flat_map(|n| of_word(kind).map(move |k| (k, n.as_str()))).collect()
        }
        ["delete"] if given().any(|word| word.contains('/')) => given()
            .filter_map(|word| word.split_once('/'))
            .flat_map(|(kind, name)| of_word(kind).map(move |k| (k, name)))
            .collect(),
        ["delete"] => {
            let kinds = given().take(1).flat_map(|word| word.split(',')).filter_map(kind_of);
            kinds.flat_map(|kind| given().skip(1).map(move |name| (kind, name))).collect()
        }
        _ => vec![],
    }
    .into_iter()
    .map(|(kind, name)| noted(kind, namespace, name))
    .collect()
}

/// The objects of a document: itself, or the items of a `List`, which kubectl applies one by one.
fn flat(document: &Value) -> Vec<&Value> {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document["items"].as_array().filter(|_| is_list) {
        Some(items) => items.iter().flat_map(flat).collect(),
        None => vec![document],
    }
}

/// The built-in kind that kubectl understands by a word.
pub(crate) fn kind_of(word: &str) -> Option<&'static Kind> {
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let name = name.to_lowercase();
    kinds::all().iter().filter(|k| k.is_stored()).find(|k| {
        let called = k.plural == name || k.singular == name || k.short_names.contains(&name.as_str());
        called && group.is_none_or(|group| k.group == group)
    })
}

/// What a controller would have had to be told to make an object of this name: qualified plurals
/// and names.
pub(crate) fn owners(resource: &str, name: &str) -> Vec<(&'static str, String)> {
    let drawn = |text: &str, long: std::ops::RangeInclusive<usize>| {
        long.contains(&text.len()) && text.chars().all(|c| DRAWN.contains(c))
    };
    let parent = |name: &str, long: std::ops::RangeInclusive<usize>| {
        name.rsplit_once('-').filter(|(_, tail)| drawn(tail, long)).map(|(head, _)| head.to_string())
    };
    let deployment = |set: &str| parent(set, 6..=10).map(|name| ("deployments.apps", name));
    match resource {
        "replicasets.apps" => deployment(name).into_iter().collect(),
        "pods" => {
            let Some(set) = parent(name, 5..=5) else { return vec![] };
            deployment(&set).into_iter().chain([("replicasets.apps", set.clone())]).collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Library;

    #[test]
    fn only_what_a_lesson_makes_or_deletes_is_named_by_it() {
        let web = "deployments.apps/default/web";
        for (line, found) in [
            (
                "-kubectl create deployment dpy-nginx --image=nginx",
                vec!["deployments.apps/default/dpy-nginx"],
            ),
            (
                "kubectl delete service pod-svc door --ignore-not-found",
                vec!["services/default/pod-svc", "services/default/door"],
            ),
            ("kubectl create deployment web --image=nginx >/dev/null 2>&1", vec![web]),
            ("kubectl delete pod web; kubectl get pods", vec!["pods/default/web"]),
            ("kubectl delete pod/web svc/web", vec!["pods/default/web", "services/default/web"]),
            ("kubectl delete deployment,replicaset,pod -l app=dpy-nginx --now", vec![]),
            ("-kubectl run tester --image=busybox -- sleep infinity", vec!["pods/default/tester"]),
            ("kubectl run --image nginx web", vec!["pods/default/web"]),
            (
                "kubectl run web --image=nginx --port=80 --expose",
                vec!["pods/default/web", "services/default/web"],
            ),
            (
                "kubectl expose pod nginx-pod --type NodePort --name pod-svc --port 80",
                vec!["services/default/pod-svc"],
            ),
            ("kubectl expose deployment/web --port=80", vec!["services/default/web"]),
            (
                "kubectl autoscale deployment/web --max=3 --cpu=50%",
                vec!["horizontalpodautoscalers.autoscaling/default/web"],
            ),
            (
                "kubectl autoscale deployment web -n shop --name busy --max 3",
                vec!["horizontalpodautoscalers.autoscaling/shop/busy"],
            ),
            ("kubectl create service clusterip menu -n shop --tcp=80:80", vec!["services/shop/menu"]),
            ("kubectl create namespace shop", vec!["namespaces//shop"]),
            ("kubectl create deployment web --dry-run=client -o yaml | grep -v null > web.yaml", vec![web]),
            ("kubectl delete $(kubectl get pods -o name | head -1)", vec![]),
            ("PORT=$(kubectl get svc pod-svc)", vec![]),
            ("kubectl get pods web", vec![]),
        ] {
            assert_eq!(names_in(line, ""), found, "{line}");
        }
        let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: x, namespace: shop}\n";
        assert_eq!(names_in("kubectl apply -f -", manifest), [web, "pods/shop/x"]);
        let list = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: x}}]";
        assert_eq!(names_in("kubectl apply -n shop -f -", list), ["pods/shop/x"]);
        let library = Library::built_in();
        let of = |id: &str| objects_of(library.get(id).unwrap());
        assert_eq!(of("first-voyage/04"), ["pods/default/nginx-pod".to_string()].into());
        let twelfth = of("first-voyage/12");
        assert!(twelfth.contains(web), "{twelfth:?}");
        // The same name of another kind, group or namespace is something else.
        for other in
            ["services/default/web", "deployments.example.com/default/web", "deployments.apps/shop/web"]
        {
            assert!(!twelfth.contains(other), "{other}");
        }
    }

    #[test]
    fn what_is_made_from_a_file_of_a_here_document_is_named() {
        let head = ["cat > a.yaml <<'END'", "apiVersion: v1", "kind: Pod", "metadata: {name: a}", "END"];
        let with = |line: &str| head.iter().chain(&[line]).map(ToString::to_string).collect::<Vec<_>>();
        let pod = BTreeSet::from(["pods/shop/a".to_string()]);
        let made_by = with("kubectl apply -n shop -f a.yaml");
        assert_eq!((objects_made_or_deleted(&made_by), objects_made(&made_by)), (pod.clone(), pod.clone()));
        assert_eq!(namespaces(&made_by), Some(BTreeSet::from(["shop".to_string()])));
        let deleted_by = with("kubectl delete -n shop -f a.yaml");
        assert_eq!((objects_made_or_deleted(&deleted_by), objects_made(&deleted_by)), (pod, BTreeSet::new()));
        assert_eq!(objects_made_or_deleted(&with("kubectl get -n shop -f a.yaml")), BTreeSet::new());
    }

    #[test]
    fn what_a_line_deletes_it_does_not_make() {
        let of = |line: &str| objects_made_new(&[line.to_string()]).into_iter().collect::<Vec<_>>().join(" ");
        for line in [
            "kubectl delete configmap old",
            "kubectl -n default delete configmap old --ignore-not-found",
            "k --namespace=default delete configmap/old",
            "delete configmap old",
        ] {
            assert_eq!(of(line), "", "{line}");
        }
        assert_eq!(of("kubectl -n shop create configmap delete"), "configmaps/shop/delete");
        assert_eq!(of("kubectl create namespace delete"), "namespaces//delete");
    }

    #[test]
    fn lines_stay_in_the_namespaces_that_they_name() {
        let of = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            namespaces(&lines).map(|found| found.into_iter().collect::<Vec<_>>().join(" "))
        };
        for (lines, found) in [
            (
                &["kubectl create namespace shop", "kubectl set selector svc/web -n shop a=b"][..],
                Some("shop"),
            ),
            (&["-kubectl run tester --image=busybox -- sleep infinity"], Some("default")),
            (&["kubectl get pods -A", "kubectl wait -n shop pod/a --for=delete"], Some("")),
            (&["kubectl delete replicaset -n shop --all"], Some("shop")),
            (
                &["kubectl get svc a -n shop -o yaml | sed s/a/b/ | kubectl replace -n shop -f -"],
                Some("shop"),
            ),
            (&["kubectl delete namespace shop"], Some("shop")),
            (&["kubectl label namespace shop a=b"], Some("shop")),
            (&["kubectl label namespace/shop pod-security.kubernetes.io/enforce=baseline"], Some("shop")),
            (&["kubectl annotate ns/shop ns/market a- b=c"], Some("market shop")),
            (&["kubectl label ns shop market a=b"], Some("market shop")),
            (&["kubectl label namespaces -l a=b pod-security.kubernetes.io/enforce=baseline"], None),
            (&["kubectl label namespaces --all a=b"], None),
            (&["kubectl label ns/shop node/n1 a=b"], None),
            (
                &["fault kill etcd", "curl localhost:30080", "which kubectl", "echo kubectl cordon n1"],
                Some(""),
            ),
            (
                &[
                    "kubectl apply -f -",
                    "apiVersion: v1",
                    "kind: Pod",
                    "metadata: {name: a, namespace: x}",
                    ".",
                ],
                Some("x"),
            ),
            (&["kubectl apply -f -", "apiVersion: v1", "kind: Node", "metadata: {name: a}", "."], None),
            (&["kubectl cordon n1"], None),
            (&["kubectl get pods; kubectl cordon n1"], None),
            (&["kubectl get pods&&kubectl delete pod a -n shop"], Some("shop")),
            (&["kubectl exec a -- sh -c 'true; kubectl cordon n1'"], Some("default")),
            (&["kubectl label node n1 a=b"], None),
            (&["kubectl delete pods -A --all"], None),
            (&["kubectl create clusterrole r --verb=get --resource=pods"], None),
            (&["kubectl get pods", "undo"], None),
            (&["etcdctl put a b"], None),
            (&["KUBECONFIG=mine.yaml timeout 5 kubectl delete pod a -n shop"], Some("shop")),
            (&["kubectl get nodes -o name | xargs kubectl cordon"], None),
            (&["ropewalk kubectl -n shop delete pod a", "ropewalk trace pod/a"], Some("shop")),
            (&["ropewalk undo"], None),
            (&["kubectl create configmap kubectl", "create configmap k -n shop"], Some("default shop")),
        ] {
            assert_eq!(of(lines).as_deref(), found, "{lines:?}");
        }
    }

    #[test]
    fn a_way_back_takes_back_what_is_in_the_lessons_namespaces() {
        let library = Library::built_in();
        let lesson = library.get("first-voyage/04").unwrap();
        let mut whole = lesson.clone();
        whole.steps[0].solution.push("kubectl cordon n1".into());
        for (line, of_lesson) in [
            ("kubectl run other --image=nginx", true),
            ("kubectl get nodes", true),
            ("kubectl label node --all a=b", false),
            ("kubectl create configmap a -n kube-public", false),
        ] {
            let lines = [line.to_string()];
            assert_eq!((takes_back(lesson, &lines), takes_back(&whole, &lines)), (of_lesson, true), "{line}");
        }
    }

    #[test]
    fn a_recorded_object_is_known_by_its_group() {
        let body = |version: &str| serde_json::json!({ "apiVersion": version }).to_string();
        let of = |plural: &str, version: &str| resource(plural, Some(body(version).as_bytes()));
        assert_eq!(of("deployments", "apps/v1"), "deployments.apps");
        assert_eq!(of("deployments", "example.com/v1"), "deployments.example.com");
        assert_eq!(of("pods", "v1"), "pods");
        assert_eq!(
            (resource("deployments", None).as_str(), resource("pods", None).as_str()),
            ("deployments.apps", "pods")
        );
    }

    #[test]
    fn names_that_controllers_draw_are_told_from_others() {
        let of = |resource: &str, name: &str| -> Vec<String> {
            owners(resource, name).into_iter().map(|(kind, name)| format!("{kind}/{name}")).collect()
        };
        assert_eq!(of("replicasets.apps", "dpy-nginx-657f4db74"), ["deployments.apps/dpy-nginx"]);
        let pod = of("pods", "dpy-nginx-657f4db74-x2x9q");
        assert_eq!(pod, ["deployments.apps/dpy-nginx", "replicasets.apps/dpy-nginx-657f4db74"]);
        for (resource, name) in [
            ("deployments.apps", "web-2"),
            ("pods", "web-2"),
            ("pods", "web-bright"),
            ("services", "web-657f4db74"),
        ] {
            assert!(of(resource, name).is_empty(), "{resource}/{name}");
        }
    }
}
