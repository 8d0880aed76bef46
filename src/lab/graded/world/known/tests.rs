//! What a lab takes of the trace, and whom it holds for a person.

use super::*;
use crate::cel::facts::Objects;
use crate::cel::{Expr, facts, value};
use client::Delta;
use serde_json::json;

/// Two readers may have asked the tap at the same time.
#[test]
fn the_chain_covers_what_was_written_and_takes_no_record_twice() {
    let head = |image: &str, readers: usize, is_hashed: bool| {
        let tap = tap::Tap::new();
        let body = Some(json!({ "image": image }).to_string().into());
        tap.emit(tap::Record { body, ..write(tap::LEARNER, "").object("pods", "shop", "web").revision(7) });
        let mut record = (*tap.since(0)[0]).clone();
        record.at = tap::Record::new(tap::Event::Now).at;
        let digest = is_hashed.then(|| seal::digest(&record));
        let records = [(digest, Arc::new(record))];
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(None);
        (0..readers).for_each(|_| known.take_all(&records));
        assert_eq!(known.chain.records, 1);
        known.chain.head
    };
    assert_eq!(head("nginx", 1, true), head("nginx", 2, true));
    assert_eq!(head("nginx", 1, true), head("nginx", 1, false), "hashed later");
    assert_ne!(head("nginx", 1, true), head("httpd", 1, true));
}

/// A lab is looked at five times a second: what has not changed is not evaluated again.
#[test]
fn an_expression_is_evaluated_again_when_something_has_changed() {
    let expr = Expr::compile("present('Pod', 'shop', v.name)", crate::cel::Use::Check, &[]).unwrap();
    let mut known = Known::default();
    let look = |known: &mut Known, name: &str| {
        let variant = Some(value::of_json(&json!({ "name": name })));
        let facts = Arc::new(known.facts(&Frame { began: 5, variant }));
        let before = facts.memo.work().evaluated;
        (expr.truth(&facts), facts.memo.work().evaluated - before)
    };
    assert_eq!(look(&mut known, "web").0, None, "nobody watches pods");
    known.observer.take_report(Report::list("pods", BTreeMap::new(), 5), false);
    assert_eq!(look(&mut known, "web"), (Some(false), 1));
    assert_eq!(look(&mut known, "web"), (Some(false), 0));
    let object =
        Object::new(json!({"metadata": {"namespace": "shop", "name": "web", "resourceVersion": "6"}}));
    let key = ("shop".to_string(), "web".to_string());
    let delta = Delta::Updated((key, object));
    known.observer.take_report(Report { kind: "pods".into(), revision: 6, delta }, false);
    assert_eq!((look(&mut known, "web"), look(&mut known, "web")), ((Some(true), 1), (Some(true), 0)));
    assert_eq!(look(&mut known, "db"), (Some(false), 1), "another lab's values");
}

/// What a program has logged while the lab was set up is no work of the learner's.
#[test]
fn the_new_lines_of_a_log_are_those_since_the_clock_started() {
    let (mut known, started) = (Known::default(), clock::now());
    let step_at = |known: &mut Known| known.facts(&Frame { began: 5, variant: None }).step_at;
    assert_eq!(step_at(&mut known), None, "it is set up, and its symptom may be any line");
    known.begin(Some(Stopwatch::taken_up(started, 0)));
    assert_eq!(step_at(&mut known), Some(started));
}

#[test]
fn what_a_lab_builds_on_and_is_gone_is_named() {
    let pod = |name: &str, owner: Option<&str>| {
        let owners: Vec<Value> =
            owner.map(|kind| json!({"kind": kind, "controller": true})).into_iter().collect();
        json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": "4", "ownerReferences": owners}})
    };
    let mut known = Known::default();
    for object in [pod("tester", None), pod("web-1", Some("ReplicaSet")), pod("bare", None)] {
        known.observer.recorder.add_found("pods", &object);
    }
    let key = |name: &str| ("shop".to_string(), name.to_string());
    let there = BTreeMap::from([(key("bare"), Object::new(pod("bare", None)))]);
    let pods = facts::kind("Pod").unwrap();
    assert!(known.gone(pods, 5).is_empty(), "nobody watches them");
    known.observer.objects.insert("pods".into(), Arc::new(there));
    let gone: Vec<_> = known.gone(pods, 5).into_iter().map(|(key, _)| key).collect();
    assert_eq!(gone, [key("tester")], "a ReplicaSet makes its pods anew");
    assert!(known.gone(pods, 3).is_empty(), "they were made when the clock ran");
}

