//! Decides whether a request was made by a component of the cluster or by a person, also where a
//! person acts under a component's name.

use pki::Request as SigningRequest;
use serde_json::Value;
use std::collections::BTreeSet;
use tap::{self, Event, NODE, ObjectRef, Record, Request};

/// Names of components that a person got hold of, at most. Beyond that no component's name is
/// believed any more ([`ALL`]).
const BORROWED_MAX: usize = 1_000;
/// Stands for every component's name.
const ALL: &str = "*";

/// Knows which names of components a person can use: a token of the account, a pod that runs under
/// it, or a certificate with the name. A command in a pod of an addon gives no person a name: no
/// token is mounted there (`cluster::manifests`), and who changes that writes a pod or a template.
#[derive(Clone, Debug, Default)]
pub(crate) struct Who {
    pub borrowed: BTreeSet<String>,
}

impl Who {
    /// Notes which component's name a person gets by this act, if any. True if it is a name more.
    pub(crate) fn note(&mut self, record: &Record) -> bool {
        let (Some(request), Some(object)) = (&record.request, &record.object) else { return false };
        // The teacher sets up what a lab's author wrote, and what a way back restores is told as
        // the teacher's.
        if tap::actor(&request.user, &request.impersonator) == tap::TEACHER {
            return false;
        }
        let by_component = self.is_components(record);
        let name = match record.event {
            // The signer is a component.
            Event::Commit(_) if object.resource == "certificatesigningrequests" => {
                self.signed_name(record, by_component)
            }
            _ if by_component => return false,
            Event::Answer(_) if is_token(request, object) => account(&object.namespace, &object.name),
            Event::Commit(_) => {
                match record.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()) {
                    Some(body) => name_in(object, &body),
                    None => return false,
                }
            }
            _ => return false,
        };
        if !tap::is_component(&name) || self.is_borrowed(&name) {
            return false;
        }
        self.borrowed.insert(if self.borrowed.len() < BORROWED_MAX { name } else { ALL.into() })
    }

    /// The name in a certificate request of a person's, once it is signed: a request that is
    /// pending or denied lets no one act. One that a person makes under a component's name counts
    /// at once, because the signed one does not tell it from the component's. To approve a
    /// component's own request gives a person nothing: the component has its key.
    fn signed_name(&self, record: &Record, by_component: bool) -> String {
        let Some(body) = record.body.as_deref() else { return String::new() };
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return String::new() };
        let asked_by = body["spec"]["username"].as_str().unwrap_or_default();
        let as_component = tap::is_component(asked_by) && !self.is_borrowed(asked_by);
        let is_signed = body["status"]["certificate"].as_str().is_some_and(|cert| !cert.is_empty());
        let is_made = record.write().is_some_and(|write| write.created);
        let is_got = match as_component {
            true => is_made && !by_component,
            false => is_signed && asked_by != tap::TEACHER,
        };
        if is_got { requested_name(&body) } else { String::new() }
    }

    fn is_borrowed(&self, name: &str) -> bool {
        self.borrowed.contains(name) || self.borrowed.contains(ALL)
    }

    /// Returns whether a component did this. A component does not use kubectl, does not act under
    /// another name, and a node writes its own objects only.
    pub(crate) fn is_components(&self, record: &Record) -> bool {
        let Some(request) = &record.request else { return false };
        let by_hand = !request.command.is_empty() || request.user_agent.starts_with("kubectl");
        request.is_components()
            && !by_hand
            && !self.is_borrowed(tap::actor(&request.user, &request.impersonator))
            && request.user.strip_prefix(NODE).is_none_or(|node| is_nodes_own(node, record))
    }

    /// Is it an act on running containers or on an object's status, which no task asks for and
    /// which can make a state look like another?
    pub(crate) fn meddling(&self, record: &Record) -> Option<Meddling> {
        let request = record.request.as_ref().filter(|_| !self.is_components(record))?;
        // The checks themselves run commands in pods.
        if tap::actor(&request.user, &request.impersonator) == tap::TEACHER {
            return None;
        }
        let committed = record.write().is_some() && record.body.is_some();
        match request.subresource.as_str() {
            "exec" | "attach" if record.answer().is_some() && request.code < 400 => Some(Meddling::Exec),
            "ephemeralcontainers" if committed => Some(Meddling::Ephemeral),
            "status" if committed => Some(Meddling::Status),
            _ => None,
        }
    }
}

/// What a task can exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Meddling {
    /// A command in a container: `exec`, `attach`, `cp`.
    Exec,
    /// A container added to a running pod.
    Ephemeral,
    /// A status written by hand.
    Status,
}

fn is_token(request: &Request, object: &ObjectRef) -> bool {
    request.verb == "create"
        && request.subresource == "token"
        && object.qualified() == "serviceaccounts"
        && request.code < 400
}

fn account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

