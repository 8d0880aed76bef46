//! What the network answered, and which questions to it are out.
//!
//! A question is asked when an expression needs it, and again when its answer is too old to be
//! renewed by itself. On a busy machine the next answer takes its time: the one before it counts
//! until it comes. Example with answers that count for 2 s: `logs('d/web')` was answered at 0 s. At
//! 3 s the answer no longer counts. It is asked anew, and now counts again until the next one comes
//! or [`ASKING_MAX`] is over.

use crate::cel::Probe;
use crate::cel::facts::QUESTIONS_MAX;
use cel::Value;
use clock::Instant;
use std::collections::HashMap;
use std::time::Duration;

/// A question that is out for longer gets no answer any more: each has a limit of its own that is
/// shorter.
pub(crate) const ASKING_MAX: Duration = Duration::from_secs(20);

/// What the network answered: when it was asked, and when the answer came.
struct Answer {
    asked: Instant,
    came: Instant,
    value: Value,
}

/// The state of a question that an expression needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// It is out already, or [`QUESTIONS_MAX`] others are; then it is put when answers have come.
    Out,
    /// Its answer is young, and is to be renewed at this moment.
    Answered(Instant),
    /// It is noted as out, and the caller has to put it.
    Put,
}

/// Answers by their question, and the questions that are out.
#[derive(Default)]
pub(crate) struct Answers {
    given: HashMap<Probe, Answer>,
    /// Questions that are out, and since when.
    asking: HashMap<Probe, Instant>,
    /// Counts how often answers were forgotten: an answer to a question from before is ignored.
    era: u64,
}

impl Answers {
    /// Forgets answers and open questions: the learner has acted since they were asked, or they are
    /// about another scope. They are asked anew.
    pub(crate) fn forget(&mut self) {
        self.given.clear();
        self.asking.clear();
        self.era += 1;
    }

    /// The number that a question takes along, and that its answer has to bring back.
    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    /// Notes a question as out, unless it is, or too many are, or its answer is younger than
    /// `renew`.
    pub(crate) fn ask(&mut self, probe: &Probe, renew: Duration, now: Instant) -> Question {
        if self.is_asking(probe, now) {
            return Question::Out;
        }
        match self.given.get(probe) {
            Some(answer) if now.duration_since(answer.came) < renew => {
                Question::Answered(answer.came + renew)
            }
            _ if self.asking.len() >= QUESTIONS_MAX => Question::Out,
            _ => {
                self.asking.insert(probe.clone(), now);
                Question::Put
            }
        }
    }

    /// Takes an answer to a question of an era. `asked`: when it was really asked; `None`: when it
    /// was noted as out. False if the answer comes too late to count.
    pub(crate) fn take(&mut self, era: u64, probe: Probe, asked: Option<Instant>, value: Value) -> bool {
        if era != self.era {
            return false;
        }
        let came = Instant::now();
        let noted = self.asking.remove(&probe);
        let asked = asked.or(noted).unwrap_or(came);
        self.given.insert(probe, Answer { asked, came, value });
        true
    }

    /// The answers that count: those that came at most `stale` ago, and those that are being
    /// renewed.
    pub(crate) fn fresh(&self, stale: Duration) -> HashMap<Probe, Value> {
        let now = Instant::now();
        let counts = |probe: &Probe, answer: &Answer| {
            now.duration_since(answer.came) <= stale || self.is_asking(probe, now)
        };
        let fresh = self.given.iter().filter(|(probe, answer)| counts(probe, answer));
        fresh.map(|(probe, answer)| (probe.clone(), answer.value.clone())).collect()
    }

    /// Drops answers that came more than `kept` ago and are not being renewed, for example those
    /// about a pod that was replaced, and questions that get no answer any more.
    pub(crate) fn drop_old(&mut self, kept: Duration, now: Instant) {
        self.asking.retain(|_, since| now.duration_since(*since) <= ASKING_MAX);
        let asking = &self.asking;
        self.given
            .retain(|probe, answer| asking.contains_key(probe) || now.duration_since(answer.came) <= kept);
    }

    /// When the question was asked whose answer is known.
    pub(crate) fn asked(&self, probe: &Probe) -> Option<Instant> {
        self.given.get(probe).map(|answer| answer.asked)
    }

    /// When each question was asked whose answer is known.
    pub(crate) fn all_asked(&self) -> HashMap<Probe, Instant> {
        self.given.iter().map(|(probe, answer)| (probe.clone(), answer.asked)).collect()
    }

