//! Graded labs at the prompt: what the lab engine answers, as text.

pub use super::guests::asked;
use super::lesson::{PageStyle, tag};
use super::prose::{self, harmless};
use super::texts::{Lang, Say};
use lab::graded::view::{Entry, GivenUp, Graded, LabView};
use serde_json::Value;

/// `4:05`; with a minus when the time is over.
pub(crate) fn clock(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    format!("{sign}{}:{:02}", seconds.abs() / 60, seconds.abs() % 60)
}

/// Everything there is to see of a lab; a sentence if none is open.
pub fn page(style: &PageStyle, view: &LabView) -> String {
    let say = |say, with: &[&str]| style.lang.say(say, with);
    if view.id.is_empty() {
        return say(Say::LabNone, &[]) + "\n";
    }
    let mut out = format!(
        "── {} · {} {} ──\n\n",
        harmless(&view.title),
        harmless(&view.id),
        say(Say::LabSeed, &[&view.seed.to_string()])
    );
    out.push_str(&style.prose(&view.text, ""));
    out.push('\n');
    out.push_str(&tasks(style, view));
    let minutes = view.minutes.to_string();
    let time = match (view.started.is_empty(), view.solved_s()) {
        (true, _) => say(Say::LabMinutes, &[&minutes]),
        (false, Some(needed)) => say(Say::LabReached, &[&clock(needed), &minutes]),
        (false, None) => say(Say::LabLeft, &[&clock(view.left_s), &minutes]),
    };
    out.push('\n');
    out + &style.prose(&time, "")
}

/// One line a task: whether it is green, its points, its text. A check that is hidden stays
/// hidden: only its result is shown.
pub fn tasks(style: &PageStyle, view: &LabView) -> String {
    let mut out = String::new();
    for task in &view.tasks {
        let mark = match task.green {
            Some(true) => "✓",
            Some(false) => "·",
            None => " ",
        };
        let mark = format!(" {mark} {:>3}  ", task.weight);
        out.push_str(&style.marked(&mark, &task.task));
        if !task.told.is_empty() {
            out.push_str(&style.marked(&" ".repeat(prose::cells(&mark)), &task.told));
        }
    }
    out
}

/// The last hint that was shown, and whether there is another one. Not how many: hints have
/// conditions, so that number goes up and down with what the learner does.
pub fn hint(style: &PageStyle, view: &LabView) -> String {
    let Some(last) = view.hints.last() else { return String::new() };
    let number = view.hints.len().to_string();
    let more = if view.hints_left == 0 { Say::LessonHintsOver } else { Say::LabHintsLeft };
    style.marked(&format!("{} ", style.lang.say(Say::LessonHint, &[&number])), last)
        + &style.prose(&style.lang.say(more, &[]), "")
}

/// The solution and its explanation, for a learner who has given up.
pub fn given_up(style: &PageStyle, given: &GivenUp) -> String {
    let mut out = String::new();
    for told in &given.told {
        let told = told.get(tag(style.lang));
        out.push_str(&style.prose(told, "  "));
    }
    out.push_str(&format!("\n{}\n", style.lang.say(Say::LabWay, &[])));
    given.lines.iter().for_each(|line| out.push_str(&format!("  {}\n", harmless(line))));
    out
}

/// What `lab give-up` asks first.
pub fn gives_up(style: &PageStyle, title: &str) -> String {
    style.prose(&style.lang.say(Say::LabGiveUp, &[title]), "")
}

/// What `lab leave` tells of the lab that it has ended.
pub fn left(style: &PageStyle, title: &str) -> String {
    style.prose(&style.lang.say(Say::LabLeftOff, &[title]), "")
}

