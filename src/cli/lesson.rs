//! `lesson`: what a script or a classroom asks of lessons.

use super::args::{Lesson as Command, Output};
use super::codes::USAGE;
use super::named::{MAIN, once};
use super::paths::absolute;
use super::running::if_running;
use super::words::{Word, no_lesson};
use super::{lesson_new, preview, record};
use anyhow::anyhow;
use cluster::{Home, Place, foreign};
use lab::format::{Lesson, Library, library};
use lab::view::{Ask, Entry, LessonView, PackNote, State};
use lang::charset::{eprintln, print, println};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use ui::connection::{self, Connection};
use ui::lesson::{self as front, PageStyle};
use ui::options::Options;
use ui::texts::{Lang, Say};
use ui::{guests, proof, prose, repl, settings, tracks};

/// Runs one command of `lesson`, and returns its exit code.
pub(crate) async fn run(
    command: Command,
    kubeconfig: Option<PathBuf>,
    lessons: Option<PathBuf>,
    only: bool,
    name: &str,
    lang: Option<Lang>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let kubeconfig = absolute(kubeconfig)?;
    if let Some(wrong) = wrong_usage(&command, kubeconfig.is_some(), name, lessons.as_deref(), only, lang) {
        eprintln!("ropewalk: {wrong}");
        return Ok(USAGE);
    }
    if let Some(id) = odd_id(&command) {
        eprintln!("ropewalk: {}", no_lesson(id, lang));
        return Ok(1);
    }
    let place = match &kubeconfig {
        Some(file) => foreign::place(&home, file)?,
        None => home.cluster(name)?,
    };
    // Lessons on a foreign cluster live in the process that plays them: this one, unless another
    // does already.
    let options = Options { name: place.name.clone(), kubeconfig: kubeconfig.clone(), ..Options::default() };
    let connection = match kubeconfig.is_some() && asks_cluster(&command) {
        true => Some(connection::open(&options, place.clone(), lang).await?),
        false => None,
    };
    let load = || Library::at(lessons.as_deref(), only);
    match command {
        Command::List { output } => {
            let ours = lessons.is_none().then_some(&place);
            list(ours, load(), lang, output).await
        }
        Command::Show { id, output } => show(&place, load(), id, lang, output).await,
        Command::Check { id, output } => {
            let code = check(&place, id, lang, output).await;
            take_leave(connection, lang).await;
            code
        }
        Command::Solve { id, all } => solve_connected(connection, &options, &place, id, all, lang).await,
        Command::Leave => leave(&place, lang).await,
        Command::New { id } => lesson_new::new(&authors(lessons, library::directory()), &id, lang),
        Command::Preview { directory, id } => preview::run(directory, id, only, lang).await,
        Command::Record { id } if kubeconfig.is_none() => {
            record::run(&authors(lessons, library::directory()), &id, name, lang).await
        }
        Command::Record { .. } => {
            eprintln!("ropewalk: {}", lang.say(Say::RecordForeign, &[]));
            Ok(USAGE)
        }
        Command::Test { ids, all, jobs, dry_run, part } => {
            let library = load();
            let Some(chosen) = chosen(&library, lessons.as_deref(), only, &ids, all, lang) else {
                return Ok(USAGE);
            };
            let sound = library.faults.is_empty();
            if dry_run {
                list_chosen(&library, &chosen, lang);
                return Ok(if sound { 0 } else { 1 });
            }
            let directory = lessons.or_else(library::directory);
            let proved = proof::prove(chosen, directory, kubeconfig, jobs.into(), part).await;
            Ok(if proved && sound { 0 } else { 1 })
        }
    }
}

/// The id of a lesson to check or solve that no lesson can have. One to solve becomes a word of a
/// line of the session, which would run what stands behind a `;`, and without a word would solve
/// the open lesson.
fn odd_id(command: &Command) -> Option<&str> {
    let id = match command {
        Command::Check { id: Some(id), .. } => return id.trim().is_empty().then_some(id.as_str()),
        Command::Solve { id: Some(id), .. } => id,
        _ => return None,
    };
    let is_plain = |c: char| c.is_alphanumeric() || "/-_.".contains(c);
    let is_word = id.starts_with(char::is_alphanumeric) && id.chars().all(is_plain);
    (!is_word).then_some(id.as_str())
}

