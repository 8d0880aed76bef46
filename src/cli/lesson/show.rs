//! `lesson show ID`: a whole lesson as text.

use super::pack_note;
use crate::args::Output;
use crate::words::no_lesson;
use lab::format::{Lesson, Library};
use lang::charset::{eprintln, print};
use serde_json::{Value, json};
use ui::lesson::{PageStyle, tag};
use ui::prose::{self, harmless};
use ui::texts::{Lang, Say};
use ui::tracks;

/// Prints a lesson, without a cluster. Exit code 1: there is no such lesson that can be read.
pub(super) fn show(library: &Library, id: &str, lang: Lang, output: Option<Output>) -> anyhow::Result<i32> {
    let Some(lesson) = library.find(id, None) else {
        for fault in &library.faults {
            eprintln!("ropewalk: {}", harmless(&fault.to_string()));
        }
        eprintln!("ropewalk: {}", no_lesson(id, lang));
        return Ok(1);
    };
    match output {
        Some(Output::Json) => {
            std::println!("{}", serde_json::to_string_pretty(&document(library, lesson, lang))?);
        }
        None => print!("{}", page(library, lesson, lang)),
    }
    Ok(0)
}

/// Returns a lesson for programs: its texts in one language, and what it asks of a cluster.
fn document(library: &Library, lesson: &Lesson, lang: Lang) -> Value {
    let tag = tag(lang);
    let steps: Vec<_> = lesson
        .steps
        .iter()
        .map(|s| json!({"id": s.id, "task": s.task.get(tag), "prose": s.prose.get(tag)}))
        .collect();
    json!({
        "id": lesson.id, "title": lesson.title.get(tag), "track": lesson.track,
        "languages": lesson.languages, "minutes": lesson.minutes,
        "pack": pack_note(library, lesson, lang), "needs": lesson.needs, "requires": lesson.requires,
        "cluster": lesson.cluster, "files": lesson.files, "intro": lesson.intro.get(tag), "steps": steps,
    })
}

/// A lesson as it reads: its pack, its texts, and the task of each step.
pub(super) fn page(library: &Library, lesson: &Lesson, lang: Lang) -> String {
    let (tag, width) = (tag(lang), PageStyle::for_output(lang).width);
    let text = |markdown: &str| prose::text(markdown, width, "", false);
    let mut out = format!("{} {}\n", lesson.id, harmless(lesson.title.get(tag)));
    if let Some(pack) = pack_note(library, lesson, lang) {
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