    /// True if a question is out whose answer may still come.
    pub(crate) fn is_asking(&self, probe: &Probe, now: Instant) -> bool {
        self.asking.get(probe).is_some_and(|since| now.duration_since(*since) <= ASKING_MAX)
    }

    /// True if any question is out.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.asking.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value;

    const STALE: Duration = Duration::from_secs(2);
    const RENEW: Duration = Duration::from_secs(1);
    const KEPT: Duration = Duration::from_secs(30);

    fn log(target: &str) -> Probe {
        Probe::Logs { target: target.into() }
    }

    /// The machine is busy, and the next answer takes longer than the last one may be old.
    #[tokio::test(start_paused = true)]
    async fn an_answer_counts_until_the_next_one_comes() {
        let mut answers = Answers::default();
        let probe = log("d/a");
        assert!(answers.take(0, probe.clone(), None, value::text("x")));
        let renewed = Instant::now() + RENEW;
        assert_eq!(answers.ask(&probe, RENEW, Instant::now()), Question::Answered(renewed));
        tokio::time::advance(STALE + Duration::from_millis(100)).await;
        assert!(answers.fresh(STALE).is_empty(), "no expression asks any more");
        assert_eq!(answers.ask(&probe, RENEW, Instant::now()), Question::Put);
        assert_eq!(answers.ask(&probe, RENEW, Instant::now()), Question::Out);
        assert!(answers.fresh(STALE).contains_key(&probe));
        tokio::time::advance(ASKING_MAX + Duration::from_millis(100)).await;
        assert!(answers.fresh(STALE).is_empty(), "the question has ended without an answer");
        assert_eq!(answers.ask(&probe, RENEW, Instant::now()), Question::Put, "it is asked anew");
    }

    /// A task asks every pod of a Deployment, which replaces them all night.
    #[tokio::test(start_paused = true)]
    async fn answers_about_pods_that_are_gone_are_dropped() {
        let mut answers = Answers::default();
        let probe = |n: u64| log(&format!("shop/web-{n}"));
        for n in 0..100 {
            answers.take(0, probe(n), None, value::text("x"));
            answers.drop_old(KEPT, Instant::now());
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert!(answers.given.len() <= 4, "{}", answers.given.len());
        assert!(answers.asked(&probe(99)).is_some());
        answers.ask(&probe(99), RENEW, Instant::now());
        tokio::time::advance(ASKING_MAX).await;
        answers.drop_old(KEPT, Instant::now());
        assert_eq!(answers.given.len(), 1, "the next answer is still to come");
        tokio::time::advance(KEPT).await;
        answers.drop_old(KEPT, Instant::now());
        assert!(answers.given.is_empty() && !answers.is_waiting());
    }

    /// A check asks for more than a process has connections for.
    #[test]
    fn no_more_questions_are_out_than_may_be() {
        let mut answers = Answers::default();
        let now = Instant::now();
        let ask = |answers: &mut Answers, n: usize| answers.ask(&log(&format!("d/{n}")), RENEW, now);
        for n in 0..QUESTIONS_MAX {
            assert_eq!(ask(&mut answers, n), Question::Put, "{n}");
        }
        assert_eq!(ask(&mut answers, QUESTIONS_MAX), Question::Out);
        assert!(answers.take(0, log("d/0"), None, value::text("x")));
        assert_eq!(ask(&mut answers, QUESTIONS_MAX), Question::Put, "an answer has come");
    }

    /// The learner acts while a question is on its way.
    #[test]
    fn a_late_answer_to_a_forgotten_question_does_not_count() {
        let mut answers = Answers::default();
        let now = Instant::now();
        answers.ask(&log("d/a"), RENEW, now);
        assert!(answers.take(0, log("d/b"), None, value::text("old")));
        answers.forget();
        assert!(!answers.is_waiting() && answers.fresh(STALE).is_empty());
        answers.ask(&log("d/a"), RENEW, now);
        assert!(!answers.take(0, log("d/a"), None, value::text("from before")));
        assert!(answers.is_asking(&log("d/a"), now) && answers.fresh(STALE).is_empty());
        assert!(answers.take(answers.era(), log("d/a"), None, value::text("new")));
        assert_eq!(answers.fresh(STALE)[&log("d/a")], value::text("new"));
        assert_eq!(answers.asked(&log("d/a")), Some(now));
    }
}
