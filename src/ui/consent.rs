//! Before something that a learner made is taken away: what it is, and whether that is meant.

use super::lesson::PageStyle;
use super::line::english_keys;
use super::prose::harmless;
use super::texts::{Lang, Say, problem};
use cluster::undo::Loss;
use lang::charset::{eprint, eprintln};
use std::io::{BufRead, IsTerminal, Write};

/// So many objects are listed; of the others only the number is given.
pub(crate) const NAMED_MAX: usize = 10;

/// The objects, a line each, and how many more there are.
pub(crate) fn list(lang: Lang, lost: &[Loss]) -> String {
    let line = |loss: &Loss| {
        let say = if loss.removed { Say::LossRemoved } else { Say::LossChanged };
        format!("  {}\n", lang.say(say, &[&harmless(&loss.to_string())]))
    };
    let mut out: String = lost.iter().take(NAMED_MAX).map(line).collect();
    if lost.len() > NAMED_MAX {
        out.push_str(&format!("  {}\n", lang.say(Say::LossMore, &[&(lost.len() - NAMED_MAX).to_string()])));
    }
    out
}

/// Lists what would be lost and asks; without a terminal it refuses and names the flag. True if
/// nothing would be lost, or the person agrees. `lab`: the title of an open lab that would
/// go with it.
pub fn given(lang: Lang, lost: &[Loss], lab: Option<&str>) -> bool {
    if lost.is_empty() && lab.is_none() {
        return true;
    }
    if let Some(lab) = lab {
        eprint!("{}", PageStyle::for_output(lang).prose(&lang.say(Say::LossLab, &[lab]), ""));
    }
    if !lost.is_empty() {
        eprintln!("{}", lang.say(Say::LossHead, &[]));
        eprint!("{}", list(lang, lost));
    }
    agreed(lang)
}

/// Asks before a lab is started or left: names the open lab, which ends, and what goes with it.
/// True if nothing ends and nothing is lost, or the person agrees. `ends`: the title of the open
/// lab; empty if none is open.
pub fn ends_lab(lang: Lang, ends: &str, lost: &[Loss]) -> bool {
    match lab_end(&PageStyle::for_output(lang), ends, lost) {
        None => true,
        Some(told) => {
            eprint!("{told}");
            agreed(lang)
        }
    }
}

/// The text to print before a lab ends. `None`: nothing ends and nothing is lost.
fn lab_end(style: &PageStyle, ends: &str, lost: &[Loss]) -> Option<String> {
    let lang = style.lang;
    let mut told = String::new();
    if !ends.is_empty() {
        told.push_str(&style.prose(&lang.say(Say::LabEnds, &[ends]), ""));
    }
    if !lost.is_empty() {
        told.push_str(&style.prose(&lang.say(Say::LossHead, &[]), ""));
        told.push_str(&list(lang, lost));
    }
    (!told.is_empty()).then_some(told)
}

/// Asks whether the loss that was listed is meant; without a terminal it refuses and names the
/// flag.
pub fn agreed(lang: Lang) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        let tip = lang.say(Say::LossTry, &[]);
        eprintln!("{}", problem(lang, &lang.say(Say::LossRefused, &[]), None, Some(&tip)));
        return false;
    }
    ask(lang)
}

/// Asks on the terminal; anything but yes is no.
fn ask(lang: Lang) -> bool {
    put_question(lang);
    take_answer(lang)
}

/// Prints the question, and does not wait for the answer.
pub(crate) fn put_question(lang: Lang) {
    eprint!("{} ", lang.say(Say::LossAsk, &[]));
    let _ = std::io::stderr().flush(); // a terminal that is gone gives no answer either
}

/// Reads the answer; anything but yes is no.
pub(crate) fn take_answer(lang: Lang) -> bool {
    let mut answer = String::new();
    match std::io::stdin().lock().read_line(&mut answer) {
        Ok(n) if n > 0 && is_yes(&answer) => true,
        _ => {
            decline(lang);
            false
        }
    }
}

/// Says that everything stays as it is.
pub(crate) fn decline(lang: Lang) {
    eprintln!("{}", lang.say(Say::LossKept, &[]));
}

/// True if an answer means yes, in English or Korean, also typed with the other keyboard layout.
pub fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    // `ㅛㄷㄴ` is `yes`, and `dP` is `예`.
    let keys = english_keys(answer).unwrap_or_else(|| answer.into());
    matches!(keys.to_lowercase().as_str(), "y" | "yes") || matches!(keys.as_str(), "dP" | "sp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_are_named_and_the_rest_is_counted() {
        let loss = |n: usize| Loss {
            resource: "deployments".into(),
            namespace: if n == 0 { "shop".into() } else { "default".into() },
            name: format!("web{n}"),
            removed: n != 1,
            ..Loss::default()
        };
        let lost: Vec<Loss> = (0..22).map(loss).collect();
        let told = list(Lang::En, &lost);
        assert_eq!(told.lines().count(), NAMED_MAX + 1, "{told}");
        let odd = Loss { resource: "clusterroles".into(), name: "\x1b[8mx".into(), ..Loss::default() };
        assert!(list(Lang::En, &[odd]).contains("clusterroles/[8mx"), "no order to the terminal");
        assert!(told.contains("deployments/web0 -n shop") && told.contains("12 more"), "{told}");
        assert_ne!(
            told.lines().nth(1).map(|l| l.replace("web1", "")),
            told.lines().nth(2).map(|l| l.replace("web2", ""))
        );
    }

    #[test]
    fn yes_is_understood_in_both_languages_on_either_keyboard_layout() {
        for yes in [" Y\n", "yes", "예", "네\n", "ㅛ", "ㅛㄷㄴ", "dP", "sp"] {
            assert!(is_yes(yes), "{yes}");
        }
        for no in ["", "no", "ㅜㅐ", "yesterday", "아니요", "DP", "'y'"] {
            assert!(!is_yes(no), "{no}");
        }
    }

    #[test]
    fn an_open_lab_does_not_end_without_a_word() {
        let loss = Loss { resource: "services".into(), name: "web".into(), removed: true, ..Loss::default() };
        for lang in [Lang::En, Lang::Ko] {
            let style = PageStyle { width: 40, ..PageStyle::for_output(lang) };
            assert_eq!(lab_end(&style, "", &[]), None);
            let told = lab_end(&style, "A Service does not answer", &[]).unwrap();
            assert!(told.replace('\n', " ").contains("A Service does not answer"), "{told}");
            // A terminal would break a longer line inside a word.
            assert!(told.lines().all(|line| crate::prose::cells(line) <= 40), "{told}");
            let told = lab_end(&style, "", std::slice::from_ref(&loss)).unwrap();
            assert!(told.contains("services/web"), "{told}");
        }
    }
}
