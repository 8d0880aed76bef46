//! Which hops of the step are kept. A large change makes thousands of them in the store and in the
//! components: they do not push out what people did, and what followed from it.

use super::Recorder;
use super::shares::Share;
use cel::Value;
use std::sync::Arc;
use tap::Record;

/// Hops that are kept whatever they are, the newest. At the bound the oldest tenth goes, but for
/// what is kept longer; what a check has seen stays seen.
const TRACE_MAX: usize = 10_000;
/// Hops of people's requests, and hops that these have caused, that are kept beyond that bound. At
/// their bound the oldest go.
const PEOPLES_MAX: usize = 2_000;
const CAUSED_MAX: usize = 4_000;

impl Recorder {
    /// Adds a hop to the trace, and makes room if there is none.
    pub(super) fn keep_hop(&mut self, record: &Record, asked: bool, hop: Value) {
        if self.shares.newest.len() >= TRACE_MAX {
            self.make_room_for_hops();
        }
        let share = self.shares.of(record, asked);
        self.shares.newest.push_back(share);
        Arc::make_mut(&mut self.trace).push(hop);
    }

    fn make_room_for_hops(&mut self) {
        let (first, gone) = (self.shares.kept.len(), TRACE_MAX / 10);
        let mut shares = std::mem::take(&mut self.shares.kept);
        shares.extend(self.shares.newest.drain(..gone));
        let numbers = self.trace_kept.iter().copied().chain(self.trace_from..);
        let mut stays: Vec<bool> = shares.iter().map(|share| *share != Share::Others).collect();
        for (which, most) in [(Share::Peoples, PEOPLES_MAX), (Share::Caused, CAUSED_MAX)] {
            let places: Vec<usize> = (0..shares.len()).filter(|at| shares[*at] == which).collect();
            places[..places.len().saturating_sub(most)].iter().for_each(|at| stays[*at] = false);
        }
        let kept = numbers.zip(&stays).filter(|(_, stays)| **stays).map(|(number, _)| number).collect();
        self.trace_kept = Arc::new(kept);
        self.shares.kept = shares.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(s, _)| *s).collect();
        let mut at = 0;
        Arc::make_mut(&mut self.trace).retain(|_| {
            at += 1;
            at > first + gone || stays[at - 1]
        });
        self.trace_from += gone as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::CAUSES_MAX;
    use super::*;
    use crate::cel::value::str_field;
    use crate::cel::{Expr, Facts, Memo, Use};
    use tap::{Cause, Component, Event, LEARNER, Request, Write};

    fn hop(event: Event, user: &str, id: &str) -> Record {
        let user = user.to_string();
        let request = Request { id: id.into(), user, verb: "patch".into(), code: 200, ..Request::default() };
        let record = Record::new(event).object("pods", "d", "p");
        Record { component: Component::ApiServer, request: Some(request), ..record }
    }

    fn commit() -> Event {
        Event::Commit(Write::UPDATED)
    }

    /// A record of the store.
    fn append() -> Record {
        let event = Event::Append { batch: 1, bytes: 1, last: 1, term: 1 };
        Record { component: Component::Etcd, ..Record::new(event) }
    }

    fn facts(recorder: &Recorder, memo: &Arc<Memo>) -> Arc<Facts> {
        Arc::new(Facts {
            trace: recorder.trace.clone(),
            trace_kept: recorder.trace_kept.clone(),
            trace_from: recorder.trace_from,
            epoch: recorder.epoch,
            memo: memo.clone(),
            ..Facts::default()
        })
    }

