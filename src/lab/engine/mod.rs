//! The engine's state: the open lesson, what is known of the cluster, and what follows from both.
//! [`super::actor`] feeds it.

use super::broken_shell::{BrokenShell, ShellState};
use super::cel::facts::{Line, Objects, Wanted};
use super::cel::{Facts, Memo, Probe};
use super::format::{Lesson, Library, Load, Step};
use super::judge::{Memory, Outcome};
use super::lines::objects;
use super::needs::{self, Need};
use super::observe::Observer;
use super::observe::load::Key;
use super::observe::watch::Report;
use super::progress::Progress;
use super::view::{Hint, State};
use super::words::Notice;
use api::kinds;
use clock::Instant;
use cluster::guest::{LessonScope, Offers};
use given_answer::Given;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use stuck::Tries;

mod answers;
mod beginning;
mod given_answer;
mod hints;
pub(crate) mod missing;
mod settle;
mod stuck;
#[cfg(test)]
pub(crate) mod tests;
mod typed;

/// How often an answer from the network is renewed, and when it is too old to count.
const RENEW: Duration = Duration::from_millis(900);
const STALE: Duration = Duration::from_secs(2);
/// The pause after the first failed question about a step's beginning is [`RENEW`]; it doubles up
/// to this value.
const FAILED_MAX: Duration = Duration::from_secs(30);
/// A debrief grows for this long after the step is done: the last hops may still be on their way.
const GROWS: Duration = Duration::from_secs(3);

/// The lesson that is open.
pub(crate) struct Open {
    pub lesson: Arc<Lesson>,
    pub step: usize,
    pub typed: Vec<String>,
    /// Lines that have ended.
    pub ran: Vec<Line>,
    /// How many lines were typed, and have ended, in all.
    pub lines: (u64, u64),
    pub memory: Memory,
    pub outcome: Outcome,
    pub lost: bool,
    /// The step can no longer succeed.
    pub is_hopeless: bool,
    /// Objects on which the step builds and that were not there when it was opened, as lessons call
    /// them.
    pub gone: BTreeSet<String>,
    pub notices: Vec<Notice>,
    /// When the learner last did something.
    pub acted: Option<Instant>,
    /// `within` has passed since then.
    pub late: bool,
    pub hints: Vec<BTreeMap<String, Hint>>,
    pub hints_left: usize,
    pub tries: Tries,
    /// The learner gets no further, and is offered a hint.
    pub is_stuck: bool,
    pub done_at: Option<Instant>,
    /// The learner's last answer, and how far it is judged.
    pub given: Given,
}

impl Open {
    /// A step of which nothing has been said or judged yet.
    pub(crate) fn new(lesson: Arc<Lesson>, step: usize, memory: Memory) -> Open {
        Open {
            lesson,
            step,
            typed: vec![],
            ran: vec![],
            lines: (0, 0),
            memory,
            outcome: Outcome::default(),
            lost: false,
            is_hopeless: false,
            gone: BTreeSet::new(),
            notices: vec![],
            acted: None,
            late: false,
            hints: vec![],
            hints_left: 0,
            tries: Tries::default(),
            is_stuck: false,
            done_at: None,
            given: Given::default(),
        }
    }
}

/// Read when it is first asked for: most clusters never teach.
pub(crate) type Lazily<T> = LazyLock<Arc<T>, Box<dyn FnOnce() -> Arc<T> + Send>>;

