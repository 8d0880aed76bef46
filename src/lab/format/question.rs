//! A question of a step, and what a learner may answer.

use super::text::Text;
use crate::cel::{Expr, Facts, value};
use cel::Value;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a question is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    #[default]
    /// With a text; case and the space around it do not count.
    Text,
    /// With a number.
    Number,
    /// With the letters of all right choices, in whatever order.
    Choices,
    /// With the letters of all cards, in the right order.
    Order,
}

/// A question of a step whose answer the cluster proves.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the learner is asked.
    pub question: Text,
    /// How it is answered.
    pub form: Form,
    /// Of choices and cards: letter and text.
    pub cards: Vec<(String, Text)>,
    /// Is `answer` right?
    pub(crate) is: Expr,
    /// Whether the learner hears that a part of the right choices is right: only where the author
    /// states how many are right.
    pub(crate) part: Option<Part>,
}

/// How a part of the right choices is recognized.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// How many choices are right, as the question says.
    pub count: usize,
    /// Are so many choices right, and all those in `answer` among them?
    pub is: Expr,
}

/// Why an answer is none: it is not judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// There is nothing in it.
    Empty,
    /// It is no number.
    NoNumber,
    /// One of its letters is no choice, or no card.
    NoLetter,
    /// It is no order of all cards.
    NoOrder,
}

/// Characters of an answer.
const LENGTH_MAX: usize = 200;

impl Answer {
    /// The letters, in the order of the alphabet.
    pub(crate) fn letters(&self) -> Vec<&str> {
        self.cards.iter().map(|(letter, _)| letter.as_str()).collect()
    }

    /// What a learner has written, as expressions see it and as it is kept.
    ///
    /// # Errors
    /// It has not the form of an answer.
    pub(crate) fn read(&self, written: &str) -> Result<(Value, String), Odd> {
        let written: String = written.trim().chars().take(LENGTH_MAX).collect();
        if written.is_empty() {
            return Err(Odd::Empty);
        }
        match self.form {
            Form::Text => Ok((value::text(&written), written)),
            Form::Number => match (written.parse::<i64>(), written.parse::<f64>()) {
                (Ok(whole), _) => Ok((Value::Int(whole), written)),
                (_, Ok(number)) if number.is_finite() => Ok((Value::Float(number), written)),
                _ => Err(Odd::NoNumber),
            },
            Form::Choices | Form::Order => {
                let mut letters = self.letters_in(&written)?;
                if self.form == Form::Choices {
                    letters.sort_unstable();
                    letters.dedup();
                } else if letters.len() != self.cards.len()
                    || !self.letters().iter().all(|l| letters.iter().any(|given| given == l))
                {
                    return Err(Odd::NoOrder);
                }
                let list = letters.iter().map(|l| value::text(l)).collect();
                Ok((value::list(list), letters.join(" ")))
            }
        }
    }

    /// How many right choices are missing in an answer that was kept, if all of its own are right.
    /// `None`: one of them is wrong, none is missing, or the author does not state the number.
    pub(crate) fn missing(&self, kept: &str, facts: &Arc<Facts>) -> Option<usize> {
        let part = self.part.as_ref().filter(|part| part.is.holds(facts))?;
        part.count.checked_sub(kept.split(' ').count()).filter(|missing| *missing > 0)
    }

    /// `b a`, `b,a`, `ba`, and the same keys with a Korean keyboard layout on.
    fn letters_in(&self, written: &str) -> Result<Vec<String>, Odd> {
        let mut letters = Vec::new();
        let meant = written.chars().filter(|c| !c.is_whitespace() && !matches!(c, ',' | '>' | '-'));
        for c in meant.flat_map(latin) {
            let letter = c.to_string();
            if !self.cards.iter().any(|(known, _)| *known == letter) {
                return Err(Odd::NoLetter);
            }
            letters.push(letter);
        }
        if letters.is_empty() { Err(Odd::Empty) } else { Ok(letters) }
    }

    /// An answer that was kept, as people read it.
    pub(crate) fn shown(&self, kept: &str, lang: &str) -> String {
        let card = |letter: &str| {
            let found = self.cards.iter().find(|(known, _)| known == letter);
            found.map_or(letter.to_string(), |(_, text)| text.get(lang).to_string())
        };
        let cards = || kept.split(' ').map(card).collect::<Vec<_>>();
        match self.form {
            Form::Text | Form::Number => format!("“{kept}”"),
            Form::Choices => cards().join("; "),
            Form::Order => cards().join(" → "),
        }
    }
}

/// The letters on the keys that give a character: a Korean keyboard layout gives others for the
/// same keys, and an input method joins these to syllables. A key whose letter is none from a to h
/// gives `?`, which is no choice.
///
/// Example: the key b gives `ㅠ`, and the keys a and b give `뮤`.
fn latin(c: char) -> Vec<char> {
    // By the first consonant of a syllable, its vowel, and what ends it (Unicode, 3.12).
    const FIRST: &[u8; 19] = b"???eefa????d??c???g";
    const VOWEL: &[u8; 21] = b"????????h????????b???";
    const LAST: [&str; 28] = [
        "", "?", "?", "?", "?", "?", "?", "e", "f", "?", "fa", "?", "?", "?", "?", "fg", "a", "?", "?", "?",
        "?", "d", "?", "c", "?", "?", "?", "g",
    ];
    match c {
        '가'..='힣' => {
            let n = c as usize - '가' as usize;
            let (first, vowel) = (FIRST[n / 588], VOWEL[n % 588 / 28]);
            [first, vowel].map(char::from).into_iter().chain(LAST[n % 28].chars()).collect()
        }
        'ㅁ' => vec!['a'],
        'ㅠ' => vec!['b'],
        'ㅊ' => vec!['c'],
        'ㅇ' => vec!['d'],
        'ㄷ' | 'ㄸ' => vec!['e'],
        'ㄹ' => vec!['f'],
        'ㅎ' => vec!['g'],
        'ㅗ' => vec!['h'],
        'ㄻ' => vec!['f', 'a'],
        'ㅀ' => vec!['f', 'g'],
        c => vec![c.to_ascii_lowercase()],
    }
}
