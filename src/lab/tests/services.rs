//! Checks and hints about Services: their ports, and who has reached one.

use super::*;
use crate::cel::facts::{Line, Probe};

#[test]
fn node_port_80_is_refused_for_the_service_door() {
    let library = Library::built_in();
    let refused = |verb: &str, object: &str| {
        let why =
            value::text("spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range");
        let refusal = value::with(&request(verb, object, "", 422), "message", why);
        is_met(&library, "first-voyage/07", "range", 0, |facts| facts.trace = Arc::new(vec![refusal]))
    };
    assert!(["create", "patch", "update"].iter().all(|verb| refused(verb, "Service/default/door")));
    assert!(!refused("create", "Service/default/gate"));
}

/// A Service of the type LoadBalancer has node ports, too, and is refused with the same message.
#[test]
fn the_service_that_is_refused_for_node_port_80_is_a_node_port_service() {
    let library = Library::built_in();
    let refused = |spec: Json| {
        let refusal = value::with(
            &request("create", "Service/default/door", "", 422),
            "message",
            value::text("spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range"),
        );
        let refusal = value::with(&refusal, "tried", value::of_json(&json!({ "spec": spec })));
        is_met(&library, "first-voyage/07", "range", 0, |facts| facts.trace = Arc::new(vec![refusal]))
    };
    assert!(refused(json!({"type": "NodePort"})));
    assert!(!refused(json!({"type": "LoadBalancer"})) && !refused(json!({})));
}

#[test]
fn only_a_refused_connection_is_a_knock() {
    let library = Library::built_in();
    let knocked = |line: &str, code: i32| {
        let ran = Line { line: line.into(), code, ..Line::default() };
        is_met(&library, "first-voyage/09", "close", 2, |facts| {
            let service = objects().into_iter().find(|o| o["metadata"]["name"] == "pod-svc").unwrap();
            let version = |revision, verb| snapshot::version(&service, revision, verb).by("learner");
            let versions = vec![version(5, "ADDED"), version(BEGAN + 1, "DELETED")];
            snapshot::put_versions(facts, &service, versions);
            facts.ran = vec![ran];
        })
    };
    for (program, codes) in [("curl", vec![7, 28]), ("wget", vec![4]), ("nc", vec![1])] {
        let line = match program {
            "nc" => "nc localhost 31000".to_string(),
            _ => format!("{program} localhost:31000"),
        };
        let counted: Vec<i32> =
            [0, 1, 2, 4, 6, 7, 28, 126, 127].into_iter().filter(|code| knocked(&line, *code)).collect();
        assert_eq!(counted, codes, "{line}");
    }
}

#[test]
fn any_port_of_pod_svc_may_be_port_80() {
    let library = Library::built_in();
    let ports = |ports: Json| {
        let service =
            object("Service", "pod-svc", "s1", None, json!({"spec": {"type": "NodePort", "ports": ports}}));
        let mut facts = Arc::into_inner(facts(&library)).unwrap();
        snapshot::put(&mut facts, service);
        let step = &library.lessons.iter().find(|l| l.id == "first-voyage/07").unwrap().steps[0];
        let facts = Arc::new(facts);
        let hinted = |id: &str| {
            step.hints
                .iter()
                .find(|h| h.id == id)
                .and_then(|h| h.when.as_ref())
                .is_some_and(|w| w.holds(&facts))
        };
        let met = [0, 2].iter().all(|at| step.checks[*at].is.holds(&facts));
        (met, hinted("wrong-port"), hinted("wrong-protocol"))
    };
    let (https, http) = (json!({"name": "https", "port": 443}), json!({"name": "http", "port": 80}));
    let udp = json!({"name": "dns", "port": 80, "protocol": "UDP"});
    assert_eq!(ports(json!([https, http])), (true, false, false));
    assert_eq!(ports(json!([http, https])), (true, false, false));
    assert_eq!(ports(json!([https])), (false, true, false));
    assert_eq!(ports(json!([https, udp])), (false, false, true));
    assert_eq!(
        ports(json!([udp, http])),
        (false, false, true),
        "of two node ports the hints cannot name one"
    );
}

