//! Certificate requests: their requester, who may approve and sign for a signer, and which subjects
//! are refused.

use super::attributes::Attributes;
use crate::auth;
use crate::auth::user::MASTERS;
use crate::storage::extra::Extra;
use api::Status;
use api::kinds::certificates::certificate_signing_request::parse;
use api::value::{self, at, text};
use serde_json::{Value, json};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// The signers of kubelets' certificates.
const OF_KUBELETS: [&str; 2] =
    ["kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"];

/// Writes the requester into the request, whatever its client says there.
pub(super) fn set_requester(a: &Attributes, object: &mut Value) {
    let user = &a.ctx.user;
    for field in ["username", "uid", "groups", "extra"] {
        value::remove(object, &format!("spec.{field}"));
    }
    value::put(object, "spec.username", user.name.clone());
    if !user.uid.is_empty() {
        value::put(object, "spec.uid", user.uid.clone());
    }
    if !user.groups.is_empty() {
        value::put(object, "spec.groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        value::put(object, "spec.extra", json!(user.extra));
    }
}

/// Returns whether the user may do this (`approve`, `sign`) for a signer, by its name or by
/// `example.com/*`.
fn is_authorized(a: &Attributes, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or(signer);
    [signer.to_string(), format!("{domain}/*")].iter().any(|name| {
        let attributes = auth::attributes::Attributes {
            verb,
            group: "certificates.k8s.io",
            resource: "signers",
            name,
            ..auth::attributes::Attributes::RESOURCE
        };
        a.state.authorize(&a.ctx.user, &attributes).is_ok()
    })
}

/// CertificateApproval: an approver needs the right to approve for the request's signer.
pub(super) fn approval(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let signer = text(object, "spec.signerName");
    if a.ctx.info.subresource == "approval" && !is_authorized(a, "approve", signer) {
        let why = format!("user not permitted to approve requests with signerName {signer:?}");
        return Err(a.forbidden(object, &why));
    }
    Ok(Extra::default())
}

/// CertificateSigning: a user who issues or refuses a certificate needs the right to sign for the
/// request's signer.
pub(super) fn signing(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let Some(old) = a.old.filter(|_| a.ctx.info.subresource == "status") else { return Ok(Extra::default()) };
    let changed =
        ["status.certificate", "status.conditions"].iter().any(|path| at(object, path) != at(old, path));
    let signer = text(old, "spec.signerName");
    if changed && !is_authorized(a, "sign", signer) {
        let why = format!("user not permitted to sign requests with signerName {signer:?}");
        return Err(a.forbidden(object, &why));
    }
    Ok(Extra::default())
}

/// CertificateSubjectRestriction: no certificate puts its user into the group of masters.
pub(super) fn subject(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let signer = text(object, "spec.signerName");
    if a.old.is_some() || signer != CLIENT {
        return Ok(Extra::default());
    }
    let request = parse(object).map_err(|why| a.forbidden(object, &format!("failed to parse CSR: {why}")))?;
    if request.organizations.iter().any(|o| o == MASTERS) {
        let why = format!("use of {signer} signer with {MASTERS} group is not allowed");
        return Err(a.forbidden(object, &why));
    }
    Ok(Extra::default())
}

/// NodeRestriction (upstream: `admitCSR`): a kubelet requests certificates of its own name only.
/// With the certificate of another node it could read the Secrets of that node's pods.
pub(super) fn of_node(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let user = &a.ctx.user;
    let is_judged = user.node().is_some() && a.old.is_none();
    if !is_judged || !OF_KUBELETS.contains(&text(object, "spec.signerName")) {
        return Ok(Extra::default());
    }
    let request = parse(object).map_err(|why| a.forbidden(object, &format!("unable to parse csr: {why}")))?;
    if request.common_name != user.name {
        return Err(a.forbidden(object, &format!("can only create a node CSR with CN={}", user.name)));
    }
    Ok(Extra::default())
}
