//! `lesson list`.

use super::pack_note;
use crate::args::Output;
use crate::running::if_running;
use cluster::Place;
use lab::format::{Lesson, Library};
use lab::view::{Ask, Entry, LessonView};
use lang::charset::{eprintln, print};
use std::sync::Arc;
use ui::guests;
use ui::lesson::{PageStyle, tag};
use ui::prose::harmless;
use ui::texts::Lang;

/// Prints all lessons. The learner's progress comes from the cluster at `place` if that runs; the
/// list itself needs no cluster. `None`: the lessons are not those of a cluster.
pub(super) async fn list(
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
        eprintln!("ropewalk: {}", harmless(&fault.to_string()));
    }
    Ok(if library.faults.is_empty() { code } else { 1 })
}

/// Returns a lesson as a row of the list without progress.
fn entry(library: &Library, lesson: &Lesson, lang: Lang) -> Entry {
    Entry {
        pack: pack_note(library, lesson, lang),
        id: lesson.id.clone(),
        title: lesson.title.get(tag(lang)).into(),
        track: lesson.track.clone(),
        languages: lesson.languages.clone(),
        minutes: lesson.minutes,
        done: 0,
        steps: lesson.steps.len(),
        first: vec![], // without a cluster it is not known what is done
        cannot: vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lesson::new;
    use cluster::Home;

    /// A script would take the list without progress for the truth.
    #[tokio::test]
    async fn a_list_without_the_progress_of_a_cluster_that_gives_no_answer_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        new::new(&dir.path().join("lessons"), "harbour/01-first", Lang::En).unwrap();
        let library = Arc::new(Library::read(&dir.path().join("lessons")));
        let place = Home::at(dir.path().join("home")).cluster("main").unwrap();
        place.make().unwrap();
        let code = async || list(Some(&place), library.clone(), Lang::En, None).await.unwrap();
        assert_eq!(code().await, 0, "it does not run");
        // A link to itself: it cannot be found out whether the cluster runs.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert_eq!(code().await, 1);
        assert_eq!(list(None, library.clone(), Lang::En, None).await.unwrap(), 0, "no cluster is asked");
    }
}
