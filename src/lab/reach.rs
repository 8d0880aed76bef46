//! What a step needs of the cluster it is played on, read from the step itself: what its checks
//! look at, and what its solution's lines do. So nobody keeps a list of lessons that work
//! elsewhere, and a new lesson is judged like an old one.

use super::cel::{Expr, facts};
use super::format::{Lesson, Step};
use super::lines;
use super::words::{self, Word};
use api::kinds;
use cluster::guest::{Offers, Room, USUAL};
use kubectl::manifest::documents;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use tap::TEACHER;

/// Something that a cluster which is not Ropewalk's own does not have, or does not give.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// A word or a function of Ropewalk's own cluster. It stands first: where a step needs several
    /// things, this says most.
    Own(String),
    /// What happens between components: no API tells it.
    Hops,
    /// A NodePort that is open on localhost.
    Door,
    /// Another namespace than the lesson's own.
    Elsewhere(String),
    /// A change that no namespace holds.
    Everywhere(String),
    /// A node of our own by its name.
    Node(String),
    /// An image that no registry has.
    Image(String),
    /// As written under `requires:`.
    Requires(String),
    /// To list and watch these.
    Right(String),
}

impl Need {
    /// For people: what completes "it needs …".
    pub fn say(&self, lang: &str) -> String {
        let with = |word, with: &String| words::say(lang, word, &[with]);
        match self {
            Need::Hops => words::say(lang, Word::NeedHops, &[]),
            Need::Door => words::say(lang, Word::NeedDoor, &[]),
            Need::Own(what) => with(Word::NeedOwn, what),
            Need::Elsewhere(namespace) => with(Word::NeedElsewhere, namespace),
            Need::Everywhere(line) => with(Word::NeedEverywhere, line),
            Need::Node(node) => with(Word::NeedNode, node),
            Need::Image(image) => with(Word::NeedImage, image),
            Need::Requires(what) => match requirement(what) {
                Some(Required::Workers(n)) => with(Word::NeedWorkers, &n.to_string()),
                _ => what.clone(),
            },
            Need::Right(kinds) => with(Word::NeedRight, kinds),
        }
    }
}

/// The first thing that a step needs and does not have there.
pub fn lacks(offers: &Offers, room: &Room, lesson: &Lesson, step: &Step) -> Option<Need> {
    let required = lesson.requires.iter().chain(&step.requires).find(|n| !met(n, offers)).cloned();
    if let Some(required) = required {
        return Some(Need::Requires(required));
    }
    if !offers.own
        && let Some(need) = step.needs.iter().next()
    {
        return Some(need.clone());
    }
    let looked_at = checks(step).flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)).map(|k| k.qualified());
    let denied: BTreeSet<String> = looked_at.filter(|kind| room.denied.contains(kind)).collect();
    (!denied.is_empty()).then(|| Need::Right(denied.into_iter().collect::<Vec<_>>().join(", ")))
}

/// Does a cluster have what stands under `requires:`?
pub fn met(need: &str, offers: &Offers) -> bool {
    match requirement(need) {
        Some(Required::Kernel) => true,
        Some(Required::Fault) => offers.own,
        Some(Required::Workers(n)) => offers.workers >= n,
        Some(Required::ControlPlanes(n)) => offers.control_planes >= n,
        None => false,
    }
}

/// What may stand under `requires:`.
enum Required {
    Kernel,
    Fault,
    /// `workers>=2`
    Workers(u8),
    /// `control-planes>=3`; `=` says the same.
    ControlPlanes(u8),
}

fn requirement(need: &str) -> Option<Required> {
    let at_least = |name: &str| need.strip_prefix(name)?.trim().strip_prefix(">=")?.trim().parse().ok();
    match need {
        "kernel" => Some(Required::Kernel),
        "fault" => Some(Required::Fault),
        _ => at_least("workers")
            .map(Required::Workers)
            .or_else(|| at_least("control-planes").map(Required::ControlPlanes)),
    }
}

/// What is wrong with a requirement that no cluster could ever meet.
pub fn odd_requirement(need: &str) -> Option<String> {
    let odd = requirement(need).is_none();
    odd.then(|| {
        format!("nothing is called {need:?}; there are kernel, fault, workers>=N and control-planes>=N")
    })
}

