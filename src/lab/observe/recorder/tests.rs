//! What is taken from the tap, and what expressions see of it.

use super::hop::name;
use super::*;
use crate::cel::value::{self, int_field, str_field};
use serde_json::json;
use tap::{Answer, Component, Tap, Write};

fn write(tap: &Tap, id: &str, user: &str, revision: u64, write: Write, object: &serde_json::Value) {
    let request = Request { id: id.into(), user: user.into(), verb: "create".into(), ..Request::default() };
    let mut commit = Record::new(Event::Commit(write)).object("pods", "d", "p").revision(revision);
    commit.request = Some(request.clone());
    commit.body = Some(object.to_string().into());
    tap.emit(commit);
    let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
    answer.request = Some(Request { code: 201, ..request });
    tap.emit(answer);
}

/// On a foreign cluster a lesson enters its namespace before the first record comes.
#[test]
fn a_recorder_that_moves_before_the_first_record_has_seen_no_beginning() {
    let (mut moved, mut later) = (Recorder::default(), Recorder::default());
    moved.move_to(LessonScope::default());
    assert!(!moved.reaches(0) && !moved.reaches(7));
    let record = Record::new(Event::Commit(Write::UPDATED)).revision(9);
    moved.take_record(&record, None);
    assert!(moved.reaches(9) && !moved.reaches(8) && !moved.reaches(10));
    later.take_record(&record, None);
    later.move_to(LessonScope::default());
    assert!(later.reaches(9) && !later.reaches(8), "what came before the move counts");
}

/// The lab that is opened next may have the same expressions and values: what was true of the last
/// one must not be taken for it.
#[test]
fn a_recorder_that_starts_over_is_in_another_epoch() {
    let mut recorder = Recorder::default();
    let pod = json!({"metadata": {"namespace": "d", "name": "p", "resourceVersion": "9"}});
    recorder.add_found("pods", &pod);
    let before = (recorder.epoch, recorder.taken);
    recorder.start_over(Who::default());
    recorder.add_found("pods", &pod);
    assert!(recorder.taken == before.1 && recorder.epoch > before.0, "{before:?}");
}

/// The learner looks, goes back a step and forth again: that they looked is still so, and what
/// was before the step is still none of it.
#[test]
fn a_step_that_is_taken_up_again_has_its_looks() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let look = |id: &str| {
        let mut record = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
        let (id, user, verb) = (id.to_string(), tap::LEARNER.to_string(), "get".to_string());
        record.request = Some(Request { id, user, verb, code: 200, ..Request::default() });
        tap.emit(record);
    };
    look("before");
    write(&tap, "set-up", "teacher", 5, Write::CREATED, &json!({}));
    let began = clock::now();
    look("looked");
    write(&tap, "made", "learner", 9, Write::UPDATED, &json!({}));
    let told = |at| {
        let kept = tap.since(0);
        let seq = kept.last().map_or(0, |record| record.seq);
        let mut recorder = Recorder { seq, ..Recorder::default() };
        recorder.resume_step(&kept, 5, at);
        let ids = recorder.trace.iter().map(|record| str_field(record, "request").to_string());
        let mut ids: Vec<String> = ids.collect();
        ids.dedup();
        ids
    };
    assert_eq!(told(Some(began)), ["looked", "made"]);
    assert_eq!(told(None), ["made"], "an older program did not note the time");
}

/// A request is answered while the step before is opened again: it is one request.
#[test]
fn what_was_not_read_when_a_step_is_taken_up_is_told_once() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let began = clock::now();
    write(&tap, "read", "learner", 5, Write::CREATED, &json!({}));
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|record| recorder.take_record(record, Some(false)));
    write(&tap, "not read", "learner", 6, Write::UPDATED, &json!({}));
    recorder.resume_step(&tap.since(0), 4, Some(began));
    tap.since(recorder.seq).iter().for_each(|record| recorder.take_record(record, Some(false)));
    let told: Vec<&str> = recorder.trace.iter().map(|record| str_field(record, "request")).collect();
    assert_eq!(told, ["read", "read", "not read", "not read"], "a commit and its answer each");
}

