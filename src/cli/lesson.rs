//! `lesson`: what a script or a classroom asks of lessons.

use super::args::{Lesson as Command, Output};
use super::codes::USAGE;
use super::paths::absolute;
use anyhow::anyhow;
use cluster::{Home, Place, foreign};
use lab::format::{Lesson, Library, library};
use lab::view::{Ask, Entry, State};
use lang::charset::{eprintln, print, println};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use ui::connection::{self, Connection};
use ui::lesson::{self as front, PageStyle};
use ui::options::Options;
use ui::proof;
use ui::prose;
use ui::repl;
use ui::settings;
use ui::texts::{Lang, Say};

pub(crate) async fn run(
    command: Command,
    kubeconfig: Option<PathBuf>,
    lessons: Option<PathBuf>,
    name: &str,
    lang: Option<Lang>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let kubeconfig = absolute(kubeconfig)?;
    if kubeconfig.is_some() && lessons.is_some() {
        eprintln!("ropewalk: with --kubeconfig, name the lessons' directory in {}", library::DIRECTORY);
        return Ok(USAGE);
    }
    let answered = match &command {
        Command::Check { .. } => Some("lesson check"),
        Command::Solve { .. } => Some("lesson solve"),
        Command::Show { id: None, .. } => Some("lesson show"),
        Command::Leave => Some("lesson leave"),
        Command::List { .. } | Command::Show { .. } | Command::Test { .. } | Command::New { .. } => None,
    };
    if let (Some(word), Some(directory)) = (answered, &lessons) {
        let directory = directory.display().to_string();
        let with = [word, "--lessons", library::DIRECTORY, directory.as_str()];
        eprintln!("ropewalk: {}", lang.say(Say::OwnDirectory, &with));
        return Ok(USAGE);
    }
    let place = match &kubeconfig {
        Some(file) => foreign::place(&home, file)?,
        None => home.cluster(name)?,
    };
    // Lessons on a foreign cluster live in the process that plays them: this one, unless another
    // does already.
    let options = Options { name: place.name.clone(), kubeconfig: kubeconfig.clone(), ..Options::default() };
    let asks = matches!(
        command,
        Command::List { .. }
            | Command::Show { id: None, .. }
            | Command::Check { .. }
            | Command::Solve { .. }
            | Command::Leave
    );
    let connection = match kubeconfig.is_some() && asks {
        true => Some(connection::open(&options, place.clone(), lang).await?),
        false => None,
    };
    let load = || Library::at(lessons.as_deref());
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
        Command::Solve { id, all } => {
            // A cluster that is started here has to outlive the session of each step.
            let connection = match connection {
                None if all => {
                    Some(connection::take(&options, place.clone(), lang, std::future::pending()).await?)
                }
                connection => connection,
            };
            let code = solve(&options, &place, id, all, lang).await;
            take_leave(connection, lang).await;
            code
        }
        Command::Leave => leave(&place, lang).await,
        Command::New { id } => new(&lessons.unwrap_or_else(|| PathBuf::from("lessons")), &id),
        Command::Test { ids, all, jobs, dry_run, part } => {
            if ids.is_empty() && !all {
                eprintln!("ropewalk: name lessons, or --all");
                return Ok(USAGE);
            }
            let library = load();
            for fault in &library.faults {
                println!("✗ {fault}");
            }
            let mut chosen: Vec<Lesson> = Vec::new();
            for id in &ids {
                match library.find(id, None) {
                    Some(lesson) => chosen.push(lesson.clone()),
                    None => {
                        eprintln!("ropewalk: there is no lesson {id:?} that can be read");
                        return Ok(USAGE);
                    }
                }
            }
            if all {
                chosen = library.lessons.clone();
            }
            if dry_run {
                for lesson in &chosen {
                    if let Some(declared) = &lesson.cluster {
                        println!("{} is proved on its own cluster: {declared}", lesson.id);
                    }
                }
                println!("{} lessons read, {} faults", library.lessons.len(), library.faults.len());
                return Ok(if library.faults.is_empty() { 0 } else { 1 });
            }
            let sound = library.faults.is_empty();
            let directory = lessons.or_else(library::directory);
            let proved = proof::prove(chosen, directory, kubeconfig, jobs.into(), part).await;
            Ok(if proved && sound { 0 } else { 1 })
        }
    }
}

/// Progress comes from the cluster at `place` if it runs; the list itself needs none. Without a
/// place the lessons are not those of a cluster.
async fn list(
    place: Option<&Place>,
    library: Arc<Library>,
    lang: Lang,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let running = match place {
        Some(place) => front::ask(place, lang, Ask::List).await.ok(),
        None => None,
    };
    let entries: Vec<Entry> = match running.and_then(|v| serde_json::from_value(v).ok()) {
        Some(entries) => entries,
        None => library.lessons.iter().map(|l| entry(l, lang)).collect(),
    };
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&entries)?);
    } else {
        print!("{}", PageStyle::for_output(lang).list(&entries, ""));
    }
    for fault in &library.faults {
        eprintln!("ropewalk: {fault}");
    }
    Ok(if library.faults.is_empty() { 0 } else { 1 })
}

