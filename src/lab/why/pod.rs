//! What is the matter with a pod.

use super::question::Explanation;
use super::reader::{Reader, alive, first_seen, flag, last_seen, last_warning, terminating};
use super::texts::Word;
use api::meta;
use api::value::{at, int, list, text};
use serde_json::Value;
use tap::{Event, Verdict};

/// The scheduler that Pods name unless they name another one.
const OWN_SCHEDULER: &str = "default-scheduler";

/// Returns whether the condition `Ready` of a pod or a node is true.
pub(super) fn is_ready(pod: &Value) -> bool {
    list(pod, "status.conditions").iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Explains how a pod is.
pub(super) fn pod(reader: &Reader, out: &mut Explanation, pod: &Value) {
    let (node, phase) = (text(pod, "spec.nodeName"), text(pod, "status.phase"));
    let its_node = reader.facts.find("nodes", "", node);
    // Nodes have the same condition.
    let is_silent = its_node.is_some_and(|node| !is_ready(node));
    let has_nodes = reader.facts.all("nodes").next().is_some();
    let is_gone = its_node.is_none() && has_nodes && !node.is_empty();
    let has_ended = matches!(phase, "Succeeded" | "Failed");
    let is_held = meta::finalizers(pod).next().is_some();
    if meta::is_terminating(pod) && is_gone && !is_held {
        reader.line(out, Word::LeavesMissingNode, &[node]);
        out.tips.push("kubectl get nodes".into());
        alive(reader, out, "kube-controller-manager");
        return;
    }
    if meta::is_terminating(pod) && (is_held || !is_silent) {
        terminating(reader, out, pod);
        return;
    }
    if is_silent && (meta::is_terminating(pod) || !has_ended) {
        let word = if meta::is_terminating(pod) { Word::LeavesSilentNode } else { Word::OnSilentNode };
        reader.line(out, word, &[node]);
        out.tips.push(format!("kubectl describe node {node}"));
        return;
    }
    if is_gone && !has_ended {
        reader.line(out, Word::NoSuchNode, &[node]);
        out.tips.push("kubectl get nodes".into());
        return;
    }
    let statuses = ["status.initContainerStatuses", "status.containerStatuses"];
    let containers: Vec<&Value> = statuses.iter().flat_map(|path| list(pod, path)).collect();
    if has_ended {
        ended(reader, out, pod, &containers);
        return;
    }
    if node.is_empty() {
        unscheduled(reader, out, pod);
        return;
    }
    for container in &containers {
        if problem(reader, out, pod, container) {
            return;
        }
    }
    if is_ready(pod) {
        reader.fine(out, Word::RunsWell, &[node, text(pod, "status.podIP")]);
        return;
    }
    if containers.is_empty() || phase == "Pending" {
        not_started(reader, out, pod, node);
    } else {
        not_ready(reader, out, pod, &containers);
    }
    last_warning(reader, out, pod);
}

/// It has ended, and none of its containers starts again. What the kubelet says of the whole pod is
/// the cause (`Evicted`, `DeadlineExceeded`): the exit codes are of containers that it has stopped.
/// So is that of a sidecar, which ends after the others and because of them. Source: KEP-753.
fn ended(reader: &Reader, out: &mut Explanation, pod: &Value, containers: &[&Value]) {
    let (name, of) = (meta::name(pod), flag(meta::namespace(pod)));
    if text(pod, "status.phase") == "Succeeded" {
        reader.fine(out, Word::Succeeded, &[]);
        return;
    }
    let (reason, message) = (text(pod, "status.reason"), text(pod, "status.message"));
    if !reason.is_empty() {
        reader.line(out, Word::Failed, &[reason, message]);
        out.tips.push(format!("kubectl describe pod {name}{of}"));
        return;
    }
    for container in containers.iter().filter(|status| !is_sidecar(pod, status)) {
        if problem(reader, out, pod, container) {
            return;
        }
    }
    reader.line(out, Word::Failed, &[reason, message]);
    out.tips.push(format!("kubectl logs {name}{of}"));
}

/// Returns whether this is the status of a sidecar: of an init container that runs as long as the
/// pod.
fn is_sidecar(pod: &Value, status: &Value) -> bool {
    let mut specs = list(pod, "spec.initContainers").iter();
    specs.any(|c| c["name"] == status["name"] && text(c, "restartPolicy") == "Always")
}

/// It has a node, and not all of its containers were started yet: does an init container run first?
fn not_started(reader: &Reader, out: &mut Explanation, pod: &Value, node: &str) {
    let mut statuses = list(pod, "status.initContainerStatuses").iter();
    let runs = |status: &&Value| !at(status, "state.running").is_null() && !is_sidecar(pod, status);
    match statuses.find(runs) {
        Some(first) => reader.line(out, Word::Initializes, &[text(first, "name")]),
        None => reader.line(out, Word::NotStarted, &[node]),
    }
}

/// It runs: which containers, or which conditions that others set, is it waiting for?
fn not_ready(reader: &Reader, out: &mut Explanation, pod: &Value, containers: &[&Value]) {
    let late = containers.iter().filter(|c| c["ready"] == false).map(|c| text(c, "name"));
    let late: Vec<&str> = late.collect();
    let condition = |kind: &str| list(pod, "status.conditions").iter().find(|c| c["type"] == kind);
    let gates = list(pod, "spec.readinessGates").iter().map(|gate| text(gate, "conditionType"));
    let missing = |gate: &&str| condition(gate).is_none_or(|c| c["status"] != "True");
    let gates: Vec<&str> = gates.filter(missing).collect();
    if !late.is_empty() {
        reader.line(out, Word::NotReady, &[&late.join(", ")]);
    } else if !gates.is_empty() {
        reader.line(out, Word::GatesNotReady, &[&gates.join(", ")]);
    } else {
        let reason = condition("Ready").map_or("", |ready| text(ready, "reason"));
        reader.line(out, Word::NotReady, &[if reason.is_empty() { "Ready" } else { reason }]);
    }
}

/// No node yet: what did the scheduler say of each?
fn unscheduled(reader: &Reader, out: &mut Explanation, pod: &Value) {
    let gates: Vec<&str> = list(pod, "spec.schedulingGates").iter().map(|gate| text(gate, "name")).collect();
    if !gates.is_empty() {
        reader.line(out, Word::Gated, &[&gates.join(", ")]);
        return;
    }
    let scheduler = text(pod, "spec.schedulerName");
    if !matches!(scheduler, "" | OWN_SCHEDULER) {
        reader.line(out, Word::OtherScheduler, &[scheduler]);
        last_warning(reader, out, pod);
        return;
    }
    let about = |r: &&std::sync::Arc<tap::Record>| {
        let object = r.object.as_ref();
        object.is_some_and(|o| o.name == meta::name(pod) && o.namespace == meta::namespace(pod))
    };
    let born = meta::time(pod, "metadata.creationTimestamp").unwrap_or_default();
    let decided = |r: &'_ std::sync::Arc<tap::Record>| match &r.event {
        Event::Schedule(decision) => Some((r.at, decision.clone())),
        _ => None,
    };
    let decision = reader.facts.records.iter().rev().filter(about).find_map(decided);
    let decision = decision.filter(|(at, _)| *at >= born).map(|(_, decision)| decision);
    // What a scheduler has decided that is silent now was so then, and it binds nothing any more.
    let works = alive(reader, out, "kube-scheduler");
    let Some(decision) = decision else {
        if works {
            undecided(reader, out, pod);
        }
        return;
    };
    if let Some(chosen) = &decision.chosen {
        if works && !waits_for_claim(reader, out, pod, chosen) {
            reader.fine(out, Word::BeingBound, &[chosen]);
        }
        return;
    }
    reader.line(out, Word::NoNodeFits, &[]);
    for verdict in &decision.verdicts {
        let reasons: Vec<&str> = verdict.refused.iter().map(|r| r.reason.as_str()).collect();
        out.lines.push(format!("  {}: {}", verdict.node, reasons.join(", ")));
    }
    let refuses = |verdict: &Verdict, what: &str| verdict.refused.iter().any(|r| r.reason.contains(what));
    let refused = |what: &str| decision.verdicts.iter().any(|verdict| refuses(verdict, what));
    if refused("Insufficient") {
        reader.fine(out, Word::TipResources, &[]);
    }
    // Not that of a PersistentVolume: it has nothing to do with what the pod asks for.
    if refused("Pod's node affinity") {
        reader.fine(out, Word::TipSelector, &[]);
        out.tips.push("kubectl get nodes --show-labels".into());
    }
    if refused("taint") {
        reader.fine(out, Word::TipTaint, &[]);
    }
    let cordoned = decision.verdicts.iter().find(|verdict| refuses(verdict, "unschedulable"));
    if let Some(verdict) = cordoned {
        out.tips.push(format!("kubectl uncordon {}", verdict.node));
    }
    let place = match meta::namespace(pod) {
        "default" => String::new(),
        other => format!("{other}/"),
    };
    out.tips.push(format!("trace {place}pod/{}", meta::name(pod)));
}

