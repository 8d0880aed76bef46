//! The JSON form of every event, compared with a file byte for byte.

use super::{Component, Event, Record};
use std::collections::BTreeSet;

/// One record of each variant, one a line, in the order of their declaration.
const GOLDEN: &str = include_str!("events.jsonl");

/// Names every variant. A variant that is missing here does not compile, and one without a line in
/// the file fails the test.
macro_rules! variants {
    ($($name:ident)*) => {
        const ALL: &[&str] = &[$(stringify!($name)),*];
        fn name(event: &Event) -> &'static str {
            match event { $(Event::$name { .. } => stringify!($name)),* }
        }
    };
}

variants! {
    Authenticate Authorize Admit Validate Commit Answer Now
    Append CommitEntry Truncate CompactLog InstallSnapshot Call
    ElectionTimeout Role Leader Vote RefuseVote Transfer StepDown ConfChange Progress
    PeerActive PeerLost
    DiskFull DiskHasRoom LogWaits LogGoesOn DiskFailed CutTornTail
    Lead Schedule Bind
    Register Sandbox Pull Start Stop Status Exec
    Endpoints Rules Ports Visit Lookup
    CreateReplicaSet ScaleReplicaSet ReconcileReplicaSet ReconcileDaemonSet ReconcileStatefulSet
    ReconcileJob Expire CreateJob ScaleTarget
    ReconcileBudget ReconcileQuota BindVolume Provision Sign Refuse Aggregate
    Collect Finalize NodeNotReady Evict
    Fault
}

fn records() -> Vec<Record> {
    let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    GOLDEN.lines().map(read).collect()
}

#[test]
fn every_event_is_read_and_written_as_in_the_file() {
    let records = records();
    let written: Vec<String> = records.iter().map(|r| serde_json::to_string(r).unwrap()).collect();
    for (written, line) in written.iter().zip(GOLDEN.lines()) {
        assert_eq!(written, line);
    }
    let found: BTreeSet<&str> = records.iter().map(|r| name(&r.event)).collect();
    let missing: Vec<&&str> = ALL.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "events.jsonl has no record of {missing:?}");
}

#[test]
fn the_verbs_are_those_of_the_events() {
    let found: BTreeSet<&str> = records().iter().map(|r| r.event.verb()).collect();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), Event::VERBS);
}

#[test]
fn a_component_has_one_name() {
    let names: BTreeSet<&str> = Component::ALL.iter().map(|c| c.name()).collect();
    assert_eq!(names.len(), Component::ALL.len());
    for component in Component::ALL {
        assert_eq!(component.name().parse(), Ok(component));
    }
}

#[test]
fn a_record_of_another_version_is_refused_with_its_number_and_its_verb() {
    let refusal = |component: &str, verb: &str, detail: &str| {
        let line = format!(
            r#"{{"seq":7,"at":"2026-01-01T00:00:00Z","node":"","component":"{component}","verb":"{verb}","tookUs":0,"detail":{detail}}}"#
        );
        serde_json::from_str::<Record>(&line).map(|r| r.event).map_err(|e| e.to_string())
    };
    for (component, verb, detail, says) in [
        ("kubelet", "teleport", "null", "record 7: kubelet has no event \"teleport\""),
        ("kubelet", "start", "{}", "missing field `container`"),
        ("kube-oracle", "start", "null", "no component is called \"kube-oracle\""),
        ("etcd", "commit-entry", r#"{"index":1,"term":1}"#, "etcd has no event \"commit-entry\""),
    ] {
        let error = refusal(component, verb, detail).expect_err(verb);
        assert!(error.contains(says), "{error}");
    }
    // Keys that this version does not know are no obstacle, and neither are some that it adds.
    let older = refusal("etcd", "commit", r#"{"index":3,"term":2,"unknown":1}"#).unwrap();
    assert_eq!(older, Event::CommitEntry { index: 3, term: 2, fsync_us: None, batch: 0 });
    // A time that is not known is left out, as a 0 would be a time.
    assert_eq!(serde_json::to_value(&older).unwrap()["detail"].get("fsync_us"), None);
    assert_eq!(refusal("kube-scheduler", "lead", r#"{"unknown":1}"#), Ok(Event::Lead));
}
