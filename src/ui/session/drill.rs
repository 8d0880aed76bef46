//! The session's words of practice.

use super::about::{About, about};
use super::lessons::{self, Unanswered};
use super::news::News;
use super::{Manner, Session};
use crate::lesson::PageStyle;
use crate::line::{Line, is_forced, latin_among};
use crate::options::Drill;
use crate::practice::drill;
use crate::texts::Lang;
use cluster::control::Control;
use cluster::{Error, Place};
use lab::practice::view::{Ask, DrillView, Phase};
use lang::charset::{print, println};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

/// The learner is warned once that only this much time is left.
const LITTLE: Duration = Duration::from_secs(30);

impl Session {
    /// Runs a line that is about practice, and returns its exit code. `text`: the line as it was
    /// typed. `None`: it is about something else, or a process of its own runs it.
    pub(super) fn drill_word(&mut self, line: &Line, text: &str) -> Option<i32> {
        // Without a task that follows drills, the process says what came of a word. The shell runs
        // `!stop`.
        if self.manner != Manner::Terminal || is_forced(text) {
            return None;
        }
        let word = meant(line, &self.place.name, self.engine.drill.left().is_some())?;
        Some(match word {
            Word::Begin(drill) => self.begin_drill(drill),
            Word::Show => {
                self.ask_drill_and_print(Ask::Show, |style, view| drill::page(style, view, clock::now()))
            }
            Word::Hint => self.ask_about_task(|task| Ask::Hint { task }, drill::hint),
            Word::Next => {
                println!("{}", drill::no_next(self.lang()));
                1
            }
            Word::Solve => {
                println!("{}", drill::no_solve(self.lang()));
                1
            }
            // `watch_drill` prints the result of these two.
            Word::Skip => self.ask_about_task(|task| Ask::Skip { task }, |_, _| String::new()),
            Word::Stop => {
                self.ask_drill_and_print(Ask::Stop, |style, view| drill::not_begun(style.lang, view))
            }
            Word::Check => self.check_drill(),
        })
    }

    /// Begins a drill, shows its first task, and returns the exit code.
    pub(crate) fn begin_drill(&mut self, asked_for: Drill) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let (place, lang) = (self.place.clone(), self.lang());
        let preparing = move || println!("{}", drill::preparing(lang));
        let begun = self.await_answer(async {
            drill::start(&place, lang, asked_for.seed, asked_for.skills, preparing).await
        });
        self.show_answer(begun, |style, view| drill::page(style, view, clock::now()))
    }

    fn check_drill(&mut self) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let before = match self.ask_drill(Ask::Show) {
            Ok(before) => before,
            Err(why) => return self.unanswered(&why),
        };
        let mut is_done = false;
        let code = self.ask_drill_and_print(Ask::Check, |style, view| {
            is_done = drill::is_done(&before, view, before.at);
            let has_moved = before.at != view.at || view.phase != Phase::Running;
            // `watch_drill` prints the result of a task that is over.
            if has_moved { String::new() } else { drill::verdict(style, view) }
        });
        if code == 0 && !is_done { 1 } else { code }
    }

    /// Asks something about the task that this session has shown, if it has shown one, else about
    /// the present one.
    fn ask_about_task(
        &mut self,
        ask: impl FnOnce(String) -> Ask,
        part: impl FnOnce(&PageStyle, &DrillView) -> String,
    ) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let task = match self.engine.drill.task() {
            Some(task) => task,
            None => match self.ask_drill(Ask::Show) {
                Ok(view) => view.present().into(),
                Err(why) => return self.unanswered(&why),
            },
        };
        self.ask_drill_and_print(ask(task), part)
    }

    /// Asks practice and prints what `part` makes of its view.
    fn ask_drill_and_print(&mut self, ask: Ask, part: impl FnOnce(&PageStyle, &DrillView) -> String) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        let answer = self.ask_drill(ask);
        self.show_answer(answer, part)
    }

    /// Prints what `part` makes of a view, or why there is none, and returns the exit code.
    fn show_answer(
        &mut self,
        answer: Result<DrillView, Unanswered>,
        part: impl FnOnce(&PageStyle, &DrillView) -> String,
    ) -> i32 {
        match answer {
            Ok(view) => {
                self.engine.drill.learn(&view);
                print!("{}", part(&self.style(), &view));
                0
            }
            Err(why) => self.unanswered(&why),
        }
    }

    fn ask_drill(&mut self, ask: Ask) -> Result<DrillView, Unanswered> {
        let (place, lang) = (self.place.clone(), self.lang());
        self.await_answer(async { drill::asked(&place, lang, ask).await })
    }

    /// Starts the task that follows the drill until the cluster ends, and prints each task that is
    /// over and the next one. After an error it follows again, with a growing pause; after a change
    /// of language at once, in the new one. It replaces the task of before.
    pub(crate) fn watch_drill(&mut self) {
        let watcher = Watcher {
            place: self.place.clone(),
            lang: self.lang.clone(),
            style: self.style(),
            news: self.news.clone(),
            running: self.engine.drill.clone(),
            known: None,
        };
        let following = self.handle.spawn(watcher.run());
        if let Some(before) = self.engine.following_drill.replace(following.abort_handle()) {
            before.abort();
        }
    }
}