/// Explains a pod of which no record tells a decision. Either the scheduler has not looked at it
/// yet, or the records do not reach so far, e.g. after a restart of the cluster: then the pod's
/// condition has what the scheduler found.
fn undecided(reader: &Reader, out: &mut Explanation, pod: &Value) {
    let mut conditions = list(pod, "status.conditions").iter();
    let found = conditions.find(|c| c["type"] == "PodScheduled" && c["status"] == "False");
    match found.map(|c| (text(c, "reason"), text(c, "message"))) {
        Some(("Unschedulable", message)) => {
            reader.line(out, Word::NoNodeFits, &[]);
            out.lines.push(format!("  {message}"));
        }
        Some((_, message)) => reader.line(out, Word::Says, &[message]),
        None => {
            reader.line(out, Word::NotYetScheduled, &[]);
            last_warning(reader, out, pod);
        }
    }
}

/// Tells of a claim of the pod that has no volume yet: the scheduler binds the pod only after that.
/// Returns whether there is one. `chosen`: the pod's node. Source: `VolumeBinding.PreBind`.
fn waits_for_claim(reader: &Reader, out: &mut Explanation, pod: &Value, chosen: &str) -> bool {
    let volumes = list(pod, "spec.volumes").iter();
    let names = volumes.map(|volume| text(volume, "persistentVolumeClaim.claimName"));
    let find = |name| reader.facts.find("persistentvolumeclaims", meta::namespace(pod), name);
    let mut unbound = names.filter_map(find).filter(|claim| text(claim, "status.phase") != "Bound");
    let Some(claim) = unbound.next() else { return false };
    reader.fine(out, Word::WaitsForClaim, &[chosen, meta::name(claim)]);
    alive(reader, out, "kube-controller-manager");
    last_warning(reader, out, claim);
    true
}

