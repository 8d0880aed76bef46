//! The reasons that a start waits for, reported while it waits.

use super::ready::Progress;
use crate::store::external::ExternalEtcd;
use crate::world::FailedStart;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::watch;

/// A store that does not serve after this time may never do so: a majority of its members is
/// missing, or an external etcd does not answer. The program that started the cluster waits for it.
/// A slow machine with other work needs five minutes.
pub(super) const STORE_MAX: Duration = Duration::from_secs(600);
/// How often a start without a store looks for the reason. A store that is sound serves before the
/// first look.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Says why no store serves, as far as that is known: with the error of the last start of each
/// member that has not started since.
pub(super) fn no_store(etcd: Option<&ExternalEtcd>, failed: &Mutex<BTreeMap<String, FailedStart>>) -> String {
    let seconds = STORE_MAX.as_secs();
    let why = match etcd {
        Some(etcd) => format!("the etcd at {} does not serve", etcd.endpoints.join(", ")),
        None => "no majority of the store's members has met".into(),
    };
    let failed = failed_members(failed);
    let failed = if failed.is_empty() { failed } else { format!("; {failed}") };
    format!("there is no store after {seconds} s: {why}{failed}")
}

/// Waits for `begin`, which waits for a store. Meanwhile `report` gets the reason why none serves,
/// and each new reason: on a full disk a start would otherwise be silent for [`STORE_MAX`].
pub(super) async fn report_reasons<T>(
    begin: impl Future<Output = T>,
    etcd: Option<&ExternalEtcd>,
    failed: &Mutex<BTreeMap<String, FailedStart>>,
    mut report: impl FnMut(String),
) -> T {
    let mut begin = pin!(begin);
    let mut last = String::new();
    loop {
        if let Some(begun) = clock::limit(LOOK_EVERY, begin.as_mut()).await {
            return begun;
        }
        let now = match etcd {
            Some(etcd) => format!("the etcd at {} does not serve", etcd.endpoints.join(", ")),
            None => failed_members(failed),
        };
        if !now.is_empty() && now != last {
            report(now.clone());
            last = now;
        }
    }
}

/// Says how the last start failed of each member that has not started since; empty: there is none.
pub(super) fn failed_members(failed: &Mutex<BTreeMap<String, FailedStart>>) -> String {
    failed.lock().iter().map(|(node, start)| start.say(node)).collect::<Vec<_>>().join("; ")
}

/// Notes in the progress why addons are not made; empty: they are.
pub(super) fn note(progress: &watch::Sender<Progress>, why: String) {
    progress.send_if_modified(|progress| {
        let is_new = progress.lacks_addons != why;
        progress.lacks_addons = why;
        progress.join_reasons();
        is_new
    });
}

/// Tries again until it is done. Whatever still fails after the first seconds, when the API
/// answers, is logged once for each reason. `note` gets why each attempt fails, and an empty text
/// at the end.
pub(super) async fn until_done<F: Future<Output = Result<(), String>>>(
    what: &str,
    attempt: impl Fn() -> F,
    note: impl Fn(String),
) {
    const PAUSE_MAX: Duration = Duration::from_secs(5);
    let (mut pause, mut logged) = (Duration::from_millis(10), String::new());
    while let Err(error) = attempt().await {
        note(format!("{what}: {error}"));
        if pause == PAUSE_MAX && error != logged {
            tracing::warn!(error, "{what}");
            logged = error;
        } else {
            tracing::debug!(error, "{what}");
        }
        clock::pause(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    note(String::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn failed(why: &str, may_pass: bool) -> FailedStart {
        FailedStart { why: why.into(), may_pass }
    }

    /// A member whose start may still succeed ends no cluster, so nothing else reports its error.
    #[test]
    fn a_start_without_a_store_says_why_its_members_did_not_start() {
        let all = [("cp1", failed("the disk is full", true)), ("cp2", failed("bad checksum", false))];
        let all = Mutex::new(all.map(|(node, start)| (node.to_string(), start)).into());
        let why = no_store(None, &all);
        let members =
            "; the store of cp1 did not start: the disk is full; the store of cp2 cannot start: bad checksum";
        assert!(why.starts_with("there is no store after 600 s: no majority"), "{why}");
        assert!(why.ends_with(members), "{why}");
    }

    /// `up --wait` on a full disk said nothing for ten minutes.
    #[tokio::test(start_paused = true)]
    async fn a_reason_is_reported_once_and_again_when_it_changes() {
        let all = Mutex::new(BTreeMap::from([("cp1".to_string(), failed("the disk is full", true))]));
        let reported = RefCell::new(vec![]);
        let minute = async || {
            let begin = clock::pause(LOOK_EVERY * 6);
            report_reasons(begin, None, &all, |why| reported.borrow_mut().push(why)).await;
        };
        minute().await;
        assert_eq!(reported.take(), ["the store of cp1 did not start: the disk is full"]);
        let mend = async {
            clock::pause(LOOK_EVERY * 2).await;
            all.lock().clear();
            clock::pause(LOOK_EVERY * 2).await;
            all.lock().insert("cp1".into(), failed("bad checksum", false));
        };
        tokio::join!(minute(), mend);
        let [full, damaged] = [
            "the store of cp1 did not start: the disk is full",
            "the store of cp1 cannot start: bad checksum",
        ];
        assert_eq!(reported.take(), [full, damaged]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_progress_has_the_reason_of_an_attempt_until_one_succeeds() {
        let (progress, left, seen) =
            (watch::Sender::new(Progress::default()), RefCell::new(2), RefCell::new(vec![]));
        let attempt = async || {
            seen.borrow_mut().push(progress.borrow().waits.clone());
            let is_done = left.replace_with(|left| *left - 1) == 0;
            if is_done { Ok(()) } else { Err("refused".to_string()) }
        };
        until_done("addons are not made yet", attempt, |why| note(&progress, why)).await;
        let reason = "addons are not made yet: refused";
        assert_eq!(seen.take(), ["", reason, reason]);
        assert_eq!(progress.borrow().waits, "");
    }
}
