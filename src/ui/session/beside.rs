//! Lessons and labs that declare another cluster than this one: they are offered, begun beside it,
//! and left.

use super::lessons::Unanswered;
use super::{Manner, Session};
use crate::dialect::quote;
use crate::texts::Say;
use crate::{beside, labs, settings};
use cluster::Error;
use lab::graded::view::Ask as LabAsk;
use lab::view::{Ask, Elsewhere, LessonView};
use lang::charset::println;

impl Session {
    /// Opens a lesson. For one that declares another cluster a session on that begins, if the
    /// learner wants it.
    pub(crate) fn open_lesson(&mut self, id: String, sure: bool) -> i32 {
        let ask = Ask::Open { id: id.clone() };
        self.open_here_or_beside(id, ask, sure)
    }

    /// Runs `next`. After the last step of a lesson that declares a cluster, the session goes back
    /// to the learner's own cluster.
    pub(super) fn go_on(&mut self, sure: bool) -> i32 {
        if beside::is_declared(&self.place) && self.lesson_is_over() {
            return self.go_home();
        }
        self.open_here_or_beside(String::new(), Ask::Next, sure)
    }

    fn lesson_is_over(&mut self) -> bool {
        let view = self.ask(Ask::Show).ok().and_then(|view| serde_json::from_value::<LessonView>(view).ok());
        view.is_some_and(|view| view.is_at_the_end())
    }

    fn open_here_or_beside(&mut self, id: String, ask: Ask, sure: bool) -> i32 {
        if self.manner != Manner::Terminal || !self.check_alive() {
            return self.ask_with_consent(ask, sure);
        }
        let asked = match self.ask(Ask::Elsewhere { id }) {
            Ok(asked) => serde_json::from_value::<Option<Elsewhere>>(asked).ok().flatten(),
            Err(why @ Unanswered::Cut) => return self.unanswered(&why),
            Err(Unanswered::Refused(_)) => None, // the question itself says what is wrong
        };
        match asked {
            Some(there) => self.begin_beside(&there, sure),
            None => self.ask_with_consent(ask, sure),
        }
    }

    /// Begins a lab on the cluster that it declares. `None`: the line starts no lab, the lab
    /// declares no cluster, or no person is at a terminal. `args`: the words behind `ropewalk`.
    pub(super) fn lab_beside(&mut self, args: &[String]) -> Option<i32> {
        let (id, seed, sure) = started_lab(args, &self.place.name)?;
        if self.manner != Manner::Terminal {
            return None;
        }
        let (place, lang) = (self.place.clone(), self.lang());
        let ask = LabAsk::Elsewhere { id, seed };
        let asked = async { labs::asked::<Option<Elsewhere>>(&place, lang, ask).await };
        match self.await_answer(asked) {
            Ok(there) => there.map(|there| self.begin_beside(&there, sure)),
            Err(why @ Unanswered::Cut) => Some(self.unanswered(&why)),
            Err(Unanswered::Refused(_)) => None, // the line itself says what is wrong
        }
    }

    /// Begins a lesson or lab on the cluster that it declares: in the interface, which asks first
    /// and moves there, or as a session in the foreground of this session's shell, whose end leads
    /// back here.
    fn begin_beside(&mut self, there: &Elsewhere, sure: bool) -> i32 {
        if self.frame.is_some() {
            let seed = there.seed.map_or("-".to_string(), |seed| seed.to_string());
            let kind = if there.lab { "lab" } else { "lesson" };
            self.tell_frame(&["beside", kind, &there.id, &seed]);
            return 0;
        }
        if !sure {
            let place = self.place.clone();
            let measured = async { Ok::<_, Error>(beside::megabytes(&place, &there.cluster).await) };
            let megabytes = match self.await_answer(measured) {
                Ok(megabytes) => megabytes,
                Err(why) => return self.unanswered(&why),
            };
            println!("{}", beside::offer(self.lang(), there, megabytes, &self.place.name));
            match self.agrees() {
                Ok(true) => {}
                Ok(false) => return 1,
                Err(why) => return self.unanswered(&why),
            }
        }
        let line = self.with_session(session_beside(there, &self.place.name));
        let before = settings::saved(&self.place.home);
        let code = self.in_shell(&line);
        self.take_saved_language(before);
        code
    }