/// A container whose program could not be started, as one that is not in the image: it never ran
/// and has no log, and what the runtime says is the cause. `true`: this explains the pod. Source:
/// `errorStartReason` of containerd, and `ContainerCannotRun` as the kubelet knows it.
fn never_ran(reader: &Reader, out: &mut Explanation, pod: &Value, container: &Value) -> bool {
    let ended = match text(container, "state.waiting.reason") {
        "CrashLoopBackOff" => at(container, "lastState.terminated"),
        _ => at(container, "state.terminated"),
    };
    let reason = text(ended, "reason");
    let is_so = matches!(reason, "StartError" | "ContainerCannotRun");
    if is_so {
        reader.line(out, Word::CannotStart, &[text(container, "name"), reason, text(ended, "message")]);
        out.tips.push(format!("kubectl describe pod {}{}", meta::name(pod), flag(meta::namespace(pod))));
    }
    is_so
}

/// A container that waits, crashed, or was restarted. `true`: this explains the pod.
fn problem(reader: &Reader, out: &mut Explanation, pod: &Value, container: &Value) -> bool {
    if never_ran(reader, out, pod, container) {
        return true;
    }
    let (pod_name, name) = (meta::name(pod), text(container, "name"));
    let of = flag(meta::namespace(pod));
    let reason = text(container, "state.waiting.reason");
    let message = text(container, "state.waiting.message");
    let image = text(container, "image");
    let last = at(container, "lastState.terminated");
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
            reader.line(out, Word::NoImage, &[image, name]);
            if let Some((_, known)) = message.split_once("; ").or_else(|| message.split_once(": ")) {
                out.lines.push(format!("  {known}"));
            }
            out.tips.push(match meta::controller(pod).map(|owner| text(owner, "kind")) {
                // A static pod is mended in its file on the node.
                Some("Node") => format!("kubectl describe pod {pod_name}{of}"),
                _ => format!("kubectl set image {} {name}=IMAGE{of}", template(reader, pod)),
            });
            true
        }
        "CrashLoopBackOff" => {
            let restarts = int(container, "restartCount").unwrap_or(0).to_string();
            let code = int(last, "exitCode").unwrap_or(0).to_string();
            reader.line(out, Word::CrashLoop, &[name, &restarts, &code]);
            meaning(reader, out, pod, container, last);
            out.tips.push(format!("kubectl logs {pod_name} -c {name} --previous{of}"));
            true
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            reader.line(out, Word::CannotStart, &[name, reason, message]);
            out.tips.push(format!("kubectl describe pod {pod_name}{of}"));
            true
        }
        "" | "ContainerCreating" | "PodInitializing" => {
            let terminated = at(container, "state.terminated");
            if int(terminated, "exitCode").is_some_and(|c| c != 0) {
                let code = int(terminated, "exitCode").unwrap_or(0).to_string();
                reader.line(out, Word::Exited, &[name, &code]);
                meaning(reader, out, pod, container, terminated);
                out.tips.push(format!("kubectl logs {pod_name} -c {name}{of}"));
                return true;
            }
            let restarts = int(container, "restartCount").unwrap_or(0);
            // Also one that is not ready: that it keeps ending may be why.
            let is_up = container["ready"] == true || !at(container, "state.running").is_null();
            if restarts > 0 && is_up && !last.is_null() {
                let code = int(last, "exitCode").unwrap_or(0).to_string();
                reader.fine(out, Word::WasRestarted, &[name, &restarts.to_string(), &code]);
                meaning(reader, out, pod, container, last);
            }
            false
        }
        other => {
            reader.line(out, Word::Waits, &[name, other, message]);
            true
        }
    }
}