fn checks(step: &Step) -> impl Iterator<Item = &Expr> {
    let checks = step.checks.iter().map(|c| &c.is).chain(step.keep.iter().map(|k| &k.is));
    checks.chain(step.answer.iter().map(|answer| &answer.is))
}

/// What only our own cluster has of all that a step needs.
pub fn of_step(step: &Step, setup: &[String]) -> BTreeSet<Need> {
    let mut needs: BTreeSet<Need> = checks(step).flat_map(of_expr).collect();
    needs.extend(of_lines(&step.solution));
    needs.extend(of_lines(setup));
    needs.extend(step.faults.iter().map(|_| Need::Own("fault".into())));
    needs
}

/// Fields of a record that only those who were there can fill.
const INSIDE: &[&str] = &["by_component", "node", "cause", "took", "detail", "request"];
/// Whose answers a relay sees, too.
const API_SERVER: &str = "kube-apiserver";
/// Functions that answer from inside the cluster.
const OWN: &[&str] = &["store", "members", "faults", "can", "fetch"];

/// What an expression asks for that is not everywhere.
pub fn of_expr(expr: &Expr) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    needs.extend(OWN.iter().filter(|f| expr.calls(f)).map(|f| Need::Own(format!("{f}()"))));
    if expr.calls("http") {
        needs.insert(Need::Door);
    }
    let compares = |field: &str, alike: bool, text: &str| {
        expr.compared.contains(&(field.to_string(), alike, text.to_string()))
    };
    let told = expr.names("trace") && INSIDE.iter().any(|f| expr.fields.contains(*f));
    let named = |c: &str| compares("component", true, c);
    let component = expr
        .compared
        .iter()
        .any(|(f, alike, c)| f == "component" && *alike && c != API_SERVER && c != proxy::host::LOCALHOST);
    if named(proxy::host::LOCALHOST) {
        needs.insert(Need::Door);
    }
    // Records of any user but the learner, the teacher not excluded, are those of components.
    let others =
        expr.names("trace") && compares("user", false, "learner") && !compares("user", false, TEACHER);
    if told || component || others {
        needs.insert(Need::Hops);
    }
    let written = expr.strings.iter().filter_map(|s| namespace_of(s));
    for namespace in expr.namespaces.iter().map(String::as_str).chain(written) {
        if !matches!(namespace, USUAL | "" | "*") {
            needs.insert(Need::Elsewhere(namespace.into()));
        }
    }
    needs.extend(expr.strings.iter().filter_map(|s| node_in(s)));
    needs
}

/// `Pod/kube-system/…`, as objects are called in a trace.
fn namespace_of(text: &str) -> Option<&str> {
    let (kind, rest) = text.split_once('/')?;
    facts::kind(kind)?;
    rest.split('/').next()
}

/// The name of one of our own nodes.
fn node_in(text: &str) -> Option<Need> {
    let name = |from: &str| -> String {
        let at = text.find(from).unwrap_or_default();
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect()
    };
    let known = ["ropewalk-control-plane", "ropewalk-worker"];
    known.iter().find(|n| text.contains(**n)).map(|n| Need::Node(name(n)))
}

/// Words that are not kubectl's and work on our own cluster only.
const WORDS: &[&str] =
    &["fault", "undo", "redo", "rewind", "why", "trace", "map", "lab", "etcdctl", "ropewalk"];
/// Verbs that change nodes.
const OF_NODES: &[&str] = &["cordon", "uncordon", "drain", "taint"];
/// Verbs that change what they name.
const CHANGES: &[&str] = &["create", "delete", "label", "annotate", "patch", "edit", "replace", "apply"];
/// Images that are built in under names which no registry has.
const BUILT_IN: &[&str] = &["echo", "kv", "pause", "shop-logic", "shop-page"];

/// What lines do that cannot be done, or shall not be done, on a foreign cluster.
pub fn of_lines(lines: &[String]) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    for line in lines {
        needs.extend(of_line(line));
    }
    needs
}