/// A Service may have other ports before port 80: hints and debriefs name the node port of port 80.
#[test]
fn the_node_port_is_that_of_port_80() {
    let library = Library::built_in();
    let ports = json!([
        {"name": "https", "port": 443, "targetPort": 443, "nodePort": 32443},
        {"name": "http", "port": 80, "targetPort": 80, "nodePort": 32080},
    ]);
    let mut facts = Arc::into_inner(facts(&library)).unwrap();
    let spec = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.7", "ports": ports}});
    let service = object("Service", "pod-svc", "s1", None, spec);
    let version = snapshot::version(&service, 5, "ADDED").by("learner");
    snapshot::put_versions(&mut facts, &service, vec![version]);
    snapshot::put(&mut facts, service);
    let facts = Arc::new(facts);
    for (lesson, step, hint) in [
        ("first-voyage/08", "curl", "number"),
        ("first-voyage/08", "missing", "browser"),
        ("first-voyage/09", "close", "not-knocked"),
    ] {
        let lesson = library.lessons.iter().find(|l| l.id == lesson).unwrap();
        let step = lesson.steps.iter().find(|s| s.id == step).unwrap();
        let hint = step.hints.iter().find(|h| h.id == hint).unwrap();
        for lang in ["en", "ko"] {
            let said = hint.say.get(lang).unwrap().render(&facts, &[]).unwrap();
            assert!(said.contains("32080") && !said.contains("32443"), "{} {lang}: {said}", hint.id);
        }
    }
    for beat in ["visit", "page-missing", "three-ports"] {
        for lang in ["en", "ko"] {
            let said = crate::debrief::one(&library.beats[beat], &facts, &[], lang).unwrap();
            assert!(said.contains("32080") && !said.contains("32443"), "{beat} {lang}: {said}");
        }
    }
}

/// The time is between two records: the condition itself is written in whole seconds.
#[test]
fn how_long_a_silent_node_was_ready_is_told_from_records() {
    let library = Library::built_in();
    let at = |ms: i64| value::time(jiff::Timestamp::from_millisecond(1_767_323_045_000 + ms).unwrap());
    let record = |component: &str, verb: &str, object: &str, ms: i64, detail: Json| {
        value::map([
            ("component", value::text(component)),
            ("by_component", value::text("")),
            ("verb", value::text(verb)),
            ("object", value::text(object)),
            ("user", value::text("")),
            ("at", at(ms)),
            ("took", Value::Duration(chrono::Duration::zero())),
            ("detail", value::of_json(&detail)),
        ])
    };
    let stopped = json!({"node": {"act": "stop", "node": "ropewalk-worker2"}});
    let off = record("fault", "fault", "", 900, stopped);
    let told = |object: &str, ms: i64| {
        let seen = record("node-controller", "node-not-ready", object, ms, json!({}));
        let mut facts = Arc::into_inner(facts(&library)).unwrap();
        facts.trace = Arc::new(vec![off.clone(), seen]);
        let ready = json!({"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-01-02T03:04:09Z",
            "message": "Kubelet stopped posting node status."});
        let node = json!({"kind": "Node", "metadata": {"name": "ropewalk-worker2", "uid": "n"}, "status": {"conditions": [ready]}});
        snapshot::put(&mut facts, node);
        crate::debrief::one(&library.beats["node-silent"], &Arc::new(facts), &[], "en")
    };
    let said = told("Node//ropewalk-worker2", 5000).unwrap();
    assert!(said.contains("After 4.10 s of your time"), "{said}");
    assert_eq!(told("Node//ropewalk-worker", 5000), None, "of another node");
    assert_eq!(told("Node//ropewalk-worker2", 500), None, "of an earlier time");
}

/// `kubectl get nodes -w` was begun at second 10, and the node is NotReady since second 60.
#[test]
fn a_watch_of_the_nodes_shows_what_changes_until_it_ends() {
    let library = Library::built_in();
    let met = |session: &str, lines: &[(&str, i64)]| {
        let look = |verb: &str, session: &str| {
            let look = request(verb, "Node//*", "kubectl get", 200);
            let look = value::with(&look, "session", value::text(session));
            value::with(&look, "at", value::time(second(10)))
        };
        is_met(&library, "control-tower/07", "stop", 2, |facts| {
            facts.trace = Arc::new(vec![look("list", "s"), look("watch", session)]);
            for (line, at) in lines {
                facts.ran.push(Line { line: (*line).into(), at: second(*at), ..Line::default() });
            }
            let ready =
                json!({"type": "Ready", "status": "Unknown", "lastTransitionTime": "1970-01-01T00:01:00Z"});
            let node = json!({"kind": "Node", "metadata": {"name": "ropewalk-worker2", "uid": "n"}, "status": {"conditions": [ready]}});
            snapshot::put(facts, node);
        })
    };
    assert!(met("s", &[]), "in another terminal");
    assert!(met("s", &[("kubectl get nodes -w", 70)]) && met("s", &[("kubectl get nodes -w &", 11)]));
    assert!(!met("s", &[("timeout 2 kubectl get nodes -w", 12)]), "it had ended before");
    assert!(!met("other", &[]), "the watch of another command, as of `kubectl wait`");
}

