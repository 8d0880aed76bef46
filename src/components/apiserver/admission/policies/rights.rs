//! Rights that the expressions of a policy ask for (`authorizer`).

use crate::auth::attributes::Attributes;
use crate::auth::user::{AUTHENTICATED, User};
use crate::state::State;
use api::admission::{AccessCheck, Decision, Target};
use api::fields;

/// Decides whether the user of the request, or the ServiceAccount that is asked about, may do it.
pub(super) fn decide(state: &State, user: &User, check: &AccessCheck) -> Decision {
    let account = check.account.as_ref().map(|(namespace, name)| account(namespace, name));
    let user = account.as_ref().unwrap_or(user);
    let verb = check.verb.as_str();
    let on_node;
    let attributes = match &check.target {
        Target::Path(path) => Attributes::of_path(verb, path),
        Target::Resource(resource) => {
            on_node = fields::required(&resource.field_selector, "spec.nodeName").unwrap_or_default();
            Attributes {
                verb,
                group: &resource.group,
                resource: &resource.resource,
                subresource: &resource.subresource,
                namespace: &resource.namespace,
                name: &resource.name,
                on_node: &on_node,
                ..Attributes::RESOURCE
            }
        }
    };
    match state.authorize(user, &attributes) {
        Ok(()) => Decision { is_allowed: true, reason: state.why_allowed(user, &attributes) },
        Err(reason) => Decision { is_allowed: false, reason },
    }
}

/// Returns the user of a ServiceAccount. As upstream the user is in the groups of accounts only:
/// without a token it is not authenticated.
fn account(namespace: &str, name: &str) -> User {
    let mut user = User::service_account(namespace, name);
    user.groups.retain(|group| group != AUTHENTICATED);
    user
}
