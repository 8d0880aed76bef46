//! Decides which part of the program the words `check`, `hint`, `next`, `skip`, `solve` and `stop`
//! are for, where they stand alone: lessons, labs and drills share these words.

/// The part of the program that a word is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    Drill,
    Lesson,
    /// The lesson. The learner may have meant the open lab, so the session names the lab's own
    /// word, too.
    LessonOrLab,
    /// Nothing runs: the word would change the cluster, and the learner may have meant the open
    /// lab.
    Unclear,
}

/// Returns what a word is about. `None`: it is no word of these. `drill`: one runs. `lab`: one is
/// open on which the learner works.
pub(super) fn about(word: &str, drill: bool, lab: bool) -> Option<About> {
    Some(match word {
        "check" | "hint" | "next" | "skip" | "solve" | "stop" if drill => About::Drill,
        "check" | "hint" if lab => About::LessonOrLab,
        "solve" if lab => About::Unclear,
        "check" | "hint" | "next" | "solve" => About::Lesson,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_about_the_drill_then_the_lab_then_the_lesson() {
        use About::{Drill, Lesson, LessonOrLab, Unclear};
        for (word, running, beside_lab, alone) in [
            ("check", Some(Drill), Some(LessonOrLab), Some(Lesson)),
            ("hint", Some(Drill), Some(LessonOrLab), Some(Lesson)),
            ("next", Some(Drill), Some(Lesson), Some(Lesson)),
            ("solve", Some(Drill), Some(Unclear), Some(Lesson)),
            ("skip", Some(Drill), None, None),
            ("stop", Some(Drill), None, None),
            ("show", None, None, None),
            ("back", None, None, None),
            ("grade", None, None, None),
        ] {
            assert_eq!(about(word, true, false), running, "{word} during a drill");
            assert_eq!(about(word, true, true), running, "{word} during a drill beside a lab");
            assert_eq!(about(word, false, true), beside_lab, "{word} beside a lab");
            assert_eq!(about(word, false, false), alone, "{word}");
        }
    }
}
