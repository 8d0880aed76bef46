//! What is the matter with a workload: with what keeps pods, and with what runs them to an end.

use super::facts::Facts;
use super::pod::{self, is_ready};
use super::question::Explanation;
use super::reader::{Reader, alive, flag, is_unread, last_warning, terminating};
use super::texts::Word;
use api::meta;
use api::value::{at, int, list, text};
use serde_json::Value;

/// How many pods a workload wants, has ready, and has made from its newest template.
struct Counts {
    want: i64,
    ready: i64,
    updated: i64,
    /// Pods of earlier templates that its strategy is still to replace.
    old: i64,
    /// Pods of the newest template are missing that its rollout is to make. Of what was scaled up
    /// while no controller works, they are not older ones: they do not exist.
    lacks: bool,
}

impl Counts {
    /// Reads the counts of a workload by its kind's plural.
    ///
    /// Example: a StatefulSet of 5 with `partition: 3` keeps the pods 0 to 2 as they are, so with 2
    /// updated pods nothing old is left to replace. A Deployment of 1 whose new pod does not become
    /// ready has 2 pods, 1 of them updated: 1 is old.
    fn of(plural: &str, object: &Value) -> Counts {
        let number = |path: &str| int(object, path).unwrap_or(0);
        let by_hand = text(object, "spec.updateStrategy.type") == "OnDelete";
        if plural == "daemonsets" {
            let want = number("status.desiredNumberScheduled");
            let (ready, updated) = (number("status.numberReady"), number("status.updatedNumberScheduled"));
            let old = if by_hand { 0 } else { number("status.currentNumberScheduled") - updated };
            return Counts { want, ready, updated, old: old.max(0), lacks: !by_hand && updated < want };
        }
        let want = int(object, "spec.replicas").unwrap_or(1);
        let updated = number("status.updatedReplicas");
        let of_earlier = number("status.replicas") - updated;
        let is_new = at(object, "status.updateRevision") != at(object, "status.currentRevision");
        let (old, lacks) = match plural {
            "deployments" => (of_earlier, updated < want),
            "statefulsets" if !by_hand && is_new => {
                let kept = number("spec.updateStrategy.rollingUpdate.partition");
                (of_earlier - kept, updated < want - kept)
            }
            _ => (0, false),
        };
        Counts { want, ready: number("status.readyReplicas"), updated, old: old.max(0), lacks }
    }
}

/// Deployments, ReplicaSets, StatefulSets, DaemonSets: they are as well as their pods, and as their
/// rollout.
pub(super) fn pod_set(reader: &Reader, out: &mut Explanation, plural: &str, object: &Value) {
    if meta::is_terminating(object) {
        terminating(reader, out, object);
        return;
    }
    let counts = Counts::of(plural, object);
    let seen = int(object, "status.observedGeneration").unwrap_or(0) >= meta::generation(object);
    if counts.want == 0 && seen {
        wants_none(reader, out, plural, object);
        return;
    }
    let failures = failures(reader, plural, object);
    let complete = counts.old == 0 && !counts.lacks;
    if counts.ready >= counts.want && complete && seen && failures.is_empty() {
        let told = [counts.ready, counts.want].map(|n| n.to_string());
        reader.fine(out, Word::AllReady, &[&told[0], &told[1]]);
        return;
    }
    let told = [counts.ready, counts.want, counts.updated, counts.old].map(|n| n.to_string());
    reader.line(out, Word::SomeNotReady, &[&told[0], &told[1]]);
    if !complete {
        reader.line(out, Word::Unfinished, &[&told[2], &told[1], &told[3]]);
    }
    for (word, message) in &failures {
        reader.line(out, *word, &[message]);
    }
    if at(object, "spec.paused") == true && !complete {
        reader.line(out, Word::Paused, &[]);
        out.tips.push(format!(
            "kubectl rollout resume deployment {}{}",
            meta::name(object),
            flag(meta::namespace(object))
        ));
    }
    if !seen {
        reader.line(out, Word::NotSeen, &[]);
        if !alive(reader, out, "kube-controller-manager") {
            return;
        }
    }
    pods_of(reader, out, plural, object, counts.want, failures.is_empty());
}

