//! # Certificate requests: signed when approved, and swept up
//!
//! A client posts a request, a user who may approves it, and the cluster's own signers make a
//! certificate of it. A kubelet's request for its own name is approved by itself. What is decided
//! or forgotten is deleted after a while; the certificate stays valid. Source:
//! `pkg/controller/certificates` (approver, signer, cleaner).

use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use client::{Key, Outcome, WorkQueue, is_code};
use clock::{self, Timestamp};
use jiff::SignedDuration;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest as Csr, CertificateSigningRequestCondition as Condition,
};
use kube::api::{DeleteParams, PostParams};
use pki::{self, Ca, Request, valid_until};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

const WORKERS: usize = 5;
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
/// The longest that a certificate is made for, and what it is made for if nothing is said.
const LIFETIME: SignedDuration = SignedDuration::from_hours(24 * 365);
const LIFETIME_MIN: SignedDuration = SignedDuration::from_mins(10);
/// How often old requests are looked for, the first time at the start.
const SWEEP: Duration = Duration::from_secs(3600);
/// A kubelet's request that may not be approved is asked about again after this time: no change of
/// the request follows when its user is given the right.
const ASK_AGAIN: Duration = Duration::from_secs(60);
const KEEP_DECIDED: SignedDuration = SignedDuration::from_hours(1);
const KEEP_PENDING: SignedDuration = SignedDuration::from_hours(24);

fn has(csr: &Csr, kind: &str) -> bool {
    let conditions = csr.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == kind && c.status == "True")
}

fn has_certificate(csr: &Csr) -> bool {
    csr.status.as_ref().and_then(|s| s.certificate.as_ref()).is_some_and(|c| !c.0.is_empty())
}

/// Returns whether these usages are all of `needed`, where `optional` may be left out.
fn usages_are(usages: &[String], needed: &[&str], optional: &str) -> bool {
    let mut got: Vec<&str> = usages.iter().map(String::as_str).collect();
    got.sort_unstable();
    let mut want = needed.to_vec();
    want.sort_unstable();
    let without: Vec<&str> = want.iter().copied().filter(|u| *u != optional).collect();
    got == want || got == without
}

/// Pure: what is wrong with a kubelet's request, in the words of its condition.
fn check_kubelet_request(request: &Request, usages: &[String], serving: bool) -> Result<(), String> {
    if request.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes".into());
    }
    let no_name = request.dns_names.is_empty();
    let no_address = request.addresses.is_empty();
    if serving && no_name && no_address {
        return Err("DNS or IP subjectAltName is required".into());
    }
    let forbidden = [
        ("DNS", !serving && !no_name),
        ("Email", !request.emails.is_empty()),
        ("IP", !serving && !no_address),
        ("URI", !request.uris.is_empty()),
    ];
    if let Some((what, _)) = forbidden.iter().find(|(_, there)| *there) {
        return Err(format!("{what} subjectAltNames are not allowed"));
    }
    let purpose = if serving { "server auth" } else { "client auth" };
    let mut needed = ["digital signature", "key encipherment", purpose];
    needed.sort_unstable();
    if !usages_are(usages, &needed, "key encipherment") {
        return Err(format!("usages did not match [{}]", needed.join(" ")));
    }
    if !request.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:".into());
    }
    Ok(())
}

/// Pure: returns whether the cluster may sign this, or why not; `None` if another signer has to.
fn check_request(signer: &str, request: &Request, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        CLIENT => Some(check_client_usages(usages)),
        KUBELET_CLIENT => Some(check_kubelet_request(request, usages, false)),
        KUBELET_SERVING => Some(check_kubelet_request(request, usages, true)),
        _ => None,
    }
}

/// Pure: what is wrong with the usages of a client's request, in the words of its condition.
fn check_client_usages(usages: &[String]) -> Result<(), String> {
    if let Some(bad) = usages
        .iter()
        .find(|u| !["digital signature", "key encipherment", "client auth"].contains(&u.as_str()))
    {
        return Err(format!("invalid usage for client certificate: {bad}"));
    }
    match usages.iter().any(|u| u == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".into()),
    }
}

/// Pure: how long the certificate is valid.
fn lifetime(asked_secs: Option<i32>) -> SignedDuration {
    asked_secs.map_or(LIFETIME, |s| SignedDuration::from_secs(i64::from(s)).clamp(LIFETIME_MIN, LIFETIME))
}