pub(crate) struct Engine {
    pub library: Lazily<Library>,
    /// Lessons are read from packs, too. The lessons in the binary have no faults, so without packs
    /// the library need not be read to tell of one.
    pub has_packs: bool,
    pub progress: Progress,
    pub path: PathBuf,
    /// What the cluster has.
    pub offers: Offers,
    pub observer: Observer,
    /// What the last proof missed. A step that is done is judged no more, so nothing else asks for
    /// the answers that its proof needs.
    pub unproven: Wanted,
    /// Objects as they were when the open step began, by qualified plural: of the kinds that were
    /// asked for.
    pub before: HashMap<String, Objects>,
    /// Kinds whose objects at the step's beginning are being asked for.
    pub asking_before: HashSet<String>,
    /// Kinds of which a question for them failed.
    pub failed_before: HashMap<String, beginning::Retry>,
    /// Kinds whose objects at the step's beginning cannot be had any more.
    pub lost_before: HashSet<String>,
    /// What evaluations have found out in this step.
    pub memo: Arc<Memo>,
    pub open: Option<Open>,
    /// Components that `fault stop` held down before the lesson was opened, and still does.
    pub held: BTreeSet<String>,
    /// How the shell stands that the open step has broken.
    pub shell: Option<ShellState>,
    pub solving: bool,
    /// The lesson whose setup is being played, or that a question would set up.
    pub preparing: Option<String>,
    /// The line that the teacher plays, from 1, and how many lines there are.
    pub playing: Option<(usize, usize)>,
    /// The calendar and the kernel's clock when they were last looked at together.
    pub clocks: Option<(clock::Timestamp, Instant)>,
    /// Something was noted that is not kept yet.
    pub noted: bool,
    /// Why the file of an earlier sitting could not be read: it is left as it is, and nothing is
    /// kept.
    pub problem: Option<String>,
    /// When, and why, what there is to keep could not be written.
    pub unkept: Option<(Instant, String)>,
    /// The lesson of the last session that could not be opened again, and why.
    pub unresumed: Option<(String, cluster::Error)>,
    /// The lesson and the step above which the faults of the library are shown.
    pub told_faults: Option<(String, usize)>,
    /// The lesson that was opened last, and the step above which the notice about its clock stands.
    pub told_clock: Option<(String, usize)>,
}

/// What the world has to be asked after a judgement.
#[derive(Default)]
pub(crate) struct Needs {
    pub kinds: Vec<String>,
    pub probes: Vec<Probe>,
    /// Kinds whose objects at the step's beginning are not known.
    pub before: Vec<String>,
    /// When to judge again if nothing happens.
    pub wake: Option<Instant>,
}

impl Engine {
    /// An engine that has no lesson open, nothing noted, and sees nothing of the cluster yet.
    /// `path`: of the file that keeps the progress.
    pub(crate) fn new(library: Lazily<Library>, path: PathBuf, offers: Offers) -> Engine {
        Engine {
            library,
            has_packs: true,
            progress: Progress::default(),
            path,
            offers,
            observer: Observer::default(),
            unproven: Wanted::default(),
            before: HashMap::new(),
            asking_before: HashSet::new(),
            failed_before: HashMap::new(),
            lost_before: HashSet::new(),
            memo: Arc::default(),
            open: None,
            held: BTreeSet::new(),
            shell: None,
            solving: false,
            preparing: None,
            playing: None,
            clocks: None,
            noted: false,
            problem: None,
            unkept: None,
            unresumed: None,
            told_faults: None,
            told_clock: None,
        }
    }

    /// Notes that the faults of the library are shown above the open step, unless another one of
    /// this process has shown them.
    pub(crate) fn tell_faults(&mut self) {
        let Some(open) = self.open.as_ref().filter(|_| self.told_faults.is_none()) else { return };
        if !self.library.faults.is_empty() {
            self.told_faults = Some((open.lesson.id.clone(), open.step));
        }
    }

    /// Notes that the notice about the open lesson's clock stands above the open step: once a
    /// lesson, at the first step that is shown.
    pub(crate) fn tell_clock(&mut self) {
        let Some(open) = &self.open else { return };
        if self.told_clock.as_ref().is_none_or(|(lesson, _)| *lesson != open.lesson.id) {
            self.told_clock = Some((open.lesson.id.clone(), open.step));
        }
    }

    /// Returns whether the notice about the open lesson's clock stands above the open step.
    pub(crate) fn tells_clock(&self) -> bool {
        let Some(open) = &self.open else { return false };
        let is_open = |(lesson, step): &(String, usize)| (lesson, *step) == (&open.lesson.id, open.step);
        self.told_clock.as_ref().is_none_or(is_open)
    }

    /// The open lesson and its open step.
    pub(crate) fn current(&self) -> Option<(&Open, &Step)> {
        let open = self.open.as_ref()?;
        Some((open, open.lesson.steps.get(open.step)?))
    }

