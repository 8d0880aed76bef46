//! What the last command did, and what is asked of objects that it left: custom resources,
//! deletions, lines with quotes.

use super::{after, answer, answered, ask, facts, pod, ready, service};
use serde_json::{Value, json};
use tap::{Event, Record, Request, Tap, Write};

/// Of two labels one is right, and other pods stand in the namespace.
#[test]
fn the_label_that_differs_is_the_slip() {
    let mut other = pod(json!({"app": "db", "role": "x"}), ready());
    other["metadata"]["name"] = "db".into();
    let told = |selector: Value| {
        let web = ("pods", pod(json!({"app": "web", "tier": "back"}), ready()));
        let service = ("services", service(selector, json!(80)));
        ask(&facts(&[("pods", other.clone()), web, service], &Tap::new()), &["svc/web"]).lines.join(" ")
    };
    let said = told(json!({"app": "web", "tier": "front"}));
    assert!(said.contains("tier=back, but it asks for front") && !said.contains("asks for web"), "{said}");
    let said = told(json!({"app": "wbe"}));
    assert!(said.contains("app=web, but it asks for wbe"), "{said}");
}

#[test]
fn a_list_of_a_namespace_that_does_not_exist_is_no_empty_one() {
    let told = |namespace: &str| {
        let tap = Tap::new();
        let mut record = Record::new(answer("list", "")).object("pods", namespace, "");
        let (session, user) = ("1".to_string(), "learner".to_string());
        record.request = Some(Request { session, user, code: 200, ..Request::default() });
        tap.emit(record);
        let shop = ("namespaces", json!({"metadata": {"name": "shop"}}));
        ask(&facts(&[shop], &tap), &[])
    };
    assert!(!told("shop").problem && !told("").problem);
    let missing = told("shpo");
    assert!(missing.problem && missing.lines == ["There is no namespace shpo, so there is nothing in it."]);
    assert_eq!(missing.tips, ["kubectl get namespaces"]);
}

#[test]
fn an_ingress_that_no_controller_has_taken_up_has_no_address() {
    let told = |status: Value| {
        let metadata = json!({"name": "door", "namespace": "default", "uid": "u"});
        let ingress = ("ingresses", json!({"metadata": metadata, "status": status}));
        ask(&facts(&[ingress], &Tap::new()), &["ingress/door"])
    };
    for status in [json!(null), json!({"loadBalancer": {}})] {
        assert!(told(status).problem);
    }
    let taken_up = told(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}));
    assert!(!taken_up.problem && taken_up.tips.is_empty(), "{taken_up:?}");
}

#[test]
fn an_object_of_a_custom_resource_is_no_unknown_kind() {
    let definition = |plural: &str, group: &str| {
        let singular = plural.trim_end_matches('s');
        let spec = json!({"group": group, "names": {"plural": plural, "singular": singular}});
        let metadata = json!({"name": format!("{plural}.{group}")});
        ("customresourcedefinitions", json!({"metadata": metadata, "spec": spec}))
    };
    let all = || {
        let x = json!({"metadata": {"name": "x", "namespace": "default", "uid": "x"}});
        vec![
            definition("crontabs", "stable.example.com"),
            definition("services", "serving.example.com"),
            ("crontabs.stable.example.com", x),
            ("services", service(json!({"app": "web"}), json!(80))),
            ("services.serving.example.com", json!({"metadata": {"name": "web", "namespace": "default"}})),
        ]
    };
    let last = |plural: &str, group: &str, name: &str, write: Write| {
        let tap = Tap::new();
        let mut record = Record::new(Event::Commit(write)).object(plural, "default", name).group(group);
        let (session, user) = ("1".to_string(), "learner".to_string());
        record.request = Some(Request { session, user, ..Request::default() });
        tap.emit(record);
        tap
    };
    let tap = last("crontabs", "stable.example.com", "x", Write::CREATED);
    for about in [&[][..], &["crontab/x"], &["crontabs.stable.example.com", "x"]] {
        let told = ask(&facts(&all(), &tap), about);
        assert_eq!((told.problem, told.about.as_str()), (false, "crontab/x"), "{told:?}");
    }
    // Of the same plural in two groups each is itself.
    let tap = last("services", "serving.example.com", "web", Write::CREATED);
    let told = ask(&facts(&all(), &tap), &[]);
    assert!(!told.problem, "the Service of the core group selects no pods: {told:?}");
    assert!(ask(&facts(&all(), &tap), &["service/web"]).problem);
    // What was deleted is named, whether it is asked for or was missed by a command.
    let tap = last("crontabs", "stable.example.com", "gone", Write::DELETED);
    assert!(ask(&facts(&all(), &tap), &["crontab/gone"]).lines[0].contains("was deleted by learner"));
    let mut record = Record::new(answer("get", "not found"));
    record = record.object("crontabs", "default", "gone").group("stable.example.com");
    let (session, user) = ("2".to_string(), "learner".to_string());
    record.request = Some(Request { session, user, code: 404, ..Request::default() });
    tap.emit(record);
    let told = ask(&facts(&all(), &tap), &[]).lines.join(" ");
    assert!(told.contains("no crontab called gone") && told.contains("was deleted by learner"), "{told}");
}