/// Pure: returns whether a request has been kept long enough: its certificate has ended, or one of
/// its conditions is old enough.
///
/// ```text
/// approved, and signed                         an hour
/// denied, or failed (approved or not)          an hour
/// approved and not signed, or not decided      a day
/// ```
fn is_over(csr: &Csr, now: Timestamp) -> bool {
    let older = |since: Timestamp, limit: SignedDuration| now.duration_since(since) > limit;
    let conditions = csr.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let certificate = csr.status.as_ref().and_then(|s| s.certificate.as_ref());
    let expired = certificate.and_then(|c| valid_until(&c.0)).is_some_and(|until| until < now);
    let limit = |condition: &Condition| match condition.type_.as_str() {
        // It waits for its signer.
        "Approved" if !has_certificate(csr) => Some(KEEP_PENDING),
        "Approved" | "Denied" | "Failed" => Some(KEEP_DECIDED),
        _ => None,
    };
    let is_old = |condition: &Condition| {
        let since = condition.last_update_time.as_ref().map_or(now, |t| t.0);
        limit(condition).is_some_and(|limit| older(since, limit))
    };
    let is_pending = conditions.iter().all(|c| limit(c).is_none());
    let made = csr.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    expired || conditions.iter().any(is_old) || (is_pending && older(made, KEEP_PENDING))
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Csr>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<Csr>().on(move |change| q.add(change.key(), change.cause()));
    let all = Arc::new(shared.clone());
    shared.report_panics(&queue, shared.informer::<Csr>(), "certificate");
    queue.work("certificate", WORKERS, move |key, cause| {
        let shared = all.clone();
        async move { sync(&shared, key, cause).await }
    });
    let all = shared.clone();
    shared.crew.spawn_essential(async move {
        loop {
            sweep(&all).await;
            clock::pause(SWEEP).await;
        }
    });
}

/// Deletes the requests that were kept long enough.
async fn sweep(shared: &Shared) {
    for csr in shared.informer::<Csr>().list().iter().filter(|csr| is_over(csr, clock::now())) {
        let name = csr.metadata.name.clone().unwrap_or_default();
        let gone = shared.config.client.all::<Csr>().delete(&name, &DeleteParams::default()).await;
        if let Err(error) = gone
            && !is_code(&error, 404)
        {
            tracing::warn!(%error, name, "an old certificate request stays for now: it could not be deleted");
        }
    }
}

async fn sync(shared: &Shared, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(csr) = shared.informer::<Csr>().get(&key) else { return Ok(Outcome::Done) };
    if has_certificate(&csr) || has(&csr, "Denied") || has(&csr, "Failed") {
        return Ok(Outcome::Done);
    }
    if !has(&csr, "Approved") {
        let Ok(request) = Request::parse(&csr.spec.request.0) else { return Ok(Outcome::Done) };
        let usages = csr.spec.usages.clone().unwrap_or_default();
        return approve(shared, &key, &csr, &request, &usages, cause).await;
    }
    let start = clock::Instant::now();
    let mut next = (*csr).clone();
    let status = next.status.get_or_insert_default();
    let event = match sign(&shared.config.ca, &csr)? {
        None => return Ok(Outcome::Done),
        Some(Err(why)) => {
            status.conditions.get_or_insert_default().push(condition(
                "Failed",
                "SignerValidationFailure",
                &why,
            ));
            Event::Refuse
        }
        Some(Ok(cert)) => {
            status.certificate = Some(k8s_openapi::ByteString(cert.into_bytes()));
            Event::Sign
        }
    };
    let api = shared.config.client.caused_by(cause.clone()).all::<Csr>();
    api.replace_status(&key.name, &PostParams::default(), &next).await?;
    let tap = shared.tap(Component::CertificateController);
    tap.emit(record(event, "certificatesigningrequests", &key, &cause).took(start.elapsed()));
    Ok(Outcome::Done)
}

