//! Verbs of requests.

/// True for the verb of a request that changes the store.
pub(super) fn changes(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}