/// It wants no pods. Those that it had may still be ending, or be held.
fn wants_none(reader: &Reader, out: &mut Explanation, plural: &str, object: &Value) {
    if is_unread(reader, out, &["replicasets", "pods"]) {
        return;
    }
    let left = pods_made(reader.facts, &makers(reader.facts, plural, object));
    match left.first() {
        Some(pod) => {
            reader.line(out, Word::PodsLeft, &[&left.len().to_string()]);
            for_example(reader, out, pod);
        }
        None if plural == "daemonsets" => reader.fine(out, Word::NoNodeForIt, &[]),
        None => reader.fine(out, Word::ScaledToZero, &[]),
    }
}

/// The objects that make the pods of a workload: a Deployment's ReplicaSets, else itself.
fn makers<'a>(facts: &'a Facts, plural: &str, object: &'a Value) -> Vec<&'a Value> {
    match plural {
        "deployments" => facts.owned("replicasets", object),
        _ => vec![object],
    }
}

/// The pods that these objects have made.
fn pods_made<'a>(facts: &'a Facts, makers: &[&Value]) -> Vec<&'a Value> {
    makers.iter().flat_map(|maker| facts.owned("pods", maker)).collect()
}

/// What a workload's own conditions say against it, and those of a Deployment's ReplicaSets: which
/// sentence, and the controller's message.
fn failures(reader: &Reader, plural: &str, object: &Value) -> Vec<(Word, String)> {
    let mut found: Vec<(Word, String)> = Vec::new();
    let mut read = |object: &Value| {
        for condition in list(object, "status.conditions") {
            let word = match (text(condition, "type"), text(condition, "status")) {
                ("ReplicaFailure", "True") => Word::CannotMake,
                ("Progressing", "False") => Word::Stuck,
                _ => continue,
            };
            let told = (word, text(condition, "message").to_string());
            if !found.iter().any(|(_, message)| *message == told.1) {
                found.push(told);
            }
        }
    };
    read(object);
    if plural == "deployments" {
        reader.facts.owned("replicasets", object).into_iter().for_each(read);
    }
    found
}

/// One of its pods that is not ready, or how many are missing and what is known of why. `unsaid`:
/// no condition says why yet.
fn pods_of(reader: &Reader, out: &mut Explanation, plural: &str, object: &Value, want: i64, unsaid: bool) {
    if is_unread(reader, out, &["replicasets", "pods"]) {
        return;
    }
    let makers = makers(reader.facts, plural, object);
    let pods = pods_made(reader.facts, &makers);
    // A pod that has ended, or is going, is replaced: it counts for nothing.
    let stays = |pod: &&&Value| {
        !meta::is_terminating(pod) && !matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
    };
    let staying: Vec<&Value> = pods.iter().filter(stays).copied().collect();
    let example = staying.iter().find(|pod| !is_ready(pod));
    if let Some(pod) = example {
        for_example(reader, out, pod);
        let ordered = plural == "statefulsets" && text(object, "spec.podManagementPolicy") != "Parallel";
        if ordered && (staying.len() as i64) < want {
            reader.fine(out, Word::InOrder, &[meta::name(pod)]);
        }
    }
    if (staying.len() as i64) < want {
        reader.line(out, Word::PodsMissing, &[&staying.len().to_string(), &want.to_string()]);
        if unsaid && example.is_none() {
            alive(reader, out, "kube-controller-manager");
            makers.iter().for_each(|maker| last_warning(reader, out, maker));
            if let Some(pod) = pods.iter().find(|pod| !is_ready(pod)) {
                for_example(reader, out, pod);
            }
        }
    }
}

/// Explains one pod in place of all.
pub(super) fn for_example(reader: &Reader, out: &mut Explanation, pod: &Value) {
    let mut inner = Explanation::default();
    pod::pod(reader, &mut inner, pod);
    reader.line(out, Word::ForExample, &[meta::name(pod)]);
    for line in inner.lines {
        // A claim and the pod that uses it may have the same to tell.
        if !out.lines.contains(&line) {
            out.lines.push(line);
        }
    }
    out.tips.extend(inner.tips);
}