/// Follows the drill.
struct Watcher {
    place: Place,
    /// The language that the session speaks now.
    lang: Arc<Mutex<Lang>>,
    style: PageStyle,
    news: Arc<News>,
    /// What the prompt and the words of the drill know of it.
    running: Arc<drill::Running>,
    /// The last view.
    known: Option<DrillView>,
}

impl Watcher {
    async fn run(mut self) {
        let mut pause = lessons::AGAIN.0;
        loop {
            let spoken = *self.lang.lock();
            match drill::follow(&self.place, spoken).await {
                Ok((control, view)) => {
                    pause = lessons::AGAIN.0;
                    // A drill that goes on in another language keeps its clock in the prompt.
                    if self.follow(control, view, spoken).await == Stopped::Ended {
                        self.running.learn(&DrillView::default());
                        clock::pause(pause).await;
                    }
                }
                Err(Error::NotRunning(_)) => return self.running.learn(&DrillView::default()),
                Err(_) => {
                    clock::pause(pause).await;
                    pause = (pause * 2).min(lessons::AGAIN.1);
                }
            }
        }
    }

    /// Follows the drill on one connection and in one language; returns why that has stopped.
    async fn follow(&mut self, mut control: Control, mut view: DrillView, spoken: Lang) -> Stopped {
        loop {
            let little = little(&view);
            self.take_view(view, spoken);
            let next = tokio::select! {
                next = control.next() => next,
                () = wait(little) => {
                    // The learner may have chosen another language since the last view.
                    let spoken = *self.lang.lock();
                    self.news.tell(drill::little_time(spoken));
                    control.next().await
                }
            };
            if *self.lang.lock() != spoken {
                return Stopped::OtherLanguage;
            }
            match next {
                Ok(Some(value)) => view = serde_json::from_value(value).unwrap_or_default(),
                _ => return Stopped::Ended,
            }
        }
    }

    /// Tells what is new in a view, and keeps it.
    fn take_view(&mut self, view: DrillView, spoken: Lang) {
        self.running.learn(&view);
        // The window may be narrower than it was.
        let style = PageStyle { lang: spoken, width: lessons::width(), ..self.style };
        let told = self.known.as_ref().and_then(|known| drill::news(&style, known, &view, clock::now()));
        if let Some(words) = told {
            self.news.tell(words);
        }
        self.known = Some(view);
    }
}

/// Why a drill is not followed on a connection any more.
#[derive(PartialEq, Eq)]
enum Stopped {
    /// The connection has ended, or has told an error.
    Ended,
    /// The learner has chosen another language.
    OtherLanguage,
}

/// Returns the time until only [`LITTLE`] is left; `None`: no drill runs, or less is left already.
fn little(view: &DrillView) -> Option<Duration> {
    let left = Duration::from_secs(view.left_s);
    let is_running = view.phase == Phase::Running;
    left.checked_sub(LITTLE).filter(|until| is_running && !until.is_zero())
}

