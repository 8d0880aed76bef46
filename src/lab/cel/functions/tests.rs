use super::super::{Expr, Use};
use super::*;
use serde_json::json;

fn facts(objects: &[serde_json::Value], trace: Vec<Value>) -> Arc<Facts> {
    let mut facts = Facts { trace: Arc::new(trace), ..Facts::default() };
    for o in objects {
        let kind = super::super::facts::kind(o["kind"].as_str().unwrap()).unwrap();
        let key = (
            o["metadata"]["namespace"].as_str().unwrap_or("").to_string(),
            o["metadata"]["name"].as_str().unwrap().to_string(),
        );
        let all = facts.objects.entry(kind.qualified()).or_default();
        Arc::make_mut(all).insert(key, Object::new(o.clone()));
    }
    Arc::new(facts)
}

#[test]
fn a_request_covers_what_it_names_or_its_selectors_fit() {
    let pod = value::of_json(
        &json!({"kind": "Pod", "metadata": {"namespace": "d", "name": "web", "labels": {"app": "web"}}, "spec": {"nodeName": "n1"}}),
    );
    let node = value::of_json(&json!({"kind": "Node", "metadata": {"name": "n1"}}));
    let asked = |object: &str, labels: &str, fields: &str| {
        value::map([
            ("object", value::text(object)),
            ("labels", value::text(labels)),
            ("fields", value::text(fields)),
        ])
    };
    for (object, labels, fields, of_pod, of_node) in [
        ("Pod/d/web", "", "", true, false),
        ("Pod/d/web2", "", "", false, false),
        ("Pod/d/*", "", "", true, false),
        ("Pod/d/*", "app=web", "", true, false),
        ("Pod/d/*", "nothing=here", "", false, false),
        ("Pod/d/*", "app=web", "spec.nodeName=n2", false, false),
        ("Pod/*/*", "", "metadata.name=web,spec.nodeName!=n2", true, false),
        ("Pod//*", "", "", true, false),
        ("Pod/other/*", "", "", false, false),
        ("Pod/d/web/log", "", "", false, false),
        ("Node//*", "", "", false, true),
        ("Node//*", "nothing=here", "", false, false),
        ("Node//n1", "", "", false, true),
        // What is not there has a value for the server.
        ("Node//*", "", "spec.unschedulable=false", false, true),
        ("Node//*", "", "spec.unschedulable!=false", false, false),
        ("Pod/d/*", "", "spec.hostNetwork=false", true, false),
        ("Pod/d/*", "", "status.nothing=x", false, false),
    ] {
        let request = asked(object, labels, fields);
        assert_eq!(
            (covers(&request, &pod), covers(&request, &node)),
            (of_pod, of_node),
            "{object} {labels} {fields}"
        );
    }
    assert!(!covers(&asked("Pod/d/*", "", ""), &value::empty()));
    let set = json!({"kind": "ReplicationController", "metadata": {"namespace": "d", "name": "web"},
        "status": {"replicas": 3}});
    let of_set = |fields| covers(&asked("ReplicationController/d/*", "", fields), &value::of_json(&set));
    assert!(of_set("status.replicas=3") && !of_set("status.replicas=0"), "a number");
}

fn eval(source: &str, facts: &Arc<Facts>) -> Result<Value, String> {
    Expr::compile(source, Use::Beat, &[]).unwrap().value(facts, &[])
}

