//! `undo`, `redo`, `rewind`: the cluster's objects as they were.

use super::args::Output;
use super::words::Word;
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cluster::undo::{Moment, Past, losses};
use jiff::Zoned;
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::{Ask as LessonAsk, LessonView};
use lang::charset::{eprintln, print, println};
use serde_json::Value;
use ui::prose::harmless;
use ui::texts::{Lang, Say, problem};
use ui::{consent, labs, lesson, settings};

/// What to do: one of the three commands with its argument, or a list of the steps.
pub(crate) enum Action {
    /// `undo`: so many steps.
    Undo(usize),
    /// `redo`.
    Redo,
    /// `rewind`: a revision, a time, or how long ago.
    Rewind(String),
    /// `undo --list`.
    List,
}

/// Moves the cluster's objects back or forward in time, or lists the steps. Returns the exit code.
/// `yes`: the learner is not asked, whatever is lost.
pub(crate) async fn run(
    name: &str,
    action: Action,
    yes: bool,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(None, &home);
    let place = home.cluster(name)?;
    let mut past = match &action {
        Action::Undo(count) => Past::Undo { count: *count },
        Action::Redo => Past::Redo,
        Action::List => Past::Steps,
        Action::Rewind(when) => match past_moment(when, &Zoned::now()) {
            Ok(to) => Past::Rewind { to },
            Err(error) => {
                eprintln!("ropewalk: {}", error.say(lang, when));
                return Ok(super::codes::USAGE);
            }
        },
    };
    if !yes && matches!(past, Past::Undo { .. } | Past::Rewind { .. }) {
        let plan = Past::Plan { of: Box::new(past.clone()) };
        let plan = Control::connect(&place).await?.ask(&Ask::Past { past: plan }).await?;
        let open = lesson::view(&place, lang, LessonAsk::Show).await.unwrap_or_default();
        if undoes_setup(&plan, &open) {
            if matches!(past, Past::Undo { .. }) {
                eprintln!("{}", refusal(lang, &plan, &open));
                return Ok(1);
            }
            eprintln!("{}", lang.say(Say::LossLesson, &[&harmless(&open.title)]));
            if losses(&plan).is_empty() && !consent::agreed(lang) {
                return Ok(1);
            }
        }
        // Going back to before the start of the open lab takes the lab away. The plan does not list
        // the lab's objects, because no person made them.
        let lab: LabView = labs::asked(&place, lang, LabAsk::Show).await.unwrap_or_default();
        let ends_lab = !lab.id.is_empty() && plan["to"].as_i64().is_some_and(|to| to < lab.began);
        if !consent::given(lang, &losses(&plan), ends_lab.then_some(lab.title.as_str())) {
            return Ok(1);
        }
        past = past.agreed(&plan);
    }
    let answer = Control::connect(&place).await?.ask(&Ask::Past { past }).await?;
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(0);
    }
    match action {
        Action::List => print!("{}", list(lang, &answer, &Zoned::now())),
        _ => {
            for step in answer["steps"].as_array().into_iter().flatten() {
                let say = if matches!(action, Action::Redo) { Say::Redone } else { Say::Undone };
                println!("{}", lang.say(say, &[&title(step)]));
            }
            let number = |key: &str| answer[key].to_string();
            println!("{}", lang.say(Say::WentTo, &[&number("to"), &number("back"), &number("gone")]));
        }
    }
    Ok(0)
}

/// Returns whether a plan goes back to before what was set up for the open lesson, which no person
/// made and the plan therefore does not list. A revision that the store has not reached is from
/// before it was restored from a backup, and says nothing.
///
/// Example: the setup was complete at revision 80. To undo the step that began at 76 leads to 75,
/// so the setup would go, too. To undo the one that began at 81 leads to 80, and the setup stays.
fn undoes_setup(plan: &Value, open: &LessonView) -> bool {
    let (Some(to), Some(known)) = (plan["to"].as_i64(), plan["known"].as_i64()) else { return false };
    open.set_up.is_some_and(|at| to < at && at <= known)
}