#[test]
fn writes_become_versions_and_hops() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let owned = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}});
    write(&tap, "1", "system:kube-controller-manager", 5, Write::CREATED, &owned);
    write(&tap, "2", "learner", 9, Write::DELETED, &owned);
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(true)));
    let versions = &recorder.versions[&("pods".into(), "d".into(), "p".into())];
    assert_eq!(versions.iter().map(|v| v.verb).collect::<Vec<_>>(), ["ADDED", "DELETED"]);
    assert_eq!((recorder.revision, recorder.of_plural["pods"]), (9, 9));
    let answer = &recorder.trace[1];
    assert_eq!(
        (str_field(answer, "verb"), int_field(answer, "code"), int_field(answer, "revision")),
        ("create", 201, 5)
    );
    assert_eq!(
        (str_field(answer, "object"), str_field(answer, "by_component")),
        ("Pod/d/p", "replicaset-controller")
    );
    assert_eq!((str_field(answer, "by"), str_field(&recorder.trace[3], "by")), ("", "solve"));
}

#[test]
fn how_something_was_looked_at_is_told() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let (verb, selector) = ("list".to_string(), "app=web".to_string());
    let message = "Invalid value: 80: out of range".to_string();
    for told in [
        Answer { verb, table: true, selector, ..Answer::default() },
        Answer { verb: "create".into(), message, ..Answer::default() },
    ] {
        let mut answer = Record::new(Event::Answer(told.into())).object("pods", "d", "");
        answer.request = Some(Request { user: "learner".into(), verb: "list".into(), ..Request::default() });
        tap.emit(answer);
    }
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let told = |at: usize| {
        let record = &recorder.trace[at];
        let table = crate::cel::value::field(record, "table") == Some(&Value::Bool(true));
        (table, str_field(record, "selector").to_string(), str_field(record, "message").to_string())
    };
    assert_eq!(told(0), (true, "app=web".into(), String::new()));
    assert_eq!(told(1), (false, String::new(), "Invalid value: 80: out of range".into()));
}

#[test]
fn how_many_lines_of_a_log_were_asked_for_is_told() {
    let tail = |tail: Option<i64>| {
        let mut recorder = Recorder::default();
        let answer = Event::Answer(Box::new(Answer { tail, ..Answer::default() }));
        recorder.take_record(&Record::new(answer).object("pods", "d", "p"), Some(false));
        int_field(&recorder.trace[0], "tail")
    };
    assert_eq!([Some(0), Some(10), None].map(tail), [0, 10, -1]);
}

#[test]
fn a_log_that_had_no_line_to_show_is_told() {
    for empty in [false, true] {
        let mut recorder = Recorder::default();
        let answer = Event::Answer(Box::new(Answer { empty, ..Answer::default() }));
        recorder.take_record(&Record::new(answer).object("pods", "d", "p"), Some(false));
        let told = crate::cel::value::field(&recorder.trace[0], "empty");
        assert_eq!(told, Some(&Value::Bool(empty)));
    }
}

#[test]
fn a_list_that_describe_searches_for_a_prefix_is_no_look_at_the_rest() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let asked = |session: &str, command: &str, verb: &str, name: &str, code: u16| {
        let mut answer = Record::new(Event::Answer(Box::default())).object("nodes", "", name);
        answer.request = Some(Request {
            user: "learner".into(),
            verb: verb.into(),
            session: session.into(),
            command: command.into(),
            code,
            ..Request::default()
        });
        tap.emit(answer);
    };
    asked("1", "kubectl describe", "get", "work", 404);
    asked("1", "kubectl describe", "list", "", 200);
    asked("2", "kubectl describe", "list", "", 200); // another command
    asked("", "", "get", "work", 404); // curl: each request stands for itself
    asked("", "", "list", "", 200);
    asked("3", "kubectl get", "get", "work", 404); // `kubectl get` searches for nothing
    asked("3", "kubectl get", "list", "", 200);
    let named = |name: &str| value::of_json(&json!({"kind": "Node", "metadata": {"name": name}}));
    let told = |recorder: &Recorder| -> Vec<(String, bool, bool)> {
        let lists = recorder.trace.iter().filter(|t| str_field(t, "verb") == "list");
        let covers = |t: &Value, name: &str| crate::cel::covers(t, &named(name));
        lists
            .map(|t| (str_field(t, "selector").into(), covers(t, "worker"), covers(t, "control-plane")))
            .collect()
    };
    let whole = (String::new(), true, true);
    let expected =
        vec![("metadata.name=work*".to_string(), true, false), whole.clone(), whole.clone(), whole];
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    assert_eq!(told(&recorder), expected);
}

