//! Checks, hints and debriefs of the built-in lessons, each in a cluster with other work beside
//! that of the lesson.

use super::offered::SO;
use super::*;
use crate::cel::facts::Line;
use crate::cel::version::Version;

#[test]
fn no_hint_says_what_is_not_so_where_other_work_is() {
    let library = Library::built_in();
    assert!(library.lessons.len() >= 12 && library.faults.is_empty(), "{:?}", library.faults);
    let facts = facts(&library);
    let mut told = Vec::new();
    for lesson in &library.lessons {
        for step in &lesson.steps {
            let said = step.hints.iter().filter(|h| h.when.as_ref().is_some_and(|when| when.holds(&facts)));
            told.extend(said.map(|h| format!("{}#{} {}", lesson.id, step.id, h.id)));
        }
    }
    assert_eq!(told, SO);
}

/// RESTARTS rises by a restart of the whole cluster as well: the step asks who ended the process.
#[test]
fn a_restart_of_the_cluster_ends_no_process_by_fault() {
    use cluster::faults::Fault;
    let library = Library::built_in();
    let lesson = library.find("first-voyage/03", None).expect("a lesson");
    let step = &lesson.steps[lesson.step("kill").expect("a step")];
    let is_met = |fault: Option<&str>| {
        let told = fault.map(|words| {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            let fault = Fault::parse(&words).expect("a fault");
            value::of_json(&json!({"component": "fault", "verb": "fault", "detail": json!(fault)}))
        });
        let facts = Arc::new(Facts { trace: Arc::new(told.into_iter().collect()), ..Facts::default() });
        step.checks[0].is.holds(&facts)
    };
    assert!(
        is_met(Some("kill kube-scheduler")) && is_met(Some("kill kube-scheduler/ropewalk-control-plane"))
    );
    assert!(!is_met(None) && !is_met(Some("kill kube-controller-manager")));
}

/// A stock kubectl joins the parts of a field selector in the order of a Go map: in any.
#[test]
fn the_events_of_a_description_are_asked_for_in_any_order() {
    let library = Library::built_in();
    let described = |fields: &str| {
        let look = request("get", "Deployment/default/dpy-nginx", "kubectl describe", 200);
        let events = request("list", "Event/default/*", "kubectl describe", 200);
        let events = value::with(&events, "fields", value::text(fields));
        is_met(&library, "first-voyage/05", "describe", 0, |facts| {
            facts.trace = Arc::new(vec![look, events]);
        })
    };
    let (name, kind) = ("involvedObject.name=dpy-nginx", "involvedObject.kind=Deployment");
    assert!(described(&format!("{name},{kind}")) && described(&format!("{kind},{name}")));
    assert!(!described(kind) && !described(&format!("{kind},{name}-65c6f7bc78")));
}

/// Only a learner who tries to scale the pod reads that it has no number of replicas.
#[test]
fn a_pod_that_was_deleted_was_not_to_be_scaled() {
    let library = Library::built_in();
    let lesson = library.get("first-voyage/06").unwrap();
    let step = &lesson.steps[lesson.step("no-such").unwrap()];
    let hint = step.hints.iter().find(|h| h.id == "as-pod").unwrap();
    let told = |verb: &str, command: &str| {
        let trace = vec![request(verb, "Pod/default/nginx-pod", command, 200)];
        let facts = Facts { trace: Arc::new(trace), ..Facts::default() };
        hint.when.as_ref().unwrap().holds(&Arc::new(facts))
    };
    assert!(told("get", "kubectl scale") && told("patch", "kubectl patch") && told("patch", ""));
    let others = [("delete", "kubectl delete"), ("create", "kubectl run"), ("patch", "kubectl label")];
    assert!(others.iter().all(|(verb, command)| !told(verb, command)));
}

