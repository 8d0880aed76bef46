//! Whose work an object is: the steps of people that made it what it is now.
//!
//! A way back takes the work after the revision that it leads to away again, and brings back what
//! was there at that revision.
//!
//! ```text
//! revision 12  ada deletes the Service     ada's step
//! revision 15  ada's undo, to 11           no step: it is as it was at 11
//! revision 18  ada's redo, to 14           ada's step
//! ```

use super::Named;
use crate::undo::steps;
use etcd::api::Revision;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use tap::Record;

/// The steps of people that an object is the work of; none: it is as it was before.
pub(super) type Work = BTreeSet<String>;

/// Returns the work of people after the revision `since` on each object that a person wrote since
/// then, from records in their order. Where a way back leads to a time before `since`, or before
/// `known_from`, the first revision of a record, its own step counts: what it changed is not known.
///
/// What a write changed beside its object is no person's work: the Endpoints go with the Service
/// that a person deletes, and a quota is charged with a pod. Of one revision only the first record
/// counts, which is that of the object itself.
pub(super) fn works<R: Borrow<Record>>(
    records: &[R],
    since: Revision,
    known_from: Revision,
) -> BTreeMap<Named<'_>, Work> {
    let mut pasts: BTreeMap<Named<'_>, Vec<(Revision, Work)>> = BTreeMap::new();
    let mut written = BTreeSet::new();
    for record in records {
        let record = Borrow::<Record>::borrow(record);
        let (Some(request), Some(object), Some(write), Some(revision)) =
            (&record.request, &record.object, record.write(), record.revision)
        else {
            continue;
        };
        let revision = revision as Revision;
        if revision <= since || write.journey.is_none() && !written.insert(revision) {
            continue;
        }
        let resource = (object.group.as_str(), object.resource.as_str());
        let place = (resource, object.namespace.as_str(), object.name.as_str());
        let known = write.journey.map(tap::Journey::to).filter(|to| *to >= since && *to + 1 >= known_from);
        let past = match known {
            // No person has written the object since: there is no work to take away.
            Some(_) if !pasts.contains_key(&place) => continue,
            None if !request.is_persons() => continue,
            _ => pasts.entry(place).or_default(),
        };
        let work = match known {
            Some(to) => past.iter().rfind(|(at, _)| *at <= to).map(|(_, work)| work.clone()),
            None => past.last().map(|(_, work)| work.clone()),
        };
        let mut work = work.unwrap_or_default();
        if known.is_none() {
            work.insert(steps::id_of(request));
        }
        past.push((revision, work));
    }
    pasts.into_iter().filter_map(|(place, mut past)| Some((place, past.pop()?.1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tap::{Event, Journey, Request, Write};

    /// A write of the Service `shop/rooms` in a step of this name.
    fn wrote(user: &str, step: &str, revision: u64, journey: Option<Journey>) -> Record {
        let write = Write { journey, ..Write::UPDATED };
        let mut record = Record::new(Event::Commit(write)).object("services", "shop", "rooms");
        record.request = Some(Request { id: step.into(), user: user.into(), ..Request::default() });
        record.revision(revision)
    }

    /// The steps that the Service is the work of since revision 10. `None`: no person wrote it.
    fn work(records: &[Record], known_from: Revision) -> Option<String> {
        let works = works(records, 10, known_from);
        let place = (("", "services"), "shop", "rooms");
        works.get(&place).map(|work| work.iter().map(String::as_str).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_was_undone_is_nobodys_work_until_it_is_redone() {
        let ada = |step: &str, revision, journey| wrote(tap::LEARNER, step, revision, journey);
        let mut records = vec![
            ada("before", 9, None),
            wrote("system:kube-scheduler", "other", 11, None),
            ada("delete", 12, None),
        ];
        assert_eq!(work(&records[..2], 1), None);
        assert_eq!(work(&records, 1).as_deref(), Some("delete"));
        records.push(ada("undo", 15, Some(Journey::Undo(11))));
        assert_eq!(work(&records, 1).as_deref(), Some(""), "it is as it was");
        records.push(ada("redo", 18, Some(Journey::Redo(14))));
        assert_eq!(work(&records, 1).as_deref(), Some("delete"));
        records.push(ada("edit", 20, None));
        assert_eq!(work(&records, 1).as_deref(), Some("delete edit"));
        records.push(ada("rewind", 25, Some(Journey::Rewind(19))));
        assert_eq!(work(&records, 1).as_deref(), Some("delete"));
    }

    /// A learner deleted a Service; a lesson and a controller made it and its Endpoints anew.
    #[test]
    fn what_goes_beside_an_object_is_nobodys_work() {
        let deleted = wrote(tap::LEARNER, "delete", 12, None);
        let mut endpoints = wrote(tap::LEARNER, "delete", 12, None);
        endpoints.object =
            Record::new(Event::Commit(Write::DELETED)).object("endpoints", "shop", "rooms").object;
        let (records, place) = ([deleted, endpoints.clone()], (("", "endpoints"), "shop", "rooms"));
        assert!(!works(&records, 10, 1).contains_key(&place) && work(&records, 1).is_some());
        let own = [Record { revision: Some(13), ..endpoints }];
        assert!(works(&own, 10, 1).contains_key(&place), "made by hand");
    }

    #[test]
    fn a_way_back_to_an_unknown_time_is_work_itself() {
        let ada = |step: &str, revision, journey| wrote(tap::LEARNER, step, revision, journey);
        let delete = ada("delete", 12, None);
        let undone = |to| [delete.clone(), ada("undo", 15, Some(Journey::Undo(to)))];
        assert_eq!(work(&undone(11), 12).as_deref(), Some(""));
        assert_eq!(work(&undone(11), 13).as_deref(), Some("delete undo"), "no record tells of revision 11");
        assert_eq!(work(&undone(8), 1).as_deref(), Some("delete undo"), "it led beyond the time in question");
    }
}
