//! The open lab for those who follow it: a view now, and another one after every change.

use super::LabRun;
use super::doing::Doing;
use super::listing::sheet;
use crate::graded::view::{LabView, Work};
use clock::Instant;
use std::time::Duration;
use tokio::sync::watch;

/// The time that is left was shown wrong if it differs by so much: the calendar was set, or the
/// machine has slept.
const JUMP: Duration = Duration::from_secs(2);

/// Says that something is being done with the lab, until it is dropped: at the end of that work, or
/// where its future is given up.
pub(super) struct AtWork<'a>(&'a LabRun);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        *self.0.doing.lock() = Doing::Nothing;
        self.0.tell_followers();
    }
}

impl LabRun {
    /// Begins to do something with the lab, until what it returns is dropped.
    pub(super) fn begin(&self, doing: Doing) -> AtWork<'_> {
        *self.doing.lock() = doing;
        self.tell_followers();
        AtWork(self)
    }

    /// Wakes those who follow: the lab may look different now.
    pub(super) fn tell_followers(&self) {
        self.changed.send_replace(());
    }

    /// The open lab as those who follow see it; empty if none is open.
    fn shown(&self, lang: &str) -> LabView {
        let doing = self.doing.lock().clone();
        let view = match &doing {
            // Of a lab that is being set up nothing can be solved yet, so only its title is shown.
            Doing::Starting { lab, seed } => self.labs.get(lab).map(|lab| {
                let sheet = sheet(lab, *seed, lang);
                LabView { text: String::new(), tasks: vec![], hints_left: 0, ..sheet }
            }),
            _ => self.current().map(|current| self.view(&current, lang)),
        };
        view.map(|view| LabView { work: doing.work(), ..view }).unwrap_or_default()
    }

    /// Follows the open lab, in a language.
    pub(crate) fn follower(&self, lang: &str) -> Follower {
        let mut changed = self.changed.subscribe();
        changed.mark_changed();
        Follower { lang: lang.into(), changed, told: None, limit: None }
    }
}

/// One who follows the open lab.
pub(crate) struct Follower {
    lang: String,
    changed: watch::Receiver<()>,
    /// The last view, and when it was sent.
    told: Option<(LabView, Instant)>,
    /// When the time of the lab is over.
    limit: Option<Instant>,
}

impl Follower {
    /// Waits for the next view that differs from the last one. `None`: there will be no other.
    pub(crate) async fn next(&mut self, run: &LabRun) -> Option<LabView> {
        loop {
            tokio::select! {
                changed = self.changed.changed() => changed.ok()?,
                () = at(self.limit) => {}
            }
            let view = self.now(run);
            let now = Instant::now();
            let left = u64::try_from(view.left_s).ok().filter(|left| *left > 0 && !view.id.is_empty());
            self.limit = left.map(|left| clock::deadline(Duration::from_secs(left)));
            if self.is_news(&view, now) {
                self.told = Some((view.clone(), now));
                return Some(view);
            }
        }
    }

    /// The lab now. While it is graded it looks as before: what the judge disturbs is no news.
    fn now(&self, run: &LabRun) -> LabView {
        let grading = Doing::Grading == *run.doing.lock();
        let last = self.told.as_ref().map(|(view, _)| view).filter(|view| grading && !view.id.is_empty());
        match last {
            Some(last) => {
                let limit = i64::from(last.minutes) * 60;
                LabView { work: Work::Grading, left_s: limit - (run.ms() / 1000) as i64, ..last.clone() }
            }
            None => run.shown(&self.lang),
        }
    }

    /// Returns whether a view differs from the last one. Time that runs is no difference.
    fn is_news(&self, view: &LabView, now: Instant) -> bool {
        let Some((last, at)) = &self.told else { return true };
        let passed = now.duration_since(*at).as_secs() as i64;
        let jumped = (last.left_s - passed).abs_diff(view.left_s) >= JUMP.as_secs();
        let over = (last.left_s > 0) != (view.left_s > 0);
        let runs = !view.id.is_empty() && view.work != Work::Starting;
        runs && (jumped || over) || LabView { left_s: last.left_s, ..view.clone() } != *last
    }
}

/// Notices that the time that is left has jumped.
#[derive(Default)]
pub(super) struct Time(Option<(u64, Instant)>);

impl Time {
    /// `ms`: how long the lab has been open.
    pub(super) fn has_jumped(&mut self, ms: u64) -> bool {
        let now = Instant::now();
        let jumped = self.0.is_some_and(|(before, at)| {
            let expected = before + now.duration_since(at).as_millis() as u64;
            expected.abs_diff(ms) >= JUMP.as_millis() as u64
        });
        self.0 = Some((ms, now));
        jumped
    }
}

async fn at(limit: Option<Instant>) {
    match limit {
        Some(limit) => clock::pause_until(limit).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