/// The common name that a certificate request asks for.
fn requested_name(body: &Value) -> String {
    use base64::Engine;
    let text = body["spec"]["request"].as_str().unwrap_or_default();
    let pem = base64::engine::general_purpose::STANDARD.decode(text);
    let request = pem.ok().and_then(|pem| SigningRequest::parse(&pem).ok());
    request.map(|request| request.common_name).unwrap_or_default()
}

/// The name under which an object that a person wrote lets act: that of a pod's account or of a
/// Secret's token.
fn name_in(object: &ObjectRef, body: &Value) -> String {
    let text = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default();
    match object.resource.as_str() {
        "secrets" if text("/type") == "kubernetes.io/service-account-token" => {
            account(&object.namespace, text("/metadata/annotations/kubernetes.io~1service-account.name"))
        }
        _ => {
            let paths = ["/spec", "/spec/template/spec", "/spec/jobTemplate/spec/template/spec"];
            let accounts = paths.map(|path| text(&format!("{path}/serviceAccountName")));
            let named = accounts.into_iter().find(|name| !name.is_empty());
            named.map(|name| account(&object.namespace, name)).unwrap_or_default()
        }
    }
}

/// Returns whether a node writes such an object in the course of its work. Source: upstream's
/// NodeRestriction.
fn is_nodes_own(node: &str, record: &Record) -> bool {
    let Some(object) = &record.object else { return false };
    match object.qualified().as_str() {
        "nodes" | "csinodes" => object.name == node,
        "leases" => object.namespace == "kube-node-lease" && object.name == node,
        "pods" => record.body.as_deref().is_none_or(|body| {
            let pod: Value = serde_json::from_slice(body).unwrap_or_default();
            pod["spec"]["nodeName"] == node
        }),
        "events" | "certificatesigningrequests" | "serviceaccounts" => true,
        _ => record.write().is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tap::Write;

    fn record(user: &str, event: Event, object: (&str, &str, &str), body: Option<Value>) -> Record {
        let mut record = Record::new(event).object(object.0, object.1, object.2);
        record.request = Some(Request { user: user.into(), code: 200, ..Request::default() });
        record.body = body.map(|body| body.to_string().into());
        record
    }

    const COREDNS: &str = "system:serviceaccount:kube-system:coredns";

    #[test]
    fn a_node_is_a_component_for_its_own_objects() {
        let who = Who::default();
        let on = |node: &str| Some(json!({"spec": {"nodeName": node}}));
        for (object, body, own) in [
            (("pods", "d", "p"), on("n1"), true),
            (("pods", "d", "p"), on("n2"), false),
            (("nodes", "", "n1"), Some(json!({})), true),
            (("nodes", "", "n2"), Some(json!({})), false),
            (("leases", "kube-node-lease", "n1"), Some(json!({})), true),
            (("deployments", "d", "web"), Some(json!({})), false),
            (("services", "d", "web"), Some(json!({})), false),
        ] {
            let record = record("system:node:n1", Event::Commit(Write::UPDATED), object, body);
            assert_eq!(who.is_components(&record), own, "{object:?}");
        }
    }

    #[test]
    fn a_component_uses_no_kubectl_and_no_other_name() {
        let who = Who::default();
        let mut scheduler =
            record("system:kube-scheduler", Event::Commit(Write::UPDATED), ("pods", "d", "p"), None);
        assert!(who.is_components(&scheduler));
        let by = |record: &mut Record, change: fn(&mut Request)| change(record.request.as_mut().unwrap());
        by(&mut scheduler, |r| r.user_agent = "kubectl/v1.33.0 (linux/amd64)".into());
        assert!(!who.is_components(&scheduler));
        by(&mut scheduler, |r| (r.user_agent, r.impersonator) = (String::new(), tap::LEARNER.into()));
        assert!(!who.is_components(&scheduler));
    }

    /// A token, a Secret, a pod under the account, and a certificate: with each a person can act as
    /// the component.
    #[test]
    fn a_name_that_a_person_got_is_no_longer_the_components() {
        let mut token = record(
            tap::LEARNER,
            Event::Answer(Box::default()),
            ("serviceaccounts", "kube-system", "coredns"),
            None,
        );
        let request = token.request.as_mut().unwrap();
        (request.verb, request.subresource) = ("create".into(), "token".into());
        let secret = json!({"type": "kubernetes.io/service-account-token",
            "metadata": {"annotations": {"kubernetes.io/service-account.name": "coredns"}}});
        let pod = json!({"spec": {"serviceAccountName": "coredns"}});
        let deployment = json!({"spec": {"template": {"spec": {"serviceAccountName": "coredns"}}}});
        let by_hand = |resource, body| {
            record("jane", Event::Commit(Write::UPDATED), (resource, "kube-system", "x"), Some(body))
        };
        let acts = [
            token,
            by_hand("secrets", secret),
            by_hand("pods", pod.clone()),
            by_hand("deployments", deployment),
        ];
        for act in acts {
            let mut who = Who::default();
            let write =
                record(COREDNS, Event::Commit(Write::UPDATED), ("configmaps", "d", "c"), Some(json!({})));
            assert!(who.is_components(&write));
            who.note(&act);
            assert!(!who.is_components(&write), "{act:?}");
        }
        // A controller makes pods of the addon, and the account of another namespace is another
        // one.
        let mut who = Who::default();
        who.note(&record(
            "system:kube-controller-manager",
            Event::Commit(Write::UPDATED),
            ("pods", "kube-system", "x"),
            Some(pod.clone()),
        ));
        who.note(&record("jane", Event::Commit(Write::UPDATED), ("pods", "default", "x"), Some(pod)));
        assert!(who.borrowed.is_empty(), "{who:?}");

        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:kube-scheduler");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        use base64::Engine;
        let request = base64::engine::general_purpose::STANDARD.encode(pem);
        let asked = |by: &str, certificate: &str| json!({"spec": {"request": request, "username": by}, "status": {"certificate": certificate}});
        let noted_by = |write: Write, writer: &str, body: Value| {
            let mut who = Who::default();
            let object = ("certificatesigningrequests", "", "mine");
            who.note(&record(writer, Event::Commit(write), object, Some(body)));
            who.borrowed.contains("system:kube-scheduler")
        };
        let noted = |writer: &str, body: Value| noted_by(Write::UPDATED, writer, body);
        let signer = "system:kube-controller-manager";
        assert!(noted(signer, asked("jane", "LS0t")) && noted("jane", asked("jane", "LS0t")));
        assert!(!noted("jane", asked("jane", "")), "nobody has signed it, or it was denied");
        let own = || asked("system:node:n", "");
        assert!(noted_by(Write::CREATED, "jane", own()), "made under a node's name");
        assert!(!noted("jane", own()), "the node's own, which a person approves");
        assert!(!noted(signer, asked("system:kube-scheduler", "LS0t")), "a component's own");
        assert!(!noted(signer, asked(tap::TEACHER, "LS0t")), "a setup's");
    }

    /// A person who fills the account with unused names has not hidden the one that counts.
    #[test]
    fn more_names_than_can_be_kept_leave_no_components_name_believed() {
        let mut who = Who::default();
        let pod = json!({"spec": {"serviceAccountName": "coredns"}});
        let by_hand =
            |body| record("jane", Event::Commit(Write::UPDATED), ("pods", "kube-system", "x"), Some(body));
        assert!(who.note(&by_hand(pod.clone())) && !who.note(&by_hand(pod)), "told once");
        who.borrowed.extend((0..BORROWED_MAX).map(|n| format!("system:node:n{n}")));
        let pod = json!({"spec": {"serviceAccountName": "storage-provisioner"}});
        assert!(who.note(&by_hand(pod)));
        assert!(!who.is_components(&record(
            "system:kube-scheduler",
            Event::Commit(Write::UPDATED),
            ("pods", "d", "p"),
            Some(json!({}))
        )));
        assert_eq!(who.borrowed.len(), BORROWED_MAX + 2);
    }

    #[test]
    fn acts_in_containers_and_on_a_status_are_meddling() {
        let who = Who::default();
        let told = |user: &str, event: Event, subresource: &str, code: u16, body: Option<Value>| {
            let mut record = record(user, event, ("pods", "shop", "web"), body);
            let request = record.request.as_mut().unwrap();
            (request.subresource, request.code) = (subresource.into(), code);
            who.meddling(&record)
        };
        let body = || Some(json!({"spec": {"nodeName": "n"}}));
        assert_eq!(
            told(tap::LEARNER, Event::Answer(Box::default()), "exec", 101, None),
            Some(Meddling::Exec)
        );
        assert_eq!(
            told("system:serviceaccount:shop:robot", Event::Answer(Box::default()), "attach", 101, None),
            Some(Meddling::Exec)
        );
        assert_eq!(
            told(tap::LEARNER, Event::Commit(Write::UPDATED), "ephemeralcontainers", 200, body()),
            Some(Meddling::Ephemeral)
        );
        assert_eq!(
            told(tap::LEARNER, Event::Commit(Write::UPDATED), "status", 200, body()),
            Some(Meddling::Status)
        );
        assert_eq!(
            told(tap::LEARNER, Event::Answer(Box::default()), "exec", 404, None),
            None,
            "it was refused"
        );
        assert_eq!(
            told(tap::TEACHER, Event::Answer(Box::default()), "exec", 101, None),
            None,
            "a check's own"
        );
        assert_eq!(
            told("system:node:n", Event::Commit(Write::UPDATED), "status", 200, body()),
            None,
            "the kubelet's work"
        );
        assert_eq!(told(tap::LEARNER, Event::Answer(Box::default()), "log", 200, None), None);
    }
}