fn of_line(line: &str) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let line = line.trim_start_matches('-').trim();
    let words: Vec<String> =
        shlex::split(line).unwrap_or_else(|| line.split_whitespace().map(String::from).collect());
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    if WORDS.contains(&word(0)) {
        needs.insert(Need::Own(word(0).into()));
    }
    // A line without `kubectl` is played with it.
    let (verb, named) = acts(&words);
    if OF_NODES.contains(&verb) {
        needs.insert(Need::Everywhere(format!("kubectl {verb}")));
    }
    if CHANGES.contains(&verb) {
        let own = words.iter().take_while(|w| *w != "--");
        if let Some(all) =
            own.clone().find(|w| ["-A", "--all-namespaces", "--all-namespaces=true"].contains(&w.as_str()))
        {
            needs.insert(Need::Everywhere(format!("kubectl {verb} {all}")));
        }
        let is = |k: &&kinds::Kind, name: &str| {
            k.plural == name || k.singular == name || k.short_names.contains(&name)
        };
        let whole = |name: &str| kinds::all().iter().find(|k| is(k, name)).is_some_and(|k| !k.namespaced);
        let first = named.split([',', '/', '.']).next().unwrap_or_default();
        if !first.is_empty() && whole(first) {
            needs.insert(Need::Everywhere(format!("kubectl {verb} {first}")));
        }
    }
    // A manifest's line.
    for kind in fields(line, "kind") {
        if kinds::all().iter().any(|k| k.kind == kind && !k.namespaced) {
            needs.insert(Need::Everywhere(kind.into()));
        }
    }
    for namespace in fields(line, "namespace").filter(|n| !n.is_empty() && *n != USUAL && !n.contains("{{")) {
        needs.insert(Need::Elsewhere(namespace.into()));
    }
    for namespace in namespaces(&words) {
        if namespace != USUAL {
            needs.insert(Need::Elsewhere(namespace.into()));
        }
    }
    let inside = verb == "exec";
    if !inside && (line.contains("localhost") || line.contains("127.0.0.1")) {
        needs.insert(Need::Door);
    }
    for image in words.iter().filter_map(|w| w.strip_prefix("--image=")) {
        let name = image.split(':').next().unwrap_or_default();
        if BUILT_IN.contains(&name) || image.ends_with(":broken") {
            needs.insert(Need::Image(image.into()));
        }
    }
    needs.extend(node_in(line));
    needs
}

/// The verb of a line of kubectl's, and what it names: flags may stand before and between.
fn acts(words: &[String]) -> (&str, &str) {
    let mut own = words.iter().map(String::as_str).take_while(|w| *w != "--").peekable();
    let _ = own.next_if(|w| ["kubectl", "k"].contains(w));
    let mut bare = std::iter::from_fn(|| {
        loop {
            match own.next()? {
                "-n" | "--namespace" | "--context" | "--as" | "-s" | "--server" => {
                    let _ = own.next(); // its value
                }
                flag if flag.starts_with('-') => {}
                word => return Some(word),
            }
        }
    });
    (bare.next().unwrap_or_default(), bare.next().unwrap_or_default())
}

/// The values of a key on a manifest's line, in block style, flow style or JSON.
fn fields<'a>(line: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let quotes = ['"', '\''];
    line.split(['{', '}', ',']).filter_map(move |piece| {
        let (name, value) = piece.trim_start_matches([' ', '-']).split_once(':')?;
        let value = value.split(" #").next().unwrap_or_default();
        (name.trim().trim_matches(quotes) == key).then(|| value.trim().trim_matches(quotes))
    })
}

/// What stands behind `-n` and `--namespace`.
fn namespaces(words: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if word == "--" {
            break; // what follows is a container's
        }
        match word.as_str() {
            "-n" | "--namespace" => found.extend(words.get(at + 1).map(String::as_str)),
            word => {
                let glued = || word.strip_prefix("-n").filter(|_| !word.starts_with("--"));
                let value =
                    word.strip_prefix("--namespace=").or_else(|| word.strip_prefix("-n=")).or_else(glued);
                found.extend(value);
            }
        }
    }
    found
}