/// Lines of a step, each with the programs that run in the background of the shell after it;
/// `before`: what runs there when the step begins.
fn in_one_shell(before: &[&str], lines: &[(&str, &[&str])]) -> Vec<Line> {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<String>>();
    let mut running_before = names(before);
    let mut done = vec![];
    for (at, (line, running)) in (1..).zip(lines) {
        let running = names(running);
        done.push(Line {
            line: (*line).into(),
            at: second(at),
            running: running.clone(),
            running_before: std::mem::replace(&mut running_before, running),
            ..Line::default()
        });
    }
    done
}

/// The shop was started in the step before: no line of this step tells of it.
#[test]
fn a_shop_of_the_step_before_can_be_ended_in_the_first_line() {
    let library = Library::built_in();
    let met = |before: &[&str], line: &str, after: &[&str]| {
        [0, 1].map(|check| {
            is_met(&library, "first-voyage/00", "stop", check, |facts| {
                facts.ran = in_one_shell(before, &[(line, after)]);
            })
        })
    };
    assert_eq!(met(&["sleep"], "kill $!; jobs", &[]), [true, true]);
    assert_eq!(met(&["sleep"], "kill 9; jobs", &["sleep"]), [false, false], "another process");
    assert_eq!(met(&[], "kill $!; jobs", &[]), [false, false], "there was none to end");
    assert_eq!(met(&["sleep", "sleep"], "kill $!; jobs", &["sleep"]), [false, true], "one of two");
}

/// One shop was started in the step before, and another one in this step.
#[test]
fn a_shop_that_still_runs_is_seen_in_the_shell() {
    let library = Library::built_in();
    let ended = |lines: &[(&str, &[&str])]| {
        is_met(&library, "first-voyage/00", "stop", 0, |facts| facts.ran = in_one_shell(&[], lines))
    };
    let beside =
        |running: &[&str]| ended(&[("sleep 900 &", running), ("kill $!", running), ("jobs", running)]);
    assert!(beside(&[]) && beside(&["ssh-agent"]));
    assert!(!beside(&["sleep"]), "one of the two runs");
    let (start, after) = (("sleep 900 &", &["sleep"] as &[&str]), ("kill $!; jobs", &[] as &[&str]));
    assert!(ended(&[start, after]) && ended(&[start, after, start, ("kill $!", &[])]), "the children tell");
    assert!(!ended(&[start, ("kill 9; jobs", &["sleep"])]), "another process");
}

/// In parentheses kubectl is found by a second shell, and the list is from before the repair.
#[test]
fn a_list_before_the_repair_of_path_is_none_after_it() {
    let library = Library::built_in();
    let listed = |lines: Vec<Line>, at: i64| {
        let list = request("list", "Pod/default/*", "kubectl get", 200);
        let list = value::with(&list, "at", value::time(second(at)));
        is_met(&library, "first-voyage/21", "shell", 2, |facts| {
            (facts.ran, facts.trace) = (lines, Arc::new(vec![list]));
        })
    };
    let line = |line: &str, at: i64, kubectl: bool| Line {
        line: line.into(),
        at: second(at),
        kubectl,
        ..Line::default()
    };
    let lost = Line { code: 127, ..line("kubectl get pods", 5, false) };
    let repair = line("export PATH=$ROPEWALK_HOME/bin:$PATH", 20, true);
    let aside = line("(PATH=$ROPEWALK_HOME/bin:$PATH; kubectl get pods)", 10, false);
    assert!(!listed(vec![lost.clone(), aside, repair.clone()], 9));
    assert!(listed(vec![lost.clone(), repair, line("kubectl get pods", 31, true)], 30));
    let both = line("export PATH=$ROPEWALK_HOME/bin:$PATH && kubectl get pods", 31, true);
    assert!(listed(vec![lost, both], 30), "in one line with the repair");
}