#[test]
fn objects_are_found_and_judged() {
    let pod = |name: &str, ready: &str, app: &str| {
        json!({"kind": "Pod", "metadata": {"namespace": "default", "name": name, "labels": {"app": app}},
            "spec": {"containers": [{"image": "nginx"}]}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    };
    let facts = facts(&[pod("a", "True", "x"), pod("b", "False", "y")], vec![]);
    for (source, truth) in [
        ("ready(object('Pod','default','a'))", true),
        ("ready(object('Pod','default','b'))", false),
        ("ready(object('Pod','default','none'))", false),
        ("size(objects('Pod','*')) == 2 && size(objects('Pod','kube-system')) == 0", true),
        ("objects('Pod','default','app=y')[0].metadata.name == 'b'", true),
        (
            "get(object('Pod','default','a'),'spec.containers.0.image','').matches('(^|/)nginx(:[\\\\w.-]+)?$')",
            true,
        ),
        ("get(object('Pod','default','none'),'spec.x','gone') == 'gone'", true),
        ("present('Pod','default','a') && !present('Pod','default','c')", true),
        ("1 == 2", false),
    ] {
        assert_eq!(eval(source, &facts), Ok(Value::Bool(truth)), "{source}");
    }
    assert!(eval("object('Pod','default','none').spec.x == 1", &facts).is_err());
}

#[test]
fn a_deployment_is_ready_when_every_pod_is_of_the_new_kind() {
    let deployment = |seen: i64, updated: i64| {
        json!({"kind": "Deployment", "metadata": {"name": "w", "namespace": "d", "generation": 2}, "spec": {"replicas": 2},
            "status": {"observedGeneration": seen, "replicas": 2, "updatedReplicas": updated, "readyReplicas": 2, "availableReplicas": 2}})
    };
    for (seen, updated, truth) in [(2, 2, true), (1, 2, false), (2, 1, false)] {
        let facts = facts(&[deployment(seen, updated)], vec![]);
        assert_eq!(eval("ready(object('Deployment','d','w'))", &facts), Ok(Value::Bool(truth)));
    }
}

/// The newest pods of a StatefulSet are tried first: the partition keeps the others.
#[test]
fn a_set_is_ready_when_the_pods_above_its_partition_are_updated() {
    let ready = |partition: i64, updated: i64, current: &str| {
        let set = json!({"kind": "StatefulSet", "metadata": {"namespace": "d", "name": "w", "generation": 2},
            "spec": {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": partition}}},
            "status": {"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated,
                "currentRevision": current, "updateRevision": "w-2"}});
        eval("ready(object('StatefulSet','d','w'))", &facts(&[set], vec![]))
    };
    for (partition, updated, current, truth) in
        [(2, 1, "w-1", true), (2, 0, "w-1", false), (0, 1, "w-1", false), (0, 3, "w-2", true)]
    {
        assert_eq!(ready(partition, updated, current), Ok(Value::Bool(truth)), "{partition} {updated}");
    }
}

#[test]
fn hops_name_who_did_what_and_leave_out_what_came_to_nothing() {
    let record = |user: &str, object: &str, code: i64| {
        value::map([
            ("component", value::text("kube-apiserver")),
            ("verb", value::text("create")),
            ("user", value::text(user)),
            ("object", value::text(object)),
            ("code", Value::Int(code)),
        ])
    };
    let facts = facts(
        &[],
        vec![
            record("teacher", "Pod/default/t", 201),
            record("learner", "Pod/default/refused", 409),
            record("learner", "Pod/default/web/exec", 101),
            record("learner", "Pod/default/web", 201),
        ],
    );
    assert_eq!(eval("name(hop('kube-apiserver','create','Pod'))", &facts), Ok(value::text("web")));
    assert_eq!(eval("size(hops('kube-apiserver','create','Pod'))", &facts), Ok(Value::Int(2)));
    assert_eq!(eval("size(hops('kube-apiserver','create','Pod/*/*/exec'))", &facts), Ok(Value::Int(1)));
    assert_eq!(eval("hop('kubelet','start','Pod') == {}", &facts), Ok(Value::Bool(true)));
}

#[test]
fn what_counted_is_the_correction_and_what_followed_it() {
    let record = |component: &str, verb: &str, object: &str, user: &str, revision: i64, at: i64| {
        value::map([
            ("component", value::text(component)),
            ("verb", value::text(verb)),
            ("object", value::text(object)),
            ("user", value::text(user)),
            ("code", Value::Int(if user.is_empty() { 0 } else { 200 })),
            ("revision", Value::Int(revision)),
            ("took", Value::Duration(chrono::Duration::milliseconds(5))),
            ("at", value::time(jiff::Timestamp::from_millisecond(at).unwrap())),
        ])
    };
    let web = "Deployment/default/web";
    let scaled = "Deployment/default/web/scale";
    let facts = facts(
        &[],
        vec![
            record("kube-apiserver", "patch", scaled, "learner", 7, 100),
            record("deployment-controller", "scale", web, "", 0, 110),
            record("kube-apiserver", "patch", scaled, "learner", 9, 200),
            record("deployment-controller", "scale", web, "", 0, 198), // seen before the answer was out
            record("kube-apiserver", "patch", web, "learner", 0, 300), // changed nothing
            record("kube-apiserver", "update", web, "system:x", 12, 310),
            record("deployment-controller", "scale", web, "", 0, 400),
        ],
    );
    let change = "wrote('patch update','Deployment/default/*')";
    for (source, value) in [
        (format!("{change}.revision"), Value::Int(9)),
        (
            format!(
                "after({change}, since({change}, hops('deployment-controller','scale','Deployment'))[0])"
            ),
            value::text("0.0 ms"),
        ),
        ("asked('patch','Deployment').revision".into(), Value::Int(0)),
        ("wrote('delete','Pod') == {}".into(), Value::Bool(true)),
        ("last([1, 2]) == 2 && last([]) == {}".into(), Value::Bool(true)),
    ] {
        assert_eq!(eval(&source, &facts), Ok(value), "{source}");
    }
    let backwards = format!("after({change}, hop('deployment-controller','scale','Deployment'))");
    assert!(eval(&backwards, &facts).is_err());
}

/// The map lists pods after the learner has, and `kubectl delete` looks whether its pod is gone.
#[test]
fn a_look_that_was_not_meant_is_none_of_the_learners_requests() {
    let record = |object: &str, own: bool, id: &str| {
        value::map([
            ("user", value::text("learner")),
            ("verb", value::text("list")),
            ("object", value::text(object)),
            ("code", Value::Int(200)),
            ("own", Value::Bool(own)),
            ("request", value::text(id)),
        ])
    };
    let trace = vec![record("Pod/default/*", true, "typed"), record("Pod/default/*", false, "map")];
    let facts = facts(&[], trace);
    assert_eq!(eval("asked('list','Pod/default').request", &facts), Ok(value::text("typed")));
}

#[test]
fn what_could_not_be_asked_is_neither_so_nor_not_so() {
    let silent = value::map([("error", value::text("connection refused"))]);
    let can = Probe::Can {
        user: "eve".into(),
        verb: "get".into(),
        resource: "secrets".into(),
        namespace: "d".into(),
    };
    let told = |answer: Value, log: Value| {
        let answers = [(can.clone(), answer), (Probe::Logs { target: "d/web".into() }, log)];
        let facts = Arc::new(Facts { answers: answers.into(), ..Facts::default() });
        [
            "can('eve','get','secrets','d')",
            "!can('eve','get','secrets','d')",
            "!logs('d/web').contains('x')",
            // What has no answer is not compared either: it differs from everything.
            "can('eve','get','secrets','d') != true",
            "logs('d/web') != 'x'",
        ]
        .map(|source| Expr::compile(source, Use::Check, &[]).unwrap().holds(&facts))
    };
    assert_eq!(told(Value::Bool(false), value::text("")), [false, true, true, true, true]);
    assert_eq!(told(silent.clone(), silent), [false; 5]);
}

#[test]
fn a_new_log_is_what_was_written_since_the_step_began() {
    let told = |began: Option<&str>, log: &str| {
        let probe = Probe::Logs { target: "d/web".into() };
        let step_at = began.map(|at| at.parse().unwrap());
        let answers = [(probe, value::text(log))].into();
        let facts = Arc::new(Facts { answers, step_at, ..Facts::default() });
        eval("new_logs('d/web')", &facts)
    };
    // The log is first read after the learner's act, and still only the second line is new.
    let log = "2026-11-22T16:00:00.000000001Z old line\n2026-11-22T16:00:09.5Z new line\n";
    assert_eq!(told(Some("2026-11-22T16:00:09.499999999Z"), log), Ok(value::text("new line\n")));
    assert_eq!(told(Some("2026-11-22T16:00:10Z"), log), Ok(value::text("")));
    assert_eq!(told(None, log), Ok(value::text("old line\nnew line\n")));
    assert!(eval("new_logs('d/web')", &facts(&[], vec![])).is_err(), "asked, and not answered yet");
}

/// A visit and a line of the log belong together by their times.
#[test]
fn a_new_line_is_told_with_the_time_at_which_it_was_written() {
    let log = "2026-11-22T16:00:00Z GET /old\n2026-11-22T16:00:09.5Z GET /new\n";
    let told = |check: &str| {
        let answers = [(Probe::Logs { target: "d/web".into() }, value::text(log))].into();
        let step_at = Some("2026-11-22T16:00:05Z".parse().unwrap());
        let facts = Arc::new(Facts { answers, step_at, ..Facts::default() });
        Expr::compile(check, Use::Check, &[]).unwrap().holds(&facts)
    };
    let within = |begin: &str| {
        format!(
            "new_lines('d/web').exists(l, l.line == 'GET /new' && l.at - timestamp('{begin}') < duration('1s'))"
        )
    };
    assert!(told("new_lines('d/web').size() == 1"));
    assert!(told(&within("2026-11-22T16:00:09Z")) && !told(&within("2026-11-22T16:00:06Z")));
    let expr = Expr::compile("new_lines('d/web').size() == 1", Use::Check, &[]).unwrap();
    assert!(expr.is_probe() && expr.is_level() && expr.namespaces.contains("d"));
}

#[test]
fn a_secret_is_compared_by_what_is_stored_of_it() {
    assert_eq!(eval("base64('KRW') == 'S1JX'", &facts(&[], vec![])), Ok(Value::Bool(true)));
}

#[test]
fn what_the_nodes_are_answered_is_a_list_and_no_node_is_no_answer() {
    let told = |answer: Value| {
        let probe = Probe::Within { url: "http://10.96.0.9:80".into(), nth: 0 };
        let facts = Arc::new(Facts { answers: [(probe, answer)].into(), ..Facts::default() });
        let check = "fetch('http://10.96.0.9:80').all(a, a.body.contains('Hostname: cart-'))";
        Expr::compile(check, Use::Check, &[]).unwrap().holds(&facts)
    };
    let answer = |body: &str| value::map([("status", Value::Int(200)), ("body", value::text(body))]);
    assert!(told(value::list(vec![answer("Hostname: cart-1"), answer("Hostname: cart-2")])));
    assert!(!told(value::list(vec![answer("Hostname: cart-1"), answer("")])), "one node is refused");
    assert!(!told(value::map([("error", value::text("no node"))])));
    assert!(Expr::compile("fetch('http://a').size() > 0", Use::Check, &[]).unwrap().is_probe());
}

#[test]
fn a_request_is_asked_for_once_a_mention() {
    let facts = facts(&[], vec![]);
    assert!(eval("http('http://a').status == 200 && http('http://a').status == 200", &facts).is_err());
    assert!(eval("http('http://b', 3).all(a, a.status == 200)", &facts).is_err());
    let wanted = facts.take_wanted().probes;
    assert_eq!(
        wanted.iter().filter(|p| matches!(p, Probe::Http { call, .. } if call.url == "http://b")).count(),
        3
    );
    assert!(wanted.contains(&Probe::Http { call: call::Call::get("http://a"), nth: 0 }));
}

#[test]
fn a_refused_connection_is_told_from_other_failures() {
    let answer = |failure: &str| value::map([("status", Value::Int(0)), ("failure", value::text(failure))]);
    let url = "http://localhost:1/";
    let of = |source: &str, failures: &[&str]| {
        let probe = |nth| Probe::Http { call: call::Call::get(url), nth };
        let answers = failures.iter().enumerate().map(|(nth, failure)| (probe(nth), answer(failure)));
        eval(source, &Arc::new(Facts { answers: answers.collect(), ..Facts::default() }))
    };
    let one = format!("http('{url}')");
    for (function, failure) in [("refused", "refused"), ("timed_out", "timeout"), ("no_such_host", "name")] {
        for other in ["refused", "timeout", "name", "other", ""] {
            let told = of(&format!("{function}({one})"), &[other]);
            assert_eq!(told, Ok(Value::Bool(failure == other)), "{function} of {other:?}");
        }
    }
    let both = format!("refused(http('{url}', 2))");
    assert_eq!(of(&both, &["refused", "refused"]), Ok(Value::Bool(true)));
    assert_eq!(of(&both, &["refused", ""]), Ok(Value::Bool(false)), "one of them was answered");
    assert!(of("refused({'status': 0})", &[]).is_err_and(|why| why.contains("no answer of http()")));
}
