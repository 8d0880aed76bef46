//! What a step needs of the cluster it is played on, read from the step itself: what its checks
//! look at, and what its solution's lines do. So there is no list of lessons that work elsewhere,
//! and a new lesson is judged like an old one.

mod any_cluster;
mod need;

use crate::cel::{Expr, facts};
use crate::format::lesson::{Lesson, Step};
use crate::lines::{self, Act};
use api::kinds;
use cluster::guest::{LESSON_NAMESPACE, LessonScope, Offers};
use kubectl::flag::Kind;
use kubectl::parse;
use kubectl::table::Verb;
use std::collections::BTreeSet;
use tap::TEACHER;

pub(crate) use any_cluster::on_any_cluster;
pub use need::Need;
pub(crate) use need::{met, odd_requirement};

/// The first thing that a step needs and does not have there.
pub(crate) fn lacks(offers: &Offers, scope: &LessonScope, lesson: &Lesson, step: &Step) -> Option<Need> {
    if let Some(declared) = lesson.cluster.as_ref().filter(|declared| !declared.fits(offers)) {
        return Some(Need::Cluster(declared.clone()));
    }
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
    let denied: BTreeSet<String> = looked_at.filter(|kind| scope.denied.contains(kind)).collect();
    (!denied.is_empty()).then(|| Need::Right(denied.into_iter().collect::<Vec<_>>().join(", ")))
}

fn checks(step: &Step) -> impl Iterator<Item = &Expr> {
    let checks = step.checks.iter().map(|c| &c.is).chain(step.keep.iter().map(|k| &k.is));
    checks.chain(step.answer.iter().map(|answer| &answer.is))
}

/// What only our own cluster has of all that a step needs.
pub(crate) fn of_step(step: &Step, setup: &[String]) -> BTreeSet<Need> {
    let mut needs: BTreeSet<Need> = checks(step).flat_map(of_expr).collect();
    needs.extend(of_lines(&step.solution));
    needs.extend(of_lines(setup));
    needs.extend(of_lines(&step.setup));
    needs.extend(step.faults.iter().map(|_| Need::OwnCluster("fault".into())));
    needs.extend(step.load.iter().map(|_| Need::OwnCluster("load".into())));
    needs
}

/// Fields of a record that only a component of our own cluster fills. The relay before a foreign
/// cluster sees requests and their answers, and nothing of what came of them inside.
const INSIDE: &[&str] = &["by_component", "node", "cause", "took", "detail", "request"];
/// The component whose records a relay makes, too: it sees what the API server answers.
const API_SERVER: &str = "kube-apiserver";
/// Functions that answer from inside the cluster.
const OWN: &[&str] = &["store", "members", "faults", "can", "fetch", "load", "lookups"];