fn write(user: &str, impersonator: &str) -> tap::Record {
    let (user, impersonator) = (user.into(), impersonator.into());
    let request = tap::Request { user, impersonator, ..tap::Request::default() };
    let record = tap::Record::new(tap::Event::Commit(tap::Write::UPDATED));
    tap::Record { request: Some(request), body: Some("{}".into()), ..record }
}

/// Cheat 2 of the review: work under another name than one's own.
#[tokio::test]
async fn whoever_writes_has_written() {
    let changed = |user: &str, impersonator: &str, quiet: bool| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.quiet = quiet;
        known.take_record(&write(user, impersonator));
        (known.changed_ms.is_some(), known.meddled)
    };
    for user in [tap::LEARNER, TEACHER, "system:serviceaccount:shop:robot", "system:masters", "anybody"] {
        assert_eq!(changed(user, "", false), (true, false), "{user}");
    }
    assert_eq!(changed("system:kube-scheduler", tap::LEARNER, false), (true, false));
    for component in ["system:kube-controller-manager", tap::ADMIN] {
        assert_eq!(changed(component, "", false), (false, false), "{component}");
    }
    // A node's name lets change its own objects, and this is none; a person's program in
    // kube-system is no addon.
    for borrowed in ["system:node:n", "system:serviceaccount:kube-system:robot"] {
        assert_eq!(changed(borrowed, "", false), (true, false), "{borrowed}");
    }
    // While the judge looks: its own writes are its own, those of another client under the same
    // name are not.
    assert_eq!(changed(tap::LEARNER, "", true), (true, true));
    assert_eq!(changed(TEACHER, "", true), (false, true));
    assert_eq!(changed("system:serviceaccount:shop:robot", "", true), (true, true));
    let mut known = Known { recording: true, quiet: true, playing: true, ..Known::default() };
    known.take_record(&write(TEACHER, ""));
    assert!(!known.meddled);
}

/// While the judge looks whether it heals by itself, a command in a pod of the lab is a hand
/// lent, and one elsewhere is not.
#[test]
fn a_command_in_the_labs_pods_is_a_hand_lent() {
    let act = |namespace: &str, subresource: &str, quiet: bool| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.quiet = quiet;
        let (user, subresource) = (tap::LEARNER.into(), subresource.into());
        let request = tap::Request { user, subresource, code: 101, ..tap::Request::default() };
        let record = tap::Record::new(tap::Event::Answer(Box::default())).object("pods", namespace, "tester");
        known.take_record(&tap::Record { request: Some(request), ..record });
        (known.meddled, known.meddling.contains(&Meddling::Exec))
    };
    assert_eq!(act("shop", "exec", true), (true, true));
    assert_eq!(act("shop", "attach", true), (true, true));
    assert_eq!(act("shop", "exec", false), (false, true), "noted, for tasks that exclude it");
    assert_eq!(act("default", "exec", true), (false, false));
    assert_eq!(act("shop", "log", true), (false, false));
}

/// The time is over, and the program is started by hand that should have been there: no object
/// changes.
#[test]
fn what_is_done_without_writing_an_object_is_late_too() {
    let changed = |namespace: &str, event: tap::Event, subresource: &str, quiet: bool| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.quiet = quiet;
        let (user, subresource) = (tap::LEARNER.into(), subresource.into());
        let request = tap::Request { user, subresource, code: 101, ..tap::Request::default() };
        let record = tap::Record::new(event).object("pods", namespace, "web");
        known.take_record(&tap::Record { request: Some(request), ..record });
        known.changed_ms.is_some()
    };
    let answer = || tap::Event::Answer(Box::default());
    assert!(changed("shop", answer(), "exec", false) && changed("shop", answer(), "attach", false));
    assert!(!changed("default", answer(), "exec", false), "elsewhere");
    assert!(!changed("shop", answer(), "log", false), "only looked at");
    let heal = |quiet: bool, playing: bool| {
        let mut known = Known { recording: true, quiet, playing, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.take_record(&tap::Record::new(tap::Event::Fault(tap::Fault::Heal)));
        (known.changed_ms.is_some(), known.meddled)
    };
    assert_eq!(heal(false, false), (true, false));
    assert_eq!(heal(true, true), (false, false), "while a probe is played it is the probe's");
    assert_eq!(heal(true, false), (false, true), "a hand lent");
}