async fn wait(until: Option<Duration>) {
    match until {
        Some(until) => clock::pause(until).await,
        None => std::future::pending().await,
    }
}

/// A word of practice.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Begin(Drill),
    Show,
    Check,
    Hint,
    /// A word of lessons, which a drill refuses: it goes on by itself, so a learner who types
    /// `next` out of habit would leave the task that has just begun.
    Next,
    /// A word of lessons, which a drill refuses: a learner who wants its task solved would have the
    /// open step of a lesson played, which then does not count as the learner's own.
    Solve,
    Skip,
    Stop,
}

/// Returns what a line means for practice. While a drill runs, the words `check`, `hint`, `next`
/// and `solve` of lessons mean the drill, and so do `skip` and `stop`, also with a Korean keyboard
/// layout on.
fn meant(line: &Line, cluster: &str, runs: bool) -> Option<Word> {
    let alone = |word: &str| {
        Some(match word {
            "show" => Word::Show,
            "check" | "확인" => Word::Check,
            "hint" | "힌트" => Word::Hint,
            "next" => Word::Next,
            "solve" => Word::Solve,
            "skip" | "건너뛰기" => Word::Skip,
            "stop" | "그만" => Word::Stop,
            _ => return None,
        })
    };
    let shared = |word: &str| alone(word).filter(|_| about(word, runs, false) == Some(About::Drill));
    match line {
        Line::Lesson(words) if words.len() == 1 => shared(&words[0]),
        Line::Shell(text) => match latin_among(text.trim(), &["skip", "stop"]).unwrap_or(text.trim()) {
            "skip" | "건너뛰기" => shared("skip"),
            "stop" | "그만" => shared("stop"),
            _ => None,
        },
        Line::Own(args) => {
            let words: Vec<&str> = args.iter().map(String::as_str).collect();
            match words.as_slice() {
                ["drill", "--name", name, rest @ ..] if *name == cluster => match rest {
                    [word] if !matches!(*word, "next" | "solve" | "start") => alone(word),
                    _ => begun(rest.strip_prefix(&["start"]).unwrap_or(rest)).map(Word::Begin),
                },
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the drill that these options ask for. `None`: what they say is refused, with the words
/// of the command line.
fn begun(options: &[&str]) -> Option<Drill> {
    let skills = |list: &str| -> Option<Vec<String>> {
        let all: Vec<String> = list.split(',').map(String::from).collect();
        all.iter().all(|id| !id.is_empty()).then_some(all)
    };
    match options {
        [] => Some(Drill::default()),
        ["--seed", seed] => {
            let seed = seed.parse::<u64>().ok().filter(|seed| *seed > 0)?;
            Some(Drill { seed: Some(seed), ..Drill::default() })
        }
        ["--skill", list] => Some(Drill { skills: skills(list)?, ..Drill::default() }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::classify;
    use lab::practice::view::TaskView;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
    use tokio::net::UnixListener;
    use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
    use tokio::runtime::Runtime;

    /// Accepts the next connection that follows the drill, and reads up to its question.
    async fn follower(listener: &UnixListener) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let mut lines = BufReader::new(read).lines();
        lines.next_line().await.unwrap(); // the greeting
        write.write_all(b"{\"ok\":null}\n").await.unwrap();
        lines.next_line().await.unwrap(); // the question
        (lines, write)
    }

    /// A drill of two tasks that runs; its task at `at` is open.
    fn running(at: usize) -> DrillView {
        let task = |id: &str| TaskView { id: id.into(), ..TaskView::default() };
        let tasks = vec![task("scale-up"), task("logs")];
        DrillView { seed: 7, phase: Phase::Running, left_s: 20, at, tasks, ..DrillView::default() }
    }

    /// The shell may have a program of that name.
    #[test]
    fn a_line_that_is_forced_into_the_shell_is_no_word_of_the_drill() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let mut session = {
            let _inside = runtime.enter();
            Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone())
        };
        session.engine.drill.learn(&running(0));
        let stop = Line::Shell("stop".into());
        assert_eq!(session.drill_word(&stop, "!stop"), None);
        assert_eq!(session.drill_word(&stop, "stop"), Some(1), "there is no cluster to ask");
    }

    /// The prompt keeps its clock, and `skip` stays a word of the drill: the session knows the task
    /// when it follows again.
    #[test]
    fn a_change_of_language_forgets_no_drill() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        let (mut session, listener) = {
            let _inside = runtime.enter();
            let listener = UnixListener::bind(place.socket()).unwrap();
            (Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone()), listener)
        };
        let (tell, known) = std::sync::mpsc::channel();
        let shown = session.engine.drill.clone();
        runtime.spawn(async move {
            let mut first = follower(&listener).await;
            // The second view is news; at the third one the follower sees the new language.
            for view in [running(0), running(1), running(1)] {
                let told = serde_json::json!({ "ok": view });
                first.1.write_all(format!("{told}\n").as_bytes()).await.unwrap();
            }
            let _second = follower(&listener).await;
            drop(tell.send(shown.task())); // the test may have ended
            std::future::pending::<()>().await;
        });
        let lang = session.lang.clone();
        session.print_news_with(move |_| *lang.lock() = Lang::Ko);
        session.watch_drill();
        let known = known.recv_timeout(Duration::from_secs(60)).expect("the drill is followed again");
        assert_eq!(known.as_deref(), Some("logs"));
    }

    #[test]
    fn words_of_lessons_mean_the_drill_while_one_runs() {
        let of = |text: &str, runs| meant(&classify(text, "main"), "main", runs);
        for (text, word) in [
            ("check", Word::Check),
            ("hint", Word::Hint),
            ("next", Word::Next),
            ("solve", Word::Solve),
            ("풀이", Word::Solve),
            ("skip", Word::Skip),
            ("나ㅑㅔ", Word::Skip),
            ("ㄴ새ㅔ", Word::Stop),
            ("stop", Word::Stop),
            ("확인", Word::Check),
            ("그만", Word::Stop),
        ] {
            assert_eq!((of(text, true), of(text, false)), (Some(word), None), "{text}");
        }
        let begin = |seed, skills: &[&str]| {
            let skills = skills.iter().map(ToString::to_string).collect();
            Some(Word::Begin(Drill { seed, skills }))
        };
        assert_eq!(of("drill", false), begin(None, &[]));
        assert_eq!(of("drill start", false), begin(None, &[]));
        assert_eq!(of("연습", false), begin(None, &[]));
        assert_eq!(of("ㅇ갸ㅣㅣ", false), begin(None, &[]), "the keys of drill");
        assert_eq!(of("drill --seed 417", false), begin(Some(417), &[]));
        assert_eq!(of("drill --skill scale,exec", false), begin(None, &["scale", "exec"]));
        assert_eq!(of("drill start --skill logs", false), begin(None, &["logs"]));
        for text in ["drill stop", "연습 그만"] {
            assert_eq!(of(text, false), Some(Word::Stop), "{text}");
        }
        for (text, word) in
            [("연습 힌트", Word::Hint), ("연습 확인", Word::Check), ("연습 건너뛰기", Word::Skip)]
        {
            assert_eq!(of(text, true), Some(word), "{text}");
        }
        // Another cluster's, a form for machines, help and slips are for a process of their own.
        for text in [
            "drill --name other",
            "drill check -o json",
            "drill --help",
            "drill --seed x",
            "drill --seed 0",
            "drill start --seed 0",
            "drill --skill",
            "drill --skill scale,",
            "drill next",
            "drill solve",
        ] {
            assert_eq!(of(text, true), None, "{text}");
        }
        for text in
            ["show", "check first-voyage/04", "solve first-voyage/04", "stop it", "skip | cat", "get pods"]
        {
            assert_eq!(of(text, true), None, "{text}");
        }
    }

    #[test]
    fn little_time_is_said_once_and_only_of_a_drill_that_runs() {
        let view = |left_s, phase| DrillView { left_s, phase, ..DrillView::default() };
        assert_eq!(little(&view(95, Phase::Running)), Some(Duration::from_secs(65)));
        assert_eq!(little(&view(30, Phase::Running)), None);
        assert_eq!(little(&view(95, Phase::Preparing)), None);
    }
}
