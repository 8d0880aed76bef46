//! Kinds whose deletion is one of their own.

use super::options::Options;
use crate::request::context::Context;
use crate::storage::cache::DEFINITIONS;
use api::kinds::Kind;

const PODS_STAY: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning";

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

/// Warns of the delete of a Job, or of a collection of them, that says nothing of their pods:
/// these stay, while those of other kinds go with their owner (upstream: `REST.Delete` of Jobs).
pub(super) fn warn_of_orphans(ctx: &Context, kind: &Kind, options: &Options) {
    if kind.group == "batch" && kind.kind == "Job" && options.propagation.is_none() {
        ctx.warn(PODS_STAY);
    }
}
