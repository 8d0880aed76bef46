//! Which stage of the API server refused a request.

use super::super::words::Word;
use super::verb::changes;

/// A stage that every request passes, in this order. One that it refuses goes no further.
///
/// ```text
/// request ─▶ authentication ─▶ authorization ─▶ admission ─▶ validation ─▶ etcd
///            401               403, RBAC        403, quota   422, 400; 500 of an apply
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    Authentication,
    Authorization,
    /// Quotas, limits, Pod Security, webhooks and policies: they answer with codes of their own.
    Admission,
    Validation,
}

/// What messages of admission say, whatever their code. Sources: `webhook/errors` and
/// `plugin/policy/validating` of k8s.io/apiserver.
const ADMISSION: [&str; 4] = [
    "admission webhook \"",
    "failed calling webhook",
    "ValidatingAdmissionPolicy '",
    "MutatingAdmissionPolicy '",
];

/// How the answer to a server-side apply begins whose fields do not fit the schema. Source:
/// `structuredMergeManager.Apply` of k8s.io/apimachinery.
const UNTYPED: &str = "failed to create typed patch object";

impl Gate {
    /// The stage that answered a request of this verb with this code and message. `None`: none of
    /// them did; the object is not there, or there already, or it was stored.
    ///
    /// Only what is to be stored is validated: `400` to `kubectl logs` comes from behind all
    /// stages, e.g. from the node whose container has not started yet.
    ///
    /// Both authorization and admission answer 403. Only the former names what the user cannot do
    /// (`User "guest" cannot list resource "nodes"`), or what rights a role would grant.
    pub(crate) fn of(verb: &str, code: u16, message: &str) -> Option<Gate> {
        let is_of_rights = message.contains("User \"") && message.contains("\" cannot ")
            || message.contains("attempting to grant RBAC permissions");
        match code {
            ..400 => None,
            _ if ADMISSION.iter().any(|sign| message.contains(sign)) => Some(Gate::Admission),
            401 => Some(Gate::Authentication),
            403 if is_of_rights => Some(Gate::Authorization),
            403 => Some(Gate::Admission),
            400 | 422 if changes(verb) => Some(Gate::Validation),
            // An apply of a field that the schema does not have.
            500 if message.starts_with(UNTYPED) => Some(Gate::Validation),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> Word {
        match self {
            Gate::Authentication => Word::GateAuthentication,
            Gate::Authorization => Word::GateAuthorization,
            Gate::Admission => Word::GateAdmission,
            Gate::Validation => Word::GateValidation,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of Kubernetes 1.35.
    #[test]
    fn the_stage_that_refused_is_read_from_code_and_message() {
        use Gate::{Admission, Authentication, Authorization, Validation};
        for (code, message, gate) in [
            (401, "Unauthorized", Some(Authentication)),
            (
                403,
                "nodes is forbidden: User \"guest\" cannot list resource \"nodes\" in API group \"\" at the cluster scope",
                Some(Authorization),
            ),
            (
                403,
                "users \"root\" is forbidden: User \"guest\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                Some(Authorization),
            ),
            (
                403,
                "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"guest\" (groups=[\"a\"]) is attempting to grant RBAC permissions not currently held:\n",
                Some(Authorization),
            ),
            (
                403,
                "pods \"web\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2",
                Some(Admission),
            ),
            (
                403,
                "pods \"web\" is forbidden: violates PodSecurity \"restricted:latest\": privileged",
                Some(Admission),
            ),
            (403, "admission webhook \"no.example.com\" denied the request: no", Some(Admission)),
            (400, "admission webhook \"no.example.com\" denied the request: no", Some(Admission)),
            (
                500,
                "Internal error occurred: failed calling webhook \"no.example.com\": connection refused",
                Some(Admission),
            ),
            (
                422,
                "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: too many",
                Some(Admission),
            ),
            (422, "Deployment.apps \"Web\" is invalid: metadata.name: Invalid value", Some(Validation)),
            (400, "strict decoding error: unknown field \"spec.replicaz\"", Some(Validation)),
            (
                500,
                "failed to create typed patch object (default/web; apps/v1, Kind=Deployment): .spec.replicaz: field not declared in schema",
                Some(Validation),
            ),
            (500, "Internal error occurred: etcdserver: no space", None),
            (404, "pods \"web\" not found", None),
            (409, "pods \"web\" already exists", None),
            (201, "", None),
        ] {
            assert_eq!(Gate::of("create", code, message), gate, "{code} {message}");
        }
    }

    #[test]
    fn a_log_that_cannot_be_read_yet_was_refused_by_no_stage() {
        for message in [
            "container \"web\" in pod \"web\" is waiting to start: ContainerCreating",
            "previous terminated container \"web\" in pod \"web\" not found",
        ] {
            assert_eq!(Gate::of("get", 400, message), None, "{message}");
        }
        let forbidden = "pods \"web\" is forbidden: User \"guest\" cannot get resource \"pods/log\"";
        assert_eq!(Gate::of("get", 403, forbidden), Some(Gate::Authorization));
    }
}
