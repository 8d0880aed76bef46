//! Lessons in the REPL: words become questions to the engine, its views become text.

use super::prose;
use super::terminal;
use super::texts::{Lang, Say};
use super::tracks;
use lab::view::{Check, Entry, Form, Judged, LessonView, State, Verdict};

mod asking;

pub(crate) use asking::{Green, ask_as, asked, follow, until_green};
pub use asking::{ask, tag, view};

/// How text is to be laid out.
#[derive(Clone, Copy, Debug)]
pub struct PageStyle {
    pub lang: Lang,
    pub width: usize,
    pub colour: bool,
    /// The lesson stands beside it on the same screen, so only the news is printed.
    pub beside: bool,
}

impl PageStyle {
    /// The widest line that is pleasant to read.
    pub const WIDEST: usize = 78;

    /// For the output of a command: as wide as its terminal, and no wider than is pleasant to read.
    /// The pane of a shell may have fewer columns than [`PageStyle::WIDEST`].
    pub fn for_output(lang: Lang) -> PageStyle {
        PageStyle { lang, width: PageStyle::fitting(terminal::size().0), colour: false, beside: false }
    }

    /// The width of lines on a terminal of this many columns.
    pub(crate) fn fitting(columns: u16) -> usize {
        usize::from(columns).min(PageStyle::WIDEST)
    }