/// A grade for people: points and what was found of each task, how it came about, the debrief, the
/// file of the record, and the score. The score is the last line, which the pane of a shell shows
/// however long the rest is.
pub fn grade(style: &PageStyle, graded: &Graded, view: &LabView) -> String {
    let say = |say, with: &[&str]| style.lang.say(say, with);
    let record = &graded.record;
    let mut out = String::new();
    for found in &graded.found {
        let text =
            view.tasks.iter().find(|t| t.id == found.id).map_or(found.id.as_str(), |t| t.task.as_str());
        let points = if found.green { found.weight } else { 0 };
        let mark = if found.green { "✓" } else { "✗" };
        let mark = format!(" {mark} {points:>3}/{:<3} ", found.weight);
        out.push_str(&style.marked(&mark, text));
        if !found.green && !found.told.is_empty() {
            let told = found.told.get(tag(style.lang));
            out.push_str(&style.marked(&" ".repeat(prose::cells(&mark)), told));
        }
    }
    let mut notes = remarks(style.lang, record);
    if graded.untold > 0 {
        notes.push(say(Say::LabUntold, &[&graded.untold.to_string()]));
    }
    if !notes.is_empty() {
        out.push('\n');
    }
    notes.iter().for_each(|note| out.push_str(&style.prose(note, "")));
    if !graded.debrief.is_empty() {
        out.push('\n');
        for told in graded.debrief.iter().map(|told| told.get(tag(style.lang))) {
            out.push_str(&style.prose(told, "  "));
        }
    }
    let total = say(Say::LabScore, &[&record["score"].to_string(), &record["max"].to_string()]);
    out.push_str(&format!("\n{}\n{total}\n", say(Say::LabRecord, &[&graded.file])));
    out
}

/// What a record, as its JSON, says of how its grade came about: a solution that was played, hints,
/// earlier attempts, edits by hand. A sentence each; none for a plain first attempt.
pub fn remarks(lang: Lang, record: &Value) -> Vec<String> {
    let number = |key: &str| record["attempts"][key].as_u64().unwrap_or_default();
    let mut lines = Vec::new();
    if record["attempts"]["gave_up"] == true {
        lines.push(lang.say(Say::LabGaveUp, &[]));
    } else if record["used"]["solve"] == true {
        lines.push(lang.say(Say::LabSolved, &[]));
    }
    if record["tampered"] == true {
        lines.push(lang.say(Say::LabTampered, &[]));
    }
    if number("lost") > 0 {
        lines.push(lang.say(Say::LabLost, &[&number("lost").to_string()]));
    }
    if number("book_deleted") > 0 {
        lines.push(lang.say(Say::LabBookDeleted, &[&number("book_deleted").to_string()]));
    }
    let shown = number("earlier_solves");
    if shown > 0 {
        lines.push(lang.say(Say::LabShown, &[&shown.to_string()]));
    }
    if number("earlier_hints") > 0 {
        lines.push(lang.say(Say::LabEarlierHints, &[&number("earlier_hints").to_string()]));
    }
    if number("earlier_left") > 0 {
        lines.push(lang.say(Say::LabEarlierLeft, &[&number("earlier_left").to_string()]));
    }
    let (gradings, before) = (number("gradings"), number("earlier_gradings"));
    if gradings + before > 1 || number("starts") > 1 {
        let with = [number("starts"), number("seed_starts"), gradings + before].map(|n| n.to_string());
        lines.push(lang.say(Say::LabAttempts, &with.each_ref().map(String::as_str)));
    }
    lines
}

/// Cells of the column of ids, which the id of a lab from elsewhere may exceed.
const ID_WIDTH: usize = 16;
/// Cells of a title: a longer one goes on in the next line. With such a title, and a score such as
/// `100/100 #12`, a line of the list has 78 cells, as many as the shell's pane on a screen of 80.
const TITLE_MAX: usize = 33;