/// Kinds whose template can be changed: their controllers make further pods from it.
const WITH_TEMPLATE: [&str; 5] =
    ["deployment", "replicaset", "statefulset", "daemonset", "replicationcontroller"];

/// Where the image of the pod can be changed: in the template of its uppermost controller, since
/// the next pod is made from it, else in the pod itself. The template of a Job never changes.
fn template(reader: &Reader, pod: &Value) -> String {
    let owner = |object: &Value| {
        let owner = meta::controller(object)?;
        Some((text(owner, "kind").to_lowercase(), text(owner, "name").to_string()))
    };
    let own = || format!("pod/{}", meta::name(pod));
    let Some((kind, name)) = owner(pod) else { return own() };
    let above = match kind.as_str() {
        "replicaset" => reader.facts.find("replicasets", meta::namespace(pod), &name).and_then(owner),
        _ => None,
    };
    let (kind, name) = above.unwrap_or((kind, name));
    if WITH_TEMPLATE.contains(&kind.as_str()) { format!("{kind}/{name}") } else { own() }
}

/// Tells why a container has ended: the kubelet has ended it, or what its exit code usually means.
/// A program that is asked to end may do so with 0.
///
/// Example: a liveness probe fails, and nginx ends with 0 on the signal. Nothing is wrong with its
/// command then, but with the probe.
fn meaning(reader: &Reader, out: &mut Explanation, pod: &Value, container: &Value, terminated: &Value) {
    let reason = text(terminated, "reason");
    // Its end was not seen, e.g. because the machine was restarted: the code is none of its own.
    // Source: `kubelet.convertToAPIContainerStatuses`.
    if reason == "ContainerStatusUnknown" {
        out.lines.push(format!("  {}", text(terminated, "message")));
        return;
    }
    if reason != "OOMKilled" && by_kubelet(reader, out, pod, container, terminated) {
        return;
    }
    let word = match (reason, int(terminated, "exitCode").unwrap_or(0)) {
        ("OOMKilled", _) => Word::OomKilled,
        (_, 0) => Word::ExitedWell,
        (_, 126) => Word::NotExecutable,
        (_, 127) => Word::NoSuchCommand,
        (_, 137) => Word::Killed,
        (_, 143) => Word::Asked,
        _ => return,
    };
    reader.fine(out, word, &[]);
}

/// Tells why the kubelet has ended a container, and what the probe or the hook had found. Returns
/// whether it has: an Event of the time in which it ran says so. One that came later is about the
/// run that followed.
fn by_kubelet(
    reader: &Reader,
    out: &mut Explanation,
    pod: &Value,
    container: &Value,
    terminated: &Value,
) -> bool {
    let place = format!("{{{}}}", text(container, "name"));
    let (started, finished) = (meta::time(terminated, "startedAt"), meta::time(terminated, "finishedAt"));
    // Both may be whole seconds.
    let is_later = |event: &Value| match (first_seen(event), finished) {
        (Some(first), Some(finished)) => first.as_second() > finished.as_second(),
        _ => false,
    };
    let is_its = |event: &&Value| {
        let is_about_it = text(event, "involvedObject.fieldPath").ends_with(&place);
        is_about_it && last_seen(event) >= started && !is_later(event)
    };
    let newest = |fits: fn(&Value) -> bool| {
        let events = reader.facts.events(pod).filter(is_its).filter(|event| fits(event));
        events.max_by_key(|event| last_seen(event))
    };
    let Some(ended) = newest(|event| event["reason"] == "Killing") else { return false };
    reader.fine(out, Word::EndedByKubelet, &[text(ended, "message")]);
    let found = newest(|event| match text(event, "reason") {
        "FailedPostStartHook" => true,
        "Unhealthy" => !text(event, "message").starts_with("Readiness"),
        _ => false,
    });
    out.lines.extend(found.map(|event| format!("  {}", text(event, "message"))));
    true
}
