//! The show: one flow is played, hop by hop, at a speed that eyes can follow.

use super::Traffic;
use crate::tui::flow::pace::Pace;
use crate::tui::flow::{Did, Flow, Hop, Spot};
use clock::Timestamp;
use std::time::Duration;
use tap::Event;

/// The speed at first is 1/100: that of hops which are lit neither for the shortest nor for the
/// longest time.
pub(crate) const SLOWER: u32 = 100;

/// Where the show is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Play {
    /// The session of the flow that is shown.
    pub session: Option<String>,
    /// The hop that is lit.
    pub at: usize,
    /// Since when, on the interface's own clock.
    pub since: Duration,
    pub playing: bool,
    /// It stands still, and the learner has typed a line since: the next command takes the stage.
    pub let_go: bool,
    pub slower: u32,
}

/// A pod at the lit hop: the picture of a replayed command shows what was there then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    NotYet,
    Stored,
    Starting,
}

impl Traffic {
    /// Ends the show, and forgets the commands that began at `since` or later: what they were about
    /// is gone.
    pub(crate) fn leave_stage(&mut self, since: Option<Timestamp>) {
        if let Some(since) = since {
            self.flows.retain(|flow| flow.began < since);
        }
        self.play = Play { slower: self.play.slower, ..Play::default() };
        self.next = None;
    }

    /// Plays the flow of this session from its beginning.
    pub(super) fn take_stage(&mut self, session: String, now: Duration) {
        let slower = self.play.slower;
        self.play = Play { session: Some(session), since: now, playing: true, slower, ..Play::default() };
        self.next = None;
    }

    /// Returns the session of the command that waits, if the play has come to its end.
    fn due_on_stage(&self) -> Option<String> {
        let is_over = self.play.playing && self.shown().is_some() && !self.moving();
        let next = self.next.as_ref().filter(|_| is_over)?;
        self.flows.iter().map(|flow| &flow.session).find(|session| *session == next).cloned()
    }

    /// Returns the flow on the stage.
    pub(crate) fn shown(&self) -> Option<&Flow> {
        let session = self.play.session.as_ref()?;
        self.flows.iter().find(|f| f.session == *session)
    }

    /// Returns the hop that is lit.
    pub(crate) fn lit(&self) -> Option<&Hop> {
        let flow = self.shown()?;
        self.moving().then(|| flow.hops.get(self.play.at)).flatten()
    }