/// `kubectl get pod tower -o wide -w` was begun at second 10, and the pod has a node since second
/// 60.
#[test]
fn a_watch_of_a_waiting_pod_shows_the_node_that_it_gets() {
    let library = Library::built_in();
    let met = |session: &str, lines: &[(&str, i64)]| {
        let look = |verb: &str, session: &str| {
            let look = request(verb, "Pod/default/tower", "kubectl get", 200);
            let look = value::with(&look, "session", value::text(session));
            value::with(&look, "at", value::time(second(10)))
        };
        is_met(&library, "control-tower/01", "tolerate", 3, |facts| {
            facts.trace = Arc::new(vec![look("get", "s"), look("watch", session)]);
            for (line, at) in lines {
                facts.ran.push(Line { line: (*line).into(), at: second(*at), ..Line::default() });
            }
            let labels = json!({"node-role.kubernetes.io/control-plane": ""});
            let node = json!({"kind": "Node", "metadata": {"name": "cp", "labels": labels}});
            snapshot::put(facts, node);
            let metadata = json!({"namespace": "default", "name": "tower"});
            let status = json!({"startTime": "1970-01-01T00:01:00Z"});
            let tower =
                json!({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "cp"}, "status": status});
            snapshot::put(facts, tower);
        })
    };
    assert!(met("s", &[]), "in another terminal");
    assert!(met("s", &[("kubectl get pod tower -o wide -w", 70)]));
    assert!(met("s", &[("timeout 90 kubectl get pod tower -o wide -w &", 11)]));
    assert!(!met("s", &[("timeout 2 kubectl get pod tower -o wide -w", 12)]), "it had ended before");
    assert!(!met("s", &[("timeout 2 kubectl get pod tower -o wide -w &", 11)]), "the same, behind");
    assert!(!met("other", &[]), "the watch of another command, as of `kubectl wait`");
}

/// A shell in the pod was open from second 10 to second 20, and ended with success.
#[test]
fn a_shell_in_a_pod_counts_by_the_name_that_the_pod_asked_for_meanwhile() {
    let library = Library::built_in();
    let hop = |request: Value, fields: Vec<(&'static str, Value)>| {
        fields.into_iter().fold(request, |hop, (key, to)| value::with(&hop, key, to))
    };
    let met = |name: &str, at: i64| {
        let detail = json!({"from": "10.244.2.9", "name": name, "type": "A", "code": "NXDOMAIN"});
        let detail = value::of_json(&detail);
        let (component, own) = (value::text("coredns"), Value::Bool(false));
        let lookup =
            vec![("at", value::time(second(at))), ("component", component), ("own", own), ("detail", detail)];
        let took = Value::Duration(chrono::Duration::seconds(10));
        let ended = vec![("at", value::time(second(20))), ("took", took), ("exit", Value::Int(0))];
        let exec = request("create", "Pod/market/guest/exec", "kubectl exec", 101);
        is_met(&library, "first-voyage/17", "elsewhere", 0, |facts| {
            let line = "kubectl exec -it -n market guest -- sh";
            facts.ran = vec![Line { line: line.into(), at: second(21), ..Line::default() }];
            facts.trace = Arc::new(vec![hop(request("lookup", "", "", 0), lookup), hop(exec, ended)]);
            let metadata = json!({"namespace": "market", "name": "guest", "uid": "g"});
            let guest = json!({"kind": "Pod", "metadata": metadata, "status": {"podIP": "10.244.2.9"}});
            snapshot::put(facts, guest);
        })
    };
    let short = "dpy-nginx.market.svc.cluster.local";
    assert!(met(short, 15));
    assert!(!met(short, 5) && !met(short, 25), "not in that shell");
    assert!(!met("dpy-nginx.default.market.svc.cluster.local", 15), "a longer name");
}