#[test]
fn a_list_that_describe_needs_beside_what_it_describes_is_told_as_such() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let asked = |session: &str, plural: &str, verb: &str, name: &str, selector: &str| {
        let answer = Answer { selector: selector.into(), ..Answer::default() };
        let mut answer = Record::new(Event::Answer(Box::new(answer))).object(plural, "", name);
        answer.request = Some(Request {
            user: "learner".into(),
            verb: verb.into(),
            session: session.into(),
            command: "kubectl describe".into(),
            code: 200,
            ..Request::default()
        });
        tap.emit(answer);
    };
    asked("1", "nodes", "get", "n1", "");
    asked("1", "pods", "list", "", "spec.nodeName=n1");
    asked("2", "pods", "list", "", "app=web");
    asked("2", "services", "list", "", "app=web");
    asked("2", "endpointslices", "list", "", "kubernetes.io/service-name=web");
    asked("3", "persistentvolumeclaims", "get", "data", "");
    asked("3", "pods", "list", "", "");
    asked("4", "pods", "list", "", "");
    asked("4", "persistentvolumeclaims", "list", "", "");
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let is_aside = |t: &Value| value::at(t, "aside") == Some(&Value::Bool(true));
    let told: Vec<bool> = recorder.trace.iter().map(is_aside).collect();
    assert_eq!(told, [false, true, false, false, true, false, true, false, false]);
}

#[test]
fn the_end_of_a_command_in_a_container_is_told_of_whoever_asked_for_it() {
    let tap = Tap::new().at("n", Component::Kubelet);
    for (id, user) in [("1", "learner"), ("2", "teacher")] {
        let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
        let (id, user) = (id.to_string(), user.to_string());
        let (verb, subresource) = ("create".into(), "exec".into());
        answer.request = Some(Request { id, user, verb, subresource, code: 101, ..Request::default() });
        tap.emit(answer);
    }
    for (id, exit) in [("1", 0), ("1", 127), ("2", 0), ("unknown", 0)] {
        let ended = Record::new(Event::Exec { exit }).object("pods", "d", "p");
        tap.emit(ended.cause(Some(Cause::Request(id.into()))));
    }
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let own = |t: &&Value| value::field(t, "own") == Some(&Value::Bool(true));
    let told: Vec<_> =
        recorder.trace.iter().filter(own).map(|t| (str_field(t, "object"), int_field(t, "exit"))).collect();
    assert_eq!(told, [("Pod/d/p/exec", -1), ("Pod/d/p/exec", 0), ("Pod/d/p/exec", 127)]);
}

/// The checks of a lesson run several commands each second.
#[test]
fn a_shell_that_stays_open_is_its_users_at_the_end_however_many_checks_ran_meanwhile() {
    let mut recorder = Recorder::default();
    let mut begin = |id: String, user: &str| {
        let (user, subresource) = (user.to_string(), "exec".to_string());
        let mut begun = Record::new(Event::Answer(Box::default()));
        begun.request = Some(Request { id, user, subresource, code: 101, ..Request::default() });
        recorder.take_record(&begun, None);
    };
    begin("shell".into(), tap::LEARNER);
    (0..2 * REQUESTS_MAX).for_each(|n| begin(format!("check {n}"), tap::TEACHER));
    let ended = Record::new(Event::Exec { exit: 1 }).cause(Some(Cause::Request("shell".into())));
    recorder.take_record(&ended, Some(false));
    let users: Vec<&str> = recorder.trace.iter().map(|t| str_field(t, "user")).collect();
    assert_eq!((users, recorder.execs.len()), (vec![tap::LEARNER], REQUESTS_MAX));
}