    fn say(&self, say: Say, with: &[&str]) -> String {
        self.lang.say(say, with)
    }
    pub(crate) fn prose(&self, markdown: &str, indent: &str) -> String {
        prose::text(markdown, self.width, indent, self.colour)
    }
    /// A paragraph behind a mark, its further lines under its first.
    pub(crate) fn marked(&self, mark: &str, markdown: &str) -> String {
        let hang = " ".repeat(prose::cells(mark));
        let text = self.prose(markdown, &hang);
        format!("{mark}{}", text.strip_prefix(&hang).unwrap_or(&text))
    }
    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.into() }
    }

    /// Everything there is to see of a step.
    pub fn page(&self, view: &LessonView) -> String {
        if view.id.is_empty() {
            return view.notices.join("\n")
                + if view.notices.is_empty() { "" } else { "\n" }
                + &self.say(Say::LessonNone, &[])
                + "\n";
        }
        let at = self.say(Say::LessonStep, &[&(view.step + 1).to_string(), &view.steps.to_string()]);
        let number = view.id.rsplit('/').next().unwrap_or_default();
        let mut out = self.bold(&format!("── {number} {} · {at} ──", view.title)) + "\n";
        if self.beside {
            return out;
        }
        out.push('\n');
        for notice in &view.notices {
            out.push_str(&self.marked("! ", notice));
        }
        out.push_str(&self.prose(&view.prose, ""));
        out.push('\n');
        out.push_str(&self.answered(view));
        out.push_str(&self.ask(view));
        if matches!(view.state, State::Done | State::Solved) {
            out.push_str(&self.over(view));
        }
        out
    }

    /// What may be read once the question is answered.
    pub fn answered(&self, view: &LessonView) -> String {
        match view.after.is_empty() || self.beside {
            true => String::new(),
            false => self.prose(&view.after, "") + "\n",
        }
    }

    /// The question, or the task and how it stands.
    pub fn ask(&self, view: &LessonView) -> String {
        let mut out = String::new();
        if let Some(predict) = view.predict.as_ref().filter(|p| p.chosen.is_none() && view.task.is_empty()) {
            // There are no checks to tell it with, and who guesses first would try in vain.
            out.push_str(&self.lost(view));
            out.push_str(&self.marked("? ", &predict.question));
            for (letter, text) in &predict.choices {
                out.push_str(&self.marked(&format!("  {letter}  "), text));
            }
            out.push_str(&format!("{}\n", self.say(Say::LessonChoose, &[])));
            return out;
        }
        out.push_str(&self.marked("▸ ", &view.task));
        out.push_str(&self.checks(view));
        if view.state == State::Open {
            out.push_str(&self.asked(view));
        }
        out
    }

    /// The question that the cluster proves, and how to answer it; then how the answer stands.
    fn asked(&self, view: &LessonView) -> String {
        let Some(answer) = &view.answer else { return String::new() };
        let mut out = self.marked("? ", &answer.question);
        for (letter, text) in &answer.cards {
            out.push_str(&self.marked(&format!("  {letter}  "), text));
        }
        let way = match answer.form {
            Form::Text => Say::AnswerText,
            Form::Number => Say::AnswerNumber,
            Form::Choices => Say::AnswerChoices,
            Form::Order => Say::AnswerOrder,
        };
        if answer.state != Judged::Right {
            out.push_str(&format!("{}\n", self.say(way, &[])));
        }
        out + &self.judged(view)
    }

    /// How the learner's last answer stands, without what would be right.
    pub(crate) fn judged(&self, view: &LessonView) -> String {
        let answer = view.answer.clone().unwrap_or_default();
        let given = answer.given.unwrap_or_default();
        let told = match answer.state {
            Judged::Missing | Judged::Waiting => return String::new(),
            Judged::Right => self.say(Say::AnswerRight, &[&given]),
            Judged::Wrong => self.say(Say::AnswerWrong, &[&given]),
            Judged::Unknown => self.say(Say::AnswerUnknown, &[&given]),
        };
        format!("{told}\n")
    }

    /// One line a check, if there is more to say than the task says.
    pub fn checks(&self, view: &LessonView) -> String {
        let alone = view.checks.len() == 1 && view.checks[0].that == view.task;
        let mut out = String::new();
        for check in view.checks.iter().filter(|_| !alone) {
            out.push_str(&self.marked(&format!("  {} ", sign(check)), &check.that));
        }
        out.push_str(&self.lost(view));
        out
    }

    /// What keeps the step from being done, and how to get it back.
    fn lost(&self, view: &LessonView) -> String {
        view.lost.as_ref().map_or_else(String::new, |lost| self.marked("! ", lost))
    }

    /// What is said when a step is done.
    pub fn over(&self, view: &LessonView) -> String {
        let word = if view.state == State::Solved { Say::LessonSolved } else { Say::LessonDone };
        let mut out = self.bold(&self.say(word, &[])) + "\n";
        if self.beside && !view.is_at_the_end() {
            return out;
        }
        for told in view.debrief.iter().filter(|_| !self.beside) {
            out.push_str(&self.prose(told, "  "));
        }
        if !view.also.is_empty() && !self.beside {
            out.push_str(&format!("{}\n", self.say(Say::LessonAlso, &[])));
            for lines in &view.also {
                for line in lines {
                    out.push_str(&format!("    {line}\n"));
                }
            }
        }
        if !view.closing.is_empty() && !self.beside {
            out.push_str(&format!("\n{}\n", self.prose(&view.closing, "")));
        }
        out.push_str(&match (&view.next, view.is_at_the_end()) {
            (Some((id, title)), true) => self.say(Say::LessonFinishedNext, &[id, title]),
            (None, true) => self.say(Say::LessonFinishedAll, &[]),
            _ => self.say(Say::LessonNext, &[]),
        });
        out.push('\n');
        out
    }

    /// Sentences of a debrief.
    pub fn told(&self, sentences: &[String]) -> String {
        sentences.iter().map(|told| self.prose(told, "  ")).collect()
    }

    /// The last hint that was shown.
    pub fn hint(&self, view: &LessonView) -> String {
        let Some(hint) = view.hints.last() else { return String::new() };
        let (number, left) = (view.hints.len().to_string(), view.hints_left.to_string());
        let more = if view.hints_left > 0 { Say::LessonHintsLeft } else { Say::LessonHintsOver };
        self.marked(&format!("{} ", self.say(Say::LessonHint, &[&number])), &hint.say)
            + &self.say(more, &[&left])
            + "\n"
    }

    /// Why the step is not done.
    pub fn verdict(&self, view: &LessonView) -> String {
        if matches!(view.state, State::Done | State::Solved) {
            return self.over(view);
        }
        if view.state == State::Skipped {
            return view.notices.iter().map(|n| self.marked("! ", n)).collect();
        }
        let mut out = self.checks(view);
        if !view.checks.is_empty() || view.not_yet.is_some() {
            out.push_str(&self.prose(&missing(self.lang, view), ""));
        }
        out
    }

    /// The list of lessons.
    pub fn list(&self, entries: &[Entry], open: &str) -> String {
        let mut out = String::new();
        let (mut track, mut pack) = ("", None);
        for (at, entry) in entries.iter().enumerate() {
            if entry.track != track {
                (track, pack) = (entry.track.as_str(), None);
                let head = self.bold(&tracks::head_of(entry, self.lang));
                out.push_str(&format!("{}{head}\n", if out.is_empty() { "" } else { "\n" }));
            }
            if let Some(other) = entry.pack.as_ref().filter(|other| Some(*other) != pack) {
                out.push_str(&self.prose(&tracks::pack(other, self.lang), "   "));
            }
            pack = entry.pack.as_ref();
            let mark = match entry.done {
                _ if entry.id == open => "▸",
                done if done >= entry.steps => "✓",
                0 => " ",
                _ => "…",
            };
            let number = entry.id.rsplit('/').next().unwrap_or_default();
            let pad = " ".repeat(46usize.saturating_sub(prose::cells(&entry.title)));
            let minutes = self.say(Say::LessonMinutes, &[&entry.minutes.to_string()]);
            out.push_str(&format!(
                " {mark} {}  {}{pad} {}/{}   {minutes}\n",
                prose::harmless(number),
                prose::harmless(&entry.title),
                entry.done,
                entry.steps
            ));
            if let Some(first) = first(self.lang, entries, at) {
                out.push_str(&self.prose(&first, "       "));
            }
            for (step, why) in &entry.cannot {
                out.push_str(&self.prose(&self.say(Say::LessonCannot, &[step, why]), "       "));
            }
        }
        if out.is_empty() {
            out.push_str(&format!("{}\n", self.say(Say::LessonEmpty, &[])));
        }
        out
    }
}

