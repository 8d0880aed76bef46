//! The engine's state: the open lesson, what is known of the cluster, and what follows from both.
//! [`super::actor`] feeds it.

use super::cel::facts::{Line, Objects, Wanted};
use super::cel::{Facts, Memo, Probe};
use super::debrief;
use super::format::{EN, Lesson, Library, Step};
use super::given::{self, Given};
use super::in_room;
use super::judge::{self, Memory, Outcome};
use super::observe::answers::Question;
use super::observe::watch::{Then, Told};
use super::observe::{self, Observer};
use super::own;
use super::progress::Progress;
use super::reach::{self, Need};
use super::stuck::Tries;
use super::view::{Hint, State};
use super::words::Notice;
use api::kinds;
use cel::Value;
use clock::Instant;
use cluster::guest::{Offers, Room};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// How often an answer from the network is renewed, and when it is too old to count.
const RENEW: Duration = Duration::from_millis(900);
const STALE: Duration = Duration::from_secs(2);
/// The pause after the first failed question about a step's beginning is [`RENEW`]; it doubles up
/// to this value.
const FAILED_MAX: Duration = Duration::from_secs(30);
/// A debrief grows for this long after the step is done: the last hops may still be on their way.
const GROWS: Duration = Duration::from_secs(3);
/// Typed lines that hints see, and lines with their exit codes that checks see: the newest.
const TYPED_MAX: usize = 200;
/// Bytes that are kept of a line.
const LINE_MAX: usize = 4_096;

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

/// When a question that failed is asked again, and the pause before that.
pub(crate) struct Retry {
    pub at: Instant,
    pub pause: Duration,
}

/// Read when it is first asked for: most clusters never teach.
pub(crate) type Lazily<T> = LazyLock<Arc<T>, Box<dyn FnOnce() -> Arc<T> + Send>>;

pub(crate) struct Engine {
    pub library: Lazily<Library>,
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
    pub failed_before: HashMap<String, Retry>,
    /// Kinds whose objects at the step's beginning nobody has any more.
    pub lost_before: HashSet<String>,
    /// What evaluations have found out in this step.
    pub memo: Arc<Memo>,
    pub open: Option<Open>,
    pub solving: bool,
    /// The lesson whose setup is being played.
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
    pub unresumed: Option<(String, String)>,
}