    /// The scale that the open lesson asks of the cluster's clock; `None`: none, or the cluster is
    /// not Ropewalk's. A lesson that is over asks for none: its last step is done, and is shown
    /// until the learner goes on.
    pub(crate) fn scale(&self) -> Option<u32> {
        let (open, step) = self.current()?;
        let is_last = open.step + 1 == open.lesson.steps.len();
        let over = is_last && self.state() != State::Open && !step.optional;
        (self.offers.own && open.lesson.clock != 1 && !over).then_some(open.lesson.clock)
    }

    /// The load that the open step declares, and which one it is; `None` where the nodes are not
    /// Ropewalk's.
    pub(crate) fn load(&self) -> Option<(Key, &Load)> {
        let (open, step) = self.current()?;
        let load = step.load.as_ref().filter(|_| self.offers.own)?;
        Some(((open.lesson.id.clone(), step.id.clone(), self.since_step()), load))
    }

    /// What the open step breaks in the learner's own shell.
    pub(crate) fn broken_shell(&self) -> Option<BrokenShell> {
        let (open, step) = self.current()?;
        BrokenShell::of(&open.lesson.id, step, self.since_step(), self.state())
    }

    /// Notes how a shell stands after a line. One that was broken for another step does not count.
    pub(crate) fn note_shell(&mut self, state: Option<ShellState>) {
        let wanted = self.broken_shell();
        if let Some(state) = state.filter(|state| wanted.is_some_and(|wanted| wanted.id == state.id)) {
            self.shell = Some(state);
        }
    }

    /// The open step's state.
    pub(crate) fn state(&self) -> State {
        let Some((open, step)) = self.current() else { return State::Open };
        if self.lacks(&open.lesson, step).is_some() {
            return State::Skipped;
        }
        self.progress.noted_step(&open.lesson.id, &step.id).map_or(State::Open, |p| p.state)
    }

    /// The first thing that a step needs and this cluster does not have.
    pub(crate) fn lacks(&self, lesson: &Lesson, step: &Step) -> Option<Need> {
        needs::lacks(&self.offers, &self.observer.recorder.scope, lesson, step)
    }

    /// What the proof of the prediction's answer would need.
    pub(crate) fn unproved(&self, step: &Step) -> Option<Need> {
        let because = step.predict.as_ref()?.because.as_ref().filter(|_| !self.offers.own)?;
        needs::of_expr(because).pop_first()
    }

    /// Moves to another scope: what was known of the old one is forgotten.
    pub(crate) fn move_to(&mut self, scope: LessonScope) {
        self.observer.move_to(scope);
        self.begin_step();
    }

    /// Another step begins, or the same one anew: what was found out about the last one is
    /// forgotten.
    pub(crate) fn begin_step(&mut self) {
        self.observer.answers.forget();
        self.before.clear();
        self.asking_before.clear();
        self.failed_before.clear();
        self.lost_before.clear();
        self.memo = Arc::default();
        self.shell = None;
    }

    /// Notes the step that is shown now. A new one begins; an old one goes on with what the tap,
    /// whose records these are, still has of it.
    pub(crate) fn take_up(&mut self, lesson: &str, step: &str, kept: &[Arc<tap::Record>]) {
        // The learner has opened one since.
        self.unresumed = None;
        self.progress.open = Some(lesson.into());
        self.progress.lesson(lesson).step = step.into();
        let noted = self.progress.step_again(lesson, step);
        // Read before it is filled in: where an older program noted no time, the revision counts.
        let (since, at): (i64, Option<clock::Timestamp>) = (noted.since, noted.at.parse().ok());
        if since == 0 || at.is_none() {
            noted.at = clock::rfc3339_nano(clock::now());
        }
        if since > 0 {
            self.observer.recorder.resume_step(kept, since, at);
        } else {
            noted.since = self.observer.recorder.revision;
            self.observer.recorder.begin_step();
        }
    }

    /// The revision at which the open step began.
    pub(crate) fn since_step(&self) -> i64 {
        self.current().map_or(0, |(open, step)| self.since_of(&open.lesson.id, &step.id))
    }

    /// The revision at which a step began; 0: it never did.
    pub(crate) fn since_of(&self, lesson: &str, step: &str) -> i64 {
        self.progress.noted_step(lesson, step).map_or(0, |s| s.since)
    }