/// kubectl asks after a deletion whether the object is gone, and gets a 404.
#[test]
fn a_deletion_that_went_well_was_not_refused() {
    let tap = Tap::new();
    answered(&tap, "1", Event::Commit(Write::DELETED), 0);
    answered(&tap, "1", answer("delete", ""), 200);
    answered(&tap, "1", answer("get", "pods \"web\" not found"), 404);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(told.lines[0].contains("was deleted by learner"), "{told:?}");
    assert_eq!(told.tips, ["undo"]);
    // The shell has passed on the exit code: nothing of `--ignore-not-found` was refused either.
    answered(&tap, "2", answer("delete", "pods \"web\" not found"), 404);
    let seen = facts(&[], &tap);
    let ignored = after(&seen, "kubectl run web --image=nginx", 0).lines.join(" ");
    assert!(!ignored.contains("404"), "{ignored}");
    for line in ["kubectl run web | head", "kubectl get pods", "ls"] {
        let told = after(&seen, line, 0).lines.join(" ");
        assert!(told.contains("404"), "the code of {line} is not that of the command: {told}");
    }
}

/// kubectl goes on with the other objects of a line, and `describe` with a list of names that begin
/// alike. Such a refusal was called none.
#[test]
fn a_refusal_that_is_not_the_last_answer_is_told_of_a_command_that_failed() {
    let said = |line: &str, code: i32, answers: &[(&str, &str, u16)]| {
        let tap = Tap::new();
        for (verb, name, status) in answers {
            let message = format!("configmaps \"{name}\" not found");
            let message = if *status == 422 { "metadata.name: Invalid value" } else { message.as_str() };
            let mut record = Record::new(answer(verb, if *status < 400 { "" } else { message })).object(
                "configmaps",
                "default",
                name,
            );
            let command = line.split(' ').take(2).collect::<Vec<_>>().join(" ");
            let (session, user) = ("1".to_string(), "learner".to_string());
            record.request = Some(Request { session, user, command, code: *status, ..Request::default() });
            tap.emit(record);
        }
        after(&facts(&[], &tap), line, code).lines.join(" ")
    };
    let two = [("get", "a", 404), ("get", "b", 200)];
    let missing = "404: there is no configmap called a.";
    assert!(said("kubectl get configmap a b", 1, &two).starts_with(missing));
    let searched = [("get", "a", 404), ("list", "", 200)];
    assert!(said("kubectl describe configmap a", 1, &searched).starts_with(missing));
    let (first, second) =
        ([("get", "A", 404), ("create", "A", 422)], [("get", "b", 404), ("create", "b", 201)]);
    let told = said("kubectl apply -f two.yaml", 1, &[first, second].concat());
    assert!(told.starts_with("422:") && told.ends_with("metadata.name: Invalid value"), "{told}");
    // What was created after the look for it was not refused, nor is it known what failed behind a
    // pipe.
    let refused_nothing = "the API server refused nothing";
    assert!(said("kubectl diff -f two.yaml", 1, &second).contains(refused_nothing));
    let tried = [("get", "b", 404), ("patch", "b", 201)];
    assert!(said("kubectl diff --server-side -f two.yaml", 2, &tried).contains(refused_nothing));
    // 1 is how `diff` ends that finds a difference, and how a program in a container may end.
    assert!(said("kubectl diff -f two.yaml", 2, &two).starts_with(missing));
    for line in ["kubectl diff -f two.yaml", "kubectl exec web -- false"] {
        assert!(said(line, 1, &two).contains(refused_nothing), "{line}");
    }
    assert!(said("kubectl describe configmap a | grep c", 1, &searched).contains(refused_nothing));
}