/// A command in tester ran from second 10 to second 20, from whatever terminal. Meanwhile there was
/// a Service `pier` with the address 10.96.0.9, and the pod behind it had 10.244.1.40.
#[test]
fn a_request_from_a_pod_counts_by_the_words_of_its_command_or_by_the_name_that_a_shell_asked_for() {
    let library = Library::built_in();
    let hop = |hop: Value, fields: Vec<(&'static str, Value)>| {
        fields.into_iter().fold(hop, |hop, (key, to)| value::with(&hop, key, to))
    };
    let met = |argv: &[&str], exit: i64, asked: i64| {
        let name = "pier.default.svc.cluster.local";
        let detail = json!({"from": "10.244.1.10", "name": name, "type": "A", "code": "NOERROR"});
        let (component, own) = (value::text("coredns"), Value::Bool(false));
        let (at, detail) = (value::time(second(asked)), value::of_json(&detail));
        let lookup = vec![("at", at), ("component", component), ("own", own), ("detail", detail)];
        let argv = value::list(argv.iter().map(|word| value::text(word)).collect());
        let (at, took) = (value::time(second(20)), Value::Duration(chrono::Duration::seconds(10)));
        let ended = vec![("at", at), ("took", took), ("exit", Value::Int(exit)), ("argv", argv)];
        let exec = request("create", "Pod/default/tester/exec", "kubectl exec", 101);
        is_met(&library, "control-tower/11", "second", 1, |facts| {
            facts.trace = Arc::new(vec![hop(request("lookup", "", "", 0), lookup), hop(exec, ended)]);
            snapshot::put(facts, deployment("quay", "q1"));
            snapshot::put(facts, set("quay-5d4", "q2", Some("q1"), "quay", 1));
            snapshot::put(facts, pod("quay-5d4-x", "q3", Some("q2"), json!({"app": "quay"}), "10.244.1.40"));
            let mut pier = object("Service", "pier", "q4", None, json!({"spec": {"clusterIP": "10.96.0.9"}}));
            pier["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:05Z");
            snapshot::put(facts, pier);
        })
    };
    let (meanwhile, elsewhere) = (15, 30); // when the name was asked for
    for argv in [
        &["wget", "-T", "2", "-qO-", "http://pier"][..],
        &["curl", "-sm2", "pier:80/page"],
        &["busybox", "timeout", "-s", "KILL", "5", "/bin/wget", "http://pier.default.svc/"],
        &["env", "A=1", "nc", "pier", "80"],
    ] {
        assert!(met(argv, 1, meanwhile) && !met(argv, 1, elsewhere), "{argv:?}");
        assert!(!met(argv, 0, meanwhile) && !met(argv, 127, meanwhile), "{argv:?}");
    }
    let address = &["curl", "-sm2", "10.96.0.9:80/page"];
    assert!(met(address, 1, elsewhere) && !met(address, 0, elsewhere), "an address is not asked for");
    let script = &["sh", "-c", "echo now; if wget -qO- 'http://pier'; then true; else exit 4; fi"];
    assert!(met(script, 4, meanwhile) && !met(script, 4, elsewhere));
    assert!(
        met(script, 0, meanwhile) && !met(script, 127, meanwhile),
        "a script has an exit code of its own"
    );
    for argv in [
        &["false"][..],
        &[],
        &["wget", "http://pierr"],
        &["wget", "http://pier.other"],
        &["wget", "http://pier:8080"],
        &["wget", "-qO", "http://pier"],
        &["wget", "http://10.96.0.90"],
        &["curl", "--resolve", "pier:80:10.244.1.40", "http://pier"],
        &["curl", "-A", "pier", "http://10-244-1-40.default.pod.cluster.local"],
        &["timeout", "5", "echo", "wget", "http://pier"],
        &["sh", "-c", "echo wget http://pier; false"],
    ] {
        assert!(!met(argv, 1, meanwhile), "{argv:?}");
    }
    assert!(!met(&["sh"], 1, elsewhere));
    for argv in [&["sh"][..], &["/bin/ash", "-l"], &["sh", "-c", "for s in pier; do wget http://$s; done"]] {
        assert!(met(argv, 1, 15) && !met(argv, 0, 15) && !met(argv, 1, 5), "{argv:?}");
    }
    for argv in [&["nslookup", "pier"][..], &["sh", "-c", "nslookup pier; false"]] {
        assert!(!met(argv, 1, 15), "{argv:?}: the name was asked for, and no page");
    }
}

