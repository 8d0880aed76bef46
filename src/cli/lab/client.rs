//! Commands of `lab` that the cluster answers, which has the lab that is open.

use crate::answer::print_answer;
use crate::args::{Output, Report};
use crate::beside;
use anyhow::anyhow;
use cluster::Place;
use lab::graded::score;
use lab::graded::view::{Ask, GivenUp, Graded, LabView, Left, Plan, Played};
use lab::view::Elsewhere;
use lang::charset::{eprint, print, println};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use ui::lesson::PageStyle;
use ui::options::Options;
use ui::texts::{Lang, Say};
use ui::{consent, labs as front, repl, settings, terminal};

/// The variable that says whose grades these are, where the user's name does not.
const LEARNER: &str = "ROPEWALK_LEARNER";

/// How long a solution may take until it shows: pods are replaced, and nodes hear of them.
const TAKES_EFFECT: Duration = Duration::from_secs(30);

/// Asks a cluster about its labs, and prints the answers.
pub(super) struct Client<'a> {
    pub place: &'a Place,
    pub style: PageStyle,
}

impl Client<'_> {
    fn lang(&self) -> Lang {
        self.style.lang
    }

    /// Asks the cluster. An error is in the learner's language.
    async fn query<T: DeserializeOwned>(&self, ask: Ask) -> anyhow::Result<T> {
        let lang = self.lang();
        front::asked(self.place, lang, ask).await.map_err(|e| anyhow!(e.say(lang)))
    }

    /// `lab start`: asks before it ends another lab, then starts this one.
    pub(super) async fn start(
        &self,
        id: String,
        seed: Option<u64>,
        yes: bool,
        output: Option<Output>,
    ) -> anyhow::Result<i32> {
        // A session shows its texts: it has no JSON for a program that reads this command's output.
        if output.is_none()
            && let Some(there) = self.elsewhere(&id, seed).await
        {
            return beside::session(self.options_beside(), there, yes).await;
        }
        let plan: Plan = self.query(Ask::Plan { id: Some(id.clone()), seed }).await?;
        if !yes && !consent::ends_lab(self.lang(), &plan.ends, &plan.lost) {
            return Ok(1);
        }
        // What was listed is agreed to, and no more.
        let start = Ask::Start { id, seed: Some(plan.seed), agreed: (!yes).then_some(plan) };
        let view: LabView = self.query(start).await?;
        print_answer(&view, output, |v| front::page(&self.style, v))?;
        Ok(0)
    }

    /// Returns the cluster that a lab declares, if it is another than this one. A script reads in
    /// the refusal of `lab start` how to start that one: a session would end with the script's
    /// input, and the lab with the session.
    async fn elsewhere(&self, id: &str, seed: Option<u64>) -> Option<Elsewhere> {
        if !terminal::is_terminal() {
            return None;
        }
        let ask = Ask::Elsewhere { id: id.into(), seed };
        front::asked(self.place, self.lang(), ask).await.ok().flatten()
    }

    /// Returns the options of a session on the cluster that a lab declares. Within a session it is
    /// plain: the terminal is that session's, perhaps a pane of the interface.
    fn options_beside(&self) -> Options {
        let plain = std::env::var_os(settings::LANG_VARIABLE).is_some();
        Options { name: self.place.name.clone(), lang: Some(self.lang()), plain, ..Options::default() }
    }

    /// `lab check`: exit code 0 if all that can be seen without disturbing anything is right.
    pub(super) async fn check(
        &self,
        id: Option<String>,
        seed: Option<u64>,
        output: Option<Output>,
    ) -> anyhow::Result<i32> {
        let view: LabView = self.query(Ask::Check { id, seed }).await?;
        print_answer(&view, output, |v| front::tasks(&self.style, v))?;
        Ok(i32::from(!is_all_green(&view)))
    }

    /// `lab grade`: prints the grade, its record as JSON, or a line of CSV. Exit code 0 only for a
    /// full score.
    pub(super) async fn grade(
        &self,
        id: Option<String>,
        seed: Option<u64>,
        learner: Option<String>,
        output: Option<Report>,
    ) -> anyhow::Result<i32> {
        let learner = learner.unwrap_or_else(learner_here);
        let graded: Graded = self.query(Ask::Grade { id, seed, learner, parts: false }).await?;
        match output {
            Some(Report::Json) => std::println!("{}", serde_json::to_string_pretty(&graded.record)?),
            Some(Report::Csv) => std::print!("{}", score::csv(&graded.record)),
            None => {
                let view: LabView = self.query(Ask::Show).await?;
                print!("{}", front::grade(&self.style, &graded, &view));
            }
        }
        Ok(if graded.record["score"] == graded.record["max"] { 0 } else { 1 })
    }

    /// `lab hint`: prints the next hint.
    pub(super) async fn hint(&self, id: Option<String>) -> anyhow::Result<i32> {
        let view: LabView = self.query(Ask::Hint { id }).await?;
        print!("{}", front::hint(&self.style, &view));
        Ok(0)
    }

    /// `lab give-up`: shows the solution, after a question: the lab counts for nothing from then
    /// on.
    pub(super) async fn give_up(&self, id: Option<String>, yes: bool) -> anyhow::Result<i32> {
        let view: LabView = self.query(Ask::Show).await?;
        if !yes && !view.over && !view.id.is_empty() {
            eprint!("{}", front::gives_up(&self.style, &view.title));
            if !consent::agreed(self.lang()) {
                return Ok(1);
            }
        }
        // The lab that the question named, and no other one that was started meanwhile.
        let id = id.or_else(|| Some(view.id).filter(|id| !id.is_empty()));
        let solution: GivenUp = self.query(Ask::GiveUp { id }).await?;
        print!("{}", front::given_up(&self.style, &solution));
        Ok(0)
    }

    /// `lab leave`: ends the open lab, after a question that lists what is lost.
    pub(super) async fn leave(&self, id: Option<String>, yes: bool) -> anyhow::Result<i32> {
        let plan: Plan = self.query(Ask::Plan { id: None, seed: None }).await?;
        if !yes && !consent::ends_lab(self.lang(), &plan.ends, &plan.lost) {
            return Ok(1);
        }
        let left: Left = self.query(Ask::Leave { id, agreed: (!yes).then_some(plan) }).await?;
        print!("{}", front::left(&self.style, &left.title));
        if !left.note.is_empty() {
            println!("{}", left.note);
        }
        Ok(0)
    }

    /// `lab solve`: plays the solution through the REPL, as the learner would type it. Exit code 0
    /// if all is right then.
    pub(super) async fn solve(&self, id: Option<String>, seed: Option<u64>) -> anyhow::Result<i32> {
        let lang = self.lang();
        let played: Played = self.query(Ask::Solve { id, seed }).await?;
        for line in &played.lines {
            println!("{}", lang.say(Say::LessonPlays, &[line]));
        }
        let name = self.place.name.clone();
        let options = Options { name, lines: played.lines, lang: Some(lang), ..Options::default() };
        let ran = repl::run(options).await;
        let _: Value = self.query(Ask::Solved).await?; // else the learner's next acts count as the solution's
        let code = ran?;
        if code >= 128 {
            return Ok(code); // a signal: the process would not heed another one during the wait
        }
        let within_ms = TAKES_EFFECT.as_millis() as u64;
        let view: LabView = self.query(Ask::Await { within_ms }).await?;
        print!("{}", front::tasks(&self.style, &view));
        Ok(i32::from(!is_all_green(&view)))
    }
}

/// Returns the learner as the environment names them: [`LEARNER`], else the user's name.
fn learner_here() -> String {
    let named = std::env::var(LEARNER).ok().filter(|l| !l.is_empty());
    named.or_else(|| std::env::var("USER").ok()).unwrap_or_default()
}

/// True if every task is green whose checks disturb nothing, and there is such a task.
fn is_all_green(view: &LabView) -> bool {
    view.tasks.iter().all(|t| t.green != Some(false)) && view.tasks.iter().any(|t| t.green == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::graded::view::Task;

    /// A check that would disturb something has no verdict until the lab is graded.
    #[test]
    fn a_lab_is_right_if_nothing_that_can_be_seen_is_wrong() {
        let view = |green: &[Option<bool>]| {
            let task = |green: &Option<bool>| Task { green: *green, ..Task::default() };
            LabView { tasks: green.iter().map(task).collect(), ..LabView::default() }
        };
        assert!(is_all_green(&view(&[Some(true), None])));
        assert!(!is_all_green(&view(&[Some(true), Some(false)])));
        assert!(!is_all_green(&view(&[None])) && !is_all_green(&view(&[])), "nothing was seen to be right");
    }
}
