//! `lesson`: what a script or a classroom asks of lessons. Commands that the running cluster
//! answers are in `client`, each of the others in a file of its own.

mod client;
mod list;
pub(crate) mod new;
mod preview;
pub(crate) mod prove;
mod record;
mod show;
mod usage;

use crate::args::{Lesson as Command, LessonArgs};
use crate::codes::USAGE;
use crate::named::list_chosen;
use crate::paths::absolute;
use crate::words::{Word, no_lesson};
use client::Client;
use cluster::{Home, foreign};
use lab::format::{Lesson, Library, library};
use lab::view::PackNote;
use lang::charset::eprintln;
use std::path::PathBuf;
use ui::lesson::tag;
use ui::texts::{Lang, Say};
use ui::{proof, settings};

/// Runs one command of `lesson`, and returns its exit code.
pub(crate) async fn run(args: LessonArgs) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(args.lang, &home);
    let args = LessonArgs { kubeconfig: absolute(args.kubeconfig)?, ..args };
    if let Some(problem) = usage::problem(&args, lang) {
        eprintln!("ropewalk: {problem}");
        return Ok(USAGE);
    }
    let LessonArgs { command, kubeconfig, lessons, only, name, .. } = args;
    if let Some(id) = usage::odd_id(&command) {
        eprintln!("ropewalk: {}", no_lesson(id, lang));
        return Ok(1);
    }
    let place = match &kubeconfig {
        Some(file) => foreign::place(&home, file)?,
        None => home.cluster(&name)?,
    };
    // Commands that ask no cluster do not use the client.
    let client = match &kubeconfig {
        Some(file) if usage::asks_cluster(&command) => Client::on_foreign(place, file, lang).await?,
        _ => Client::on(place, lang),
    };
    let load = || Library::at(lessons.as_deref(), only);
    match command {
        // With a directory, the lessons are not those of a cluster.
        Command::List { output } => {
            let place = lessons.is_none().then_some(&client.place);
            list::list(place, load(), lang, output).await
        }
        Command::Show { id: Some(id), output } => show::show(&load(), &id, lang, output),
        Command::Show { id: None, output } => client.show(output).await,
        Command::Check { id, output } => client.check(id, output).await,
        Command::Solve { id, all } => client.solve(id, all).await,
        Command::Leave => client.leave().await,
        Command::New { id } => new::new(&authors(lessons, library::directory()), &id, lang),
        Command::Preview { directory, id } => preview::run(directory, id, only, lang).await,
        Command::Record { id } if kubeconfig.is_none() => {
            record::run(&authors(lessons, library::directory()), &id, &name, lang).await
        }
        Command::Record { .. } => {
            eprintln!("ropewalk: {}", lang.say(Say::RecordForeign, &[]));
            Ok(USAGE)
        }
        Command::Test { ids, all, jobs, dry_run, part } => {
            let library = load();
            let Some(chosen) = prove::chosen(&library, lessons.as_deref(), only, &ids, all, lang) else {
                return Ok(USAGE);
            };
            let is_proved = if dry_run {
                let declared = chosen.iter().map(|lesson| (lesson.id.as_str(), lesson.cluster.as_ref()));
                let counts = [library.lessons.len(), library.faults.len()];
                list_chosen(declared, (Word::LessonsRead, counts), lang);
                true
            } else {
                let directory = lessons.or_else(library::directory);
                proof::prove(chosen, directory, kubeconfig, jobs.into(), part).await
            };
            Ok(i32::from(!is_proved || !library.faults.is_empty()))
        }
    }
}

/// Returns the directory in which an author writes lessons: that of `--lessons`, else that of the
/// environment, from which lessons are read, too; else `lessons`.
fn authors(lessons: Option<PathBuf>, environment: Option<PathBuf>) -> PathBuf {
    lessons.or(environment).unwrap_or_else(|| PathBuf::from("lessons"))
}

/// Returns what a list or a page says of the pack that a lesson is from; `None`: it is built in.
fn pack_note(library: &Library, lesson: &Lesson, lang: Lang) -> Option<PackNote> {
    let pack = library.pack_of(&lesson.id)?;
    Some(PackNote::of(pack, &lesson.track, tag(lang)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_lesson_is_written_where_lessons_are_read() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(authors(path("given"), path("named")), Path::new("given"));
        assert_eq!(authors(None, path("named")), Path::new("named"));
        assert_eq!(authors(None, None), Path::new("lessons"));
    }
}