/// Signs an approved request: the certificate, or why it fails for good. `None` if another signer
/// has to.
///
/// # Errors
/// The authority cannot sign now.
fn sign(ca: &Ca, csr: &Csr) -> Result<Option<Result<String, String>>, pki::Error> {
    let usages = csr.spec.usages.clone().unwrap_or_default();
    let signer = csr.spec.signer_name.as_str();
    let request = match Request::parse(&csr.spec.request.0) {
        Ok(request) => request,
        Err(why) => {
            return Ok([CLIENT, KUBELET_CLIENT, KUBELET_SERVING].contains(&signer).then_some(Err(why)));
        }
    };
    match check_request(signer, &request, &usages) {
        Some(Ok(())) => match ca.sign(&request, &usages, lifetime(csr.spec.expiration_seconds)) {
            Err(pki::Error::Request(why)) => Ok(Some(Err(why))),
            signed => Ok(Some(Ok(signed?))),
        },
        refused => Ok(refused.map(|judged| judged.map(|()| String::new()))),
    }
}

fn condition(kind: &str, reason: &str, message: &str) -> Condition {
    Condition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..Condition::default()
    }
}

/// Approves the request of a kubelet for a client certificate, if RBAC allows it (`nodeclient`,
/// `selfnodeclient`).
async fn approve(
    shared: &Shared,
    key: &Key,
    csr: &Csr,
    request: &Request,
    usages: &[String],
    cause: Option<Cause>,
) -> Result<Outcome, Error> {
    if csr.spec.signer_name != KUBELET_CLIENT || check_kubelet_request(request, usages, false).is_err() {
        return Ok(Outcome::Done);
    }
    let own = csr.spec.username.as_deref() == Some(request.common_name.as_str());
    let recognizers = [
        (own, "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview."),
        (true, "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."),
    ];
    for (_, subresource, message) in recognizers.into_iter().filter(|(recognized, ..)| *recognized) {
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: csr.spec.username.clone(),
                uid: csr.spec.uid.clone(),
                groups: csr.spec.groups.clone(),
                extra: csr.spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".into()),
                    resource: Some("certificatesigningrequests".into()),
                    verb: Some("create".into()),
                    subresource: Some(subresource.into()),
                    version: Some("*".into()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let client = shared.config.client.caused_by(cause.clone());
        let answer = client.all::<SubjectAccessReview>().create(&PostParams::default(), &review).await?;
        if !answer.status.is_some_and(|s| s.allowed) {
            continue;
        }
        let mut next = csr.clone();
        let conditions = next.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions.push(condition("Approved", "AutoApproved", message));
        let api = client.all::<Csr>();
        let _: Csr = api.replace_subresource("approval", &key.name, &PostParams::default(), &next).await?;
        return Ok(Outcome::Done);
    }
    Ok(Outcome::Pause(ASK_AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usages(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_signer_signs_what_it_is_for() {
        let person = Request { common_name: "jane".into(), ..Request::default() };
        assert_eq!(check_request(CLIENT, &person, &usages(&["client auth"])), Some(Ok(())));
        let why = check_request(CLIENT, &person, &usages(&["client auth", "server auth"]));
        assert_eq!(why, Some(Err("invalid usage for client certificate: server auth".into())));
        assert_eq!(check_request("example.com/own", &person, &[]), None);
        let node = Request {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            ..Request::default()
        };
        let client = usages(&["digital signature", "client auth"]);
        assert_eq!(check_request(KUBELET_CLIENT, &node, &client), Some(Ok(())));
        assert_eq!(
            check_request(KUBELET_SERVING, &node, &client),
            Some(Err("DNS or IP subjectAltName is required".into()))
        );
        let why = check_request(KUBELET_CLIENT, &person, &client);
        assert_eq!(why, Some(Err("subject organization is not system:nodes".into())));
    }

    #[test]
    fn a_request_that_can_never_be_signed_fails() {
        use base64::Engine as _;
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "kubernetes").unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let pem =
            rcgen::CertificateParams::new(vec![]).unwrap().serialize_request(&key).unwrap().pem().unwrap();
        let csr = |request: &str, signer: &str| -> Csr {
            let request = base64::engine::general_purpose::STANDARD.encode(request);
            let spec = json!({"request": request, "signerName": signer, "usages": ["client auth"]});
            serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap()
        };
        assert!(sign(&ca, &csr(&pem, CLIENT)).unwrap().unwrap().unwrap().contains("BEGIN CERTIFICATE"));
        assert!(sign(&ca, &csr(&pem, "example.com/own")).unwrap().is_none());
        // The last letters belong to the signature.
        let end = pem.find("\n-----END").unwrap();
        let at = pem[..end].trim_end_matches('=').len() - 4;
        let mut wrong = pem.clone();
        wrong.replace_range(at..=at, if &pem[at..=at] == "A" { "B" } else { "A" });
        for (request, why) in [(wrong.as_str(), "signature"), ("hello", "PEM block")] {
            let failed = sign(&ca, &csr(request, CLIENT)).unwrap().unwrap().unwrap_err();
            assert!(failed.contains(why), "{failed}");
            assert!(sign(&ca, &csr(request, "example.com/own")).unwrap().is_none());
        }
    }

    #[test]
    fn a_certificate_lives_as_long_as_asked_within_bounds() {
        assert_eq!(lifetime(None).as_hours(), 365 * 24);
        assert_eq!(lifetime(Some(3600)).as_secs(), 3600);
        assert_eq!(lifetime(Some(i32::MAX)).as_hours(), 365 * 24);
        assert_eq!(lifetime(Some(1)).as_secs(), 600);
    }

    #[test]
    fn what_is_decided_or_forgotten_is_swept_up() {
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let csr = |made: &str, conditions: serde_json::Value| -> Csr {
            serde_json::from_value(json!({"metadata": {"creationTimestamp": made}, "spec": {"request": "", "signerName": "a/b"}, "status": {"conditions": conditions}})).unwrap()
        };
        assert!(!is_over(&csr("2026-01-01T12:00:00Z", json!([])), now));
        assert!(is_over(&csr("2025-12-31T12:00:00Z", json!([])), now));
        let condition = |kind: &str, at: &str| json!({"type": kind, "status": "True", "lastUpdateTime": at});
        for kind in ["Denied", "Failed"] {
            let decided = |at: &str| csr("2026-01-01T12:00:00Z", json!([condition(kind, at)]));
            assert!(!is_over(&decided("2026-01-01T23:30:00Z"), now), "{kind}");
            assert!(is_over(&decided("2026-01-01T22:30:00Z"), now), "{kind}");
        }
        let approved = |at: &str| csr("2025-12-30T12:00:00Z", json!([condition("Approved", at)]));
        assert!(!is_over(&approved("2026-01-01T12:00:00Z"), now), "it waits for its signer");
        assert!(is_over(&approved("2025-12-31T12:00:00Z"), now));
    }

    /// A cluster that is up for less than an hour at a time would keep them for ever.
    #[tokio::test]
    async fn old_requests_are_swept_up_at_the_start() {
        use client::testing::Scripted;
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let meta = json!({"name": "old", "creationTimestamp": "2025-01-01T00:00:00Z"});
        let csr = json!({"metadata": meta, "spec": {"request": "", "signerName": "a/b"}});
        shared.informer::<Csr>().show(serde_json::from_value(csr).unwrap());
        start(&shared);
        let deletion = "DELETE /apis/certificates.k8s.io/v1/certificatesigningrequests/old";
        server.until_asked(deletion).await;
        shared.crew.kill();
    }

    #[tokio::test]
    async fn a_kubelets_request_is_approved_as_soon_as_its_user_may() {
        use base64::Engine as _;
        use client::testing::Scripted;
        use std::sync::atomic::{AtomicBool, Ordering};
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n");
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let request = base64::engine::general_purpose::STANDARD.encode(pem);
        let spec = json!({"request": request, "signerName": KUBELET_CLIENT, "username": "system:bootstrap:x",
            "usages": ["digital signature", "client auth"]});
        let allowed = Arc::new(AtomicBool::new(false));
        let answer = allowed.clone();
        let server = Scripted::new(move |asked| match asked.line.ends_with("/subjectaccessreviews") {
            true => Some((201, json!({"spec": {}, "status": {"allowed": answer.load(Ordering::Relaxed)}}))),
            false => Some((200, asked.body.clone())),
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared
            .informer::<Csr>()
            .show(serde_json::from_value(json!({"metadata": {"name": "r"}, "spec": spec})).unwrap());
        let look = || sync(&shared, Key::new("", "r"), None);
        assert_eq!(look().await.unwrap(), Outcome::Pause(ASK_AGAIN));
        allowed.store(true, Ordering::Relaxed);
        assert_eq!(look().await.unwrap(), Outcome::Done);
        assert!(server.lines().iter().any(|l| l.starts_with("PUT") && l.ends_with("/r/approval")));
    }
}