/// The directory in which an author writes lessons: that of `--lessons`, else the one that the
/// environment names, from which the lessons are read then.
fn authors(lessons: Option<PathBuf>, named: Option<PathBuf>) -> PathBuf {
    lessons.or(named).unwrap_or_else(|| PathBuf::from("lessons"))
}

/// Plays one step, or all of them, and then ends the cluster if it was started for this command.
async fn solve_connected(
    connection: Option<Connection>,
    options: &Options,
    place: &Place,
    id: Option<String>,
    all: bool,
    lang: Lang,
) -> anyhow::Result<i32> {
    // A cluster that is started here has to outlive the session of each step.
    let connection = match connection {
        None if all => Some(connection::take(options, place.clone(), lang, std::future::pending()).await?),
        connection => connection,
    };
    let code = solve(options, place, id, all, lang).await;
    take_leave(connection, lang).await;
    code
}

/// Says what is wrong with a command line: options that contradict each other, or a directory of
/// lessons for a command that the running cluster answers with its own.
fn wrong_usage(
    command: &Command,
    on_foreign_cluster: bool,
    name: &str,
    lessons: Option<&Path>,
    only: bool,
    lang: Lang,
) -> Option<String> {
    let of_cluster = [("--kubeconfig", on_foreign_cluster), ("--name", name != MAIN)];
    let given = |options: &[(&'static str, bool)]| {
        options.iter().find(|(_, is_given)| *is_given).map(|(option, _)| *option)
    };
    if matches!(command, Command::Preview { .. }) {
        let option = given(&[of_cluster[0], of_cluster[1], ("--lessons", lessons.is_some())]);
        return option.map(|option| lang.say(Word::PreviewAlone, &[option]));
    }
    if matches!(command, Command::New { .. })
        && let Some(option) = given(&of_cluster)
    {
        return Some(lang.say(Word::NewAlone, &[option]));
    }
    if only && lessons.is_none() {
        return Some(lang.say(Say::OnlyWhat, &[library::ONLY, library::DIRECTORY]));
    }
    let directory = lessons?.display().to_string();
    if on_foreign_cluster {
        return Some(lang.say(Word::ForeignDirectory, &[library::DIRECTORY]));
    }
    let with = [answered_by_cluster(command)?, "--lessons", library::DIRECTORY, directory.as_str()];
    Some(lang.say(Say::OwnDirectory, &with))
}

/// The words of a command that the running cluster answers, with its own lessons.
fn answered_by_cluster(command: &Command) -> Option<&'static str> {
    match command {
        Command::Check { .. } => Some("lesson check"),
        Command::Solve { .. } => Some("lesson solve"),
        Command::Show { id: None, .. } => Some("lesson show"),
        Command::Leave => Some("lesson leave"),
        Command::List { .. }
        | Command::Show { .. }
        | Command::Test { .. }
        | Command::Record { .. }
        | Command::Preview { .. }
        | Command::New { .. } => None,
    }
}

/// True for commands that need the process in which the lessons of a foreign cluster live.
fn asks_cluster(command: &Command) -> bool {
    matches!(command, Command::List { .. }) || answered_by_cluster(command).is_some()
}

/// The lessons that `lesson test` shall prove; prints the faults of the library. With a directory
/// its lessons are meant, and not those that are built in. `None`: none was named, or one is not
/// there; it is said.
pub(super) fn chosen(
    library: &Library,
    lessons: Option<&Path>,
    only: bool,
    ids: &[String],
    all: bool,
    lang: Lang,
) -> Option<Vec<Lesson>> {
    if ids.is_empty() && !all {
        eprintln!("ropewalk: {}", lang.say(Word::NameLessons, &[]));
        return None;
    }
    for fault in &library.faults {
        println!("✗ {}", prose::harmless(&fault.to_string()));
    }
    let is_meant = |lesson: &Lesson| lessons.is_none_or(|folder| only || is_from(library, lesson, folder));
    let mut chosen: Vec<Lesson> = Vec::new();
    for id in ids {
        match library.find(id, None).filter(|lesson| is_meant(lesson)) {
            Some(lesson) => chosen.push(lesson.clone()),
            None => {
                eprintln!("ropewalk: {}", lang.say(Word::NoLesson, &[&format!("{id:?}")]));
                return None;
            }
        }
    }
    if all {
        chosen = library.lessons.iter().filter(|lesson| is_meant(lesson)).cloned().collect();
    }
    Some(once(chosen, |lesson| lesson.id.as_str()))
}