/// Returns the text for an undo that stops at the setup of the open lesson: it names the step from
/// before the setup that would be undone first, and what the learner can do instead.
fn refusal(lang: Lang, plan: &Value, open: &LessonView) -> String {
    let none = vec![];
    let steps = plan["steps"].as_array().unwrap_or(&none);
    let is_later = |step: &&Value| step["first"].as_i64() > open.set_up;
    let (later, number) = (steps.iter().filter(is_later).count(), (open.step + 1).to_string());
    let older = steps.iter().find(|step| !is_later(step)).map(title).unwrap_or_default();
    let tip = match later {
        0 => lang.say(Say::UndoSetupTry, &[&number]),
        n => lang.say(Say::UndoSetupTryLess, &[&n.to_string(), &number]),
    };
    problem(lang, &lang.say(Say::UndoSetup, &[&older, &open.title]), None, Some(&tip))
}

/// Names a step: `kubectl delete deployments/web`. A role may have any letters in its name, also
/// those that a terminal obeys.
fn title(step: &Value) -> String {
    let word = |key: &str| harmless(step[key].as_str().unwrap_or_default());
    format!("{} {}", word("command"), word("object"))
}

/// Formats a step's time so that [`moment`] with the same `now` reads it back, to the second: with
/// its date, unless it is the last such time before `now`; in UTC, if a clock that was set back has
/// shown that time of that day before.
fn time_text(at: jiff::Timestamp, now: &Zoned) -> String {
    let local = at.to_zoned(now.time_zone().clone());
    let forms = ["%H:%M:%S", "%Y-%m-%dT%H:%M:%S"].map(|form| local.strftime(form).to_string());
    let is_read_back = |text: &String| match moment(text, now) {
        Some(Moment::At(read)) => read.as_second() == at.as_second(),
        _ => false,
    };
    forms.into_iter().find(is_read_back).unwrap_or_else(|| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Lists the steps of the cluster's answer, with their times as [`moment`] reads them at `now`.
fn list(lang: Lang, answer: &Value, now: &Zoned) -> String {
    let steps = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    let lost = steps(&answer["lost"]).len();
    if lost > 0 {
        out.push_str(&(lang.say(Say::StepsLost, &[&lost.to_string()]) + "\n"));
    }
    for step in steps(&answer["steps"]) {
        let at = step["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let time = at.map(|at| time_text(at, now)).unwrap_or_default();
        out.push_str(&format!("{:>8}  {time}  {}\n", step["first"], title(&step)));
    }
    if steps(&answer["steps"]).is_empty() {
        out += &lang.say(Say::NothingToUndo, &[]);
        out.push('\n');
    }
    for undone in steps(&answer["undone"]) {
        for step in steps(&undone["steps"]) {
            out.push_str(&format!("{:>8}  {}\n", "-", lang.say(Say::Undone, &[&title(&step)])));
        }
    }
    out
}

/// Why a word is no moment to go back to.
#[derive(Debug, PartialEq, Eq)]
enum NoMoment {
    /// It is neither a revision nor a time.
    Unclear,
    /// It is a time after now. Most often a time of another zone: 10:42 in Seoul is 01:42Z.
    Future,
}

impl NoMoment {
    fn say(&self, lang: Lang, when: &str) -> String {
        match self {
            NoMoment::Unclear => lang.say(Say::WhenIsThat, &[when]),
            NoMoment::Future => lang.say(Word::WhenToCome, &[when]),
        }
    }
}

/// Parses a moment that is not later than `now`. To go "back" to a later one would change nothing,
/// and the command would say that it is done.
fn past_moment(text: &str, now: &Zoned) -> Result<Moment, NoMoment> {
    match moment(text, now) {
        Some(Moment::At(at)) if at > now.timestamp() => Err(NoMoment::Future),
        Some(moment) => Ok(moment),
        None => Err(NoMoment::Unclear),
    }
}

/// Parses `812`, `10:42:07`, `2026-11-20T10:42:07Z`, `2026-11-20T10:42:07` and `5m` (ago). A time
/// without an offset is one of `now`'s zone; a time without a date is the last such time before
/// `now`.
fn moment(text: &str, now: &Zoned) -> Option<Moment> {
    if let Ok(revision) = text.parse::<i64>() {
        return Some(Moment::Revision(revision));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Moment::At(at));
    }
    if let Ok(at) = text.parse::<Zoned>() {
        return Some(Moment::At(at.timestamp()));
    }
    // jiff reads a date or a time out of a longer text and drops the rest, also an offset.
    let time_only = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
    let date_and_time = text.contains([':', 'T', 't']) && !text.contains(['[', '+', 'Z', 'z']);
    if date_and_time && text.bytes().filter(|b| *b == b'-').count() == 2 {
        let at = text.parse::<jiff::civil::DateTime>().ok()?;
        return Some(Moment::At(at.to_zoned(now.time_zone().clone()).ok()?.timestamp()));
    }
    if time_only && let Ok(time) = text.parse::<jiff::civil::Time>() {
        // A clock that is set back shows an hour twice, and one that is set forward leaves one out.
        let moment_of = |date: jiff::civil::Date| {
            let at = || now.time_zone().to_ambiguous_zoned(date.to_datetime(time));
            let both = [at().later().ok()?, at().earlier().ok()?];
            both.into_iter().find(|then| then <= now && then.time() == time)
        };
        let then = moment_of(now.date()).or_else(|| moment_of(now.date().yesterday().ok()?))?;
        return Some(Moment::At(then.timestamp()));
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|n| Moment::Ago(n.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn a_list_of_steps_says_what_can_no_longer_be_undone() {
        let step = serde_json::json!({"first": 9, "at": "2026-11-20T10:42:07.5Z", "command": "kubectl run", "object": "pods/web"});
        let answer = serde_json::json!({"steps": [step.clone()], "lost": [step.clone(), step], "undone": []});
        let now = "2026-11-20T11:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(TimeZone::UTC);
        let text = list(Lang::En, &answer, &now);
        assert!(
            text.starts_with("2 earlier steps can no longer be undone")
                && text.ends_with("kubectl run pods/web\n"),
            "{text}"
        );
        let text = list(Lang::En, &serde_json::json!({"lost": answer["lost"]}), &now);
        assert!(
            text.starts_with("2 earlier steps") && text.ends_with("there is nothing to undo\n"),
            "{text}"
        );
        assert_eq!(list(Lang::En, &Value::Null, &now), "there is nothing to undo\n");
    }

    #[test]
    fn an_undo_stops_at_the_setup_of_the_open_lesson_and_names_the_way_on() {
        let title = "Spare parts".into();
        let open = LessonView { title, step: 2, set_up: Some(80), ..LessonView::default() };
        let step = |first: i64, object: &str| serde_json::json!({"first": first, "command": "kubectl run", "object": object});
        let plan = |to: i64, steps: Vec<Value>| serde_json::json!({"to": to, "known": 90, "steps": steps});
        assert!(!undoes_setup(&plan(80, vec![step(81, "pods/own")]), &open), "a step of the lesson");
        assert!(!undoes_setup(&plan(75, vec![]), &LessonView::default()), "no lesson, or none with a setup");
        let restored = LessonView { set_up: Some(91), ..open.clone() };
        assert!(!undoes_setup(&plan(75, vec![]), &restored), "the store was put back since");

        let before = plan(75, vec![step(76, "pods/earlier")]);
        assert!(undoes_setup(&before, &open));
        for (lang, words) in [
            (Lang::En, "`kubectl run pods/earlier` is older than the setup of the open lesson \"Spare"),
            (Lang::Ko, "`kubectl run pods/earlier` 단계는 열려 있는 \"Spare parts\" 강의의 준비 과정보다"),
        ] {
            let message = refusal(lang, &before, &open);
            assert!(message.contains(words) && message.contains("`goto 3`"), "{message}");
            assert!(message.contains("`undo --yes`") && !message.contains("`undo 1`"), "{message}");
            let two = plan(75, vec![step(85, "pods/own"), step(76, "pods/earlier")]);
            let message = refusal(lang, &two, &open);
            assert!(message.contains(words) && message.contains("`undo 1`"), "{message}");
        }
    }

    #[test]
    fn a_step_gives_the_terminal_no_orders() {
        let step =
            serde_json::json!({"first": 9, "command": "kubectl apply", "object": "clusterroles/a\u{1b}[2Jb"});
        let answer = serde_json::json!({"steps": [step.clone()], "undone": [{"steps": [step]}]});
        let text = list(Lang::En, &answer, &Zoned::now());
        assert_eq!(text.matches("kubectl apply clusterroles/a[2Jb").count(), 2, "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn a_time_of_the_list_is_the_one_that_rewind_goes_to() {
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let at: jiff::Timestamp = "2026-11-20T15:42:07Z".parse().unwrap();
        let step = serde_json::json!({"first": 9, "at": "2026-11-20T15:42:07.5Z", "command": "kubectl run", "object": "pods/web"});
        let now = |text: &str| text.parse::<jiff::Timestamp>().unwrap().to_zoned(zone.clone());
        let text = list(Lang::Ko, &serde_json::json!({"steps": [step]}), &now("2026-11-20T16:00:00Z"));
        assert!(text.contains("  00:42:07  "), "{text}");
        assert_eq!(moment("00:42:07", &now("2026-11-20T16:00:00Z")), Some(Moment::At(at)));
        // In the morning, a time of the evening before.
        let late: jiff::Timestamp = "2026-11-20T14:58:00Z".parse().unwrap();
        assert_eq!(moment("23:58:00", &now("2026-11-20T15:05:00Z")), Some(Moment::At(late)));
    }

    #[test]
    fn moments_have_several_spellings() {
        let moment = |text: &str| moment(text, &Zoned::now());
        assert_eq!(moment("812"), Some(Moment::Revision(812)));
        assert_eq!(moment("5m"), Some(Moment::Ago(300)));
        assert!(matches!(moment("10:42:07"), Some(Moment::At(_))));
        assert!(matches!(moment("2026-11-20T10:42:07Z"), Some(Moment::At(_))));
        for nonsense in ["", "yesterday", "5x", "m", "25:00", "2026-11-18", "10:42:07+09:00"] {
            assert_eq!(moment(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_time_with_a_date_keeps_its_date() {
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let now = "2026-11-20T03:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(zone);
        let at = |text: &str| Some(Moment::At(text.parse().unwrap()));
        for text in ["2026-11-18T10:42:07", "2026-11-18 10:42:07", "2026-11-18T10:42:07+09:00[+09:00]"] {
            assert_eq!(moment(text, &now), at("2026-11-18T01:42:07Z"), "{text}");
        }
        assert_eq!(moment("2026-11-18T10:42:07+02:00", &now), at("2026-11-18T08:42:07Z"));
    }

    /// Nothing would change, and it would be said to be done.
    #[test]
    fn nothing_goes_back_to_a_time_that_is_still_to_come() {
        let now = "2026-11-20T03:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(TimeZone::UTC);
        assert_eq!(past_moment("2026-11-20T10:42:07Z", &now), Err(NoMoment::Future));
        assert_eq!(past_moment("yesterday", &now), Err(NoMoment::Unclear));
        for past in ["2026-11-20T03:00:00Z", "10:42:07", "0s", "812"] {
            assert_eq!(past_moment(past, &now).ok(), moment(past, &now), "{past}");
        }
        for lang in [Lang::En, Lang::Ko] {
            assert!(NoMoment::Future.say(lang, "10:42:07Z").starts_with("10:42:07Z "));
        }
    }

    #[test]
    fn the_list_gives_the_date_of_a_time_that_would_be_read_as_another_day() {
        let zone = TimeZone::UTC;
        let now = "2026-11-20T11:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(zone.clone());
        for (at, expected) in [
            ("2026-11-20T09:00:00Z", "09:00:00"),
            ("2026-11-19T12:00:00Z", "12:00:00"),
            ("2026-11-19T09:00:00Z", "2026-11-19T09:00:00"),
        ] {
            let at: jiff::Timestamp = at.parse().unwrap();
            let text = time_text(at, &now);
            assert_eq!(text, expected);
            assert_eq!(moment(&text, &now), Some(Moment::At(at)));
        }
    }

    /// In Berlin, the clock shows 02:30 at 00:30Z and at 01:30Z of this day, and in March not once.
    #[test]
    fn an_hour_that_the_clock_shows_twice_is_the_last_one_before_now() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let (first, second) = (at("2026-10-25T00:30:00Z"), at("2026-10-25T01:30:00Z"));
        for (now, at_then, expected) in [
            ("2026-10-25T00:45:00Z", first, "02:30:00"),
            ("2026-10-25T01:45:00Z", second, "02:30:00"),
            ("2026-10-25T01:45:00Z", first, "2026-10-25T02:30:00"),
            ("2026-10-26T09:00:00Z", second, "2026-10-25T01:30:00Z"),
        ] {
            let now = at(now).to_zoned(zone.clone());
            assert_eq!(time_text(at_then, &now), expected, "{now}");
            assert_eq!(moment(expected, &now), Some(Moment::At(at_then)), "{now}");
        }
        let now = at("2026-03-29T09:00:00Z").to_zoned(zone);
        assert_eq!(moment("02:30:00", &now), Some(Moment::At(at("2026-03-28T01:30:00Z"))), "the day before");
    }
}