/// What an expression asks for that is not everywhere.
pub(crate) fn of_expr(expr: &Expr) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    needs.extend(OWN.iter().filter(|f| expr.calls(f)).map(|f| Need::OwnCluster(format!("{f}()"))));
    if expr.calls("http") {
        needs.insert(Need::LocalhostPort);
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
        needs.insert(Need::LocalhostPort);
    }
    // Records of any user but the learner, the teacher not excluded, are those of components.
    let others =
        expr.names("trace") && compares("user", false, "learner") && !compares("user", false, TEACHER);
    if told || component || others {
        needs.insert(Need::Hops);
    }
    let written = expr.strings.iter().filter_map(|s| namespace_of(s));
    for namespace in expr.namespaces.iter().map(String::as_str).chain(written) {
        if !matches!(namespace, LESSON_NAMESPACE | "" | "*") {
            needs.insert(Need::OtherNamespace(namespace.into()));
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
    &["drill", "etcdctl", "fault", "lab", "map", "redo", "rewind", "ropewalk", "trace", "undo", "why"];
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
    let commands = match shlex::split(line) {
        Some(_) => lines::commands_in(line),
        // Of a text over several lines, or a manifest's.
        None => vec![line.split_whitespace().map(String::from).collect()],
    };
    commands.iter().for_each(|words| needs.extend(of_command(words)));
    // A manifest's line.
    for kind in fields(line, "kind") {
        if kinds::all().iter().any(|k| k.kind == kind && !k.namespaced) {
            needs.insert(Need::WholeCluster(kind.into()));
        }
    }
    for namespace in
        fields(line, "namespace").filter(|n| !n.is_empty() && *n != LESSON_NAMESPACE && !n.contains("{{"))
    {
        needs.insert(Need::OtherNamespace(namespace.into()));
    }
    needs.extend(fields(line, "image").filter_map(built_in));
    needs.extend(node_in(line));
    needs
}

/// What one command of a line does.
fn of_command(words: &[String]) -> BTreeSet<Need> {
    let mut needs = BTreeSet::new();
    let first = words.first().map_or("", String::as_str);
    if WORDS.contains(&first) {
        needs.insert(Need::OwnCluster(first.into()));
    }
    let own = match lines::cluster_program(words) {
        Some(("kubectl", behind)) => behind,
        Some((program, _)) => {
            needs.insert(Need::OwnCluster(program.into()));
            words
        }
        None => words,
    };
    let (verb, bare) = lines::verb_and_words(own);
    needs.extend(of_verb(verb, &bare, own));
    // In `xargs -n 1` it is a number, and `sed -n 1p` has a script behind it.
    let knows_namespaces = lines::knows_namespaces(first);
    let is_named = |namespace: &&str| *namespace != LESSON_NAMESPACE && namespace.parse::<u32>().is_err();
    let named = namespaces(words, verb).into_iter().filter(|_| knows_namespaces).filter(is_named);
    needs.extend(named.map(|namespace| Need::OtherNamespace(namespace.into())));
    let is_local = |word: &String| word.contains("localhost") || word.contains("127.0.0.1");
    if verb.path != "exec" && words.iter().any(is_local) {
        needs.insert(Need::LocalhostPort);
    }
    let by_flag = words.iter().enumerate().filter_map(|(at, word)| match word.as_str() {
        "--image" => words.get(at + 1).map(String::as_str),
        word => word.strip_prefix("--image="),
    });
    needs.extend(by_flag.filter_map(built_in));
    needs
}

/// What a verb of kubectl's changes that is in no namespace, or in all of them. `bare`: the words
/// of the command that are no flags, `words`: all of them.
fn of_verb(verb: &Verb, bare: &[&str], words: &[String]) -> BTreeSet<Need> {
    // The kind that `create namespace` makes is a word of the verb.
    let long = match Act::of(verb) {
        Some(Act::ChangesNodes | Act::Signs) => {
            let whole = bare.first().map(|first| Need::WholeCluster(format!("kubectl {first}")));
            return whole.into_iter().collect();
        }
        Some(Act::Creates) => 1,
        Some(Act::Applies | Act::Changes | Act::Deletes | Act::Edits | Act::Steers) => {
            verb.path.split(' ').count()
        }
        _ => return BTreeSet::new(),
    };
    let (called, named) = bare.split_at(long);
    let called = called.join(" ");
    let in_all = is_of_all_namespaces(words).then(|| format!("kubectl {called} --all-namespaces"));
    let whole = kinds_of(named).filter(|kind| is_cluster_scoped(kind));
    let whole = whole.map(|kind| format!("kubectl {called} {kind}"));
    in_all.into_iter().chain(whole).map(Need::WholeCluster).collect()
}

/// Whether a command names all namespaces, however kubectl lets it be spelled: `-A`, `-A=true`,
/// `-RA`, `--all_namespaces=1`. `words` are those after the program's name.
fn is_of_all_namespaces(words: &[String]) -> bool {
    let may_name = |word: &str| match word.strip_prefix("--") {
        Some(long) => long.replace('_', "-").starts_with("all-namespaces"),
        None => word.starts_with('-') && word.contains('A'),
    };
    match parse::parse(words) {
        Ok(parsed) => parsed.flags.is("all-namespaces"),
        // What the shell has yet to fill in (`--timeout=$T`, `-A=$ALL`) need not be a value of its
        // flag. Then a step too many is skipped rather than one too few.
        Err(_) => words.iter().take_while(|word| *word != "--").any(|word| may_name(word)),
    }
}

/// The image, if no registry has it.
fn built_in(image: &str) -> Option<Need> {
    let name = image.split(':').next().unwrap_or_default();
    (BUILT_IN.contains(&name) || image.ends_with(":broken")).then(|| Need::Image(image.into()))
}

/// The kinds that stand behind a verb: `pods,nodes`, `node/n1`, `nodes n1`. What is set (`a/b=c`)
/// or taken away (`a/b-`) is none.
fn kinds_of<'a>(named: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let listed = named.first().into_iter().flat_map(|word| word.split(','));
    let is_object = |word: &&str| word.contains('/') && !word.contains('=') && !word.ends_with('-');
    let further = named.iter().skip(1).copied().filter(is_object);
    listed.chain(further).map(|word| word.split(['/', '.']).next().unwrap_or_default())
}

