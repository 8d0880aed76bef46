//! `undo`, `redo`, `rewind`: the cluster's objects as they were.

use super::args::Output;
use crate::cluster::control::{Ask, Control};
use crate::cluster::home::Home;
use crate::cluster::undo::{Moment, Past, losses};
use crate::lab::graded::view::{Ask as LabAsk, LabView};
use crate::lang::charset::{eprintln, print, println};
use crate::ui::texts::{Lang, Say};
use crate::ui::{consent, labs, settings};
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde_json::Value;

pub enum What {
    Undo(usize),
    Redo,
    Rewind(String),
    List,
}

/// `yes`: nothing is asked.
pub async fn run(name: &str, what: What, yes: bool, output: Option<Output>) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(None, &home);
    let place = home.cluster(name)?;
    let past = match &what {
        What::Undo(count) => Past::Undo { count: *count },
        What::Redo => Past::Redo,
        What::List => Past::Steps,
        What::Rewind(when) => match moment(when, &Zoned::now()) {
            Some(to) => Past::Rewind { to },
            None => {
                eprintln!("ropewalk: {}", lang.say(Say::WhenIsThat, &[when]));
                return Ok(2);
            }
        },
    };
    if !yes && matches!(past, Past::Undo { .. } | Past::Rewind { .. }) {
        let plan = Past::Plan { of: Box::new(past.clone()) };
        let plan = Control::connect(&place).await?.ask(&Ask::Past { past: plan }).await?;
        // A lab that was set up since would go with it, and nothing of that is anybody's but the judge's.
        let lab: LabView = labs::asked(&place, lang, LabAsk::Show).await.unwrap_or_default();
        let over = !lab.id.is_empty() && plan["to"].as_i64().is_some_and(|to| to < lab.began);
        if !consent::given(lang, &losses(&plan), over.then_some(lab.title.as_str())) {
            return Ok(1);
        }
    }
    let told = Control::connect(&place).await?.ask(&Ask::Past { past }).await?;
    if output == Some(Output::Json) {
        std::println!("{}", serde_json::to_string_pretty(&told)?);
        return Ok(0);
    }
    match what {
        What::List => print!("{}", list(lang, &told, &TimeZone::system())),
        _ => {
            for step in told["steps"].as_array().into_iter().flatten() {
                let say = if matches!(what, What::Redo) { Say::Redone } else { Say::Undone };
                println!("{}", lang.say(say, &[&title(step)]));
            }
            let number = |key: &str| told[key].to_string();
            println!("{}", lang.say(Say::WentTo, &[&number("to"), &number("back"), &number("gone")]));
        }
    }
    Ok(0)
}

/// `kubectl delete deployments/web`
fn title(step: &Value) -> String {
    format!(
        "{} {}",
        step["command"].as_str().unwrap_or_default(),
        step["object"].as_str().unwrap_or_default()
    )
}

/// The steps with their times in `zone`, which has to be the one in which [`moment`] reads them.
fn list(lang: Lang, told: &Value, zone: &TimeZone) -> String {
    let steps = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut out = String::new();
    let lost = steps(&told["lost"]).len();
    if lost > 0 {
        out.push_str(&(lang.say(Say::StepsLost, &[&lost.to_string()]) + "\n"));
    }
    for step in steps(&told["steps"]) {
        let at = step["at"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let time =
            at.map(|at| at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string()).unwrap_or_default();
        out.push_str(&format!("{:>8}  {time}  {}\n", step["first"], title(&step)));
    }
    if steps(&told["steps"]).is_empty() {
        out += &lang.say(Say::NothingToUndo, &[]);
        out.push('\n');
    }
    for undone in steps(&told["undone"]) {
        for step in steps(&undone["steps"]) {
            out.push_str(&format!("{:>8}  {}\n", "-", lang.say(Say::Undone, &[&title(&step)])));
        }
    }
    out
}

/// `812`, `10:42:07`, `2026-11-20T10:42:07Z`, `5m` ago. A time without a date is the last such time before `now`, in its zone.
fn moment(text: &str, now: &Zoned) -> Option<Moment> {
    if let Ok(revision) = text.parse::<i64>() {
        return Some(Moment::Revision(revision));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Moment::At(at));
    }
    if let Ok(time) = text.parse::<jiff::civil::Time>() {
        let on = |date: jiff::civil::Date| date.to_datetime(time).to_zoned(now.time_zone().clone()).ok();
        let today = on(now.date())?;
        let then = if today > *now { on(now.date().yesterday().ok()?)? } else { today };
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

    #[test]
    fn a_list_of_steps_says_what_can_no_longer_be_undone() {
        let step = serde_json::json!({"first": 9, "at": "2026-11-20T10:42:07.5Z", "command": "kubectl run", "object": "pods/web"});
        let told = serde_json::json!({"steps": [step.clone()], "lost": [step.clone(), step], "undone": []});
        let said = list(Lang::En, &told, &TimeZone::UTC);
        assert!(
            said.starts_with("2 earlier steps can no longer be undone")
                && said.ends_with("kubectl run pods/web\n"),
            "{said}"
        );
        let said = list(Lang::En, &serde_json::json!({"lost": told["lost"]}), &TimeZone::UTC);
        assert!(
            said.starts_with("2 earlier steps") && said.ends_with("there is nothing to undo\n"),
            "{said}"
        );
        assert_eq!(list(Lang::En, &Value::Null, &TimeZone::UTC), "there is nothing to undo\n");
    }

    #[test]
    fn a_time_of_the_list_is_the_one_that_rewind_goes_to() {
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        let at: jiff::Timestamp = "2026-11-20T15:42:07Z".parse().unwrap();
        let step = serde_json::json!({"first": 9, "at": "2026-11-20T15:42:07.5Z", "command": "kubectl run", "object": "pods/web"});
        let said = list(Lang::Ko, &serde_json::json!({"steps": [step]}), &zone);
        assert!(said.contains("  00:42:07  "), "{said}");
        let now = |text: &str| text.parse::<jiff::Timestamp>().unwrap().to_zoned(zone.clone());
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
        for nonsense in ["", "yesterday", "5x", "m", "25:00"] {
            assert_eq!(moment(nonsense), None, "{nonsense}");
        }
    }
}