/// The cluster was started anew, and the machine that the setup had switched off is switched off
/// once more. Then the learner switches it on.
#[test]
fn a_fault_that_is_put_back_is_nobodys_act_and_one_that_is_mended_is_forgotten() {
    let switched = |act| {
        let fault = tap::Fault::Node { node: "n2".into(), act };
        (tap::Record::new(tap::Event::Fault(fault.clone())), fault)
    };
    let (crash, fault) = switched(tap::Act::Crash);
    let broken = vec![fault];
    let mut known = Known { recording: true, breaking: true, broken: broken.clone(), ..Known::default() };
    known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
    known.take_record(&crash);
    assert_eq!((known.changed_ms, &known.broken), (None, &broken));
    (known.breaking, known.unsaved) = (false, false);
    known.take_record(&switched(tap::Act::Start).0);
    assert!(known.changed_ms.is_some() && known.broken.is_empty() && known.unsaved);
}

/// The time is over, and the learner goes on with a lesson in another namespace: the lab is as
/// it was.
#[test]
fn a_write_elsewhere_is_not_late() {
    let changed = |resource: &str, namespace: &str, name: &str, quiet: bool| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.quiet = quiet;
        known.take_record(&write(tap::LEARNER, "").object(resource, namespace, name));
        (known.changed_ms.is_some(), known.meddled)
    };
    assert_eq!(changed("pods", "default", "web", false), (false, false));
    assert_eq!(changed("namespaces", "", "default", true), (false, false));
    assert_eq!(changed("pods", "shop", "web", false), (true, false));
    assert_eq!(changed("pods", "shop", "web", true), (true, true));
    assert_eq!(changed("clusterroles", "", "x", false), (true, false), "that may be about the lab");
}

/// After the limit a wrong name of a Service is mended by what the cluster's DNS answers.
#[test]
fn a_write_to_what_serves_the_lab_counts_as_one_in_it() {
    let changed = |user: &str, resource: &str, quiet: bool| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.quiet = quiet;
        known.take_record(&write(user, "").object(resource, "kube-system", "coredns"));
        (known.changed_ms.is_some(), known.meddled)
    };
    assert_eq!(changed(tap::LEARNER, "configmaps", false), (true, false));
    assert_eq!(changed(tap::LEARNER, "configmaps", true), (true, true), "a hand lent to the judge");
    assert_eq!(changed(tap::LEARNER, "leases", false), (false, false));
    assert_eq!(changed(tap::ADMIN, "configmaps", false), (false, false), "the cluster's own");
    assert_eq!(changed(TEACHER, "configmaps", true), (false, false), "a lesson's");
}

#[test]
fn a_write_without_a_namespace_counts_if_it_can_change_what_is_in_the_labs() {
    let counts = |resource: &str, body: Value| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.places = Some(["shop".to_string()].into());
        known.reads = ["certificatesigningrequests".to_string()].into();
        let record = write(tap::LEARNER, "").object(resource, "", "x");
        known.take_record(&tap::Record { body: Some(body.to_string().into()), ..record });
        known.changed_ms.is_some()
    };
    let claimed = |namespace: &str| json!({"spec": {"claimRef": {"namespace": namespace}}});
    let bound = |namespace: &str| json!({"subjects": [{"kind": "ServiceAccount", "namespace": namespace}]});
    let user = json!({"subjects": [{"kind": "User", "name": "eve"}]});
    for (resource, body, here) in [
        ("nodes", json!({}), true),
        ("persistentvolumes", json!({}), true),
        ("persistentvolumes", claimed("shop"), true),
        ("persistentvolumes", claimed("default"), false),
        ("clusterrolebindings", user, true),
        ("clusterrolebindings", bound("shop"), true),
        ("clusterrolebindings", bound("default"), false),
        ("customresourcedefinitions", json!({}), false),
        ("ships", json!({}), false),
        ("certificatesigningrequests", json!({}), true), // this lab looks at them
    ] {
        assert_eq!(counts(resource, body.clone()), here, "{resource} {body}");
    }
}