/// The name was looked up at second 10.
#[test]
fn a_name_is_looked_up_of_the_service_that_is_there() {
    let library = Library::built_in();
    let met = |made: &str| {
        let exec = request("create", "Pod/default/tester/exec", "kubectl exec", 101);
        let exec = value::with(&exec, "at", value::time(second(10)));
        let exec = value::with(&exec, "exit", Value::Int(0));
        let line = "kubectl exec tester -- nslookup dpy-nginx";
        let line = Line { line: line.into(), at: second(11), ..Line::default() };
        let mut service = object("Service", "dpy-nginx", "s9", None, json!({}));
        service["metadata"]["creationTimestamp"] = json!(made);
        is_met(&library, "first-voyage/17", "lookup", 1, |facts| {
            (facts.ran, facts.trace) = (vec![line], Arc::new(vec![exec]));
            snapshot::put(facts, service);
        })
    };
    assert!(met("1970-01-01T00:00:05Z"));
    assert!(!met("1970-01-01T00:00:20Z"), "that one was made anew, with another address");
}

/// The Service is deleted at second 10; the last line knocks.
#[test]
fn a_variable_counts_by_the_last_line_that_set_it() {
    let library = Library::built_in();
    let knocked = |lines: &[(&str, i64)], looked: i64| {
        let knock = Line { line: "curl localhost:$PORT".into(), code: 7, at: second(30), ..Line::default() };
        let line =
            |(line, at): &(&str, i64)| Line { line: (*line).into(), at: second(*at), ..Line::default() };
        let set = lines.iter().map(line);
        let ran: Vec<Line> = set.chain([knock]).collect();
        let look = request("get", "Service/default/pod-svc", "kubectl get", 200);
        let look = value::with(&look, "at", value::time(second(looked)));
        is_met(&library, "first-voyage/09", "close", 2, |facts| {
            let service = objects().into_iter().find(|o| o["metadata"]["name"] == "pod-svc").unwrap();
            let version = |revision, at, verb: &'static str| {
                Version::new(revision, Some(second(at)), verb, service.to_string().into())
            };
            let versions = vec![version(5, 1, "ADDED"), version(BEGAN + 1, 10, "DELETED")];
            snapshot::put_versions(facts, &service, versions);
            (facts.ran, facts.trace) = (ran, Arc::new(vec![look]));
        })
    };
    let asked = "PORT=$(kubectl get svc pod-svc -o jsonpath='{.spec.ports[*].nodePort}')";
    assert!(knocked(&[(asked, 5)], 4));
    assert!(knocked(&[("PORT=1", 3), (asked, 5)], 4));
    assert!(!knocked(&[(asked, 15)], 14), "the Service was gone: nothing is in it");
    assert!(!knocked(&[(asked, 5), ("PORT=1 # nodePort", 6)], 4));
    assert!(!knocked(&[(asked, 5), ("unset PORT", 6)], 4));
    assert!(!knocked(&[(format!("{asked}; PORT=1").as_str(), 5)], 4));
    // A learner who has noted the number may write it at any time.
    assert!(knocked(&[("PORT=31000", 15)], 14) && knocked(&[("export PORT='31000'", 15)], 14));
    assert!(!knocked(&[("PORT=310001", 15)], 14) && !knocked(&[], 4));
}

#[test]
fn whatever_a_deployments_pods_are_labelled_no_hint_tells_to_make_it_anew() {
    let library = Library::built_in();
    let mut facts = Arc::into_inner(facts(&library)).unwrap();
    let mut other = deployment("dpy-nginx", "d1");
    other["spec"]["template"]["metadata"]["labels"] = json!({"run": "web"});
    snapshot::put(&mut facts, other);
    let (facts, lesson) = (Arc::new(facts), library.find("first-voyage/10", None).expect("a lesson"));
    let step = &lesson.steps[lesson.step("delete").expect("a step")];
    let told = step.hints.iter().filter(|h| h.when.as_ref().is_some_and(|when| when.holds(&facts)));
    assert_eq!(told.map(|h| h.id.as_str()).collect::<Vec<_>>(), Vec::<&str>::new());
}