    /// A command is typed, a component answers it, and the store has thirty thousand hops to do.
    #[test]
    fn the_store_pushes_out_neither_what_people_did_nor_what_came_of_it() {
        let mut recorder = Recorder::default();
        let mut take = |record: Record| recorder.take_record(&record, Some(false));
        let typed = hop(commit(), LEARNER, "1").revision(7);
        take(Record { body: Some("{}".into()), ..typed });
        take(hop(Event::Answer(Box::default()), LEARNER, "1"));
        let caused = |cause| hop(commit(), "system:kube-controller-manager", "2").cause(cause);
        take(caused(Some(Cause::Revision(7))).revision(9));
        take(caused(Some(Cause::Revision(9))).revision(10));
        take(caused(Some(Cause::Revision(5))).revision(11));
        let others = 3 * TRACE_MAX;
        (0..others).for_each(|_| take(append()));
        let told: Vec<(&str, &str)> =
            recorder.trace[..4].iter().map(|t| (str_field(t, "component"), str_field(t, "verb"))).collect();
        let kept = ["commit", "patch", "commit", "commit"].map(|verb| ("kube-apiserver", verb));
        assert_eq!((told, &*recorder.trace_kept), (kept.to_vec(), &vec![0, 1, 2, 3]));
        assert!(recorder.trace.len() <= TRACE_MAX + 4);
        let facts = facts(&recorder, &Arc::default());
        let newest = (recorder.trace.len() - recorder.trace_kept.len()) as u64;
        assert_eq!(recorder.trace_from + newest, others as u64 + 5);
        let wrote = Expr::compile("wrote('patch', 'Pod/d/p').revision == 7", Use::Beat, &[]).unwrap();
        assert_eq!(wrote.value(&facts, &[]), Ok(Value::Bool(true)));
    }

    /// A client calls the store, which then has twenty thousand hops of its own.
    #[test]
    fn a_call_of_etcdctl_is_kept_beside_the_hops_of_the_store() {
        let mut recorder = Recorder::default();
        let called = tap::Call { method: "get".into(), key: "foo".into(), ..tap::Call::default() };
        let record = Record { component: Component::Etcd, ..Record::new(Event::Call(called)) };
        recorder.take_record(&record, Some(false));
        (0..2 * TRACE_MAX).for_each(|_| recorder.take_record(&append(), Some(false)));
        let check = "trace.exists(t, t.component == 'etcd' && t.verb == 'call' && t.detail.key == 'foo')";
        let expr = Expr::compile(check, Use::Check, &[]).unwrap();
        assert_eq!(expr.truth(&facts(&recorder, &Arc::default())), Some(true));
    }

    #[test]
    fn people_who_never_rest_push_out_the_oldest_of_theirs() {
        let mut recorder = Recorder::default();
        let all = 2 * TRACE_MAX + PEOPLES_MAX;
        for n in 0..all {
            recorder.take_record(&hop(Event::Answer(Box::default()), LEARNER, &n.to_string()), Some(false));
        }
        assert!(recorder.trace_kept.len() <= PEOPLES_MAX && recorder.trace.len() <= TRACE_MAX + PEOPLES_MAX);
        assert_eq!(recorder.trace_kept.last(), Some(&(recorder.trace_from - 1)));
        assert!(recorder.shares.requests.len() <= CAUSES_MAX);
    }

    /// An expression that looks again and again sees every hop once, whatever was let go meanwhile.
    #[test]
    fn no_hop_is_looked_at_twice_when_others_are_let_go() {
        let mut recorder = Recorder::default();
        let memo: Arc<Memo> = Arc::default();
        let answers = Expr::compile("trace.filter(t, t.verb == 'patch').size()", Use::Check, &[]).unwrap();
        let mut typed = 0;
        for n in 0..2 * TRACE_MAX {
            let record = match n % 100 {
                0 => hop(Event::Answer(Box::default()), LEARNER, &n.to_string()),
                _ => append(),
            };
            typed += i64::from(n % 100 == 0);
            recorder.take_record(&record, Some(false));
            if n % 700 == 0 {
                assert_eq!(answers.value(&facts(&recorder, &memo), &[]), Ok(Value::Int(typed)), "{n}");
            }
        }
        // One that looks for the first time sees what is left, in order.
        assert_eq!(answers.value(&facts(&recorder, &Arc::default()), &[]), Ok(Value::Int(typed)));
    }
}