/// `lesson test --dry-run`: which lessons need a cluster of their own, and how many were read.
fn list_chosen(library: &Library, chosen: &[Lesson], lang: Lang) {
    for lesson in chosen {
        if let Some(declared) = &lesson.cluster {
            println!("{}", lang.say(Word::ProvedApart, &[&lesson.id, &declared.to_string()]));
        }
    }
    let counts = [library.lessons.len(), library.faults.len()].map(|count| count.to_string());
    println!("{}", lang.say(Word::LessonsRead, &counts.each_ref().map(String::as_str)));
}

/// Progress comes from the cluster at `place` if it runs; the list itself needs none. Without a
/// place the lessons are not those of a cluster.
async fn list(
    place: Option<&Place>,
    library: Arc<Library>,
    lang: Lang,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let (running, code) = match place {
        Some(place) => if_running(guests::asked(place, lang, Ask::List).await, lang),
        None => (None, 0),
    };
    // The list for people has a mark at the open lesson. Without an answer it has none.
    let open = match place.filter(|_| running.is_some() && output.is_none()) {
        Some(place) => guests::asked(place, lang, Ask::Show).await.map(|view: LessonView| view.id),
        None => Ok(String::new()),
    };
    let entries: Vec<Entry> = match running {
        Some(entries) => entries,
        None => library.lessons.iter().map(|l| entry(&library, l, lang)).collect(),
    };
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&entries)?);
    } else {
        print!("{}", PageStyle::for_output(lang).list(&entries, &open.unwrap_or_default()));
    }
    for fault in &library.faults {
        eprintln!("ropewalk: {}", prose::harmless(&fault.to_string()));
    }
    Ok(if library.faults.is_empty() { code } else { 1 })
}

fn entry(library: &Library, lesson: &Lesson, lang: Lang) -> Entry {
    Entry {
        pack: note(library, lesson, lang),
        id: lesson.id.clone(),
        title: lesson.title.get(front::tag(lang)).into(),
        track: lesson.track.clone(),
        languages: lesson.languages.clone(),
        minutes: lesson.minutes,
        done: 0,
        steps: lesson.steps.len(),
        first: vec![], // without a cluster it is not known what is done
        cannot: vec![],
    }
}

/// True for a lesson of the pack in this folder.
pub(super) fn is_from(library: &Library, lesson: &Lesson, folder: &Path) -> bool {
    library.pack_of(&lesson.id).is_some_and(|pack| pack.folder == folder)
}

fn note(library: &Library, lesson: &Lesson, lang: Lang) -> Option<PackNote> {
    let pack = library.pack_of(&lesson.id)?;
    Some(PackNote::of(pack, &lesson.track, front::tag(lang)))
}

/// A whole lesson as text, needing no cluster; without an id the open step as it stands.
async fn show(
    place: &Place,
    library: Arc<Library>,
    id: Option<String>,
    lang: Lang,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let Some(id) = id else {
        return show_open(&front::view(place, lang, Ask::Show).await?, lang, output);
    };
    let Some(lesson) = library.find(&id, None) else {
        for fault in &library.faults {
            eprintln!("ropewalk: {}", prose::harmless(&fault.to_string()));
        }
        eprintln!("ropewalk: {}", no_lesson(&id, lang));
        return Ok(1);
    };
    let tag = front::tag(lang);
    if output == Some(Output::Json) {
        let steps: Vec<_> = lesson
            .steps
            .iter()
            .map(|s| json!({"id": s.id, "task": s.task.get(tag), "prose": s.prose.get(tag)}))
            .collect();
        let all = json!({"id": lesson.id, "title": lesson.title.get(tag), "track": lesson.track, "languages": lesson.languages,
            "minutes": lesson.minutes, "pack": note(&library, lesson, lang), "needs": lesson.needs, "requires": lesson.requires, "cluster": lesson.cluster, "files": lesson.files, "intro": lesson.intro.get(tag), "steps": steps});
        std::println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(0);
    }
    print!("{}", page(&library, lesson, lang));
    Ok(0)
}