/// What comes before the entry at this place of the list and is not done yet. Nothing if the entry
/// itself is done, or if that is the lesson right above it: its own mark says how it stands.
///
/// ```text
/// 07 builds on 04            first: lesson 04, not done yet
/// 06 builds on 05            nothing: 05 stands above it
/// ```
pub(crate) fn first(lang: Lang, entries: &[Entry], at: usize) -> Option<String> {
    let entry = entries.get(at).filter(|entry| entry.done < entry.steps)?;
    let above = at.checked_sub(1).and_then(|at| entries.get(at)).map(|above| &above.id);
    let named = entry.first.iter().filter(|id| Some(*id) != above).map(|id| {
        let own = id.strip_prefix(&entry.track).and_then(|rest| rest.strip_prefix('/'));
        own.unwrap_or(id)
    });
    let named: Vec<&str> = named.collect();
    (!named.is_empty()).then(|| lang.say(Say::LessonFirst, &[&named.join(", ")]))
}

/// How many conditions of a step are met, and which one is missing, in words.
pub(crate) fn missing(lang: Lang, view: &LessonView) -> String {
    let (met, all) = (view.met().to_string(), view.checks.len());
    let named = view.missing().and_then(|at| view.checks.get(at)).map(|check| &check.that);
    match (named.or(view.not_yet.as_ref()), all, view.met()) {
        (None, 1, _) => lang.say(Say::LessonHoldsOne, &[]),
        (None, ..) => lang.say(Say::LessonHolds, &[&all.to_string()]),
        (Some(that), 0 | 1, _) => lang.say(Say::LessonNotYet, &[that]),
        (Some(that), all, 1) => lang.say(Say::LessonMetOne, &[&met, &all.to_string(), that]),
        (Some(that), all, _) => lang.say(Say::LessonMet, &[&met, &all.to_string(), that]),
    }
}