/// The list of labs, a line each; a long title takes more.
pub fn list(style: &PageStyle, entries: &[Entry]) -> String {
    let mut out = String::new();
    let titles = entries.iter().map(|entry| prose::text(&harmless(&entry.title), TITLE_MAX, "", false));
    let titles: Vec<String> = titles.collect();
    let widths = titles.iter().flat_map(|title| title.lines()).map(prose::cells);
    let title_width = widths.max().unwrap_or_default();
    for (entry, title) in entries.iter().zip(&titles) {
        let mark = match () {
            () if entry.open => "▸",
            () if entry.passed => "✓",
            () => " ",
        };
        let id = harmless(&entry.id);
        let mut lines = title.lines();
        let title = lines.next().unwrap_or_default();
        let pad = |text: &str, to: usize| " ".repeat(to.saturating_sub(prose::cells(text)));
        let attempt = if entry.attempt > 1 { format!(" #{}", entry.attempt) } else { String::new() };
        let score = entry.score.map_or_else(String::new, |s| format!("{s}/{}{attempt}", entry.max));
        let minutes = style.lang.say(Say::LessonMinutes, &[&entry.minutes.to_string()]);
        let line = format!(
            " {mark} {}{} {}{} {}{} {}{minutes} {score:>11}",
            id,
            pad(&id, ID_WIDTH),
            title,
            pad(title, title_width),
            "●".repeat(entry.level.into()),
            " ".repeat(4usize.saturating_sub(entry.level.into())),
            pad(&minutes, 7),
        );
        out.push_str(line.trim_end());
        out.push('\n');
        let below = " ".repeat(4 + ID_WIDTH);
        lines.for_each(|rest| out.push_str(&format!("{below}{rest}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::format::Text;
    use lab::graded::score::Found;
    use lab::graded::view::Task;
    use serde_json::json;

    const PLAIN: PageStyle = PageStyle { lang: Lang::En, width: 60, colour: false, beside: false };

    fn view() -> LabView {
        let task =
            |id: &str, text: &str| Task { id: id.into(), weight: 40, task: text.into(), ..Task::default() };
        LabView {
            id: "l".into(),
            title: "The menu".into(),
            seed: 7,
            minutes: 10,
            text: "It is broken.".into(),
            tasks: vec![task("a", "It answers."), task("b", "It stays so.")],
            started: "2026-01-02T03:04:05Z".into(),
            left_s: 245,
            ..LabView::default()
        }
    }

    #[test]
    fn a_lab_is_shown_with_its_tasks_and_the_time() {
        let page = page(&PLAIN, &view());
        for part in ["The menu", "seed 7", "It is broken.", " 40  It answers.", "4:05"] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert_eq!(clock(-65), "-1:05");
        let record = json!({
            "score": 80, "max": 80,
            "started": "2026-01-02T03:04:05Z", "ended": "2026-01-02T03:11:10Z",
        });
        let grade = Some(Graded { record, ..Graded::default() });
        let solved = super::page(&PLAIN, &LabView { grade, ..view() });
        assert!(solved.contains("All points after 7:05 of 10 min."), "{solved}");
    }

    #[test]
    fn a_narrow_pane_breaks_no_word_of_what_ends_a_lab() {
        let style = PageStyle { lang: Lang::Ko, width: 40, ..PLAIN };
        for told in [gives_up(&style, "메뉴"), left(&style, "메뉴")] {
            assert!(told.ends_with('\n') && told.lines().count() > 2, "{told}");
            assert!(told.lines().all(|line| prose::cells(line) <= 40), "{told}");
        }
        assert!(left(&style, "메뉴").split_whitespace().any(|word| word == "삭제했습니다."));
    }

    #[test]
    fn a_task_says_why_grading_will_find_it_red() {
        let mut view = view();
        view.tasks[0].told = "A status was written by hand.".into();
        let told = tasks(&PLAIN, &view);
        assert!(told.contains("It answers.\n        A status was written by hand.\n"), "{told}");
    }

    #[test]
    fn a_hint_says_whether_there_is_another_and_not_how_many() {
        let told = |hints_left| hint(&PLAIN, &LabView { hints: vec!["Look.".into()], hints_left, ..view() });
        assert!(told(3).contains("another hint") && told(3) == told(4), "{}", told(3));
        assert!(told(0).contains("no more for now"), "{}", told(0));
    }

    #[test]
    fn every_line_of_a_lab_fits_its_width() {
        for lang in [Lang::En, Lang::Ko] {
            let style = PageStyle { lang, width: 50, ..PLAIN };
            let fresh = LabView { started: String::new(), ..view() };
            let hinted = LabView { hints: vec!["Read what the Service selects.".into()], ..view() };
            let record = json!({"score": 0, "max": 80, "tampered": true, "attempts": {"gave_up": true}});
            let graded = Graded { record, untold: 1, ..Graded::default() };
            let pages = [page(&style, &view()), page(&style, &fresh), hint(&style, &hinted)];
            for text in pages.into_iter().chain([grade(&style, &graded, &view())]) {
                let wide = text.lines().find(|line| prose::cells(line) > 50);
                assert_eq!(wide, None, "{text}");
            }
        }
    }

    #[test]
    fn a_grade_names_points_of_each_task() {
        let found = |id: &str, green| Found { id: id.into(), weight: 40, green, ..Found::default() };
        let graded = Graded {
            record: json!({"score": 40, "max": 80, "used": {"solve": true}}),
            file: "/r.json".into(),
            debrief: vec![Text::new("It was so.")],
            untold: 1,
            found: vec![
                found("a", true),
                Found {
                    told: Text::new("not so: every pod answers"),
                    parts: vec!["fetch(v.url).status == 200".into()],
                    ..found("b", false)
                },
            ],
        };
        let told = grade(&PLAIN, &graded, &view());
        assert!(!told.contains("fetch("), "a check's own text is the judge's: {told}");
        assert!(told.contains("It stays so.\n           not so: every pod answers\n"), "{told}");
        for part in ["✓  40/40  It answers.", "✗   0/40  It stays so.", "40 of 80", "It was so.", "/r.json"]
        {
            assert!(told.contains(part), "{part}\n{told}");
        }
        assert!(told.contains("Explanations kept back: 1."), "{told}");
        assert!(told.ends_with("/r.json\n40 of 80 points\n"), "the last line, in sight: {told}");
        let record = json!({"tampered": true, "attempts": {"starts": 3, "seed_starts": 2, "gradings": 1, "earlier_gradings": 4}});
        let remarks = remarks(Lang::En, &record);
        let shown = json!({"attempts": {"starts": 2, "seed_starts": 1, "gradings": 1, "earlier_solves": 1, "earlier_hints": 2, "earlier_left": 4, "book_deleted": 3, "gave_up": true}});
        let shown = super::remarks(Lang::En, &shown).join("\n");
        for part in
            ["gave up", "an earlier start", "2 hints", "left without a grade, 4 times", "was deleted 3 times"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let entry =
            |attempt| Entry { id: "a".into(), score: Some(100), max: 100, attempt, ..Entry::default() };
        assert!(list(&PLAIN, &[entry(3)]).contains("100/100 #3") && !list(&PLAIN, &[entry(1)]).contains('#'));
        assert!(
            remarks[0].contains("changed by hand") && remarks[1].contains("lab: 3, with this seed: 2"),
            "{remarks:?}"
        );
    }

    #[test]
    fn a_long_title_moves_no_column_of_the_list() {
        let entry = |title: &str| Entry { title: title.into(), level: 1, ..Entry::default() };
        let told = list(&PLAIN, &[entry("The menu"), entry("프로그램이 API 서버를 쓰지 못한다")]);
        let columns = told.lines().filter_map(|line| line.split_once('●'));
        let columns: Vec<usize> = columns.map(|(before, _)| prose::cells(before)).collect();
        assert!(columns.len() == 2 && columns[0] == columns[1], "{told}");
    }

    #[test]
    fn every_line_of_the_list_fits_the_pane_of_a_screen_of_80_columns() {
        for (lang, title) in [
            (Lang::En, "Pods run, but the Service has no ready endpoints"),
            (Lang::Ko, "파드는 실행 중인데 서비스에 준비된 엔드포인트가 없다"),
        ] {
            let entry = Entry {
                id: "controllers-down".into(),
                title: title.into(),
                level: 4,
                minutes: 120,
                score: Some(100),
                max: 100,
                attempt: 12,
                ..Entry::default()
            };
            let told = list(&PageStyle { lang, ..PLAIN }, &[entry]);
            assert!(told.lines().all(|line| prose::cells(line) <= 78), "{told}");
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            let shown = words(&told);
            assert!(words(title).iter().all(|word| shown.contains(word)), "no word is cut: {told}");
        }
    }
}