    /// Returns how fast the lit hop is shown.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let (flow, at) = (self.shown()?, self.play.at);
        let pace = |_: &Hop| Pace { real: flow.real(at), lit: flow.slot(at, self.play.slower) };
        flow.hops.get(at).map(pace)
    }

    /// Returns whether the show is not at its end: it goes on, or stands still on purpose.
    pub(crate) fn moving(&self) -> bool {
        self.shown().is_some_and(|f| self.play.at < f.hops.len())
    }

    /// Returns the store revision at the lit hop; before the command's first write the one before
    /// it. `None`: nothing is replayed, or the command wrote nothing.
    pub(crate) fn revision(&self) -> Option<u64> {
        let flow = self.moving().then(|| self.shown()).flatten()?;
        let before = flow.before()?;
        let so_far = flow.hops.iter().take(self.play.at + 1).filter_map(Hop::made).max();
        Some(so_far.unwrap_or(before))
    }

    /// True if the play has not yet come to the scheduler's decision about this pod.
    pub(crate) fn undecided(&self, namespace: &str, name: &str) -> bool {
        let Some(flow) = self.shown().filter(|_| self.moving()) else { return false };
        let decides = |hop: &Hop| {
            let pod = hop.object.as_ref().filter(|o| o.name == name && o.namespace == namespace);
            pod.is_some() && matches!(hop.did, Did::Scheduled { .. })
        };
        flow.hops.iter().rposition(decides).is_some_and(|decided| self.play.at < decided)
    }

    /// Returns how a pod stands at the lit hop, if the command on the stage made it; the outer
    /// `None`: as it is now.
    pub(crate) fn stand(&self, namespace: &str, name: &str) -> Option<Then> {
        let flow = self.moving().then(|| self.shown()).flatten()?;
        let about = |hop: &Hop| {
            hop.object
                .as_ref()
                .is_some_and(|o| o.resource == "pods" && o.name == name && o.namespace == namespace)
        };
        // A write of kubectl's own: the answer to the same request tells of which sort it was.
        let answered = |at: usize| {
            flow.hops[at..].iter().find_map(|h| match &h.did {
                Did::Answered { verb, .. } => Some(verb == "create"),
                _ => None,
            })
        };
        let made = |at: usize, hop: &Hop| match &hop.did {
            Did::Stored => answered(at).unwrap_or(true),
            Did::Asked { verb, code, .. } => verb == "create" && *code < 400 && hop.from != Spot::Scheduler,
            _ => false,
        };
        // `apply` looks for the pod first: hops about it from before it was made say nothing of it.
        let hops = || flow.hops.iter().enumerate().filter(|(_, hop)| about(hop));
        let (born, _) = hops().find(|(at, hop)| made(*at, hop))?;
        if hops().any(|(at, hop)| at < born && hop.writes()) {
            return None; // it was there before, and this command has replaced it
        }
        let mut then = Then::NotYet;
        for (at, hop) in hops().filter(|(at, _)| (born..=self.play.at).contains(at)) {
            match &hop.did {
                Did::Told(Event::Status { phase }) if phase != "Pending" => return None,
                Did::Bound { .. } => then = Then::Starting,
                _ if at == born => then = Then::Stored,
                _ => {}
            }
        }
        Some(then)
    }

    /// Moves the show on; true if another hop is lit now.
    pub(crate) fn tick(&mut self, now: Duration) -> bool {
        let mut moved = false;
        while self.play.playing {
            let Some(flow) = self.shown() else { return moved };
            if self.play.at >= flow.hops.len() {
                let Some(next) = self.due_on_stage() else { return moved };
                self.take_stage(next, now);
                moved = true;
                continue;
            }
            let slot = flow.slot(self.play.at, self.play.slower);
            if now.saturating_sub(self.play.since) < slot {
                return moved;
            }
            self.play.since += slot;
            self.play.at += 1;
            moved = true;
        }
        moved
    }

    /// Returns when the next hop is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        if self.due_on_stage().is_some() {
            return Some(self.play.since);
        }
        let flow = self.shown()?;
        let moving = self.play.playing && self.play.at < flow.hops.len();
        moving.then(|| self.play.since + flow.slot(self.play.at, self.play.slower))
    }

    /// Stops the show or lets it go on; at its end plays it again.
    pub(crate) fn pause(&mut self, now: Duration) {
        if !self.moving() {
            return self.replay(now);
        }
        (self.play.playing, self.play.let_go) = (!self.play.playing, false);
        self.play.since = now;
    }

    /// The learner has typed a line in the shell. A play that was stopped stays as it is until the
    /// next command comes: keys that were meant for the shell may have stopped it.
    pub(crate) fn let_go(&mut self) {
        self.play.let_go = self.moving() && !self.play.playing;
    }

    /// Plays the shown command from its beginning, or the newest if none is shown.
    pub(crate) fn replay(&mut self, now: Duration) {
        if self.shown().is_none() {
            self.play.session = self.flows.back().map(|f| f.session.clone());
        }
        (self.play.at, self.play.since, self.play.let_go) = (0, now, false);
        self.play.playing = self.play.session.is_some();
        self.next = None; // the learner has chosen what to see
    }

    /// Goes some hops forward or, if `by` is negative, back, and stands still there.
    pub(crate) fn step(&mut self, by: isize, now: Duration) {
        let Some(len) = self.shown().map(|f| f.hops.len()) else { return };
        (self.play.playing, self.play.let_go) = (false, false);
        self.play.since = now;
        self.play.at = self.play.at.saturating_add_signed(by).min(len);
    }

    /// Goes to the end of the show.
    pub(crate) fn finish(&mut self) {
        self.play.at = self.shown().map_or(0, |f| f.hops.len());
    }

    /// Shows a later or, if `by` is negative, an earlier command.
    pub(crate) fn choose(&mut self, by: isize, now: Duration) {
        let Some(last) = self.flows.len().checked_sub(1) else { return };
        let here = self.flows.iter().position(|f| Some(&f.session) == self.play.session.as_ref());
        let to = here.map_or(last, |h| h.saturating_add_signed(by).min(last));
        self.play.session = Some(self.flows[to].session.clone());
        self.replay(now);
    }
}
