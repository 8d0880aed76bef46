//! How a learner names a step.

use crate::format::{Lesson, Step};
use crate::words::{self, Word};

/// `LESSON#STEP`, `TRACK/LESSON` or a step of the open lesson: the lesson, and the step.
pub(super) fn parts(word: &str) -> (Option<&str>, &str) {
    match word.split_once('#') {
        Some((lesson, step)) => (Some(lesson).filter(|lesson| !lesson.is_empty()), step),
        None if word.contains('/') => (Some(word), "1"),
        None => (None, word),
    }
}

/// The step of this id or number, from 1.
///
/// # Errors
/// The lesson has no such step.
pub(super) fn find_step(lesson: &Lesson, step: &str, lang: &str) -> Result<usize, String> {
    let number = step.parse::<usize>().ok().filter(|n| (1..=lesson.steps.len()).contains(n)).map(|n| n - 1);
    lesson.step(step).or(number).ok_or_else(|| {
        let numbered = |(at, step): (usize, &Step)| format!("{} {}", at + 1, step.called(lang));
        let known: Vec<String> = lesson.steps.iter().enumerate().map(numbered).collect();
        words::say(lang, Word::NoSuchStep, &[step, &known.join(", ")])
    })
}
