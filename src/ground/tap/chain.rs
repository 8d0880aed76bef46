//! The chain of a request through the whole cluster: all records that followed from it.

use super::record::{Cause, Record};
use std::collections::HashSet;
use std::sync::Arc;

/// Passes over the records, at most: only neighbours are out of order.
const PASSES_MAX: usize = 16;

/// Returns the records that followed from these requests: their own and, repeatedly, those whose
/// cause is a request or a revision of the chain. They stay in the order of `records`.
///
/// ```text
/// 1 request k, revision 10    2 request x, revision 11    3 cause 10, revision 12    4 cause 12
/// of request k: 1, 3, 4
/// ```
pub fn follow(records: &[Arc<Record>], requests: &[String]) -> Vec<Arc<Record>> {
    let mut ids: HashSet<&str> = requests.iter().map(String::as_str).collect();
    let mut revisions: HashSet<u64> = HashSet::new();
    let mut in_chain = vec![false; records.len()];
    // Again until nothing is added: an effect may stand before its cause, because a watcher may act
    // on a write before the task that wrote has emitted its record.
    for _ in 0..PASSES_MAX {
        let mut found = false;
        for (record, is_in) in records.iter().zip(&mut in_chain).filter(|(_, is_in)| !**is_in) {
            let own = record.request.as_ref().is_some_and(|r| ids.contains(r.id.as_str()));
            let caused = match &record.cause {
                Some(Cause::Revision(r)) => revisions.contains(r),
                Some(Cause::Request(id)) => ids.contains(id.as_str()),
                None => false,
            };
            if !own && !caused {
                continue;
            }
            if let Some(request) = &record.request {
                ids.insert(&request.id);
            }
            if let Some(revision) = record.revision
                && record.request.is_some()
            {
                revisions.insert(revision);
            }
            (*is_in, found) = (true, true);
        }
        if !found {
            break;
        }
    }
    records.iter().zip(in_chain).filter(|(_, is_in)| *is_in).map(|(record, _)| record.clone()).collect()
}