/// Until then, both addresses lead to the page.
#[test]
fn which_address_still_leads_to_the_page_is_known_once_the_pod_is_replaced() {
    let library = Library::built_in();
    let lesson = library.lessons.iter().find(|l| l.id == "control-tower/11").unwrap();
    let is = &lesson.steps[0].answer.as_ref().unwrap().is;
    let truth = |made: i64, answer: &str| {
        let mut facts = Arc::into_inner(facts(&library)).unwrap();
        facts.answer = Some(value::text(answer));
        snapshot::put(&mut facts, deployment("quay", "q1"));
        snapshot::put(&mut facts, set("quay-5d4", "q2", Some("q1"), "quay", 1));
        let pod = pod("quay-5d4-x", "q3", Some("q2"), json!({"app": "quay"}), "10.244.1.40");
        snapshot::put_only_version(&mut facts, &pod, snapshot::version(&pod, made, "ADDED"));
        snapshot::put(&mut facts, pod);
        let spec = json!({"spec": {"clusterIP": "10.96.0.8"}});
        snapshot::put(&mut facts, object("Service", "quay", "q4", None, spec));
        is.truth(&Arc::new(facts))
    };
    assert_eq!([5, BEGAN + 1].map(|made| truth(made, "10.96.0.8")), [None, Some(true)]);
    assert_eq!(truth(BEGAN + 1, "10.244.1.40"), Some(false));
}

#[test]
fn other_pods_behind_the_door_are_told_of_only_beside_nginx_pod() {
    let library = Library::built_in();
    let lesson = library.lessons.iter().find(|l| l.id == "first-voyage/08").unwrap();
    let hint = lesson.steps[0].hints.iter().find(|h| h.id == "others").unwrap();
    let told = |there: bool| {
        let mut facts = Arc::into_inner(facts(&library)).unwrap();
        if there {
            snapshot::put(&mut facts, pod("nginx-pod", "n2", None, json!({}), "10.244.1.99"));
        } else {
            snapshot::take_away(&mut facts, "Pod", "nginx-pod");
        }
        hint.when.as_ref().unwrap().holds(&Arc::new(facts))
    };
    assert_eq!([true, false].map(told), [true, false]);
}

#[test]
fn a_reload_in_the_browser_is_a_visit() {
    let library = Library::built_in();
    let visited = |status: &str, visit: &str| {
        is_met(&library, "first-voyage/08", "curl", 0, |facts| {
            let line = format!(
                "172.20.0.1 - - [22/Nov/2026:16:00:09 +0000] \"GET / HTTP/1.1\" {status} 0 \"-\" \"Mozilla/5.0\"\n"
            );
            let log = format!("2026-11-22T16:00:09.5Z {line}");
            let probe = Probe::Logs { target: "default/nginx-pod".into() };
            facts.answers.insert(probe, value::text(&log));
            let visit = [
                ("at", value::time(visit.parse().unwrap())),
                ("component", value::text("localhost")),
                ("verb", value::text("visit")),
                ("object", value::text("Service/default/pod-svc")),
            ];
            Arc::make_mut(&mut facts.trace).push(value::map(visit));
        })
    };
    let at_once = |status| visited(status, "2026-11-22T16:00:09.4Z");
    assert_eq!(["200", "304", "404"].map(at_once), [true, true, false]);
    // A pod's look at the page and a knock at the door are two acts.
    assert!(!visited("200", "2026-11-22T16:00:15Z") && !visited("200", "2026-11-22T16:00:04Z"));
}

/// Puts a line into the log of nginx-pod, and nothing else into the trace.
fn logged(facts: &mut Facts, line: &str, trace: Vec<Value>) {
    let probe = Probe::Logs { target: "default/nginx-pod".into() };
    facts.answers.insert(probe, value::text(&format!("2026-11-22T16:00:09.5Z {line}\n")));
    facts.trace = Arc::new(trace);
}