/// A lesson's line as it is to be run in a room: where it names the usual namespace, it means the
/// room's.
pub fn line(line: &str, room: &Room) -> String {
    let own = room.real(USUAL);
    if own == USUAL {
        return line.into();
    }
    let mut out = line.to_string();
    for flag in [" -n", "-n ", "-n=", "--namespace ", "--namespace=", "/namespaces/"] {
        let mut rest = out.as_str();
        let mut turned = String::new();
        while let Some((before, after)) = rest.split_once(flag) {
            turned.push_str(before);
            turned.push_str(flag);
            rest = match after.strip_prefix(USUAL) {
                Some(end) if !end.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-') => {
                    turned.push_str(own);
                    end
                }
                _ => after,
            };
        }
        turned.push_str(rest);
        out = turned;
    }
    out
}

/// Lines of a lesson as they are to be run in a room: commands as [`line`] tells, manifests as
/// [`manifest`] does.
pub fn lines(lines: &[String], room: &Room) -> Vec<String> {
    let mut all = Vec::new();
    let mut rest = lines.iter();
    while let Some(command) = rest.next() {
        all.push(line(command, room));
        if lines::reads_manifest(command) {
            let text: Vec<&str> =
                rest.by_ref().map(String::as_str).take_while(|l| !lines::ends_manifest(l)).collect();
            all.extend(manifest(&text.join("\n"), room).lines().map(String::from));
            all.push(".".into());
        }
    }
    all
}

/// A lesson's manifest as it is to be applied in a room: objects, and subjects of a binding, that
/// name the usual namespace mean the room's. Then it is written as JSON, a line for each object; a
/// manifest that names no such namespace, or cannot be read, stays as it is.
///
/// Example: in the room `own`, `{kind: Pod, metadata: {name: a, namespace: default}}` becomes
/// `{"kind":"Pod","metadata":{"name":"a","namespace":"own"}}`.
pub fn manifest(text: &str, room: &Room) -> String {
    let own = room.real(USUAL);
    let Ok(mut all) = documents(text.as_bytes()) else { return text.into() };
    if own == USUAL || !all.iter_mut().fold(false, |turned, object| rename(object, own) | turned) {
        return text.into();
    }
    all.iter().map(|object| format!("{object}\n")).collect()
}