/// The open step as it stands; exit code 1 if no lesson is open.
fn show_open(view: &LessonView, lang: Lang, output: Option<Output>) -> anyhow::Result<i32> {
    match output {
        Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(view)?),
        None => print!("{}", PageStyle::for_output(lang).page(view)),
    }
    Ok(i32::from(view.id.is_empty()))
}

/// A lesson as it reads: its pack, its texts, and the task of each step.
pub(super) fn page(library: &Library, lesson: &Lesson, lang: Lang) -> String {
    let (tag, width) = (front::tag(lang), PageStyle::for_output(lang).width);
    let text = |markdown: &str| prose::text(markdown, width, "", false);
    let mut out = format!("{} {}\n", lesson.id, prose::harmless(lesson.title.get(tag)));
    if let Some(pack) = note(library, lesson, lang) {
        out.push_str(&text(&tracks::pack(&pack, lang)));
    }
    out.push('\n');
    out.push_str(&text(lesson.intro.get(tag)));
    for (at, step) in lesson.steps.iter().enumerate() {
        let number = [(at + 1).to_string(), lesson.steps.len().to_string()];
        let head = lang.say(Say::LessonStep, &[&number[0], &number[1]]);
        out.push_str(&format!("\n── {head} ──\n\n{}\n", text(step.prose.get(tag))));
        out.push_str(&text(&format!("▸ {}", step.task.get(tag))));
    }
    out
}

async fn check(place: &Place, id: Option<String>, lang: Lang, output: Option<Output>) -> anyhow::Result<i32> {
    let view = front::view(place, lang, Ask::Check { id }).await.map_err(|e| anyhow!(e.say(lang)))?;
    match output {
        Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(&view)?),
        None => print!("{}", PageStyle::for_output(lang).verdict(&view)),
    }
    Ok(if matches!(view.state, State::Done | State::Solved) { 0 } else { 1 })
}

/// Through the REPL, as the learner.
async fn solve(
    on: &Options,
    place: &Place,
    id: Option<String>,
    all: bool,
    lang: Lang,
) -> anyhow::Result<i32> {
    let mut id = id;
    loop {
        // Without a cluster there is no view yet: the REPL starts one for a single step.
        let question = id.clone().map_or(Ask::Show, |id| Ask::Open { id });
        let view = front::view(place, lang, question).await.ok();
        match view.filter(|v| all && v.state == State::Skipped) {
            Some(skipped) => print!("{}", PageStyle::for_output(lang).verdict(&skipped)),
            None => {
                let line = id.map_or("solve".into(), |id| format!("solve {id}"));
                let options = Options { lines: vec![line], lang: Some(lang), ..on.clone() };
                let code = repl::run(options).await?;
                if code != 0 || !all {
                    return Ok(code);
                }
            }
        }
        let view = front::view(place, lang, Ask::Show).await?;
        if view.step + 1 >= view.steps {
            return Ok(0);
        }
        front::view(place, lang, Ask::Next).await.map_err(|e| anyhow!(e.say(lang)))?;
        id = None;
    }
}

/// Ends a cluster that was started for this command; one that ran before stays. On a foreign one it
/// is said what stays.
async fn take_leave(connection: Option<Connection>, lang: Lang) {
    if let Some(connection) = connection {
        connection.leave(lang, false).await;
    }
}