    /// Runs `lesson leave`, which goes back to the learner's own cluster. Returns the exit code.
    pub(super) fn leave_lesson(&mut self) -> i32 {
        if beside::is_declared(&self.place) {
            return self.go_home();
        }
        self.complain(&self.say(self.why_none_to_leave(), &[]), None, None);
        1
    }

    /// Says what `lesson leave` answers on a cluster that was not started for a lesson or lab. On a
    /// foreign one the answer tells how the namespaces of lessons are deleted.
    fn why_none_to_leave(&self) -> Say {
        match self.place.foreign().exists() {
            true => Say::BesideForeign,
            false => Say::BesideNone,
        }
    }

    /// Leaves a declared cluster after a line `lab leave` that has worked.
    pub(super) fn after_lab(&mut self, args: &[String], code: i32) {
        if code == 0 && leaves_lab(args, &self.place.name) && beside::is_declared(&self.place) {
            self.go_home();
        }
    }

    /// Starts a lab as the first thing of a session.
    pub(crate) fn start_lab(&mut self, id: &str, seed: Option<u64>) -> i32 {
        let mut args = vec!["lab".to_string(), "--name".into(), self.place.name.clone()];
        args.extend(["start".to_string(), id.into(), "--yes".into()]);
        if let Some(seed) = seed {
            args.extend(["--seed".to_string(), seed.to_string()]);
        }
        self.run_own_command(&args)
    }

    /// Leaves a declared cluster: the interface goes back to the learner's own one, a session in
    /// lines ends after this line. Returns the exit code.
    fn go_home(&mut self) -> i32 {
        match self.frame {
            Some(_) => self.tell_frame(&["home"]),
            None => self.end.is_leaving = true,
        }
        0
    }
}

/// Returns the words of a line of this program, without the name of the cluster.
pub(super) fn words(args: &[String]) -> impl Iterator<Item = &str> {
    let mut named = false;
    args.iter().map(String::as_str).filter(move |word| {
        let is_name = std::mem::replace(&mut named, *word == "--name");
        !is_name && *word != "--name" && !word.starts_with("--name=")
    })
}

/// True if a line of this program names another cluster than this one.
pub(super) fn names_other(args: &[String], name: &str) -> bool {
    let mut behind = args.windows(2).filter(|pair| pair[0] == "--name").map(|pair| pair[1].as_str());
    let mut joined = args.iter().filter_map(|word| word.strip_prefix("--name="));
    behind.any(|other| other != name) || joined.any(|other| other != name)
}

/// True if a line of this program leaves the lab on the cluster of this name.
fn leaves_lab(args: &[String], name: &str) -> bool {
    let mut given = words(args);
    (given.next(), given.next()) == (Some("lab"), Some("leave")) && !names_other(args, name)
}

/// Returns the lab that a line of this program starts on the cluster of this name, its seed, and
/// whether the learner is sure. `None`: it starts none, has other options, or means another
/// cluster.
fn started_lab(args: &[String], name: &str) -> Option<(String, Option<u64>, bool)> {
    let (mut words, mut id, mut seed, mut sure) = (words(args), None, None, false);
    if names_other(args, name) || (words.next(), words.next()) != (Some("lab"), Some("start")) {
        return None;
    }
    while let Some(word) = words.next() {
        match word {
            "--yes" | "-y" => sure = true,
            "--seed" => seed = Some(words.next()?.parse().ok()?),
            _ if word.starts_with("--seed=") => seed = Some(word["--seed=".len()..].parse().ok()?),
            _ if word.starts_with('-') || id.is_some() => return None,
            _ => id = Some(word.to_string()),
        }
    }
    Some((id?, seed, sure))
}