/// Puts an object into the room's namespace if it is in the usual one; true if anything changed.
fn rename(object: &mut Json, own: &str) -> bool {
    let mut changed = false;
    let mut put = |namespace: &mut Json| {
        if *namespace == USUAL {
            *namespace = own.into();
            changed = true;
        }
    };
    object.pointer_mut("/metadata/namespace").into_iter().for_each(&mut put);
    let subjects = object.pointer_mut("/subjects").and_then(Json::as_array_mut).into_iter().flatten();
    subjects.filter_map(|subject| subject.get_mut("namespace")).for_each(put);
    // The items of a list.
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = object.get_mut("items").filter(|_| is_list).and_then(Json::as_array_mut);
    for item in items.into_iter().flatten() {
        changed |= rename(item, own);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::Use;

    fn expr(source: &str) -> Vec<Need> {
        of_expr(&Expr::compile(source, Use::Check, &[]).unwrap()).into_iter().collect()
    }

    /// The teacher would run them on a foreign cluster.
    #[test]
    fn what_changes_a_whole_foreign_cluster_is_seen_however_it_is_written() {
        for whole in [
            "drain n1",
            "create ns shop",
            "kubectl -n default drain n1",
            "kubectl --namespace default delete node n1",
            "kubectl delete pods --all -A",
            "kind: \"ClusterRole\"",
            "{kind: ClusterRole, metadata: {name: x}}",
            "{\"kind\": \"ClusterRole\"}",
            "- kind: ClusterRole # of all",
        ] {
            assert!(of_line(whole).iter().any(|n| matches!(n, Need::Everywhere(_))), "{whole}");
        }
        for elsewhere in
            ["kubectl get pods -nkube-system", "namespace: kube-system", "metadata: {namespace: kube-system}"]
        {
            assert!(of_line(elsewhere).contains(&Need::Elsewhere("kube-system".into())), "{elsewhere}");
        }
        for own in [
            "kubectl delete pod web",
            "create deployment web --image=nginx",
            "kubectl get pods -A",
            "kubectl -n default get pods",
            "kind: Role",
            "metadata: {name: web, namespace: default}",
            "kubectl exec web -- drain n1",
        ] {
            assert_eq!(of_line(own), BTreeSet::new(), "{own}");
        }
    }

    #[test]
    fn a_check_tells_what_it_looks_at() {
        for (source, needs) in [
            ("ready(object('Pod','default','web'))", vec![]),
            (
                "trace.exists(t, t.user == 'learner' && t.object == 'Pod/default/web' && t.code == 409)",
                vec![],
            ),
            ("trace.exists(t, t.component == 'kube-apiserver' && t.verb == 'list')", vec![]),
            ("history('Pod','default','*').exists(h, h.verb == 'DELETED')", vec![]),
            ("objects('Node','').all(n, ready(n))", vec![]),
            ("trace.exists(t, t.component == 'kubelet' && t.verb == 'start')", vec![Need::Hops]),
            ("trace.exists(t, t.cause == 7)", vec![Need::Hops]),
            ("trace.exists(t, t.component in ['etcd', 'kube-apiserver'])", vec![Need::Hops]),
            ("trace.exists(t, 'garbage-collector' == t.component)", vec![Need::Hops]),
            ("trace.exists(t, t.verb == 'create' && t.user != 'learner')", vec![Need::Hops]),
            ("trace.exists(t, t.user != 'learner' && t.user != 'teacher' && t.code == 403)", vec![]),
            ("trace.exists(t, t.user == 'learner' && t.object != 'Node//*')", vec![]),
            (
                "trace.exists(t, t.object.startsWith('Pod/kube-system/x'))",
                vec![Need::Elsewhere("kube-system".into())],
            ),
            ("present('Lease','kube-system','kube-scheduler')", vec![Need::Elsewhere("kube-system".into())]),
            ("logs('shop/web').contains('x')", vec![Need::Elsewhere("shop".into())]),
            ("logs('default/web').contains('x')", vec![]),
            ("http('http://localhost:30080').status == 200", vec![Need::Door]),
            ("size(faults()) == 0", vec![Need::Own("faults()".into())]),
            ("present('Node','','ropewalk-worker2')", vec![Need::Node("ropewalk-worker2".into())]),
        ] {
            assert_eq!(expr(source), needs, "{source}");
        }
    }

    #[test]
    fn a_line_tells_what_it_does() {
        let everywhere = |what: &str| vec![Need::Everywhere(what.into())];
        for (line, needs) in [
            ("kubectl run web --image=nginx", vec![]),
            ("-kubectl run web --image=nginx:1.27", vec![]),
            ("kubectl get pods -A", vec![]),
            ("kubectl get pods -n default", vec![]),
            ("kubectl exec web -- wget -qO- http://localhost", vec![]),
            ("kubectl exec web -- head -n 5 file", vec![]),
            ("curl -s localhost:30080", vec![Need::Door]),
            ("fault kill kube-scheduler", vec![Need::Own("fault".into())]),
            ("kubectl delete pod x --namespace=kube-system", vec![Need::Elsewhere("kube-system".into())]),
            ("kubectl describe node ropewalk-worker", vec![Need::Node("ropewalk-worker".into())]),
            ("kubectl run web --image=echo", vec![Need::Image("echo".into())]),
            ("kubectl drain n1", everywhere("kubectl drain")),
            ("kubectl create ns shop", everywhere("kubectl create ns")),
            ("kubectl label node n1 a=b", everywhere("kubectl label node")),
            ("kind: ClusterRole", everywhere("ClusterRole")),
        ] {
            assert_eq!(of_line(line).into_iter().collect::<Vec<_>>(), needs, "{line}");
        }
    }

    #[test]
    fn the_usual_namespace_becomes_the_rooms() {
        let room = Room { namespace: Some("own".into()), ..Room::default() };
        for (from, to) in [
            ("kubectl get po --namespace=default -o wide", "kubectl get po --namespace=own -o wide"),
            (
                "kubectl get --raw /api/v1/namespaces/default/pods",
                "kubectl get --raw /api/v1/namespaces/own/pods",
            ),
            ("kubectl get pods -n default", "kubectl get pods -n own"),
            ("kubectl get pods -n default-x", "kubectl get pods -n default-x"),
            ("kubectl get pods -ndefault", "kubectl get pods -nown"),
            ("kubectl get namespace default", "kubectl get namespace default"),
        ] {
            assert_eq!(line(from, &room), to);
            assert_eq!(line(from, &Room::default()), from);
        }
    }

    /// The relay of a foreign cluster refuses an object in `default`.
    #[test]
    fn a_manifest_in_the_usual_namespace_is_applied_in_the_rooms() {
        let room = Room { namespace: Some("own".into()), ..Room::default() };
        let two = "# kept only if nothing changes\nkind: Pod\nmetadata:\n  name: a\n  namespace: default\n---\n\
                   {kind: Pod, metadata: {name: b, namespace: other}}\n";
        let turned = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"own\"}}\n\
                      {\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\",\"namespace\":\"other\"}}\n";
        assert_eq!(manifest(two, &room), turned);
        assert_eq!(manifest(two, &Room::default()), two, "at home nothing has another name");
        for same in [
            "kind: Pod\nmetadata: {name: a} # default",
            "kind: ConfigMap\ndata:\n  a: |\n    namespace: default\n",
            "kind: [",
        ] {
            assert_eq!(manifest(same, &room), same);
        }
        let list = "{kind: List, items: [{kind: RoleBinding, metadata: {namespace: default}, \
                    subjects: [{name: s, namespace: default}, {name: u}]}]}";
        let turned = manifest(list, &room);
        assert!(turned.matches("\"namespace\":\"own\"").count() == 2 && !turned.contains(USUAL), "{turned}");
        let text = ["kubectl apply -n default -f -", "kind: Pod", "metadata: {namespace: default}", "."];
        let text = text.map(String::from);
        let played = lines(&[&text[..], &["kubectl get pods".into()]].concat(), &room);
        let want = [
            "kubectl apply -n own -f -",
            "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"own\"}}",
            ".",
            "kubectl get pods",
        ];
        assert_eq!(played, want);
        assert_eq!(lines(&text, &Room::default()), text);
    }

    #[test]
    fn steps_about_workers_are_skipped_where_there_is_none() {
        let library = super::super::format::Library::built_in();
        let lacking = |workers: u8, lesson: &str, step: &str| {
            let lesson = library.get(lesson).unwrap();
            let offers = Offers { own: true, workers, control_planes: 1 };
            lacks(&offers, &Room::default(), lesson, &lesson.steps[lesson.step(step).unwrap()])
        };
        for odd in ["workers>2", "workers=2", "workers 2", "control-planes>=", "worker>=2"] {
            assert!(odd_requirement(odd).is_some(), "{odd}");
        }
        assert_eq!(odd_requirement("workers >= 2"), None);
        let need = Need::Requires("workers>=1".into());
        for (lesson, step) in [("first-voyage/01", "one"), ("first-voyage/08", "other-node")] {
            assert_eq!(lacking(0, lesson, step), Some(need.clone()), "{lesson} {step}");
            assert_eq!(lacking(1, lesson, step), None, "{lesson} {step}");
        }
        // The rest of both lessons can be played on one node.
        assert_eq!(lacking(0, "first-voyage/01", "hello"), None);
        assert_eq!(lacking(0, "first-voyage/08", "curl"), None);
        assert_eq!(need.say("en"), "worker nodes, 1 or more");
        assert_eq!(need.say("ko"), "워커 노드 1개 이상");
    }

    #[test]
    fn a_cluster_of_our_own_has_everything_and_a_foreign_one_says_what_it_lacks() {
        let library = super::super::format::Library::built_in();
        let home = Offers { own: true, workers: 2, control_planes: 1 };
        let foreign = Offers { own: false, ..home };
        let mut playable = 0;
        for lesson in &library.lessons {
            for step in &lesson.steps {
                assert_eq!(lacks(&home, &Room::default(), lesson, step), None, "{} {}", lesson.id, step.id);
                playable += usize::from(lacks(&foreign, &Room::default(), lesson, step).is_none());
            }
        }
        assert!(playable > 0);
        let kill = library.get("first-voyage/03").unwrap();
        let kill = &kill.steps[kill.step("kill").unwrap()];
        assert!(kill.needs.contains(&Need::Own("fault".into())));
        let run = library.get("first-voyage/04").unwrap();
        let denied = Room { denied: ["pods".to_string()].into(), ..Room::default() };
        assert_eq!(lacks(&foreign, &Room::default(), run, &run.steps[0]), None);
        assert_eq!(lacks(&foreign, &denied, run, &run.steps[0]), Some(Need::Right("pods".into())));
    }
}
