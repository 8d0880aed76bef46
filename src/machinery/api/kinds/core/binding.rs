//! Bindings: the scheduler writes one to put a pod on a node. Never stored.

use crate::kinds::entry::{ALL, CREATE, Kind, of};
use crate::published;
use k8s_openapi::api::core::v1::{Binding, Pod};

pub(super) fn kind() -> Kind {
    Kind {
        plural: "bindings",
        singular: "binding".into(),
        namespaced: true,
        verbs: CREATE,
        ..of_sub::<Binding>()
    }
}

/// Makes the entry for a type that k8s-openapi has as a subresource only.
fn of_sub<T: k8s_openapi::Resource>() -> Kind {
    Kind {
        group: T::GROUP,
        version: T::VERSION,
        kind: T::KIND,
        schema_name: published::name(T::GROUP, T::VERSION, T::KIND),
        verbs: ALL,
        ..of::<Pod>()
    }
}