/// On a connection that it kept a browser asks without a visit. Its name may be borrowed, so that
/// counts only where no pod of the learner's can have asked.
#[test]
fn a_browser_needs_no_new_connection_where_no_pod_can_have_asked() {
    let library = Library::built_in();
    let made = |user: &str| {
        let name = "dpy-nginx-65c6f7bc78-ddddd";
        let made = pod(name, "p4", Some("r1"), json!({"app": "dpy-nginx"}), "10.244.2.4");
        let version = snapshot::version(&made, BEGAN + 1, "ADDED").by(user);
        (made, version)
    };
    let by_controller = "system:kube-controller-manager";
    for (step, asked) in [("curl", "GET / HTTP/1.1\" 200"), ("missing", "GET /menu HTTP/1.1\" 404")] {
        let line = format!(
            "172.20.0.1 - - [22/Nov/2026:16:00:09 +0000] \"{asked} 0 \"-\" \"Mozilla/5.0 (X11; Linux)\""
        );
        let counts = |trace: Option<Value>, user: &str| {
            let checks = [0, 1].map(|check| {
                is_met(&library, "first-voyage/08", step, check, |facts| {
                    logged(facts, &line, trace.clone().into_iter().collect());
                    let (made, version) = made(user);
                    snapshot::put_versions(facts, &made, vec![version]);
                })
            });
            assert_eq!(checks[0], checks[1], "{step} {trace:?} {user}");
            checks[0]
        };
        // Controllers make pods all day: a CronJob's is no person's act.
        assert!(counts(None, by_controller), "{step}");
        assert!(!counts(None, "learner"), "{step}");
        for (verb, object, code) in [
            ("create", "Pod/default/tester/exec", 101),
            ("get", "Pod/default/nginx-pod/proxy", 200),
            ("create", "Pod/default/menu", 201),
            ("create", "Job/default/menu", 201),
            ("patch", "Deployment/default/shop", 200),
        ] {
            let act = request(verb, object, "kubectl", code);
            assert!(!counts(Some(act), by_controller), "{step} {verb} {object}");
        }
        assert!(
            counts(Some(request("get", "Pod/default/menu", "kubectl get", 200)), by_controller),
            "{step}"
        );
    }
}

/// A client chooses the last field of its line, and nothing before it.
#[test]
fn what_a_client_calls_itself_is_no_request() {
    let library = Library::built_in();
    let counts = |step: &str, asked: &str, agent: &str| {
        let line = format!("172.20.0.1 - - [22/Nov/2026:16:00:09 +0000] \"{asked} 0 \"-\" \"{agent}\"");
        is_met(&library, "first-voyage/08", step, 0, |facts| {
            let visit = [
                ("at", value::time("2026-11-22T16:00:09.4Z".parse().unwrap())),
                ("component", value::text("localhost")),
                ("verb", value::text("visit")),
                ("object", value::text("Service/default/pod-svc")),
            ];
            logged(facts, &line, vec![value::map(visit)]);
        })
    };
    let (page, none) = ("GET / HTTP/1.1\" 200", "GET /menu HTTP/1.1\" 404");
    assert!(counts("curl", page, "curl/8") && counts("missing", none, "curl/8"));
    assert!(
        !counts("curl", none, "\"GET / HTTP/1.1\" 200 ")
            && !counts("missing", page, "\"GET /menu HTTP/1.1\" 404 ")
    );
}

/// Hints of the last tier name every act that the step asks for, in both languages: typed as they
/// stand they finish it.
#[test]
fn the_last_hint_also_looks_or_knocks() {
    let library = Library::built_in();
    for (lesson, step, act) in [
        ("first-voyage/09", "close", "curl localhost:$PORT`"),
        ("first-voyage/10", "delete", "kubectl get pods`"),
        ("first-voyage/10", "restart", "kubectl get pods -o wide`"),
        ("first-voyage/11", "delete", "kubectl get deployments,replicasets,pods`"),
    ] {
        let found = library.lessons.iter().find(|l| l.id == lesson).unwrap();
        let found = found.steps.iter().find(|s| s.id == step).unwrap();
        let hint = found.hints.iter().find(|h| h.id == "give").unwrap();
        let known = facts(&library);
        for lang in ["en", "ko"] {
            let said = hint.say.get(lang).unwrap().render(&known, &[]).unwrap();
            assert!(said.ends_with(act), "{lesson}#{step} {lang}: {said}");
        }
    }
}