#[test]
fn both_records_of_a_command_in_a_container_have_its_words() {
    let mut recorder = Recorder::default();
    let argv = ["sh", "-c", "wget http://web"].map(String::from).to_vec();
    let mut begun = Record::new(Event::Answer(Box::new(Answer { argv, ..Answer::default() })));
    let (id, subresource) = ("1".to_string(), "exec".to_string());
    begun.request = Some(Request { id, subresource, code: 101, ..Request::default() });
    let ended = |id: &str| Record::new(Event::Exec { exit: 1 }).cause(Some(Cause::Request(id.into())));
    for record in [begun, ended("1"), ended("unknown")] {
        recorder.take_record(&record, Some(false));
    }
    let words = |t: &Value| value::field(t, "argv").cloned().expect("each record has the field");
    let told = value::of_json(&json!(["sh", "-c", "wget http://web"]));
    let none = value::list(vec![]);
    assert_eq!(recorder.trace.iter().map(words).collect::<Vec<_>>(), [told.clone(), told, none]);
}

#[test]
fn where_only_answers_tell_who_wrote_a_version_has_its_writer_whichever_comes_first() {
    let tap = Tap::new().at("far", Component::ApiServer);
    let saw = |revision: u64, write: Write| {
        let mut commit = Record::new(Event::Commit(write)).object("pods", "own", "p").revision(revision);
        commit.body = Some(json!({"metadata": {"namespace": "own"}}).to_string().into());
        tap.emit(commit);
    };
    let answered = |revision: u64| {
        let mut answer =
            Record::new(Event::Answer(Box::default())).object("pods", "own", "p").revision(revision);
        answer.request =
            Some(Request { user: "learner".into(), verb: "patch".into(), code: 200, ..Request::default() });
        tap.emit(answer);
    };
    saw(5, Write::CREATED);
    answered(5);
    answered(8);
    saw(8, Write::UPDATED);
    saw(9, Write::UPDATED);
    let scope = LessonScope { namespace: Some("own".into()), ..LessonScope::default() };
    let mut recorder = Recorder { scope, ..Recorder::default() };
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let versions = &recorder.versions[&("pods".into(), "default".into(), "p".into())];
    let told: Vec<_> = versions.iter().map(|v| (v.revision, str_field(v.value(), "user"))).collect();
    assert_eq!(told, [(5, "learner"), (8, "learner"), (9, "")]);
    assert_eq!(str_field(value::at(versions[0].value(), "object.metadata").unwrap(), "namespace"), "default");
    assert_eq!(str_field(&recorder.trace[1], "object"), "Pod/default/p");
}