/// Of such a line the first command alone was looked at.
#[test]
fn a_refusal_behind_a_pipe_is_told() {
    let tap = Tap::new();
    let mut record =
        Record::new(answer("patch", "namespaces \"shop\" not found")).object("configmaps", "shop", "a");
    let (session, user) = ("1".to_string(), "learner".to_string());
    let command = "kubectl apply".to_string();
    record.request = Some(Request { session, user, command, code: 404, ..Request::default() });
    tap.emit(record);
    let seen = facts(&[], &tap);
    for line in [
        "kubectl create cm a --dry-run=client -o yaml | kubectl apply -n shop -f -",
        "cat a.yaml | kubectl apply -f -",
        "sleep 1; k apply -f a.yaml",
    ] {
        let told = after(&seen, line, 1).lines;
        assert!(told[0].starts_with("404: there is no namespace shop"), "{line}: {told:?}");
    }
    // It need not have run.
    assert!(!after(&seen, "cd nowhere && kubectl apply -f a.yaml", 1).lines[0].contains("404"));
}

#[test]
fn an_address_may_have_a_path() {
    let seen = facts(&[], &Tap::new());
    for about in ["localhost:31234/menu", "http://localhost:31234/a/b?c", "http://127.0.0.1:31234/"] {
        assert_eq!(ask(&seen, &[about]).about, "localhost:31234", "{about}");
    }
}

/// It was taken for the name of a pod.
#[test]
fn an_address_with_what_is_no_port_names_the_range_of_ports() {
    let seen = facts(&[], &Tap::new());
    for (about, written) in [
        ("localhost:99999", "99999"),
        ("localhost:0", "0"),
        ("http://127.0.0.1:web/a", "web"),
        ("[::1]:", ""),
    ] {
        let told = ask(&seen, &[about]);
        assert_eq!(told.about, format!("localhost:{written}"), "{about}");
        assert_eq!(told.lines, [format!("{written:?} is not a port: ports are numbers from 1 to 65535.")]);
        assert!(told.problem);
    }
}

/// A URL was taken for a name, and of `pod//web` the kind was ignored.
#[test]
fn an_empty_word_or_many_parts_name_nothing() {
    let seen = facts(&[("pods", pod(json!({}), ready()))], &Tap::new());
    for about in [
        &[""][..],
        &[" "],
        &["pod", ""],
        &["", "web"],
        &["pod/"],
        &["/web"],
        &["pod//web-1"],
        &["default/pod/"],
        &["http://web/"],
        &["a/b/pod/web-1"],
    ] {
        let told = ask(&seen, about);
        assert!(told.lines[0].starts_with("An empty word names no object, nor"), "{about:?}: {told:?}");
        assert!(told.problem && told.about.is_empty());
    }
}

/// A semicolon in quotes is the container's.
#[test]
fn a_line_with_signs_of_the_shell_in_quotes_is_kubectls() {
    let tap = Tap::new();
    answered(&tap, "1", answer("get", "pods \"web\" not found"), 404);
    let mut seen = facts(&[], &tap);
    seen.records = seen
        .records
        .iter()
        .map(|record| {
            let mut record = tap::Record::clone(record);
            record.request.as_mut().unwrap().command = "kubectl exec".into();
            std::sync::Arc::new(record)
        })
        .collect();
    let told = after(&seen, "kubectl exec web -- sh -c 'curl localhost:31000 | head'", 1).lines.join(" ");
    assert!(told.contains("no pod called web"), "{told}");
}

/// `kubectl get --raw …/pods/web/proxy/none`: the program's own 403 and 404 look like refusals.
#[test]
fn what_a_pod_answers_through_the_proxy_is_no_refusal_of_the_server() {
    let told = |code: u16, from_pod: bool| {
        let tap = Tap::new();
        let event = tap::Answer { verb: "get".into(), from_pod, ..Default::default() };
        answered(&tap, "1", Event::Answer(event.into()), code);
        ask(&facts(&[], &tap), &[])
    };
    for code in [403, 404, 500] {
        let own = told(code, true);
        let begin = format!("The {code} comes from the server in the pod");
        assert!(own.lines[0].starts_with(&begin) && own.lines.len() == 1, "{own:?}");
        assert_eq!(own.tips, ["kubectl logs web"]);
        assert!(!told(code, false).lines[0].starts_with(&begin), "{code}");
    }
}

#[test]
fn an_apply_that_fits_no_schema_is_explained() {
    let tap = Tap::new();
    let message = "failed to create typed patch object (default/web; /v1, Kind=Pod): .spec.foo: field not declared in schema";
    answered(&tap, "1", answer("patch", message), 500);
    let told = ask(&facts(&[], &tap), &[]);
    assert!(told.lines[0].starts_with("500: a field of what was applied does not fit"), "{told:?}");
    assert_eq!(told.lines[1], format!("  {message}"));
    assert_eq!(told.tips, ["kubectl explain pod"]);
}