    /// Returns whether what was done in a step is still there. A step that was done stays marked as
    /// done for good, but a jump to it, or to one before it, takes its objects back and opens its
    /// state again.
    pub(crate) fn stands(&self, lesson: &str, step: &str) -> bool {
        let state = self.progress.noted_step(lesson, step).map(|noted| noted.state);
        matches!(state, Some(State::Done | State::Solved))
    }

    /// Takes over the report of a watch.
    pub(crate) fn take_report(&mut self, report: Report) {
        self.observer.take_report(report, true);
    }

    /// A record of the tap.
    pub(crate) fn record(&mut self, record: &tap::Record) {
        self.observer.recorder.take_record(record, self.open.as_ref().map(|_| self.solving));
        self.note_made(record);
        let learners = record.request.as_ref().is_some_and(|r| {
            r.is_persons()
                && record.answer().is_some()
                && !matches!(r.verb.as_str(), "watch" | "get" | "list")
        });
        if learners {
            self.acted();
        }
    }

    /// Keeps account of what lessons have made: only that may be taken away again without a
    /// question.
    fn note_made(&mut self, record: &tap::Record) {
        let (Some(object), Some(request), Some(revision), Some(write)) =
            (&record.object, &record.request, record.revision, record.write())
        else {
            return;
        };
        let journey = write.journey.map(tap::Journey::to);
        if journey.is_none() && !write.created {
            return;
        }
        let resource = objects::resource(&object.resource, record.body.as_deref());
        let name = objects::key(&resource, &object.namespace, &object.name);
        if let Some(to) = journey {
            let open = self.open.as_ref().map(|open| open.lesson.id.as_str());
            // A lesson whose objects went is set up again when it is opened; the open one begins
            // its steps anew by itself.
            if let Some(lesson) = self.progress.note_journey(&name, to)
                && open != Some(lesson.as_str())
            {
                self.progress.anew(&lesson);
            }
        } else {
            let actor = tap::actor(&request.user, &request.impersonator);
            let by_lesson = actor == tap::TEACHER || request.is_persons();
            let open =
                self.preparing.clone().or_else(|| self.open.as_ref().map(|open| open.lesson.id.clone()));
            let lesson = open.filter(|_| by_lesson).and_then(|id| self.library.get(&id));
            // As the lesson calls it.
            let called = objects::key(
                &resource,
                self.observer.recorder.scope.lesson_name(&object.namespace),
                &object.name,
            );
            let lesson =
                lesson.filter(|lesson| objects::of_lesson(lesson).contains(&called)).map(|l| l.id.clone());
            if lesson.is_none() && !self.progress.is_made(&name) {
                return;
            }
            self.progress.note_made(&name, revision as i64, lesson.as_deref());
        }
        self.noted = true;
    }

    /// The learner did something: `within` begins anew.
    pub(crate) fn acted(&mut self) {
        if let Some(open) = &mut self.open {
            open.acted = Some(Instant::now());
            open.late = false;
        }
    }

    /// A snapshot for evaluations.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        let mut facts = self.observer.facts(STALE, self.memo.clone());
        facts.before = Some(self.before.clone());
        facts.lost_before.clone_from(&self.lost_before);
        if let Some((open, step)) = self.current() {
            facts.typed = open.typed.clone();
            facts.ran = open.ran.clone();
            facts.lines = open.lines;
            (facts.answer, facts.answered) = self.last_answer();
            facts.lesson_began = self.progress.lessons.get(&open.lesson.id).map_or(0, |l| l.began);
            let noted = self.progress.noted_step(&open.lesson.id, &step.id);
            facts.since_step = noted.map_or(0, |s| s.since);
            facts.step_at = noted.and_then(|s| s.at.parse().ok());
        }
        Arc::new(facts)
    }

    /// All kinds that the open lesson looks at.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let Some(open) = &self.open else { return vec![] };
        let mut all: Vec<String> =
            open.lesson.exprs().into_iter().flat_map(|e| e.kinds.iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The qualified plural of a kind's name.
pub(crate) fn qualified(kind: &str) -> Option<String> {
    super::cel::facts::kind(kind).map(kinds::Kind::qualified)
}
