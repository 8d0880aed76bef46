//! Why a PersistentVolumeClaim has no volume.

use super::pod::is_ready;
use super::question::Explanation;
use super::reader::{Reader, alive, flag, is_unread, last_warning, terminating};
use super::texts::Word;
use super::workload::for_example;
use api::meta;
use api::value::{at, list, text};
use api::volumes::{NO_PROVISIONER, OLD_CLASS, is_default_class};
use serde_json::Value;
use std::cmp::Ordering;

/// A claim that is not bound: what is it waiting for?
pub(super) fn claim(reader: &Reader, out: &mut Explanation, claim: &Value) {
    if meta::is_terminating(claim) {
        terminating(reader, out, claim);
        return;
    }
    match text(claim, "status.phase") {
        "Bound" => {
            reader.fine(out, Word::ClaimBound, &[text(claim, "spec.volumeName")]);
            return;
        }
        "Lost" => {
            reader.line(out, Word::ClaimLost, &[text(claim, "spec.volumeName")]);
            return;
        }
        _ => reader.line(out, Word::ClaimPending, &[]),
    }
    let volume = text(claim, "spec.volumeName");
    if !volume.is_empty() {
        reader.line(out, Word::ClaimNames, &[volume]);
        alive(reader, out, "kube-controller-manager");
        last_warning(reader, out, claim);
        return;
    }
    let noted = meta::annotation(claim, OLD_CLASS);
    let named = noted.or_else(|| at(claim, "spec.storageClassName").as_str());
    match (named, named.and_then(|class| reader.facts.find("storageclasses", "", class))) {
        (None, _) if !reader.facts.knows("storageclasses") => {}
        (None, _) => {
            let is_default = |class: &&Value| is_default_class(|key| meta::annotation(class, key));
            let defaults = reader.facts.all("storageclasses").filter(is_default);
            match defaults.max_by(|a, b| precedence(a, b)) {
                Some(class) => reader.line(out, Word::ClassToCome, &[meta::name(class)]),
                None => reader.line(out, Word::NoClass, &[]),
            }
        }
        (Some(""), _) => reader.line(out, Word::NoProvisioning, &[]),
        (Some(class), None) if reader.facts.knows("storageclasses") => {
            let known: Vec<&str> = reader.facts.all("storageclasses").map(meta::name).collect();
            reader.line(out, Word::UnknownClass, &[class, &known.join(", ")]);
        }
        (Some(_), Some(class)) if text(class, "volumeBindingMode") == "WaitForFirstConsumer" => {
            first_consumer(reader, out, claim);
            return;
        }
        (Some(name), Some(class)) if text(class, "provisioner") == NO_PROVISIONER => {
            reader.line(out, Word::VolumesByHand, &[name]);
        }
        (Some(_), Some(class)) => {
            reader.line(out, Word::ClaimProvisioned, &[text(class, "provisioner")]);
        }
        (Some(_), None) => {}
    }
    alive(reader, out, "kube-controller-manager");
    last_warning(reader, out, claim);
}

/// Orders default classes, the one that is taken last: the newest, and of those that were made in
/// the same second the first by name. Source: `volumeutil.GetDefaultClass`.
fn precedence(a: &Value, b: &Value) -> Ordering {
    let made = |class: &Value| meta::time(class, "metadata.creationTimestamp");
    made(a).cmp(&made(b)).then_with(|| meta::name(b).cmp(meta::name(a)))
}

/// Its volume is made for the first pod that uses it: is there one, and is that one well?
fn first_consumer(reader: &Reader, out: &mut Explanation, claim: &Value) {
    if is_unread(reader, out, &["pods"]) {
        return;
    }
    let (namespace, name) = (meta::namespace(claim), meta::name(claim));
    let uses = |pod: &&Value| {
        let named = |volume: &Value| text(volume, "persistentVolumeClaim.claimName") == name;
        let has_ended = matches!(text(pod, "status.phase"), "Succeeded" | "Failed");
        list(pod, "spec.volumes").iter().any(named) && !is_ready(pod) && !has_ended
    };
    match reader.facts.within("pods", namespace).find(uses) {
        Some(pod) => {
            last_warning(reader, out, claim);
            for_example(reader, out, pod);
        }
        None => {
            reader.line(out, Word::WaitsForPod, &[]);
            out.tips.push(format!("kubectl describe pvc {name}{}", flag(namespace)));
        }
    }
}
