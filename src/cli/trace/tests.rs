use super::hop::{decision_text, hop_line};
use super::picture::svg;
use super::rows::rows;
use super::table::{stacked, table};
use super::*;
use std::time::Duration;
use tap::{Component, Event, Request, Tap, Write};

/// A script goes by the exit code, and reads a document also when nothing was found.
#[test]
fn an_empty_trace_is_empty_in_every_form() {
    let print = |output| {
        let printout = printout(json!([]), output, 200).unwrap();
        (printout.text, printout.is_empty)
    };
    assert_eq!(print(Some(Picture::Json)), ("[]\n".into(), true));
    for output in [Some(Picture::Svg), None] {
        assert_eq!(print(output), (String::new(), true), "{output:?}");
    }
}

/// Otherwise `kubectl get events` would show no hop, nor `trace lease/NAME` any.
#[test]
fn events_and_leases_that_a_person_asked_for_are_shown() {
    let record = |resource: &str, user: &str| {
        let mut record = Record::new(Event::Answer(Box::default())).object(resource, "default", "web");
        let (id, user) = (format!("{resource} {user}"), user.to_string());
        record.request = Some(Request { id, user, ..Request::default() });
        record
    };
    let objects =
        |records: &[Record]| rows(records).into_iter().map(|row| row.object).collect::<Vec<_>>().join(", ");
    let (pod, node) = (record("pods", "learner"), "system:node:ropewalk-worker");
    let records = [pod, record("events", node), record("leases", node), record("events", "learner")];
    assert_eq!(objects(&records), "pods/web -n default, events/web -n default");
    assert_eq!(objects(&records[2..3]), "leases/web -n default", "`trace lease/web`");
}

#[test]
fn a_name_gives_the_terminal_no_orders() {
    let record = Record::new(Event::Commit(Write::CREATED)).object("pods", "default", "a\u{1b}[31mb");
    let object = &rows(&[record])[0].object;
    assert!(object.contains("[31mb") && !object.contains('\u{1b}'), "{object:?}");
}

#[test]
fn a_hop_has_no_time_that_was_not_measured_and_no_refusal_where_there_is_none() {
    let hop = |us| hop_line(&Record::new(Event::Lead).took(Duration::from_micros(us)));
    assert_eq!([hop(0), hop(2000)], ["lead", "lead 2.00 ms"]);
    let alone = tap::Verdict { node: "n".into(), total: 49, ..tap::Verdict::default() };
    let decision = tap::Decision { verdicts: vec![alone], chosen: Some("n".into()) };
    assert_eq!(decision_text(&decision), "→ n (scores n 49)");
}

