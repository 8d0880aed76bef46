//! Kinds whose deletion is one of their own.

use crate::storage::cache::DEFINITIONS;
use api::kinds::Kind;

pub(super) fn is_namespace(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Namespace"
}

pub(super) fn is_definition(kind: &Kind) -> bool {
    kind.custom.is_none() && kind.plural == DEFINITIONS
}

pub(super) fn is_pod(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.kind == "Pod"
}

/// True for a kind whose first delete only marks the object, without a grace period: it goes when
/// what it holds has gone. Its generation stays. Source: `REST.Delete` of Namespaces and of
/// CustomResourceDefinitions.
pub(super) fn is_only_marked_first(kind: &Kind) -> bool {
    is_namespace(kind) || is_definition(kind)
}