#[test]
fn what_happened_unseen_is_told_by_what_was_and_what_is() {
    let pod = |name: &str, uid: &str, revision: i64| json!({"metadata": {"namespace": "d", "name": name, "uid": uid, "resourceVersion": revision.to_string()}});
    let mut recorder = Recorder::default();
    // The watch was faster, and the tap has shown a later change.
    for name in ["same", "changed", "replaced", "new"] {
        recorder.add_found("pods", &pod(name, "x", 30));
    }
    let key = |name: &str| ("pods".to_string(), "d".to_string(), name.to_string());
    recorder.add(key("changed"), Version::new(41, None, "MODIFIED", "null".into()));
    let then = [pod("same", "1", 5), pod("changed", "2", 6), pod("replaced", "3", 7), pod("gone", "4", 8)];
    let now = [pod("same", "1", 5), pod("changed", "2", 20), pod("replaced", "9", 30), pod("new", "5", 35)];
    let [then, now] = [then, now].map(|all| all.to_vec());
    let (then, now) =
        ([then, vec![pod("judged", "6", 9)]].concat(), [now, vec![pod("judged", "8", 36)]].concat());
    recorder.gap("pods", &then, &now, 40, &[("8".to_string(), "6".to_string())].into());
    let of = |name: &str| -> Vec<String> {
        let all = &recorder.versions[&key(name)];
        all.iter().map(|v| format!("{}{}", v.verb, v.revision)).collect()
    };
    assert_eq!(of("same"), ["ADDED5"]);
    assert_eq!(of("changed"), ["ADDED6", "MODIFIED20", "MODIFIED41"]);
    assert_eq!(of("replaced"), ["ADDED7", "DELETED29", "ADDED30"]);
    assert_eq!(of("gone"), ["ADDED8", "DELETED40"]);
    assert_eq!(of("new"), ["ADDED35"]);
    assert_eq!(of("judged"), ["ADDED9", "MODIFIED36"], "the judge took it away and put it back");
    let kept: usize = recorder.versions.values().map(|v| v.len()).sum();
    assert_eq!(recorder.order.len(), kept);
}

#[test]
fn a_custom_resource_of_the_same_plural_has_a_history_of_its_own() {
    let tap = Tap::new().at("n", Component::ApiServer);
    for (group, revision) in [("", 5), ("example.com", 6)] {
        let mut commit = Record::new(Event::Commit(Write::UPDATED))
            .object("services", "d", "web")
            .group(group)
            .revision(revision);
        commit.body = Some("{}".into());
        tap.emit(commit);
    }
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let revisions = |plural: &str| -> Vec<i64> {
        let all = &recorder.versions[&(plural.into(), "d".into(), "web".into())];
        all.iter().map(|v| v.revision).collect()
    };
    assert_eq!((revisions("services"), revisions("services.example.com")), (vec![5], vec![6]));
    assert_eq!(recorder.of_plural["services"], 5, "what the watch of Services has to reach");
    let told: Vec<&str> = recorder.trace.iter().map(|t| str_field(t, "object")).collect();
    assert_eq!(told, ["Service/d/web", "services.example.com/d/web"]);
}

#[test]
fn objects_have_one_way_to_be_named() {
    assert_eq!(name("pods", "default", "web", "exec"), "Pod/default/web/exec");
    assert_eq!(name("pods", "default", "", ""), "Pod/default/*");
    assert_eq!(name("pods", "", "", ""), "Pod/*/*");
    assert_eq!(name("nodes", "", "n1", ""), "Node//n1");
    assert_eq!(name("nodes", "", "", ""), "Node//*");
    assert_eq!(name("deployments", "d", "w", "scale"), "Deployment/d/w/scale");
}

#[test]
fn who_takes_a_components_name_is_none() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let write = |impersonator: &str, revision| {
        let request = Request {
            user: "system:kube-scheduler".into(),
            impersonator: impersonator.into(),
            ..Request::default()
        };
        let mut commit =
            Record::new(Event::Commit(Write::UPDATED)).object("pods", "d", "p").revision(revision);
        (commit.request, commit.body) = (Some(request), Some("{}".into()));
        tap.emit(commit);
    };
    write("", 5);
    write("learner", 6);
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let by: Vec<&str> = recorder.trace.iter().map(|t| str_field(t, "by_component")).collect();
    assert_eq!(by, ["kube-scheduler", ""]);
    let users: Vec<&str> =
        recorder.versions[&("pods".into(), "d".into(), "p".into())].iter().map(|v| v.user.as_str()).collect();
    assert_eq!(users, ["system:kube-scheduler", "learner"]);
}