/// Returns the line that begins a session on the cluster of a lesson or lab, beside the cluster of
/// this name.
fn session_beside(there: &Elsewhere, own: &str) -> String {
    let id = quote(&there.id);
    let seed = there.seed.map(|seed| format!(" --seed {seed}")).unwrap_or_default();
    match there.lab {
        true => format!("ropewalk lab --name {own} start {id}{seed} --yes"),
        false => format!("ropewalk learn {id} --plain --yes --name {own}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Script;
    use crate::session::Flow;
    use crate::texts::Lang;
    use cluster::{Home, Place};
    use lab::format::Declared;
    use tokio::runtime::Runtime;

    fn there(id: &str, lab: bool, seed: Option<u64>) -> Elsewhere {
        Elsewhere { id: id.into(), cluster: Declared { control_planes: 3, workers: 2 }, lab, seed }
    }

    fn args(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    /// The engine says that it is played on another cluster: the learner's shell runs the session
    /// on that, with the name of this one.
    #[test]
    fn what_has_another_cluster_begins_in_the_shell_beside_this_one() {
        let line = |id, lab, seed| session_beside(&there(id, lab, seed), "main");
        assert_eq!(
            line("hard-way/03", false, None),
            "ropewalk learn 'hard-way/03' --plain --yes --name main"
        );
        assert_eq!(line("a'; ls", false, None), r"ropewalk learn 'a'\''; ls' --plain --yes --name main");
        assert_eq!(line("quorum", true, Some(7)), "ropewalk lab --name main start 'quorum' --seed 7 --yes");
    }

    #[test]
    fn only_a_line_that_starts_a_lab_here_is_taken_for_one() {
        let of = |line: &str| started_lab(&args(line), "main");
        let quorum = |seed, sure| Some(("quorum".to_string(), seed, sure));
        assert_eq!(of("lab --name main start quorum"), quorum(None, false));
        assert_eq!(of("lab --name main start --seed 7 quorum -y"), quorum(Some(7), true));
        assert_eq!(of("lab start quorum --seed=7"), quorum(Some(7), false));
        assert_eq!(of("lab start quorum --name=main"), quorum(None, false));
        for other in [
            "lab --name main list",
            "lab --name other start quorum",
            "lab --name=other start quorum",
            "lab --name main start",
            "lab --name main start quorum -o json",
            "lab --name main start a b",
            "lab --name main start a --seed x",
            "status --name main",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    /// A session on a declared cluster ends with its own lab, and with no other line.
    #[test]
    fn only_a_line_that_leaves_the_lab_here_ends_the_session_on_its_cluster() {
        for line in ["lab --name main leave --yes", "lab leave quorum --name=main"] {
            assert!(leaves_lab(&args(line), "main"), "{line}");
        }
        let others =
            ["lab --name other leave", "lab --name=other leave", "lesson leave", "lab --name main show"];
        for line in others {
            assert!(!leaves_lab(&args(line), "main"), "{line}");
        }
    }

    fn session(runtime: &Runtime, place: Place) -> Session {
        Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
    }

    /// `ropewalk repl --kubeconfig FILE`: that cluster is not the learner's own one.
    #[test]
    fn a_session_on_a_foreign_cluster_says_how_its_namespaces_are_deleted() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("foreign-kind-0a1b2c").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        std::fs::write(place.foreign(), "{}").unwrap();
        let mut here = session(&runtime, place);
        let mut none = Script::of(std::iter::empty());
        assert_eq!(here.run("lesson leave", &mut none), Flow::Next);
        assert_eq!((here.last(), here.why_none_to_leave()), (1, Say::BesideForeign));
        for lang in [Lang::En, Lang::Ko] {
            let told = lang.say(Say::BesideForeign, &[]);
            assert!(told.contains("`quit`"), "{told}");
            assert!(told.contains("`ropewalk lesson leave --kubeconfig "), "{told}");
        }
    }

    #[test]
    fn leaving_ends_a_session_on_a_declared_cluster_and_no_other() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main-lesson").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let mut here = session(&runtime, place.clone());
        let mut none = Script::of(std::iter::empty());
        assert_eq!(here.run("lesson leave", &mut none), Flow::Next, "the learner's own");
        assert_eq!(here.last(), 1);
        assert_eq!(here.why_none_to_leave(), Say::BesideNone);
        std::fs::write(place.root.join("declared"), "t/01").unwrap();
        assert_eq!(here.run("lesson leave", &mut none), Flow::Leave(0));
    }
}