async fn leave(place: &Place, lang: Lang) -> anyhow::Result<i32> {
    let left =
        front::ask(place, lang, Ask::Leave { agreed: None }).await.map_err(|e| anyhow!(e.say(lang)))?;
    let left: Vec<String> = serde_json::from_value(left)?;
    match left.is_empty() {
        true => println!("{}", lang.say(Say::RoomsNone, &[])),
        false => println!("{}", lang.say(Say::RoomsGone, &[&left.join(", ")])),
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Options that would be ignored are refused.
    #[test]
    fn a_preview_reads_its_own_folder_and_no_cluster() {
        let preview = || Command::Preview { directory: "mine".into(), id: None };
        let wrong = |foreign, lessons: Option<&str>, only, lang| {
            wrong_usage(&preview(), foreign, MAIN, lessons.map(Path::new), only, lang)
        };
        assert_eq!(wrong(false, None, false, Lang::En), None);
        assert_eq!(wrong(false, None, true, Lang::En), None, "without the built-in lessons");
        assert!(wrong(true, None, false, Lang::En).is_some_and(|text| text.ends_with("out --kubeconfig")));
        assert!(wrong(false, Some("x"), true, Lang::En).is_some_and(|text| text.ends_with("out --lessons")));
        let korean = wrong(true, None, false, Lang::Ko).unwrap();
        assert!(korean.contains("--kubeconfig 옵션을 빼세요"), "{korean}");
        let named = wrong_usage(&preview(), false, "other", None, false, Lang::En);
        assert!(named.is_some_and(|text| text.ends_with("out --name")));
    }

    #[test]
    fn a_template_is_written_without_a_cluster() {
        let new = || Command::New { id: "harbour/01-first".into() };
        let wrong = |foreign, name: &str, lang| wrong_usage(&new(), foreign, name, None, false, lang);
        assert_eq!(wrong(false, MAIN, Lang::En), None);
        assert!(wrong(true, MAIN, Lang::En).is_some_and(|text| text.ends_with("out --kubeconfig")));
        assert!(wrong(false, "other", Lang::En).is_some_and(|text| text.ends_with("out --name")));
        let korean = wrong(false, "other", Lang::Ko).unwrap();
        assert!(korean.contains("--name 옵션을 빼세요"), "{korean}");
        let below = wrong_usage(&new(), false, MAIN, Some(Path::new("mine")), false, Lang::En);
        assert_eq!(below, None, "that is where it is written to");
    }

    #[test]
    fn a_lesson_is_written_where_lessons_are_read() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(authors(path("given"), path("named")), Path::new("given"));
        assert_eq!(authors(None, path("named")), Path::new("named"));
        assert_eq!(authors(None, None), Path::new("lessons"));
    }

    /// A script may read the ids out of a file that others write.
    #[test]
    fn an_id_is_no_line_of_the_shell() {
        let is_odd = |id: &str| odd_id(&Command::Solve { id: Some(id.into()), all: false }).is_some();
        for id in ["first-voyage/04", "4", "04-pods", "2048/01", "하버_1.2/01"] {
            assert!(!is_odd(id), "{id}");
        }
        for id in ["", " ", "4; true", "x\ntrue", "$(true)", "> f", "4 && true", "--all", "`true`", "4|cat"] {
            assert!(is_odd(id), "{id}");
        }
        assert_eq!(odd_id(&Command::Solve { id: None, all: true }), None, "the open lesson");
        assert_eq!(odd_id(&Command::Check { id: Some(";".into()), output: None }), None, "never a line");
        assert_eq!(odd_id(&Command::Check { id: Some(" ".into()), output: None }), Some(" "));
    }

    /// As `lab show` and `drill show` do.
    #[test]
    fn a_lesson_that_is_not_open_is_not_shown_as_one() {
        let open = LessonView { id: "first-voyage/04".into(), ..LessonView::default() };
        for output in [None, Some(Output::Json)] {
            assert_eq!(show_open(&LessonView::default(), Lang::En, output).unwrap(), 1);
            assert_eq!(show_open(&open, Lang::Ko, output).unwrap(), 0);
        }
    }

    /// A script would take the list without progress for the truth.
    #[tokio::test]
    async fn a_list_without_the_progress_of_a_cluster_that_gives_no_answer_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        lesson_new::new(&dir.path().join("lessons"), "harbour/01-first", Lang::En).unwrap();
        let library = Arc::new(Library::read(&dir.path().join("lessons")));
        let place = Home::at(dir.path().join("home")).cluster("main").unwrap();
        place.make().unwrap();
        let code = async || list(Some(&place), library.clone(), Lang::En, None).await.unwrap();
        assert_eq!(code().await, 0, "it does not run");
        // Whether the cluster behind this runs cannot be found out.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert_eq!(code().await, 1);
        assert_eq!(list(None, library.clone(), Lang::En, None).await.unwrap(), 0, "no cluster is asked");
    }
}