/// A Job: has it ended, how, and what keeps it from its end?
pub(super) fn job(reader: &Reader, out: &mut Explanation, job: &Value) {
    let (name, of) = (meta::name(job), flag(meta::namespace(job)));
    let condition = |kind: &str| {
        let all = list(job, "status.conditions");
        all.iter().find(|c| c["type"] == kind && c["status"] == "True")
    };
    if meta::is_terminating(job) {
        terminating(reader, out, job);
        return;
    }
    let number = |path: &str| int(job, path).unwrap_or(0);
    let done = number("status.succeeded").to_string();
    let wanted = int(job, "spec.completions").unwrap_or(1).to_string();
    if condition("Complete").is_some() {
        reader.fine(out, Word::JobDone, &[&done]);
        return;
    }
    // Its last pods are ended before it is complete. Source: KEP-3998.
    if condition("SuccessCriteriaMet").is_some() {
        reader.fine(out, Word::JobSucceeds, &[&done]);
        return;
    }
    let pods = reader.facts.owned("pods", job);
    // The pods are still ending when the target is set.
    if let Some(failed) = condition("Failed").or_else(|| condition("FailureTarget")) {
        reader.line(out, Word::JobFailed, &[text(failed, "reason"), text(failed, "message")]);
        let example = pods.iter().rfind(|pod| text(pod, "status.phase") == "Failed").or(pods.last());
        if let Some(pod) = example {
            for_example(reader, out, pod);
        }
        out.tips.push(format!("kubectl describe job {name}{of}"));
        return;
    }
    if at(job, "spec.suspend") == true {
        reader.line(out, Word::Suspended, &[]);
        out.tips.push(format!("kubectl patch job {name}{of} -p '{{\"spec\":{{\"suspend\":false}}}}'"));
        return;
    }
    if int(job, "spec.parallelism") == Some(0) {
        reader.line(out, Word::NoParallelism, &[]);
        out.tips.push(format!("kubectl patch job {name}{of} -p '{{\"spec\":{{\"parallelism\":1}}}}'"));
        return;
    }
    let lost = number("status.failed");
    if lost > 0 {
        let limit = int(job, "spec.backoffLimit").unwrap_or(6).to_string();
        reader.line(out, Word::JobRetries, &[&lost.to_string(), &limit]);
    }
    if is_unread(reader, out, &["pods"]) {
        return;
    }
    // A pod of a Job may end, and need not become ready.
    let well = |pod: &Value| {
        let mut inner = Explanation::default();
        pod::pod(reader, &mut inner, pod);
        !inner.problem
    };
    let open: Vec<&&Value> = pods.iter().filter(|p| text(p, "status.phase") != "Succeeded").collect();
    match open.iter().find(|pod| !well(pod)) {
        Some(pod) => for_example(reader, out, pod),
        None if open.is_empty() => {
            reader.line(out, Word::JobWithoutPods, &[&done, &wanted]);
            alive(reader, out, "kube-controller-manager");
            last_warning(reader, out, job);
        }
        None => reader.fine(out, Word::JobRuns, &[&open.len().to_string(), &done, &wanted]),
    }
}

/// A CronJob: does it make Jobs?
pub(super) fn cron_job(reader: &Reader, out: &mut Explanation, cron: &Value) {
    if meta::is_terminating(cron) {
        terminating(reader, out, cron);
        return;
    }
    if at(cron, "spec.suspend") == true {
        reader.line(out, Word::CronSuspended, &[]);
        let (name, of) = (meta::name(cron), flag(meta::namespace(cron)));
        out.tips.push(format!("kubectl patch cronjob {name}{of} -p '{{\"spec\":{{\"suspend\":false}}}}'"));
        return;
    }
    alive(reader, out, "kube-controller-manager");
    last_warning(reader, out, cron);
    match text(cron, "status.lastScheduleTime") {
        "" => reader.fine(out, Word::CronNever, &[text(cron, "spec.schedule")]),
        last => reader.fine(out, Word::CronLast, &[text(cron, "spec.schedule"), last]),
    }
}