/// A lesson's setup is played by the teacher in another namespace while the judge is at work.
#[test]
fn what_the_teacher_does_elsewhere_lends_no_hand() {
    let meddled = |namespace: &str| {
        let mut known = Known { recording: true, quiet: true, ..Known::default() };
        known.places = Some(["shop".to_string()].into());
        known.take_record(&write(TEACHER, "").object("pods", namespace, "web"));
        known.meddled
    };
    assert_eq!((meddled("shop"), meddled("default")), (true, false));
}

#[test]
fn a_name_that_was_got_before_the_lab_is_known_in_it() {
    let mut known = Known::default();
    let pod = json!({"spec": {"serviceAccountName": "coredns"}}).to_string();
    let record = write(tap::LEARNER, "").object("pods", "kube-system", "mine");
    known.take_record(&tap::Record { body: Some(pod.into()), ..record });
    assert!(known.unsaved, "it is written down, for the process after this one");
    known.recording = true;
    known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
    known.take_record(&write("system:serviceaccount:kube-system:coredns", ""));
    assert!(known.changed_ms.is_some());
}

/// Cheat 1 of the second look: end the programs, restart the cluster, and let its restart
/// excuse yours.
#[test]
fn a_restart_of_the_cluster_hides_no_restart_of_before() {
    let pod = |count: i64, reason: &str, revision: i64| {
        let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": reason}}}]});
        json!({"kind": "Pod", "status": status, "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": revision.to_string()}})
    };
    let mut known = Known { recording: true, ..Known::default() };
    known.places = Some(["shop".to_string()].into());
    known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
    let committed = |body: Value, revision: u64| {
        let event = tap::Event::Commit(tap::Write::UPDATED);
        let record = tap::Record::new(event).object("pods", "shop", "web").revision(revision);
        tap::Record { body: Some(body.to_string().into()), ..record }
    };
    known.take_record(&committed(pod(1, "Completed", 20), 20));
    assert!(std::mem::take(&mut known.unsaved), "it is written down");
    known.take_record(&committed(pod(1, "Completed", 21), 21));
    assert!(!known.unsaved, "it is known already");
    // The next process: what the book has kept, and what the store tells.
    let mut next = Known { restarted: known.restarted, ..Known::default() };
    let (then, now) = (pod(0, "", 5), pod(2, "ContainerStatusUnknown", 30));
    next.observer.recorder.gap("pods", &[then], &[now], 30, &BTreeMap::new());
    next.recall_restarts();
    let key = ("pods".to_string(), "shop".to_string(), "web".to_string());
    let told: Vec<_> = next.observer.recorder.versions[&key].iter().map(|v| (v.revision, v.verb)).collect();
    assert_eq!(told, [(5, "ADDED"), (20, "MODIFIED"), (30, "MODIFIED")]);
}

/// Two hundred other pods restart first, or the pod is too large to be kept: what is lost is
/// known to be lost.
#[test]
fn restarts_that_were_not_kept_are_not_excused_by_a_restart_of_the_cluster() {
    let pod = |name: &str, count: i64, note: usize| {
        let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": "Error"}}}]});
        let metadata = json!({"namespace": "shop", "name": name, "uid": name, "resourceVersion": "5",
            "annotations": {"note": "x".repeat(note)}});
        json!({"kind": "Pod", "status": status, "metadata": metadata})
    };
    let owned =
        "!history('Pod','shop','web').exists(h, h.object.status.containerStatuses[0].restartCount > 0)";
    let owned = Expr::compile(owned, crate::cel::Use::Check, &[]).unwrap();
    for (others, note, truth) in [(0, 0, Some(false)), (RESTARTED_MAX, 0, None), (0, RESTARTED_BYTES, None)] {
        let mut known = Known { recording: true, ..Known::default() };
        known.places = Some(["shop".to_string()].into());
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        let mut take = |name: &str, note: usize, revision: u64| {
            let event = tap::Event::Commit(tap::Write::UPDATED);
            let record = tap::Record::new(event).object("pods", "shop", name).revision(revision);
            known.take_record(&tap::Record { body: Some(pod(name, 1, note).to_string().into()), ..record });
        };
        (0..others).for_each(|n| take(&format!("junk-{n}"), 0, 20 + n as u64));
        take("web", note, 900);
        assert!(known.unsaved && known.restarted.len() <= RESTARTED_MAX);
        // The next process: what the book has kept, and what the store tells. The cluster's own
        // restart excuses the count.
        let mut next =
            Known { restarted: known.restarted, restarts_lost: known.restarts_lost, ..Known::default() };
        next.observer.objects.insert("pods".into(), Objects::default());
        let there = [pod("web", 0, 0)];
        next.observer.recorder.gap("pods", &there, &there, 1000, &BTreeMap::new());
        next.recall_restarts();
        next.observer.recorder.keep_from(10, 10);
        let frame = Frame { began: 10, variant: None };
        let facts = Arc::new(next.facts(&frame));
        assert_eq!(owned.truth(&facts), truth, "{others} {note}");
    }
}