/// Is a debrief worth more than the one that is kept? Also one of as many sentences: the hop of a
/// first choice, or a value, may have come only now.
fn says_more(kept: &[String], told: &[String]) -> bool {
    told.len() >= kept.len() && told != kept
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
            solving: false,
            preparing: None,
            playing: None,
            clocks: None,
            noted: false,
            problem: None,
            unkept: None,
            unresumed: None,
        }
    }

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

    /// The open step's state.
    pub(crate) fn state(&self) -> State {
        let Some((open, step)) = self.current() else { return State::Open };
        if self.lacks(&open.lesson, step).is_some() {
            return State::Skipped;
        }
        self.progress.look(&open.lesson.id, &step.id).map_or(State::Open, |p| p.state)
    }

    /// The first thing that a step needs and this cluster does not have.
    pub(crate) fn lacks(&self, lesson: &Lesson, step: &Step) -> Option<Need> {
        reach::lacks(&self.offers, &self.observer.recorder.room, lesson, step)
    }

    /// What the proof of the prediction's answer would need.
    pub(crate) fn unproved(&self, step: &Step) -> Option<Need> {
        let because = step.predict.as_ref()?.because.as_ref().filter(|_| !self.offers.own)?;
        reach::of_expr(because).pop_first()
    }

    /// Moves into another room: what was known of the old one is forgotten.
    pub(crate) fn move_to(&mut self, room: Room) {
        self.observer.move_to(room);
        self.begin_step();
    }

    /// Another step begins, or the same one anew: what was found out about the last one is
    /// forgotten.
    pub(crate) fn begin_step(&mut self) {
        self.before.clear();
        self.asking_before.clear();
        self.failed_before.clear();
        self.lost_before.clear();
        self.memo = Arc::default();
    }

    /// Notes the step that is shown now. A new one begins; an old one goes on with what the tap,
    /// whose records these are, still has of it.
    pub(crate) fn take_up(&mut self, lesson: &str, step: &str, kept: &[Arc<tap::Record>]) {
        // The learner has opened one since.
        self.unresumed = None;
        self.progress.open = Some(lesson.into());
        self.progress.lesson(lesson).step = step.into();
        let noted = self.progress.step(lesson, step);
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

    /// The objects of a kind when the open step began, as a server has answered. What it no longer
    /// has is taken from the history, if that reaches so far; what it refuses to tell is not in the
    /// history either. A question that failed is asked again, after a pause that grows.
    pub(crate) fn knew_before(&mut self, kind: &str, then: Then) {
        self.asking_before.remove(kind);
        let objects = match then {
            Then::Objects(objects) => objects,
            Then::Failed if self.is_ahead(self.since_step()) => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Failed => {
                let last = self.failed_before.get(kind).map(|last| last.pause);
                let pause = last.map_or(RENEW, |last| (last * 2).min(FAILED_MAX));
                self.failed_before.insert(kind.to_string(), Retry { at: Instant::now() + pause, pause });
                return;
            }
            Then::Refused => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Gone if !self.observer.recorder.reaches(self.since_step()) => {
                self.lost_before.insert(kind.to_string());
                return;
            }
            Then::Gone => {
                let plural = observe::plural(kind);
                self.observer.recorder.objects_at(plural, self.since_step())
            }
        };
        self.before.insert(kind.to_string(), Arc::new(objects));
    }

    /// Is a revision newer than everything that this cluster's store has told? Then the store was
    /// restored from a backup or replaced since the revision was noted. On a foreign cluster, and
    /// before the first record, that is not known.
    pub(crate) fn is_ahead(&self, revision: i64) -> bool {
        self.offers.own && (1..revision).contains(&self.observer.recorder.revision)
    }

    /// The revision at which the open step began.
    pub(crate) fn since_step(&self) -> i64 {
        self.current().map_or(0, |(open, step)| self.since_of(&open.lesson.id, &step.id))
    }

    /// The revision at which a step began; 0: it never did.
    pub(crate) fn since_of(&self, lesson: &str, step: &str) -> i64 {
        self.progress.look(lesson, step).map_or(0, |s| s.since)
    }

    /// A watch has told something.
    pub(crate) fn told(&mut self, told: Told) {
        self.observer.told(told, true);
    }

    /// A record of the tap.
    pub(crate) fn record(&mut self, record: &tap::Record) {
        self.observer.recorder.take(record, self.open.as_ref().map(|_| self.solving));
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
        let resource = own::resource(&object.resource, record.body.as_deref());
        let name = own::key(&resource, &object.namespace, &object.name);
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
            let called =
                own::key(&resource, self.observer.recorder.room.told(&object.namespace), &object.name);
            let lesson = lesson.filter(|lesson| own::names(lesson).contains(&called)).map(|l| l.id.clone());
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

    pub(crate) fn typed(&mut self, line: String) {
        self.acted();
        if let Some(open) = &mut self.open {
            let room = &self.observer.recorder.room;
            let solution = &open.lesson.steps[open.step].solution;
            // A session that plays the solution may end before it says that it is over.
            self.solving &= in_room::lines(solution, room).iter().any(|lines| {
                lines.trim() == line.trim() || lines.lines().any(|of_it| of_it.trim() == line.trim())
            });
            if open.typed.len() == TYPED_MAX {
                open.typed.remove(0);
            }
            open.typed.push(shortened(line));
            open.lines.0 += 1;
        }
    }

    /// Has the step a question that the learner has not answered?
    fn waits_for_guess(&self, lesson: &Lesson, step: &Step) -> bool {
        let noted = self.progress.look(&lesson.id, &step.id);
        step.predict.is_some() && noted.is_none_or(|noted| noted.predicted.is_none())
    }

    /// A line of the learner's has ended.
    pub(crate) fn ran(&mut self, line: String, code: i32) {
        self.acted();
        let waits = self.current().map(|(open, step)| self.waits_for_guess(&open.lesson, step));
        if let Some(open) = &mut self.open {
            if open.ran.len() == TYPED_MAX {
                open.ran.remove(0);
            }
            open.ran.push(Line { line: shortened(line), code, at: clock::now() });
            open.lines.1 += 1;
            // What the solution does is not tried, and nothing can be while the question waits.
            if waits == Some(false) && !self.solving {
                open.tries.count_command();
            }
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
            let noted = self.progress.look(&open.lesson.id, &step.id);
            facts.since_step = noted.map_or(0, |s| s.since);
            facts.step_at = noted.and_then(|s| s.at.parse().ok());
        }
        Arc::new(facts)
    }

    /// Was something noted that is not kept yet?
    fn take_noted(&mut self, now: Instant) -> bool {
        self.follow_calendar(clock::now(), now);
        std::mem::take(&mut self.noted)
    }

    /// Keeps the beginning of the open step from lying ahead: the calendar was set back since, and
    /// every line of a log would be older than the step. It goes back by as much as the calendar
    /// did, as far as that was seen.
    ///
    /// Example: a step is open since 12:00. At 12:10 the calendar is set back by an hour: it then
    /// began at 11:00, and a line of 11:10 is new.
    fn follow_calendar(&mut self, calendar: clock::Timestamp, kernel: Instant) {
        let seen = self.clocks.replace((calendar, kernel));
        let Some((open, step)) = self.current() else { return };
        let (lesson, step) = (open.lesson.id.clone(), step.id.clone());
        let noted = self.progress.look(&lesson, &step);
        let Some(at) = noted.and_then(|noted| noted.at.parse::<clock::Timestamp>().ok()) else { return };
        if at <= calendar {
            return;
        }
        let expected = seen.map_or(calendar, |(was, at)| clock::after(was, kernel.duration_since(at)));
        let back = expected.as_millisecond().saturating_sub(calendar.as_millisecond()).max(0);
        let began = clock::before(at, Duration::from_millis(back.unsigned_abs())).min(calendar);
        self.progress.step(&lesson, &step).at = clock::rfc3339_nano(began);
        self.noted = true;
    }

    /// Judges the open step, and says what is needed to judge it better. True if progress has to be
    /// saved.
    pub(crate) fn settle(&mut self) -> (Needs, bool) {
        let now = Instant::now();
        let mut needs = Needs::default();
        let noted = self.take_noted(now);
        let facts = self.facts();
        let state = self.state();
        let Some(open) = &mut self.open else { return (needs, noted) };
        let lesson = open.lesson.clone();
        let Some(step) = lesson.steps.get(open.step) else { return (needs, noted) };
        let mut save = noted;
        if state == State::Open {
            save |= given::confirm(step, &lesson.id, &facts, &mut open.given, &mut self.progress);
            let truths = judge::truths(&step.checks, &facts, &open.memory);
            let asked = facts.oldest_used(|probe| self.observer.answers.asked(probe));
            let held = open.memory.held.clone();
            open.outcome = judge::judge(&step.checks, step.hold, &truths, &mut open.memory, now);
            // One answer is a look. That something has held a question has to say that was asked
            // after it became true.
            let is_look = asked.zip(open.memory.since).is_some_and(|(asked, since)| asked < since);
            open.outcome.green &= step.hold.is_zero() || !is_look;
            let noted = self.progress.step(&lesson.id, &step.id);
            open.outcome.green &= step.answer.is_none() || noted.is_right;
            if open.memory.held != held {
                noted.held = open.memory.held.clone();
                save = true;
            }
            if open.outcome.green {
                noted.state = if noted.solve { State::Solved } else { State::Done };
                noted.done = true;
                open.done_at = Some(now);
                open.late = false;
                save = true;
            }
            let due = open.acted.map(|at| at + step.within);
            open.late |= due.is_some_and(|due| due <= now);
            needs.wake = earlier(open.outcome.wake, due.filter(|due| *due > now));
            let can_try = !noted.solve && (step.predict.is_none() || noted.predicted.is_some());
            // The last command may still take effect.
            let settles = due.is_some_and(|due| due > now);
            open.is_stuck = can_try && open.tries.offers_hint(&open.outcome, step.hold, settles, now);
            needs.wake = earlier(needs.wake, open.tries.due().filter(|due| can_try && *due > now));
        }
        look_for_loss(step, state, &facts, open);
        let seen = self.progress.look(&lesson.id, &step.id).map_or(&[][..], |p| &p.hints);
        // One that cannot be said by what is known is not promised.
        let can_be_said = |hint: &&super::format::Hint| render(hint, &lesson, &facts).is_some();
        open.hints_left = fitting(step, seen, &facts).into_iter().filter(can_be_said).count();
        open.is_stuck &= state == State::Open && open.hints_left > 0;
        let silent = open.hints.len() < seen.len();
        if let Some(at) = open.done_at {
            let over = now.duration_since(at) >= GROWS;
            save |= self.tell_debrief(&facts);
            match (over, &mut self.open) {
                (true, Some(open)) => open.done_at = None,
                _ => needs.wake = earlier(needs.wake, Some(at + GROWS)),
            }
        }
        if silent {
            self.recall_hints(&facts);
        }
        let mut wanted = facts.take_wanted();
        // From the first moment on: later the store may have forgotten that one.
        let open = (state == State::Open).then(|| step.kinds_before());
        wanted.before.extend(open.into_iter().flatten());
        self.see_to(wanted, now, &mut needs);
        let unproven = std::mem::take(&mut self.unproven);
        self.see_to(unproven, now, &mut needs);
        (needs, save)
    }

    /// Renders the debrief in every language; keeps it if it says more than before.
    fn tell_debrief(&mut self, facts: &Arc<Facts>) -> bool {
        let Some((open, step)) = self.current() else { return false };
        let (lesson, step) = (open.lesson.clone(), step.clone());
        let predicted = self.progress.look(&lesson.id, &step.id).and_then(|p| p.predicted.clone());
        let mut changed = false;
        for lang in &lesson.languages {
            let mut told = debrief::tell(&step, &self.library.beats, facts, predicted.as_deref(), lang);
            self.tell_answers(&lesson, &step, lang, &mut told);
            let kept = self.progress.step(&lesson.id, &step.id).debrief.entry(lang.clone()).or_default();
            if says_more(kept, &told) {
                *kept = told;
                changed = true;
            }
        }
        changed
    }

    /// Has the objects of a kind at the step's beginning asked for, unless they are known, are
    /// being asked for, may not be listed here, or the last question failed a moment ago.
    fn ask_before(&mut self, kind: String, now: Instant, needs: &mut Needs) {
        let Some(name) = qualified(&kind) else { return };
        let is_denied = self.observer.recorder.room.denied.contains(&name);
        if is_denied || self.before.contains_key(&name) || self.lost_before.contains(&name) {
            return;
        }
        match self.failed_before.get(&name).map(|failed| failed.at) {
            Some(again) if again > now => needs.wake = earlier(needs.wake, Some(again)),
            _ if self.asking_before.insert(name) => needs.before.push(kind),
            _ => {}
        }
    }

    fn see_to(&mut self, wanted: Wanted, now: Instant, needs: &mut Needs) {
        needs.kinds.extend(wanted.kinds);
        for kind in wanted.before {
            self.ask_before(kind, now, needs);
        }
        for probe in wanted.probes.into_iter().chain(wanted.used) {
            match self.observer.answers.ask(&probe, RENEW, now) {
                Question::Out => {}
                Question::Answered(renew) => needs.wake = earlier(needs.wake, Some(renew)),
                Question::Put => needs.probes.push(probe),
            }
        }
        self.observer.answers.drop_old(STALE * 2, now);
    }

    /// Shows the next hint: one that fits the state before one that fits always, lower tiers first.
    /// False if there is none.
    pub(crate) fn hint(&mut self) -> bool {
        let facts = self.facts();
        let Some((open, step)) = self.current() else { return false };
        let (lesson, step) = (open.lesson.clone(), step.clone());
        let seen = self.progress.step(&lesson.id, &step.id).hints.clone();
        let rendered = fitting(&step, &seen, &facts)
            .into_iter()
            .find_map(|hint| Some((hint.id.clone(), render(hint, &lesson, &facts)?)));
        let Some((id, said)) = rendered else { return false };
        self.progress.step(&lesson.id, &step.id).hints.push(id);
        if let Some(open) = &mut self.open {
            open.hints.push(said);
            open.tries.start_anew(Instant::now());
            open.is_stuck = false;
        }
        true
    }

    /// Hints of an earlier sitting, as they would be said by these facts. One that needs what
    /// nobody has told yet is missing, until `settle` looks again.
    pub(crate) fn recall_hints(&mut self, facts: &Arc<Facts>) {
        let Some((open, step)) = self.current() else { return };
        let ids = self.progress.look(&open.lesson.id, &step.id).map(|p| p.hints.clone()).unwrap_or_default();
        let find = |id: &String| {
            step.hints.iter().find(|h| h.id == *id).and_then(|h| render(h, &open.lesson, facts))
        };
        let hints = ids.iter().filter_map(find).collect();
        if let Some(open) = &mut self.open {
            open.hints = hints;
        }
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

/// Looks whether what has to stay true does, and whether the step can still succeed.
fn look_for_loss(step: &Step, state: State, facts: &Arc<Facts>, open: &mut Open) {
    if let Some(keep) = &step.keep {
        // What cannot be evaluated yet is not lost.
        match keep.is.value(facts, &[]) {
            Ok(Value::Bool(kept)) => open.lost = !kept,
            Ok(_) => open.lost = true,
            Err(_) => {}
        }
    }
    let is_lost = |lost: &super::format::Lost| lost.when.truth(facts);
    match step.lost.as_ref().filter(|_| state == State::Open).map(is_lost) {
        Some(None) => {}
        truth => open.is_hopeless = truth == Some(Some(true)),
    }
}

/// As much of a line as is kept.
fn shortened(mut line: String) -> String {
    let end = (0..=LINE_MAX.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
    line.truncate(end);
    line
}

/// The hints that would be shown now, in their order.
fn fitting<'a>(step: &'a Step, seen: &[String], facts: &Arc<Facts>) -> Vec<&'a super::format::Hint> {
    let fits =
        |h: &&super::format::Hint| !seen.contains(&h.id) && h.when.as_ref().is_none_or(|w| w.holds(facts));
    let mut all: Vec<_> = step.hints.iter().filter(fits).collect();
    all.sort_by_key(|h| (h.when.is_none(), h.tier));
    all
}

/// Renders a hint in the lesson's languages. A language whose text fails is left out, and its
/// readers see English; without English there is no hint.
fn render(hint: &super::format::Hint, lesson: &Lesson, facts: &Arc<Facts>) -> Option<BTreeMap<String, Hint>> {
    let mut said = BTreeMap::new();
    for lang in &lesson.languages {
        if let Some(say) = hint.say.get(lang).and_then(|text| text.render(facts, &[]).ok()) {
            said.insert(lang.clone(), Hint { tier: hint.tier, say });
        }
    }
    said.contains_key(EN).then_some(said)
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cel::facts::Object;
    use crate::cel::{Expr, Template, Use, value};
    use crate::observe::answers::ASKING_MAX;
    use crate::observe::recorder::Recorder;
    use crate::progress;
    use serde_json::json;
    use std::path::Path;
    use tap::{Event, Record, Write};

    /// An engine with the first lesson of the fixtures open, two hints of which were asked for in
    /// an earlier sitting.
    pub(crate) fn engine() -> Engine {
        let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
        let lesson = Arc::new(library.lessons[0].clone());
        let mut progress = Progress::default();
        progress.step(&lesson.id, "run").hints = vec!["help".into(), "pull".into()];
        let open = Open::new(lesson, 0, Memory::default());
        let offers = Offers { own: true, workers: 1, control_planes: 1 };
        let library: Lazily<Library> = LazyLock::new(Box::new(|| library.into()));
        Engine { progress, open: Some(open), ..Engine::new(library, PathBuf::new(), offers) }
    }

    #[test]
    fn how_far_a_setup_is_can_be_seen() {
        let mut engine = engine();
        let told = |engine: &Engine| engine.view("en").notices.iter().any(|n| n.contains("command 3 of 7"));
        assert!(!told(&engine));
        engine.playing = Some((3, 7));
        assert!(told(&engine));
        engine.open = None;
        assert!(told(&engine), "also before any lesson is open");
    }

    /// A pack's author has written one that would run for hours.
    #[test]
    fn an_expression_that_takes_too_long_is_told_and_the_engine_goes_on() {
        let mut engine = engine();
        let pods = "objects('Pod', '*')";
        let source = format!("{pods}.all(a, {pods}.all(b, {pods}.all(c, a.x + b.x == c.x)))");
        let pod = |n: i32| {
            let object = Object::new(json!({"kind": "Pod", "x": 0}));
            (("default".to_string(), format!("web-{n}")), object)
        };
        let objects = (0..1_000).map(pod).collect();
        engine.told(Told::list("pods", objects, 7));
        let open = engine.open.as_mut().unwrap();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        step.checks[0].is = Expr::compile(&source, Use::Check, &[]).unwrap();
        engine.settle();
        for (lang, words) in
            [("en", "An expression of step “Run it” cannot be evaluated"), ("ko", "“실행하기” 단계의 식")]
        {
            let notices = engine.view(lang).notices;
            let told = |n: &String| n.contains(words) && n.contains(&source[..40]);
            assert!(notices.iter().any(told), "{notices:?}");
        }
        let objects = (0..3).map(pod).collect();
        engine.told(Told::list("pods", objects, 8));
        engine.settle();
        assert!(engine.memo.stopped().is_empty(), "with fewer pods it has a value");
    }

    #[test]
    fn a_line_of_the_learners_own_is_no_solution_any_more() {
        let mut engine = engine();
        engine.solving = true;
        let line = engine.library.lessons[0].steps[0].solution[0].clone();
        engine.typed(line);
        assert!(engine.solving);
        engine.typed("kubectl get pods".into());
        assert!(!engine.solving, "the solution is over, although nobody said so");
    }

    /// `goto` of an early lesson takes away what a later one has made: that one is set up again,
    /// and what was once done stays done.
    #[test]
    fn a_way_back_beyond_a_lesson_has_it_set_up_again() {
        let mut engine = engine();
        let open = engine.open.as_ref().unwrap().lesson.id.clone();
        for lesson in ["t/12", open.as_str()] {
            engine.progress.lesson(lesson).set_up = true;
            *engine.progress.step(lesson, "a") =
                progress::Step { state: State::Done, done: true, since: 8, ..progress::Step::default() };
        }
        engine.progress.note_made("deployments.apps/default/web", 7, Some("t/12"));
        engine.progress.note_made("pods/default/own", 7, Some(&open));
        for (resource, name) in [("deployments", "web"), ("pods", "own")] {
            let write = Write { journey: Some(tap::Journey::Rewind(4)), ..Write::UPDATED };
            let record = Record::new(Event::Commit(write)).object(resource, "default", name);
            let mut record = record.revision(20);
            record.request = Some(tap::Request { user: tap::TEACHER.into(), ..Default::default() });
            engine.record(&record);
        }
        let noted = |lesson: &str| {
            let step = engine.progress.look(lesson, "a").unwrap();
            (engine.progress.lessons[lesson].set_up, step.state, step.done)
        };
        assert_eq!(noted("t/12"), (false, State::Open, true));
        assert_eq!(noted(&open), (true, State::Done, true), "the open one begins anew by itself");
    }

    /// A record of each request: at revision 5 that of the set-up, at 9 that of the learner.
    fn requests() -> Vec<Arc<Record>> {
        let of = |(id, revision): (&str, u64)| {
            let mut record = Record::new(Event::Commit(Write::UPDATED)).object("pods", "d", "p");
            record = record.revision(revision);
            record.request = Some(tap::Request { id: id.into(), ..Default::default() });
            Arc::new(record)
        };
        [("set-up", 5), ("made", 9)].into_iter().map(of).collect()
    }

    #[test]
    fn a_step_of_an_older_program_goes_on_with_what_came_after_its_revision() {
        let mut engine = engine();
        let id = engine.open.as_ref().unwrap().lesson.id.clone();
        engine.progress.step(&id, "run").since = 5;
        engine.take_up(&id, "run", &requests());
        let noted = engine.progress.look(&id, "run").unwrap();
        assert!(noted.since == 5 && !noted.at.is_empty(), "what logs say is new from now on");
        let told: Vec<&str> =
            engine.observer.recorder.trace.iter().map(|record| value::str_field(record, "request")).collect();
        assert_eq!(told, ["made"]);
    }

    /// The learner opens the lesson that could not go on after the restart, and leaves it.
    #[test]
    fn a_lesson_that_could_not_go_on_is_told_until_one_is_opened() {
        let mut engine = engine();
        let lesson = engine.open.take().unwrap().lesson;
        engine.unresumed = Some((lesson.id.clone(), "the server does not answer".into()));
        let told = |engine: &Engine| engine.view("en").notices.iter().any(|n| n.contains("does not answer"));
        assert!(told(&engine));
        engine.take_up(&lesson.id, "run", &[]);
        assert!(!told(&engine), "none is open again");
    }

    /// Of `a | b` the second is told as long as the hop of the first is on its way.
    #[test]
    fn a_debrief_keeps_its_first_choice_when_that_comes() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert!(says_more(&[], &lines("b")) && says_more(&lines("b"), &lines("a")));
        assert!(says_more(&lines("a"), &lines("a c")));
        assert!(!says_more(&lines("a c"), &lines("a")), "what a restart forgot stays told");
        assert!(!says_more(&lines("a"), &lines("a")), "nothing to write down");
    }

    /// The machine is busy, and the next answer takes longer than the last one may be old.
    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_until_the_next_one_comes() {
        let mut engine = engine();
        let probe = Probe::Logs { target: "d/a".into() };
        engine.observer.answers.take(0, probe.clone(), None, value::text("x"));
        tokio::time::advance(STALE + Duration::from_millis(100)).await;
        assert!(engine.facts().answers.is_empty(), "nobody asks any more");
        engine.observer.answers.ask(&probe, RENEW, Instant::now());
        assert!(engine.facts().answers.contains_key(&probe));
        tokio::time::advance(ASKING_MAX + Duration::from_millis(100)).await;
        assert!(engine.facts().answers.is_empty(), "whatever was asked has ended without an answer");
        let mut needs = Needs::default();
        let wanted = Wanted { probes: [probe.clone()].into(), ..Wanted::default() };
        engine.see_to(wanted, Instant::now(), &mut needs);
        assert_eq!(needs.probes, [probe], "it is asked anew");
    }

    /// The learner acts, or goes elsewhere, while a question is on its way.
    #[test]
    fn what_is_forgotten_is_asked_anew_and_its_late_answer_does_not_count() {
        let log = |target: &str| Probe::Logs { target: target.into() };
        let ways: [fn(&mut Engine); 2] =
            [|engine| engine.observer.answers.forget(), |engine| engine.move_to(Room::default())];
        for forget in ways {
            let mut engine = engine();
            engine.observer.answers.ask(&log("d/a"), RENEW, Instant::now());
            assert!(engine.observer.answers.take(0, log("d/b"), None, value::text("old")));
            forget(&mut engine);
            assert!(!engine.observer.answers.is_waiting() && engine.facts().answers.is_empty());
            engine.observer.answers.ask(&log("d/a"), RENEW, Instant::now());
            assert!(!engine.observer.answers.take(0, log("d/a"), None, value::text("from before")));
            assert!(
                engine.observer.answers.is_asking(&log("d/a"), Instant::now())
                    && engine.facts().answers.is_empty()
            );
            assert!(engine.observer.answers.take(
                engine.observer.answers.era(),
                log("d/a"),
                None,
                value::text("new")
            ));
            assert_eq!(engine.facts().answers[&log("d/a")], value::text("new"));
        }
    }

    /// A step that has to hold for a second: one look says nothing, and a question from before the
    /// step was green says nothing of the time after.
    #[tokio::test(start_paused = true)]
    async fn what_has_to_hold_is_looked_at_again() {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        let is = Expr::compile("logs('d/a') == 'x'", Use::Check, &[]).unwrap();
        step.checks.truncate(1);
        step.checks[0].is = is;
        (step.hold, step.keep) = (Duration::from_secs(1), None);
        let log = Probe::Logs { target: "d/a".into() };
        let answer = || value::text("2026-11-22T16:00:10Z x");
        let ms = |ms| tokio::time::advance(Duration::from_millis(ms));
        engine.settle();
        assert!(engine.observer.answers.is_asking(&log, Instant::now()), "it is asked");
        ms(10).await;
        engine.observer.answers.take(0, log.clone(), None, answer());
        engine.settle();
        ms(1_000).await;
        engine.settle(); // asks again: the answer is older than it may be
        let is_green = |engine: &Engine| engine.open.as_ref().unwrap().outcome.green;
        assert!(
            engine.observer.answers.is_asking(&log, Instant::now()) && !is_green(&engine),
            "a single look"
        );
        // The machine is slow, and the first answer counts until the second one is there.
        ms(3_000).await;
        engine.settle();
        assert!(!is_green(&engine));
        engine.observer.answers.take(0, log, None, answer());
        engine.settle();
        assert!(is_green(&engine), "two answers, the second to a question that was asked while it held");
    }

    /// An engine in a step that began at a revision and whose only check compares with then.
    fn compares_with_the_beginning(since: i64) -> Engine {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let id = open.lesson.id.clone();
        let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
        step.checks.truncate(1);
        step.checks[0].is =
            Expr::compile("get(before('Pod','d','a'), 'spec.nodeName', 'none') == 'none'", Use::Check, &[])
                .unwrap();
        engine.progress.step(&id, "run").since = since;
        engine.observer.recorder.revision = since;
        engine.told(Told::list("pods", BTreeMap::new(), since));
        engine
    }

    /// The API server does not answer at the moment of the question: that is no answer, neither for
    /// a yes nor for ever.
    #[tokio::test(start_paused = true)]
    async fn a_question_about_the_beginning_that_failed_is_asked_again() {
        let mut engine = compares_with_the_beginning(7);
        assert_eq!(engine.settle().0.before, ["Pod"]);
        engine.knew_before("pods", Then::Failed);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && needs.wake.is_some(), "not at once");
        assert!(!engine.open.as_ref().unwrap().outcome.green);
        tokio::time::advance(RENEW).await;
        assert_eq!(engine.settle().0.before, ["Pod"]);
        // A server that goes on failing is asked less and less often.
        for n in 1..10 {
            engine.knew_before("pods", Then::Failed);
            let pause = (RENEW * 2_u32.pow(n)).min(FAILED_MAX);
            tokio::time::advance(pause - Duration::from_millis(1)).await;
            assert!(engine.settle().0.before.is_empty(), "after {n} failures");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(engine.settle().0.before, ["Pod"]);
        }
        let pod = Object::new(json!({"kind": "Pod", "spec": {"nodeName": "n1"}}));
        engine.knew_before("pods", Then::Objects([(("d".into(), "a".into()), pod)].into()));
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && !engine.open.as_ref().unwrap().outcome.verdicts.is_empty());
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0), "it had a node");
    }

    /// The store was restored from a backup. Its API server answers that it is not that far yet.
    #[test]
    fn a_beginning_that_the_store_is_not_at_any_more_is_lost() {
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder = Recorder::default();
        engine.observer.recorder.take(&Record::new(Event::Commit(Write::UPDATED)).revision(4), None);
        engine.settle();
        engine.knew_before("pods", Then::Failed);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty() && needs.wake.is_none());
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0));
        assert!(engine.view("en").notices.iter().any(|n| n.contains("no longer kept")));
        engine.begin_step();
        engine.settle();
        engine.knew_before("pods", Then::Gone);
        assert!(engine.lost_before.contains("pods"), "the history is of another past");
    }

    /// A foreign server is not asked again for what it refuses, for what the user may not list, or
    /// for a step that is not judged.
    #[test]
    fn a_beginning_that_cannot_be_had_or_is_not_needed_is_not_asked_for() {
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.take(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        assert_eq!(engine.settle().0.before, ["Pod"]);
        engine.knew_before("pods", Then::Refused);
        assert!(engine.settle().0.before.is_empty());
        let outcome = |engine: &Engine| engine.open.as_ref().unwrap().outcome.unmet;
        assert_eq!(outcome(&engine), Some(0), "what was not told is not what was not there");

        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.room.denied = ["pods".to_string()].into();
        let mut needs = engine.settle().0;
        let wanted = Wanted { before: ["Pod".to_string()].into(), ..Wanted::default() };
        engine.see_to(wanted, Instant::now(), &mut needs);
        assert!(needs.before.is_empty() && needs.wake.is_none());

        let mut engine = compares_with_the_beginning(9);
        let id = engine.open.as_ref().unwrap().lesson.id.clone();
        engine.progress.step(&id, "run").state = State::Done;
        assert!(engine.settle().0.before.is_empty());
    }

    /// The program was restarted and the store has forgotten the step's beginning: an object that
    /// nobody remembers is not one that was not there.
    #[test]
    fn a_beginning_that_nobody_knows_is_neither_green_nor_unsaid() {
        let mut engine = compares_with_the_beginning(7);
        engine.settle();
        engine.observer.recorder.take(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        engine.knew_before("pods", Then::Gone);
        let (needs, _) = engine.settle();
        assert!(needs.before.is_empty(), "it is gone for good");
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, Some(0));
        for (lang, words) in [("en", "no longer kept"), ("ko", "더 이상 보관되어 있지 않아")] {
            let notices = engine.view(lang).notices;
            assert!(notices.iter().any(|n| n.contains(words) && n.contains("`goto 1`")), "{notices:?}");
        }
        // A program that has seen the step begin knows what was there.
        let mut engine = compares_with_the_beginning(9);
        engine.observer.recorder.take(&Record::new(Event::Commit(Write::UPDATED)).revision(9), None);
        engine.knew_before("pods", Then::Gone);
        engine.settle();
        assert_eq!(engine.open.as_ref().unwrap().outcome.unmet, None);
    }

    /// A crash-looping pod was left alone overnight.
    #[test]
    fn a_history_with_a_gap_is_said_to_have_one() {
        let mut engine = compares_with_the_beginning(7);
        let open = engine.open.as_mut().unwrap();
        let source = "history('Pod','d','a').exists(h, h.verb == 'DELETED')";
        Arc::make_mut(&mut open.lesson).steps[0].checks[0].is =
            Expr::compile(source, Use::Check, &[]).unwrap();
        let told = |engine: &Engine| engine.view("en").notices.iter().any(|n| n.contains("`goto 1`"));
        engine.observer.recorder.keep_from(7, 7);
        engine.settle();
        assert!(!told(&engine));
        let key = ("pods".to_string(), "d".to_string(), "a".to_string());
        Arc::make_mut(&mut engine.observer.recorder.forgotten).note(key, 9, 0);
        engine.memo = Arc::default(); // nobody has looked before
        engine.settle();
        assert!(told(&engine));
        engine.observer.recorder.keep_from(12, 12); // `goto run` begins the step anew
        engine.settle();
        assert!(!told(&engine));
    }

    /// Also where the log is first read after the learner has acted, and after a restart of the
    /// program.
    #[test]
    fn what_a_log_said_before_the_step_began_is_not_new() {
        let mut engine = engine();
        let lesson = engine.open.as_ref().unwrap().lesson.id.clone();
        engine.progress.step(&lesson, "run").at = "2026-11-22T16:00:09.000000000Z".into();
        engine.typed("curl localhost:30080".into());
        let log = "2026-11-22T16:00:08Z old line\n2026-11-22T16:00:10Z new line\n";
        engine.observer.answers.take(0, Probe::Logs { target: "d/web".into() }, None, value::text(log));
        let is = |source: &str| Expr::compile(source, Use::Check, &[]).unwrap().holds(&engine.facts());
        assert!(is("new_logs('d/web').contains('new') && !new_logs('d/web').contains('old')"));
    }

    /// A virtual machine has woken up, and its time is set by the network.
    #[test]
    fn a_calendar_that_is_set_back_makes_no_line_old() {
        let time = |text: &str| text.parse::<clock::Timestamp>().unwrap();
        let began = |seen: Option<(&str, u64)>, now: &str| {
            let mut engine = engine();
            let lesson = engine.open.as_ref().unwrap().lesson.id.clone();
            engine.progress.step(&lesson, "run").at = "2026-11-22T12:00:00.000000000Z".into();
            let kernel = Instant::now();
            if let Some((seen, _)) = seen {
                engine.follow_calendar(time(seen), kernel);
            }
            let later = Duration::from_secs(seen.map_or(0, |(_, later)| later));
            engine.follow_calendar(time(now), kernel + later);
            let log = "2026-11-22T11:10:30Z new line\n";
            engine.observer.answers.take(0, Probe::Logs { target: "d/web".into() }, None, value::text(log));
            let is_new = Expr::compile("new_logs('d/web').contains('new')", Use::Check, &[]).unwrap();
            let noted = engine.progress.step(&lesson, "run").at.clone();
            (time(&noted), engine.noted, is_new.holds(&engine.facts()))
        };
        let set_back = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T11:11:00Z");
        assert_eq!(set_back, (time("2026-11-22T11:00:00Z"), true, true));
        let by_another_process = began(None, "2026-11-22T11:10:00Z");
        assert_eq!(by_another_process, (time("2026-11-22T11:10:00Z"), true, true));
        let untouched = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T12:11:00Z");
        assert_eq!(untouched, (time("2026-11-22T12:00:00Z"), false, false));
        let still_after = began(Some(("2026-11-22T12:10:00Z", 60)), "2026-11-22T12:05:00Z");
        assert_eq!(still_after.0, time("2026-11-22T12:00:00Z"), "lines are still newer than the step");
    }

    /// A step that is done is judged no more, and so no check asks for what proves its prediction's
    /// answer.
    #[test]
    fn what_a_proof_lacks_is_asked_for() {
        let mut engine = engine();
        let open = engine.open.as_mut().unwrap();
        let id = open.lesson.id.clone();
        let because = Expr::compile("logs('d/web').contains('GET')", Use::Check, &[]).unwrap();
        Arc::make_mut(&mut open.lesson).steps[0].predict.as_mut().unwrap().because = Some(because);
        engine.progress.step(&id, "run").state = State::Done;
        let log = Probe::Logs { target: "d/web".into() };
        assert_eq!(engine.proof().because, Some(false));
        assert_eq!(engine.settle().0.probes, std::slice::from_ref(&log));
        engine.observer.answers.take(0, log, None, value::text("2026-11-22T16:00:10Z GET /\n"));
        assert_eq!(engine.proof().because, Some(true));
    }

    /// `web` of another kind, group or namespace is not what the lesson is about, and is never
    /// taken away without a question.
    #[test]
    fn what_a_lesson_made_is_known_by_group_kind_namespace_and_name() {
        let mut engine = engine();
        let mut make = |resource: &str, version: &str, namespace: &str| {
            let body =
                json!({"apiVersion": version, "metadata": {"namespace": namespace, "name": "nginx-pod"}});
            let record = Record::new(Event::Commit(Write::CREATED)).object(resource, namespace, "nginx-pod");
            let mut record = record.revision(7);
            record.body = Some(body.to_string().into());
            record.request = Some(tap::Request { user: "learner".into(), ..Default::default() });
            engine.note_made(&record);
        };
        make("configmaps", "v1", "default");
        make("pods", "v1", "shop");
        make("pods", "example.com/v1", "default");
        make("pods", "v1", "default");
        let made: Vec<&String> = engine.progress.lessons.values().flat_map(|l| l.made.keys()).collect();
        assert_eq!(made, ["pods/default/nginx-pod"]);
    }

    #[test]
    fn a_hint_of_an_earlier_sitting_is_said_again_as_soon_as_it_can_be() {
        let mut engine = engine();
        let said = |engine: &Engine| -> Vec<String> {
            let hints = &engine.open.as_ref().unwrap().hints;
            hints.iter().map(|h| h["en"].say.clone()).collect()
        };
        engine.settle();
        assert_eq!(said(&engine).len(), 1, "no watch has told of the pod yet");
        let pod = json!({"kind": "Pod", "metadata": {"name": "nginx-pod", "namespace": "default"},
            "spec": {"containers": [{"image": "ngnix"}]}});
        let key = ("default".to_string(), "nginx-pod".to_string());
        let objects = [(key, Object::new(pod))].into();
        engine.told(Told::list("pods", objects, 7));
        engine.settle();
        let said = said(&engine);
        assert!(said.len() == 2 && said[1].contains("There is no image ngnix"), "{said:?}");
    }

    /// A text that cannot be said as long as there is no such Pod.
    fn unsayable() -> Template {
        Template::compile(r#"${object("Pod", "default", "none").spec.nodeName}"#, Use::Hint, &[]).unwrap()
    }

    #[test]
    fn a_hint_that_cannot_be_said_is_not_promised() {
        let mut engine = engine();
        engine.progress = Progress::default();
        engine.settle();
        let promised = |engine: &Engine| engine.open.as_ref().map(|open| open.hints_left);
        let before = promised(&engine);
        let mut lesson = engine.library.lessons[0].clone();
        let mut hint = lesson.steps[0].hints[0].clone();
        (hint.id, hint.when) = ("unsayable".into(), None);
        hint.say.put(EN, unsayable());
        lesson.languages = vec![EN.into()];
        lesson.steps[0].hints.push(hint);
        engine.open = Some(Open::new(Arc::new(lesson), 0, Memory::default()));
        engine.settle();
        assert_eq!(promised(&engine), before);
    }

    #[test]
    fn a_hint_whose_translation_fails_is_said_in_english() {
        let engine = engine();
        let mut lesson = engine.library.lessons[0].clone();
        lesson.languages = vec![EN.into(), "xx".into()];
        let facts = engine.facts();
        let hints = || lesson.steps.iter().flat_map(|step| &step.hints);
        let mut hint = hints().find(|hint| render(hint, &lesson, &facts).is_some()).unwrap().clone();
        hint.say.put("xx", unsayable());
        let said = render(&hint, &lesson, &facts).unwrap();
        assert!(said.contains_key(EN) && !said.contains_key("xx"));
        hint.say.put(EN, unsayable());
        assert!(render(&hint, &lesson, &facts).is_none());
    }

    #[test]
    fn an_optional_step_leaves_no_lesson_unfinished() {
        let mut engine = engine();
        let library = Arc::make_mut(&mut engine.library);
        library.lessons.truncate(1);
        let (id, steps) = {
            let lesson = &mut library.lessons[0];
            lesson.steps[0].optional = true;
            (lesson.id.clone(), lesson.steps.iter().skip(1).map(|s| s.id.clone()).collect::<Vec<_>>())
        };
        for step in steps {
            engine.progress.step(&id, &step).done = true;
        }
        assert_eq!(engine.unfinished(), None);
        Arc::make_mut(&mut engine.library).lessons[0].steps[0].optional = false;
        assert_eq!(engine.unfinished(), Some(id));
    }

    #[test]
    fn a_lesson_has_its_own_clock_while_it_is_open_and_says_so() {
        let mut engine = engine();
        Arc::make_mut(&mut engine.library).faults.clear(); // its notice would be the first one
        assert_eq!((engine.scale(), engine.view(EN).notices), (None, vec![]));
        let lesson = Arc::make_mut(&mut engine.open.as_mut().unwrap().lesson);
        lesson.clock = 20;
        let (id, last) = (lesson.id.clone(), lesson.steps.len() - 1);
        let step = lesson.steps[last].id.clone();
        assert_eq!(engine.scale(), Some(20));
        for (lang, words) in [(EN, "5 minutes take 15 seconds"), ("ko", "5분이 15초")] {
            let notices = engine.view(lang).notices;
            assert!(notices[0].contains("20") && notices[0].contains(words), "{notices:?}");
        }
        engine.offers.own = false;
        assert_eq!((engine.scale(), engine.view(EN).clock), (None, None));
        assert!(engine.view(EN).notices[0].contains("real time"), "another's cluster has its own clock");
        engine.offers.own = true;
        engine.open.as_mut().unwrap().step = last;
        assert_eq!(engine.scale(), Some(20));
        engine.progress.step(&id, &step).state = State::Done;
        assert_eq!(engine.scale(), None, "the lesson is over");
        engine.open = None;
        assert_eq!(engine.scale(), None);
    }
}
