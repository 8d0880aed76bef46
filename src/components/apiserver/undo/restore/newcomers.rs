//! Guards of a way back: its transaction does not hold if a controller has made, while it was
//! planned, an object in a namespace or of a definition that it removes.

use super::{Journey, Move};
use crate::storage::cache::DEFINITIONS;
use crate::storage::keys::{ROOT, resource_and_key};
use api::custom;
use api::kinds::{Catalog, Kind};
use bytes::Bytes;
use etcd::REQUEST_MAX;
use etcd::api::{Compare, CompareResult, CompareTarget, Revision, TxnRequest};
use etcd::txn::{MAX_OPS, size};
use serde_json::Value;
use std::collections::BTreeSet;

/// Bytes of a transaction that an etcd elsewhere takes by default (`--max-request-bytes`), without
/// the head that it adds and what [`size`] does not count.
const TXN_MAX: usize = REQUEST_MAX - (16 << 10);

/// What the client of a journey is warned of whose guards were left out.
pub(super) const UNGUARDED: &str = "with the guard against what controllers write at the same moment the transaction would be larger than an etcd takes by default, so it was left out; look at what came back";

/// Returns whether an etcd elsewhere takes this transaction with its default limits.
fn is_taken(txn: &TxnRequest) -> bool {
    txn.compare.len().max(txn.success.len()) <= MAX_OPS && size(txn) <= TXN_MAX
}

impl Journey {
    /// Returns the transaction that makes these moves, and whether it has all guards against
    /// controllers that are at work: moves that change nothing but a revision, and
    /// [`nothing_made_since`]. An etcd elsewhere takes a limited number of operations, conditions
    /// and bytes: to go back without a guard is better than not at all.
    pub(super) fn guarded(
        &self,
        moves: &mut Vec<Move>,
        kinds: &Catalog,
        before: Revision,
        is_own: bool,
    ) -> (TxnRequest, bool) {
        let fits = |txn: &TxnRequest| is_own || is_taken(txn);
        let planned = moves.len();
        let mut txn = self.transaction(moves, before);
        if !fits(&txn) {
            moves.retain(|m| !m.is_unchanged());
            txn = self.transaction(moves, before);
        }
        let conditions = txn.compare.len();
        txn.compare.extend(nothing_made_since(kinds, moves, before));
        let has_all = txn.compare.len() == conditions || fits(&txn);
        if !has_all {
            txn.compare.truncate(conditions);
        }
        (txn, has_all && moves.len() == planned)
    }
}

/// Returns the conditions of a transaction that holds only if nothing has been made since `known`
/// in a namespace, or of a definition, that these moves remove. It would stay behind: in a
/// namespace that is not there, or of a kind that is not served.
///
/// Example: `kubectl create namespace shop`, and its undo in the next moment. The plan has read the
/// Namespace alone; the controllers make `shop/default` and `shop/kube-root-ca.crt` before it is
/// committed. It is planned again, and removes all three.
///
/// Events are left out: they come all the time, and go by themselves.
fn nothing_made_since(kinds: &Catalog, moves: &[Move], known: Revision) -> Vec<Compare> {
    let stored = kinds.iter().filter(|kind| kind.namespaced && kind.is_stored());
    let all: BTreeSet<&str> = stored.map(Kind::place).filter(|place| *place != "events").collect();
    let mut conditions = vec![];
    for m in moves.iter().filter(|m| m.put.is_none()) {
        match resource_and_key(&m.key) {
            Some(("namespaces", name)) => {
                conditions
                    .extend(all.iter().map(|resource| none_since(&format!("{resource}/{name}"), known)));
            }
            Some((DEFINITIONS, _)) => {
                let definition = serde_json::from_slice::<Value>(&m.last);
                conditions.extend(definition.map(|object| none_since(&custom::place(&object), known)));
            }
            _ => {}
        }
    }
    conditions
}

/// Returns the condition that no key below this one has been made since `known`.
fn none_since(below: &str, known: Revision) -> Compare {
    Compare {
        key: Bytes::from(format!("{ROOT}{below}/")),
        range_end: Bytes::from(format!("{ROOT}{below}0")), // '0' follows '/'
        result: CompareResult::Less,
        target: CompareTarget::CreateRevision(known + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn removed(key: &str, last: &Value) -> Move {
        Move { key: format!("{ROOT}{key}").into(), expected: 5, put: None, last: last.to_string().into() }
    }

    /// Guards go by their number and by their bytes, and that is said.
    #[test]
    fn an_etcd_elsewhere_gets_the_guards_that_it_takes() {
        let journey = Journey {
            to: 5,
            steps: vec![],
            undone: vec![],
            way: tap::Journey::Undo(5),
            within: None,
            unchanged: vec![],
            agreed: None,
        };
        let same = |n: usize, bytes: usize| {
            let value = Bytes::from("x".repeat(bytes));
            let key = format!("{ROOT}pods/d/p{n}").into();
            Move { key, expected: 5, put: Some(value.clone()), last: value }
        };
        let guarded = |count: usize, bytes: usize, namespace: bool, is_own: bool| {
            let mut moves: Vec<Move> = (0..count).map(|n| same(n, bytes)).collect();
            moves.push(removed("configmaps/d/c", &json!({})));
            moves.extend(namespace.then(|| removed("namespaces/shop", &json!({}))));
            let (txn, has_all) = journey.guarded(&mut moves, &Catalog::default(), 7, is_own);
            assert!(is_own || is_taken(&txn));
            (moves.len(), txn.compare.len() > moves.len(), has_all)
        };
        assert_eq!(guarded(3, 10, true, false), (5, true, true));
        assert_eq!(guarded(3, 10, false, false), (4, false, true));
        assert_eq!(guarded(200, 10, true, true), (202, true, true), "the own etcd has no such limit");
        assert_eq!(guarded(200, 10, false, false), (1, false, false), "too many");
        assert_eq!(guarded(3, 600 << 10, false, false), (1, false, false), "too long");
        assert_eq!(guarded(3, 600 << 10, false, true), (4, false, true));
    }

    #[test]
    fn where_nothing_is_left_nothing_may_have_been_made() {
        let definition = json!({"spec": {"group": "example.com", "names": {"plural": "tabs"}}});
        let kept = Move { put: Some("{}".into()), ..removed("namespaces/kept", &json!({})) };
        let moves = [
            removed("namespaces/shop", &json!({})),
            removed("customresourcedefinitions/tabs.example.com", &definition),
            removed("configmaps/other/c", &json!({})),
            kept,
        ];
        let found = nothing_made_since(&Catalog::default(), &moves, 7);
        let ranges: Vec<&[u8]> = found.iter().map(|condition| &condition.key[..]).collect();
        for key in ["configmaps/shop/", "serviceaccounts/shop/", "pods/shop/", "example.com/tabs/"] {
            assert!(ranges.contains(&format!("{ROOT}{key}").as_bytes()), "{key}");
        }
        for key in ["events/shop/", "nodes/shop/", "configmaps/kept/", "configmaps/other/"] {
            assert!(!ranges.contains(&format!("{ROOT}{key}").as_bytes()), "{key}");
        }
        assert!(found.iter().all(|condition| condition.target == CompareTarget::CreateRevision(8)));
        let pods = found.iter().find(|condition| condition.key.starts_with(b"/registry/pods/")).unwrap();
        assert_eq!(&pods.range_end[..], b"/registry/pods/shop0");
    }
}