/// A stock kubectl looks for an apply that is only tried as it looks for any other, and does not
/// say which.
#[test]
fn an_apply_whose_line_asks_for_a_dry_run_is_none() {
    let library = Library::built_in();
    let applied = |line: &str| {
        is_met(&library, "first-voyage/12", "again", 0, |facts| {
            facts.trace = Arc::new(vec![request("get", "Deployment/default/web", "kubectl apply", 200)]);
            facts.ran = vec![Line { line: line.into(), ..Line::default() }];
        })
    };
    for line in [
        "kubectl apply -f web.yaml",
        "kubectl apply -f web.yaml # not --dry-run=client",
        "kubectl apply --dry-run=none -f web.yaml",
        "kubectl create deployment web --image=nginx --dry-run=client -o yaml | kubectl apply -f -",
    ] {
        assert!(applied(line), "{line}");
    }
    for line in [
        "kubectl apply -f web.yaml --dry-run=client",
        "kubectl apply -f web.yaml --dry-run='server'",
        "kubectl apply --dry-run -f web.yaml",
        "kubectl --dry-run=client apply -f web.yaml",
    ] {
        assert!(!applied(line), "{line}");
    }
}

/// Another refusal may follow the typo's, e.g. of a log before the container runs.
#[test]
fn an_unknown_field_is_told_of_the_request_that_had_one() {
    let library = Library::built_in();
    let refused = |verb: &str, object: &str, code: i64, message: &str| {
        let refusal = value::with(&request(verb, object, "", code), "message", value::text(message));
        value::with(&refusal, "took", Value::Duration(chrono::Duration::zero()))
    };
    let told = |lang: &str, code: i64, message: &str| {
        let mut facts = Arc::into_inner(facts(&library)).unwrap();
        let first = refused("patch", "Deployment/default/web", code, message);
        facts.trace = Arc::new(vec![first, refused("get", "Pod/default/web/log", 400, "waiting to start")]);
        crate::debrief::one(&library.beats["unknown-field"], &Arc::new(facts), &[], lang)
    };
    let strict = "strict decoding error: unknown field \"spec.replicaz\"";
    let untyped = "failed to create typed patch object: .spec.replicaz: field not declared in schema";
    for lang in ["en", "ko"] {
        let (patched, applied) = (told(lang, 422, strict).unwrap(), told(lang, 500, untyped).unwrap());
        assert!(patched.contains("422") && !patched.contains("--server-side"), "{patched}");
        assert!(applied.contains("500") && applied.contains("--server-side"), "{applied}");
        assert_eq!(told(lang, 422, "metadata.name: Invalid value"), None);
    }
}

#[test]
fn a_look_is_an_apply_only_where_nothing_was_left_to_write() {
    let library = Library::built_in();
    let applied = |verb: &str, stored: Option<i64>| {
        is_met(&library, "first-voyage/12", "edit", 2, |facts| {
            facts.trace = Arc::new(vec![request(verb, "Deployment/default/web", "kubectl apply", 200)]);
            let Some(replicas) = stored else { return };
            let noted = json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{{\"replicas\":{replicas}}}")});
            let metadata = json!({"namespace": "default", "name": "web", "annotations": noted});
            let web = json!({"kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}});
            snapshot::put_versions(facts, &web, vec![snapshot::version(&web, BEGAN - 1, "ADDED")]);
        })
    };
    assert!(applied("patch", Some(2)) && applied("create", None));
    assert!(applied("get", Some(3)), "file and cluster agreed when the step began");
    assert!(!applied("get", Some(2)) && !applied("get", None));
}

/// Whatever the generation of the one before was.
#[test]
fn a_deployment_that_was_made_again_counts_from_generation_1() {
    let (library, mut web) = (Library::built_in(), deployment("web", "w2"));
    let mut met = |generation: i64| {
        web["metadata"]["generation"] = generation.into();
        let web = web.clone();
        is_met(&library, "first-voyage/12", "again", 1, |facts| snapshot::put(facts, web))
    };
    assert!(met(1) && !met(2));
}