/// Returns whether the objects of the built-in kind that kubectl understands by this word are in no
/// namespace. Capital letters do not matter: `Node`, `nodes` and `no` are one kind.
fn is_cluster_scoped(word: &str) -> bool {
    lines::objects::kind_of(word).is_some_and(|kind| !kind.namespaced)
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

/// Returns the namespaces of a command: what stands behind `-n` and `--namespace`. Before the `n`
/// may stand flags of the verb that have no value: `-Rn shop`.
fn namespaces<'a>(words: &'a [String], verb: &Verb) -> Vec<&'a str> {
    let has_no_value = |letter| verb.short_flag(letter).is_some_and(|flag| flag.kind == Kind::Bool);
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if word == "--" {
            break; // what follows is a container's
        }
        let behind = match word.strip_prefix("--") {
            Some(long) => long.strip_prefix("namespace").filter(|v| v.is_empty() || v.starts_with('=')),
            None => {
                let parts = word.strip_prefix('-').and_then(|letters| letters.split_once('n'));
                parts.filter(|(before, _)| before.chars().all(has_no_value)).map(|(_, behind)| behind)
            }
        };
        found.extend(match behind {
            Some("") => words.get(at + 1).map(String::as_str),
            behind => behind.map(|value| value.strip_prefix('=').unwrap_or(value)),
        });
    }
    found
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
            "kubectl delete pods --all --all_namespaces",
            "kubectl delete pods --all --all-namespaces=1",
            "kubectl delete pods --all -A=true",
            "kubectl delete -f - -RA",
            "kubectl delete pods --all -A --timeout=$T",
            "kubectl delete -f - -RA --timeout=$T",
            "kubectl delete pods --all --all_namespaces=1 --timeout=$T",
            "kubectl delete pods --all -A=$ALL",
            "kubectl delete -l disk=ssd nodes",
            "kubectl patch --type merge -p '{\"spec\": {}}' node n1",
            "kubectl delete pods,nodes --all",
            "kubectl delete pod/web node/n1",
            "kubectl delete Node n1",
            "kubectl label pods/web Nodes/n1 a=b",
            "kubectl get nodes; kubectl drain n1",
            "kubectl certificate approve kim",
            "kubectl certificate $DO kim",
            "kubectl set subject clusterrolebinding readers --user=kim",
            "kubectl apply edit-last-applied node n1",
            "kubectl create --save-config clusterrole $NAME --verb=get",
            "kind: \"ClusterRole\"",
            "{kind: ClusterRole, metadata: {name: x}}",
            "{\"kind\": \"ClusterRole\"}",
            "- kind: ClusterRole # of all",
        ] {
            assert!(of_line(whole).iter().any(|n| matches!(n, Need::WholeCluster(_))), "{whole}");
        }
        for elsewhere in
            ["kubectl get pods -nkube-system", "namespace: kube-system", "metadata: {namespace: kube-system}"]
        {
            assert!(of_line(elsewhere).contains(&Need::OtherNamespace("kube-system".into())), "{elsewhere}");
        }
        for own in [
            "kubectl delete pod web",
            "create deployment web --image=nginx",
            "kubectl get pods -A",
            "kubectl delete pod web -A=false",
            "kubectl apply view-last-applied node/n1",
            "kubectl set subject rolebinding readers --user=kim",
            "kubectl rollout undo deploy/web --to-revision 2",
            "kubectl -n default get pods",
            "kind: Role",
            "metadata: {name: web, namespace: default}",
            "kubectl exec web -- drain n1",
            "kubectl delete -l node=n1 pods",
            "kubectl label pod web node/kind=a node/old-",
            "kubectl logs web | tail -n 5",
            "kubectl get pods -o name | sed -n 1p",
            "[ -n \"$POD\" ] && kubectl delete pod web",
            "sysctl -n net.ipv4.ip_forward",
            "echo -n hello | kubectl exec -i web -- cat",
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
                vec![Need::OtherNamespace("kube-system".into())],
            ),
            (
                "present('Lease','kube-system','kube-scheduler')",
                vec![Need::OtherNamespace("kube-system".into())],
            ),
            ("logs('shop/web').contains('x')", vec![Need::OtherNamespace("shop".into())]),
            ("logs('default/web').contains('x')", vec![]),
            ("http('http://localhost:30080').status == 200", vec![Need::LocalhostPort]),
            ("size(faults()) == 0", vec![Need::OwnCluster("faults()".into())]),
            ("present('Node','','ropewalk-worker2')", vec![Need::Node("ropewalk-worker2".into())]),
        ] {
            assert_eq!(expr(source), needs, "{source}");
        }
    }

    #[test]
    fn a_line_tells_what_it_does() {
        let everywhere = |what: &str| vec![Need::WholeCluster(what.into())];
        for (line, needs) in [
            ("kubectl run web --image=nginx", vec![]),
            ("-kubectl run web --image=nginx:1.27", vec![]),
            ("kubectl get pods -A", vec![]),
            ("kubectl get pods -n default", vec![]),
            ("kubectl exec web -- wget -qO- http://localhost", vec![]),
            ("kubectl exec web -- head -n 5 file", vec![]),
            ("curl -s localhost:30080", vec![Need::LocalhostPort]),
            ("fault kill kube-scheduler", vec![Need::OwnCluster("fault".into())]),
            ("drill check", vec![Need::OwnCluster("drill".into())]),
            ("timeout 5 etcdctl get a", vec![Need::OwnCluster("etcdctl".into())]),
            ("kubectl get nodes -o name | xargs kubectl cordon", everywhere("kubectl cordon")),
            ("KUBECONFIG=mine.yaml kubectl drain n1", everywhere("kubectl drain")),
            ("timeout 5 kubectl exec web -- wget -qO- http://localhost", vec![]),
            ("echo kubectl drain n1", vec![]),
            (
                "kubectl delete pod x --namespace=kube-system",
                vec![Need::OtherNamespace("kube-system".into())],
            ),
            ("kubectl delete pods --all -Rn kube-system", vec![Need::OtherNamespace("kube-system".into())]),
            ("kubectl logs -fnshop web", vec![Need::OtherNamespace("shop".into())]),
            ("kubectl get pods -ojson", vec![]),
            ("kubectl describe node ropewalk-worker", vec![Need::Node("ropewalk-worker".into())]),
            ("kubectl run web --image=echo", vec![Need::Image("echo".into())]),
            ("kubectl run web --image echo:1.0", vec![Need::Image("echo:1.0".into())]),
            ("        image: kv:1.0", vec![Need::Image("kv:1.0".into())]),
            ("containers: [{name: a, image: \"shop-page:1.0\"}]", vec![Need::Image("shop-page:1.0".into())]),
            ("    - image: nginx:1.27 # not echo", vec![]),
            ("kubectl drain n1", everywhere("kubectl drain")),
            ("kubectl create ns shop", everywhere("kubectl create ns")),
            ("kubectl label node n1 a=b", everywhere("kubectl label node")),
            ("kind: ClusterRole", everywhere("ClusterRole")),
        ] {
            assert_eq!(of_line(line).into_iter().collect::<Vec<_>>(), needs, "{line}");
        }
    }

    #[test]
    fn steps_about_workers_are_skipped_where_there_is_none() {
        let library = crate::format::Library::built_in();
        let lacking = |workers: u8, lesson: &str, step: &str| {
            let lesson = library.get(lesson).unwrap();
            let offers = Offers { own: true, workers, control_planes: 1 };
            lacks(&offers, &LessonScope::default(), lesson, &lesson.steps[lesson.step(step).unwrap()])
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
        let need = Need::Requires("control-planes>=3".into());
        assert_eq!(
            [need.say("en"), need.say("ko")],
            ["control-plane nodes, 3 or more", "컨트롤 플레인 노드 3개 이상"]
        );
    }

    #[test]
    fn a_cluster_of_our_own_has_everything_and_a_foreign_one_says_what_it_lacks() {
        let library = crate::format::Library::built_in();
        let home = Offers { own: true, workers: 2, control_planes: 1 };
        let foreign = Offers { own: false, ..home };
        let scope = LessonScope::default();
        let mut playable = 0;
        for lesson in &library.lessons {
            for step in &lesson.steps {
                assert_eq!(lacks(&home, &scope, lesson, step), None, "{} {}", lesson.id, step.id);
                playable += usize::from(lacks(&foreign, &scope, lesson, step).is_none());
            }
        }
        assert!(playable > 0);
        let kill = library.get("first-voyage/03").unwrap();
        let kill = &kill.steps[kill.step("kill").unwrap()];
        assert!(kill.needs.contains(&Need::OwnCluster("fault".into())));
        let run = library.get("first-voyage/04").unwrap();
        let denied = LessonScope { denied: ["pods".to_string()].into(), ..scope.clone() };
        assert_eq!(lacks(&foreign, &scope, run, &run.steps[0]), None);
        assert_eq!(lacks(&foreign, &denied, run, &run.steps[0]), Some(Need::Right("pods".into())));
    }
}