/// A quota is charged in the transaction of the pod.
#[test]
fn what_was_written_beside_an_object_does_not_say_who_made_it() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let owned = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}});
    let user = "system:kube-controller-manager".to_string();
    let request = Request { id: "1".into(), user, verb: "create".into(), ..Request::default() };
    for (resource, write, body) in
        [("pods", Write::CREATED, owned), ("resourcequotas", Write::UPDATED, json!({}))]
    {
        let mut commit = Record::new(Event::Commit(write)).object(resource, "d", "x").revision(5);
        (commit.request, commit.body) = (Some(request.clone()), Some(body.to_string().into()));
        tap.emit(commit);
    }
    let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "d", "x");
    answer.request = Some(Request { code: 201, ..request });
    tap.emit(answer);
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|record| recorder.take_record(record, Some(false)));
    let by: Vec<&str> = recorder.trace.iter().map(|told| str_field(told, "by_component")).collect();
    assert_eq!(by.last(), Some(&"replicaset-controller"), "{by:?}");
}

/// kubectl asks for the same table for a plain list and for `-o wide`; only Ropewalk's own says
/// which of the two it was.
#[test]
fn what_was_written_after_o_is_known_only_where_the_client_said_it() {
    let hop = |output: Option<&str>| {
        let mut recorder = Recorder::default();
        let answer = Answer { table: true, output: output.map(String::from), ..Answer::default() };
        let record = Record::new(Event::Answer(answer.into())).object("pods", "default", "");
        recorder.take_record(&record, Some(false));
        let known = value::at(&recorder.trace[0], "output_known") == Some(&Value::Bool(true));
        (known, str_field(&recorder.trace[0], "output").to_string())
    };
    assert_eq!(hop(None), (false, String::new()), "another kubectl");
    assert_eq!(hop(Some("")), (true, String::new()), "a plain list");
    assert_eq!(hop(Some("wide")), (true, "wide".into()));
}

/// `kubectl get pods > /dev/null` is no look, and `kubectl delete pod web > /dev/null` is an act.
#[test]
fn a_look_whose_answer_is_thrown_away_is_not_the_learners() {
    let own = |verb: &str, code: u16, unseen: &str| {
        let answer = Answer { unseen: unseen.into(), ..Answer::default() };
        let mut record = Record::new(Event::Answer(answer.into())).object("pods", "default", "p");
        record.request =
            Some(Request { user: "learner".into(), verb: verb.into(), code, ..Request::default() });
        let mut recorder = Recorder::default();
        recorder.take_record(&record, Some(false));
        value::field(&recorder.trace[0], "own") == Some(&Value::Bool(true))
    };
    assert!(own("get", 200, "") && own("list", 200, "file") && own("delete", 200, "null"));
    assert!(!own("get", 200, "null") && !own("list", 200, "null"));
    assert!(!own("list", 200, tap::UNPRINTED) && own("watch", 200, ""), "--watch-only");
    assert!(own("get", 404, "null"), "the error is on the terminal");
}

#[test]
fn a_request_is_the_learners_own_if_the_learner_meant_it() {
    let tap = Tap::new().at("n", Component::ApiServer);
    let kubectl = format!("kubectl/{} (linux/amd64) ropewalk", kubectl::VERSION);
    let asked = |user: &str, agent: &str, command: &str, verb: &str| {
        let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "default", "p");
        answer.request = Some(Request {
            user: user.into(),
            user_agent: agent.into(),
            command: command.into(),
            verb: verb.into(),
            code: 200,
            ..Request::default()
        });
        tap.emit(answer);
    };
    asked("learner", &kubectl, "kubectl get", "get");
    asked("learner", "curl/8", "", "delete");
    asked("learner", &kubectl, "kubectl delete", "delete");
    asked("learner", &kubectl, "kubectl delete", "get"); // waits until it is gone
    asked("learner", "ropewalk-repl/0.1.0", "", "list"); // Tab
    asked("teacher", &kubectl, "kubectl get", "get");
    asked("system:node:n", "kubelet/v1", "", "get");
    let mut recorder = Recorder::default();
    tap.since(0).iter().for_each(|r| recorder.take_record(r, Some(false)));
    let own: Vec<bool> =
        recorder.trace.iter().map(|t| value::field(t, "own") == Some(&Value::Bool(true))).collect();
    assert_eq!(own, [true, true, true, false, false, false, false]);
}
