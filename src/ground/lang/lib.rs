//! # The languages of the texts
//!
//! ## In Kubernetes
//! kubectl's help can be translated through gettext; what the API server says is English.
//! ## How this one works
//! What Ropewalk itself says to people stands in tables, each text in English and Korean side by
//! side ([`texts`](crate::texts)), so that none can be forgotten. A command in a text is written as
//! the prompt or a shell takes it ([`typed`](crate::typed)). What Kubernetes says stays as it is:
//! people search for those words. Where the locale is not UTF-8 these texts are in ASCII, and not
//! in Korean ([`charset`](crate::charset)). An error is written with its causes, on one line
//! ([`chain`]), and an answer of the API server in it by its message ([`in_words`]).
//! ## Left out
//! Plural forms, and particles that depend on a value's last sound: texts are worded so that they
//! need neither.
//! ## Read next
//! `ui`, whose table is the largest.

#![warn(missing_docs)]

mod answer;
pub mod charset;
mod error;
mod language;
pub mod typed;

pub use answer::in_words;
pub use error::chain;
pub use language::{Lang, Text};

/// Makes a table: `texts! { pub enum Say { Hello: "hello {}", "안녕하세요, {}"; } }`. The table has a
/// test: both languages take the same values, and their commands can be rewritten for a shell.
#[macro_export]
macro_rules! texts {
    ($(#[$about:meta])* $vis:vis enum $table:ident { $($name:ident: $english:expr, $korean:expr;)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $table { $($name),* }
        impl $crate::Text for $table {
            fn pair(self) -> (&'static str, &'static str) {
                match self { $($table::$name => ($english, $korean)),* }
            }
        }
        #[cfg(test)]
        #[allow(dead_code)]
        impl $table {
            /// All texts of the table.
            pub const ALL: &[$table] = &[$($table::$name),*];
        }
        #[cfg(test)]
        #[test]
        fn both_languages_take_the_same_values() {
            for text in $table::ALL {
                let (english, korean) = $crate::Text::pair(*text);
                assert_eq!(english.matches("{}").count(), korean.matches("{}").count(), "{text:?}");
                assert_eq!($crate::typed::problem(english, korean), None, "{text:?}");
                // The question for the language names Korean in Korean.
                let is_shown = |c: char| c.is_ascii() || ('가'..='힣').contains(&c);
                let plain = $crate::charset::to_ascii(english);
                assert!(plain.chars().all(is_shown), "{text:?}: a letter without a likeness");
                // Korean has particles in two forms, by the sound before them. A text with both is
                // unnatural: a noun behind the value makes one of them right.
                for both in ["은(는)", "이(가)", "을(를)", "와(과)", "(으)로", "(이)"] {
                    assert!(!korean.contains(both), "{text:?}");
                }
            }
        }
    };
}