/// A program that writes one object all the time fills the tap with records about it.
#[test]
fn a_trace_of_tens_of_thousands_of_records_is_shown_in_a_moment() {
    let records: Vec<Record> = (0..40_000)
        .map(|number| {
            let event = match number % 2 {
                0 => Event::Commit(Write::UPDATED),
                _ => Event::Answer(Box::default()),
            };
            let mut record = Record::new(event).object("configmaps", "default", "busy");
            record.request = Some(Request { id: (number / 2).to_string(), ..Request::default() });
            record
        })
        .collect();
    let began = clock::Instant::now();
    assert_eq!(rows(&records).len(), 20_000);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn what_names_nothing_is_a_wrong_argument() {
    let of = |what: &str, namespace: Option<&str>| {
        let words: Vec<String> = what.split(' ').map(String::from).collect();
        parse(&words, namespace)
    };
    for nonsense in ["", "/", "pod/", "/web", "a//web", "a/b/c/d", "pod shop/web", "pod web more", "pod "] {
        assert!(of(nonsense, None).is_none(), "{nonsense:?}");
    }
    for (what, namespace) in [("LAST", "shop"), ("4b1f", "shop"), ("shop/pod/web", "other"), ("pod/web", "")]
    {
        assert!(of(what, Some(namespace)).is_none(), "{what} -n {namespace}");
    }
    assert!(parse(&[], Some("shop")).is_none() && matches!(parse(&[], None), Some(Trace::Last)));
    let object_text = |traced: Option<Trace>| match traced {
        Some(Trace::Object { resource, namespace, name }) => format!("{namespace} {resource} {name}"),
        other => format!("{other:?}"),
    };
    for what in ["pod/web", "pod web", "shop/pods/web"] {
        assert_eq!(object_text(of(what, Some("shop"))), "shop pods web", "{what}");
    }
    assert_eq!(object_text(of("deploy web", None)), "default deployments web");
    let object = |what: &str| object_text(of(what, None));
    assert_eq!(object("po/web"), "default pods web");
    assert_eq!(object("shop/Deployment.apps/web"), "shop deployments web");
    for kind in ["deployments.v1.apps", "Deployment.v1.apps", "deploy.apps", "deploy.v1.apps"] {
        assert_eq!(object(&format!("{kind}/web")), "default deployments web", "{kind}");
    }
    assert_eq!(object("pods.v1./web"), "default pods web");
    assert_eq!(object("deployments.v9.apps/web"), "default deployments.v9.apps web");
    assert_eq!(object("widgets.example.com/a"), "default widgets.example.com a");
    assert!(matches!(of("last", None), Some(Trace::Last)));
    assert!(matches!(of("4b1f", None), Some(Trace::Request(id)) if id == "4b1f"));
}

/// The scheduler decided by an old view of a node, and the API server refused the binding.
#[test]
fn a_refused_binding_reads_as_one_and_says_why() {
    let tap = Tap::new().at("ropewalk-control-plane", Component::ApiServer);
    let message = "node n has changed since the scheduler looked at it".to_string();
    let answer = tap::Answer { verb: "create".into(), message, ..tap::Answer::default() };
    let mut record = Record::new(Event::Answer(Box::new(answer))).object("pods", "default", "web");
    let agent = "kube-scheduler/v1".to_string();
    let (id, subresource) = ("1".to_string(), "binding".to_string());
    record.request = Some(Request { id, subresource, user_agent: agent, code: 409, ..Request::default() });
    tap.emit(record);
    let refused = vec![tap::Refusal { reason: "Insufficient cpu".into(), ..tap::Refusal::default() }];
    let verdict = tap::Verdict { node: "n".into(), refused, ..tap::Verdict::default() };
    let decision = tap::Decision { verdicts: vec![verdict], chosen: None };
    tap.emit(Record::new(Event::Schedule(decision)).object("pods", "default", "web"));
    let records: Vec<Record> = tap.since(0).iter().map(|r| (**r).clone()).collect();
    let text = table(&records);
    for part in [
        "pods/web/binding -n default ",
        "create: 409 in 0.00 ms, for kube-scheduler: node n has changed",
        "→ no node (refused n: Insufficient cpu)",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_stages_of_a_request_are_one_line_and_events_are_none() {
    let tap = Tap::new().at("ropewalk-control-plane", Component::ApiServer);
    let request = |id: &str| {
        Some(Request { id: id.into(), user_agent: "kubectl/v1".into(), code: 201, ..Request::default() })
    };
    for (id, resource, event) in [
        ("1", "pods", Event::Admit(serde_json::Value::Null)),
        ("1", "pods", Event::Commit(Write::CREATED)),
        ("1", "resourcequotas", Event::Commit(Write::UPDATED)),
        ("1", "pods", Event::Answer(Box::default())),
        ("2", "events", Event::Commit(Write::CREATED)),
    ] {
        let mut record = Record::new(event).object(resource, "default", "web");
        record.request = request(id);
        if record.write().is_some() {
            record.revision = Some(7);
        }
        tap.emit(record);
    }
    let start = Event::Start { container: "web".into(), attempt: 0 };
    let kubelet = tap.at("ropewalk-worker", Component::Kubelet);
    kubelet.emit(Record::new(start).object("pods", "default", "web"));
    let records: Vec<Record> = tap.since(0).iter().map(|r| (**r).clone()).collect();
    let text = table(&records);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains("admit 0.00, commit 0.00, revision 7, 201 in"), "{text}");
    assert!(lines[1].contains("kubelet worker") && lines[1].contains("start"), "{text}");
    let narrow = stacked(&records, 60);
    assert!(
        narrow.lines().all(|l| l.chars().count() < 60) && narrow.contains("pods/web -n default"),
        "{narrow}"
    );
    let picture = svg(&records);
    assert_eq!(picture.matches("<g>").count(), 2, "{picture}");
    assert!(picture.contains("revision 7, 201 in") && picture.ends_with("</svg>\n"), "{picture}");
}