fn entry(lesson: &Lesson, lang: Lang) -> Entry {
    Entry {
        id: lesson.id.clone(),
        title: lesson.title.get(front::tag(lang)).into(),
        track: lesson.track.clone(),
        languages: lesson.languages.clone(),
        minutes: lesson.minutes,
        done: 0,
        steps: lesson.steps.len(),
        first: vec![], // without a cluster nobody knows what is done
        cannot: vec![],
    }
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
        let view = front::view(place, lang, Ask::Show).await?;
        match output {
            Some(Output::Json) => std::println!("{}", serde_json::to_string_pretty(&view)?),
            None => print!("{}", PageStyle::for_output(lang).page(&view)),
        }
        return Ok(0);
    };
    let Some(lesson) = library.find(&id, None) else {
        for fault in &library.faults {
            eprintln!("ropewalk: {fault}");
        }
        eprintln!("ropewalk: {}", lang.say(Say::NoSuchLesson, &[&id]));
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
            "minutes": lesson.minutes, "needs": lesson.needs, "requires": lesson.requires, "cluster": lesson.cluster, "files": lesson.files, "intro": lesson.intro.get(tag), "steps": steps});
        std::println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(0);
    }
    let width = PageStyle::for_output(lang).width;
    let print = |markdown: &str| print!("{}", prose::text(markdown, width, "", false));
    println!("{} {}\n", lesson.id, lesson.title.get(tag));
    print(lesson.intro.get(tag));
    for (at, step) in lesson.steps.iter().enumerate() {
        println!(
            "\n── {} ──\n",
            lang.say(Say::LessonStep, &[&(at + 1).to_string(), &lesson.steps.len().to_string()])
        );
        print(step.prose.get(tag));
        println!();
        print(&format!("▸ {}", step.task.get(tag)));
    }
    Ok(0)
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

/// Writes a lesson that loads and can be proved, with a remark at every key.
fn new(directory: &std::path::Path, id: &str) -> anyhow::Result<i32> {
    let parsed = id.split_once('/').and_then(|(track, rest)| {
        let (number, name) = rest.split_once('-')?;
        let order: u32 = number.parse().ok()?;
        let is_word = |text: &str| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            !text.is_empty() && text.chars().all(plain)
        };
        let is_number = number.len() == 2 && number.bytes().all(|b| b.is_ascii_digit());
        (is_number && is_word(name) && is_word(track)).then_some((track, order, name))
    });
    let Some((track, order, name)) = parsed else {
        eprintln!(
            "ropewalk: write TRACK/NN-name in lower-case letters, digits and '-', e.g. first-voyage/13-update"
        );
        return Ok(USAGE);
    };
    let place = directory.join(track).join(format!("{order:02}-{name}"));
    let title = name.replace('-', " ");
    let files = [("lesson.md", TEMPLATE), ("lesson.ko.md", TEMPLATE_KO)];
    if let Some(there) = files.iter().map(|(file, _)| place.join(file)).find(|path| path.exists()) {
        eprintln!("ropewalk: {} is there already", there.display());
        return Ok(1);
    }
    for (file, template) in files {
        let path = place.join(file);
        let text = template
            .replace("TRACK", track)
            .replace("ORDER", &order.to_string())
            .replace("NN", &format!("{order:02}"))
            .replace("TITLE", &title);
        std::fs::create_dir_all(&place)?;
        std::fs::write(&path, text)?;
        println!("{}", path.display());
    }
    println!("prove it: ropewalk lesson test {track}/{order:02} --lessons {}", directory.display());
    Ok(0)
}

const TEMPLATE: &str = include_str!("lesson_template.md");
const TEMPLATE_KO: &str = include_str!("lesson_template.ko.md");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_a_sound_lesson() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(new(dir.path(), "first-voyage/13-a-new-one").unwrap(), 0);
        let library = Arc::new(Library::read(dir.path()));
        assert_eq!(library.faults, []);
        assert_eq!(
            (library.lessons[0].id.as_str(), library.lessons[0].languages.len()),
            ("first-voyage/13", 2)
        );
        assert_eq!(
            new(dir.path(), "first-voyage/13-a-new-one").unwrap(),
            1,
            "an author's work is not overwritten"
        );
        for nonsense in ["nonsense", "../13-up", "a/13-../../b", "a/13-b/c", "a/+1-b", "a/13-x: y", "A/13-b"]
        {
            assert_eq!(new(dir.path(), nonsense).unwrap(), USAGE, "{nonsense}");
        }
        // Only the translation is there: nothing is written beside it.
        let half = dir.path().join("first-voyage/14-half");
        std::fs::create_dir_all(&half).unwrap();
        std::fs::write(half.join("lesson.ko.md"), "").unwrap();
        assert_eq!(new(dir.path(), "first-voyage/14-half").unwrap(), 1);
        assert!(!half.join("lesson.md").exists());
    }
}