fn sign(check: &Check) -> &'static str {
    match check.state {
        Verdict::Met => "✓",
        Verdict::Holding => "…",
        Verdict::Unmet => "·",
    }
}

/// What changed so that someone at the prompt should hear of it. Beside the lesson's pane only
/// success is said: what is missing stands in the pane, and would break into what is typed.
pub(crate) fn news(style: &PageStyle, before: &LessonView, now: &LessonView) -> Option<String> {
    let same = before.id == now.id && before.step_id == now.step_id;
    let over = |v: &LessonView| matches!(v.state, State::Done | State::Solved);
    let stuck = same && now.is_stuck && !before.is_stuck && !style.beside;
    let offer = || format!("{}\n", style.say(Say::LessonOffer, &[]));
    let told = match same {
        true if over(now) && !over(before) => Some(style.verdict(now)),
        _ if style.beside => None,
        true if now.not_yet.is_some() && before.not_yet.is_none() => Some(style.verdict(now)),
        true if now.lost.is_some() && before.lost.is_none() => Some(style.checks(now)),
        _ => None,
    };
    match (told, stuck) {
        (told, false) => told,
        (told, true) => Some(told.unwrap_or_default() + &offer()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lab::view::Predict;

    fn view() -> LessonView {
        LessonView {
            id: "t/04".into(),
            title: "Run a pod".into(),
            steps: 3,
            step_id: "run".into(),
            prose: "**A pod** is small.".into(),
            task: "Start a pod.".into(),
            checks: vec![
                Check { that: "it exists".into(), state: Verdict::Met },
                Check { that: "it is ready".into(), state: Verdict::Unmet },
            ],
            ..LessonView::default()
        }
    }
    const PLAIN: PageStyle = PageStyle { lang: Lang::En, width: 60, colour: false, beside: false };

    #[test]
    fn a_step_is_shown_with_its_task_and_checks() {
        let page = PLAIN.page(&view());
        for part in [
            "── 04 Run a pod · step 1 of 3 ──",
            "A pod is small.",
            "▸ Start a pod.",
            "✓ it exists",
            "· it is ready",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    #[test]
    fn the_list_names_each_track_by_its_title() {
        let entry = |id: &str| {
            let track = id.split('/').next().unwrap_or_default().to_string();
            Entry { id: id.into(), track, steps: 1, ..Entry::default() }
        };
        let entries = [entry("first-voyage/01"), entry("first-voyage/02"), entry("harbour/01")];
        let korean = PageStyle { lang: Lang::Ko, ..PLAIN }.list(&entries, "");
        assert_eq!(korean.matches("첫 항해 (first-voyage)").count(), 1, "{korean}");
        assert!(PLAIN.list(&entries, "").starts_with("First voyage (first-voyage)\n"));
        assert!(korean.contains("\nharbour\n"), "{korean}");
    }

    #[test]
    fn a_page_is_as_wide_as_a_narrow_terminal_and_no_wider_than_is_pleasant() {
        assert_eq!([40, 75, 78, 200].map(PageStyle::fitting), [40, 75, 78, 78]);
        assert!(PageStyle::for_output(Lang::Ko).width <= PageStyle::WIDEST);
    }

    #[test]
    fn the_list_says_what_comes_first_unless_it_stands_right_above() {
        let entry = |number: &str, done, first: &[&str]| Entry {
            id: format!("t/{number}"),
            title: format!("Lesson {number}"),
            track: "t".into(),
            steps: 2,
            done,
            first: first.iter().map(ToString::to_string).collect(),
            ..Entry::default()
        };
        let entries = [
            entry("04", 0, &[]),
            entry("05", 0, &["t/04"]),
            entry("07", 0, &["t/04", "u/01"]),
            entry("08", 2, &["t/04"]),
        ];
        let first = |at| first(Lang::En, &entries, at);
        assert_eq!([first(0), first(1), first(3)], [None, None, None]);
        assert_eq!(first(2).as_deref(), Some("first: lesson 04, u/01, not done yet"));
        let list = PLAIN.list(&entries, "");
        assert!(
            list.contains("0/2") && list.contains("       first: lesson 04, u/01, not done yet\n"),
            "{list}"
        );
        assert_eq!(list.matches("first:").count(), 1, "{list}");
    }

    #[test]
    fn who_is_stuck_is_offered_a_hint_once() {
        let stuck = || LessonView { is_stuck: true, hints_left: 1, ..view() };
        let told = news(&PLAIN, &view(), &stuck()).unwrap();
        assert!(told.contains("`hint`"), "{told}");
        assert_eq!(news(&PLAIN, &stuck(), &stuck()), None);
        let beside = PageStyle { beside: true, ..PLAIN };
        assert_eq!(news(&beside, &view(), &stuck()), None, "it stands in the lesson's pane");
        let late = LessonView { not_yet: Some("it is ready".into()), ..stuck() };
        let told = news(&PLAIN, &view(), &late).unwrap();
        assert!(told.contains("not yet: it is ready") && told.contains("`hint`"), "{told}");
    }

    #[test]
    fn what_is_missing_does_not_break_into_the_shell_beside_the_lesson() {
        let beside = PageStyle { beside: true, ..PLAIN };
        let late = LessonView { not_yet: Some("it is ready".into()), ..view() };
        let lost = LessonView { lost: Some("It is gone.".into()), ..view() };
        for now in [late, lost] {
            assert!(news(&PLAIN, &view(), &now).is_some(), "in lines there is no other place for it");
            assert_eq!(news(&beside, &view(), &now), None);
        }
        let done = LessonView { state: State::Done, ..view() };
        assert!(news(&beside, &view(), &done).is_some_and(|told| told.contains("Done.")));
    }

    #[test]
    fn conditions_are_counted_and_the_missing_one_is_named() {
        let check = |that: &str, state| Check { that: that.into(), state };
        let all = vec![
            check("it exists", Verdict::Holding),
            check("it answers", Verdict::Unmet),
            check("it is listed", Verdict::Unmet),
        ];
        let open = LessonView { checks: all.clone(), unmet: Some(2), ..view() };
        let told = |lang: Lang, view: &LessonView| PageStyle { lang, ..PLAIN }.verdict(view);
        let english = told(Lang::En, &open);
        assert!(english.contains("1 of 3 conditions is met; not yet: it is listed"), "{english}");
        let korean = told(Lang::Ko, &open);
        assert!(korean.contains("조건 1개 충족(전체 3개). 남은 조건: it is listed"), "{korean}");
        let mut more = all.clone();
        more[2].state = Verdict::Met;
        let more = LessonView { checks: more, unmet: Some(1), ..view() };
        assert!(told(Lang::En, &more).contains("2 of 3 conditions are met; not yet: it answers"));
        // An engine that has not judged yet names none.
        let fresh = LessonView { checks: all, ..view() };
        assert!(missing(Lang::En, &fresh).ends_with("not yet: it answers"), "what holds is not missing");
        let one = LessonView { checks: vec![check("it exists", Verdict::Unmet)], ..view() };
        assert_eq!(missing(Lang::En, &one), "Not yet: it exists");
        let holds = LessonView { checks: vec![check("it exists", Verdict::Holding)], ..view() };
        assert!(missing(Lang::En, &holds).contains("stay so for a moment"));
    }

    #[test]
    fn a_lost_base_is_told_as_the_engine_says_it() {
        let lost = "This step builds on something that is gone: pods/web. `goto run` brings it back.";
        let page = PLAIN.page(&LessonView { lost: Some(lost.into()), ..view() });
        let told = page.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains("! This step builds on something that is gone: pods/web."), "{page}");
        assert!(told.contains("goto run") && !told.contains("undo"), "{page}");
        let predict = Some(Predict { question: "Where?".into(), ..Predict::default() });
        let asked = LessonView { lost: Some(lost.into()), task: String::new(), predict, ..view() };
        assert!(PLAIN.page(&asked).contains("! This step builds on"), "before the question, too");
    }

    #[test]
    fn a_question_about_the_cluster_stands_below_the_task_and_reveals_nothing() {
        use lab::view::Answer;
        let cards = vec![("a".to_string(), "API server".to_string()), ("b".into(), "kubelet".into())];
        let asked = |state, given: Option<&str>| {
            let question = "Who stores it?".to_string();
            let given = given.map(String::from);
            let answer = Answer { question, form: Form::Choices, cards: cards.clone(), given, state };
            PLAIN.page(&LessonView { answer: Some(answer), ..view() })
        };
        let page = asked(Judged::Missing, None);
        let places = ["▸ Start a pod.", "· it is ready", "? Who stores it?", "a  API server", "`answer`"];
        assert!(places.map(|part| page.find(part)).is_sorted(), "{page}");
        assert!(places.iter().all(|part| page.contains(part)) && !page.contains("Not right"), "{page}");
        assert!(asked(Judged::Wrong, Some("kubelet")).contains("Not right: kubelet."));
        assert!(asked(Judged::Unknown, Some("kubelet")).contains("cannot be checked"));
        let right = asked(Judged::Right, Some("API server"));
        assert!(right.contains("✓ Right: API server") && !right.contains("Choose all"), "{right}");
    }

    #[test]
    fn a_question_stands_alone() {
        let question = Predict {
            question: "Where?".into(),
            choices: vec![("a".into(), "Here".into())],
            ..Predict::default()
        };
        let asked = LessonView { predict: Some(question), task: String::new(), ..view() };
        let page = PLAIN.page(&asked);
        assert!(
            page.contains("? Where?") && page.contains("a  Here") && !page.contains("it exists"),
            "{page}"
        );
    }

    #[test]
    fn an_answer_stands_above_the_task_and_the_end_of_a_lesson_says_what_it_was_for() {
        let page = PLAIN.page(&LessonView { after: "Only a record.".into(), ..view() });
        let places = ["A pod is small.", "Only a record.", "▸ Start a pod."].map(|part| page.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{page}");
        let over = LessonView {
            state: State::Done,
            finished: true,
            closing: "**You can now** run a pod.".into(),
            ..view()
        };
        assert!(PLAIN.over(&over).contains("You can now run a pod."));
        assert!(!PLAIN.over(&view()).contains("You can now"));
    }

    #[test]
    fn only_the_last_step_of_a_finished_lesson_leads_to_the_next_lesson() {
        let next = Some(("t/05".to_string(), "More".to_string()));
        let at = |step| LessonView { step, finished: true, state: State::Done, next: next.clone(), ..view() };
        assert!(PLAIN.over(&at(2)).contains("`next` opens t/05 More"));
        let again = PLAIN.over(&at(0));
        assert!(again.contains("`next` goes on") && !again.contains("t/05"), "{again}");
    }

    #[test]
    fn someone_at_the_prompt_hears_of_success_once() {
        let before = view();
        let done = LessonView { state: State::Done, debrief: vec!["It was stored.".into()], ..view() };
        assert!(news(&PLAIN, &before, &done).is_some_and(|n| n.contains("It was stored.")));
        assert_eq!(news(&PLAIN, &done, &done), None);
        let other = LessonView { step_id: "next".into(), ..done.clone() };
        assert_eq!(news(&PLAIN, &before, &other), None);
    }
}
