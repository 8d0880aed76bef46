//! Commands of `lesson` that the cluster answers, which has the lesson that is open.

use crate::answer::print_answer;
use crate::args::Output;
use anyhow::anyhow;
use cluster::{Error, Place};
use lab::view::{Ask, LessonView, State};
use lang::charset::{print, println};
use std::path::Path;
use ui::connection::{self, Connection};
use ui::lesson::{self as front, PageStyle};
use ui::options::Options;
use ui::repl;
use ui::texts::{Lang, Say};

/// Asks a cluster about its lessons, for the time of one command.
pub(super) struct Client {
    pub place: Place,
    lang: Lang,
    /// With these, a session finds the same cluster.
    options: Options,
    /// Keeps a cluster that runs in this process.
    connection: Option<Connection>,
}

impl Client {
    /// Returns a client of one of Ropewalk's own clusters. It may not run.
    pub(super) fn on(place: Place, lang: Lang) -> Client {
        let options = Options { name: place.name.clone(), ..Options::default() };
        Client { place, lang, options, connection: None }
    }

    /// Returns a client of a foreign cluster. Its lessons live in the process that plays them: this
    /// one, unless another process does already.
    pub(super) async fn on_foreign(place: Place, kubeconfig: &Path, lang: Lang) -> anyhow::Result<Client> {
        let kubeconfig = Some(kubeconfig.to_path_buf());
        let options = Options { name: place.name.clone(), kubeconfig, ..Options::default() };
        let connection = connection::open(&options, place.clone(), lang).await?;
        Ok(Client { place, lang, options, connection: Some(connection) })
    }

    async fn view(&self, ask: Ask) -> Result<LessonView, Error> {
        front::view(&self.place, self.lang, ask).await
    }

    fn style(&self) -> PageStyle {
        PageStyle::for_output(self.lang)
    }

    /// Prints the open step as it stands; exit code 1 if no lesson is open.
    pub(super) async fn show(&self, output: Option<Output>) -> anyhow::Result<i32> {
        show(&self.view(Ask::Show).await?, &self.style(), output)
    }

    /// Judges the current step of the lesson `id`, else of the open one; exit code 0 if it is done.
    pub(super) async fn check(self, id: Option<String>, output: Option<Output>) -> anyhow::Result<i32> {
        let code = self.judge(id, output).await;
        self.close().await;
        code
    }

    /// Asks for the verdict on the current step, and prints it.
    async fn judge(&self, id: Option<String>, output: Option<Output>) -> anyhow::Result<i32> {
        let view = self.view(Ask::Check { id }).await.map_err(|e| anyhow!(e.say(self.lang)))?;
        print_answer(&view, output, |view| self.style().verdict(view))?;
        Ok(if matches!(view.state, State::Done | State::Solved) { 0 } else { 1 })
    }

    /// Plays the solution of the current step, with `all` of each step to the end.
    pub(super) async fn solve(mut self, id: Option<String>, all: bool) -> anyhow::Result<i32> {
        // A cluster that is started here has to outlive the session of each step.
        if all && self.connection.is_none() {
            let never = std::future::pending();
            self.connection =
                Some(connection::take(&self.options, self.place.clone(), self.lang, never).await?);
        }
        let code = self.play(id, all).await;
        self.close().await;
        code
    }

    /// Plays solutions through the REPL, as the learner would type them.
    async fn play(&self, mut id: Option<String>, all: bool) -> anyhow::Result<i32> {
        loop {
            // Without a cluster there is no view yet: the REPL starts one for a single step.
            let question = id.clone().map_or(Ask::Show, |id| Ask::Open { id });
            let view = self.view(question).await.ok();
            match view.filter(|v| all && v.state == State::Skipped) {
                Some(skipped) => print!("{}", self.style().verdict(&skipped)),
                None => {
                    let line = id.map_or("solve".into(), |id| format!("solve {id}"));
                    let options =
                        Options { lines: vec![line], lang: Some(self.lang), ..self.options.clone() };
                    let code = repl::run(options).await?;
                    if code != 0 || !all {
                        return Ok(code);
                    }
                }
            }
            let view = self.view(Ask::Show).await?;
            if view.step + 1 >= view.steps {
                return Ok(0);
            }
            self.view(Ask::Next).await.map_err(|e| anyhow!(e.say(self.lang)))?;
            id = None;
        }
    }

    /// Deletes the namespaces that lessons made on a foreign cluster, and names them.
    pub(super) async fn leave(&self) -> anyhow::Result<i32> {
        let lang = self.lang;
        let answer = front::ask(&self.place, lang, Ask::Leave { agreed: None }).await;
        let namespaces = answer.map_err(|e| anyhow!(e.say(lang)))?;
        let namespaces: Vec<String> = serde_json::from_value(namespaces)?;
        match namespaces.is_empty() {
            true => println!("{}", lang.say(Say::NoNamespaces, &[])),
            false => println!("{}", lang.say(Say::NamespacesDeleted, &[&namespaces.join(", ")])),
        }
        Ok(0)
    }

    /// Stops a cluster that was started for this command; one that ran before stays. For a foreign
    /// one, the user reads what stays on it.
    async fn close(self) {
        if let Some(connection) = self.connection {
            connection.leave(self.lang, false).await;
        }
    }
}

/// Prints a view of a lesson; exit code 1 if no lesson is open.
fn show(view: &LessonView, style: &PageStyle, output: Option<Output>) -> anyhow::Result<i32> {
    print_answer(view, output, |view| style.page(view))?;
    Ok(i32::from(view.id.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `lab show` and `drill show` do.
    #[test]
    fn a_lesson_that_is_not_open_is_not_shown_as_one() {
        let open = LessonView { id: "first-voyage/04".into(), ..LessonView::default() };
        let style = PageStyle::for_output;
        for output in [None, Some(Output::Json)] {
            assert_eq!(show(&LessonView::default(), &style(Lang::En), output).unwrap(), 1);
            assert_eq!(show(&open, &style(Lang::Ko), output).unwrap(), 0);
        }
    }
}