/// The pod of a StatefulSet restarted twice, was made anew, and restarted once.
#[test]
fn a_restart_of_a_pods_successor_is_kept() {
    let mut known = Known { recording: true, ..Known::default() };
    known.places = Some(["shop".to_string()].into());
    known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
    for (uid, count, revision) in [("a", 1, 20), ("a", 2, 21), ("b", 1, 30), ("b", 1, 31)] {
        let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": "Error"}}}]});
        let metadata = json!({"namespace": "shop", "name": "web-0", "uid": uid});
        let pod = json!({"kind": "Pod", "metadata": metadata, "status": status});
        let event = tap::Event::Commit(tap::Write::UPDATED);
        let record = tap::Record::new(event).object("pods", "shop", "web-0").revision(revision);
        known.take_record(&tap::Record { body: Some(pod.to_string().into()), ..record });
    }
    let kept: Vec<(i64, i64)> = known.restarted.values().map(|kept| (kept.revision, kept.count)).collect();
    assert_eq!(kept, [(21, 2), (30, 1)]);
}

/// A lesson's way back in its own namespaces is no undo of the lab's.
#[test]
fn a_way_back_elsewhere_is_not_the_labs() {
    let journey = |namespace: &str| {
        let mut known = Known { recording: true, ..Known::default() };
        known.begin(None);
        known.places = Some(["shop".to_string()].into());
        known.take_record(&way_back(namespace, 9));
        known.journeys.len()
    };
    assert_eq!((journey("shop"), journey("default")), (1, 0));
}

/// A record of a way back, whose user is the teacher, also where a person asks for it.
fn way_back(namespace: &str, revision: u64) -> tap::Record {
    let mut record = write(TEACHER, "").object("pods", namespace, "web").revision(revision);
    let journey = Some(tap::Journey::Rewind(4));
    record.event = tap::Event::Commit(tap::Write { journey, ..tap::Write::UPDATED });
    record
}

/// The judge has deleted the pods, and a `rewind` in a second terminal brings them back: nothing
/// has healed by itself.
#[test]
fn a_way_back_while_the_judge_looks_is_a_hand_lent() {
    let meddled = |namespace: &str, playing: bool, returning: bool| {
        let mut known = Known { recording: true, quiet: true, playing, returning, ..Known::default() };
        known.places = Some(["shop".to_string()].into());
        known.take_record(&way_back(namespace, 9));
        known.meddled
    };
    assert!(meddled("shop", false, false) && meddled("shop", true, false));
    assert!(!meddled("default", false, false), "a lesson's");
    assert!(!meddled("shop", false, true), "the judge's own");
}

/// The judge has gone back and waits until the cluster has recovered, and the learner goes on.
#[test]
fn what_a_person_does_after_the_judges_way_back_is_seen() {
    let mut known = Known { recording: true, quiet: true, ..Known::default() };
    known.places = Some(["shop".to_string()].into());
    let by = |user: &str, revision: u64| write(user, "").object("pods", "shop", "web").revision(revision);
    known.take_record(&by(tap::LEARNER, 28)); // it goes with the way back
    (known.returning, known.returned_at) = (true, Some(30));
    for record in [
        by(tap::LEARNER, 29),
        way_back("shop", 30),
        by("system:kube-controller-manager", 31),
        by(TEACHER, 32),
        by(tap::LEARNER, 33),
        way_back("shop", 34),
    ] {
        known.take_record(&record);
    }
    let key = ("pods".to_string(), "shop".to_string(), "web".to_string());
    let seen: Vec<i64> =
        known.observer.recorder.versions[&key].iter().map(|version| version.revision).collect();
    assert_eq!(seen, [33, 34]);
    assert_eq!(known.journeys, [34].into(), "the judge's own way back is no undo of the learner's");
}
