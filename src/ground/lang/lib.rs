//! # The languages of the texts
//!
//! ## In Kubernetes
//! kubectl's help can be translated through gettext; what the API server says is English.
//! ## How this one works
//! What Ropewalk itself says to people stands in tables, each text in English and Korean side by
//! side ([`texts`](crate::texts)), so that none can be forgotten. What Kubernetes says stays as it
//! is: people search for those words. Where the locale is not UTF-8 these texts are in ASCII, and
//! not in Korean ([`charset`](crate::charset)).
//! ## Left out
//! Plural forms, and particles that depend on a value's last sound: texts are worded so that they
//! need neither.
//! ## Read next
//! `ui`, whose table is the largest.

pub mod charset;

use serde::{Deserialize, Serialize};

/// A language of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    #[default]
    En,
    Ko,
}

/// An entry of a table of texts.
pub trait Text: Copy {
    /// English and Korean; each `{}` is a value, in the same order in both.
    fn pair(self) -> (&'static str, &'static str);
}

impl Lang {
    /// Parses a choice (`1`, `2`), a language's name (`Korean`, `한국어`) or a locale (`ko`,
    /// `ko_KR.UTF-8`). Of a locale the whole language code counts: `kok_IN` is Konkani, not Korean.
    pub fn parse(text: &str) -> Option<Lang> {
        let text = text.trim().to_lowercase();
        match text.as_str() {
            "1" | "english" | "영어" => Some(Lang::En),
            "2" | "korean" | "한국어" => Some(Lang::Ko),
            _ => match text.split(['_', '-', '.', '@']).next() {
                Some("en" | "eng") => Some(Lang::En),
                Some("ko" | "kor") => Some(Lang::Ko),
                _ => None,
            },
        }
    }

    /// The text, with each `{}` replaced in order.
    pub fn say(self, text: impl Text, with: &[&str]) -> String {
        let (english, korean) = text.pair();
        let text = if self == Lang::Ko { korean } else { english };
        let mut parts = text.split("{}");
        let mut out = parts.next().unwrap_or_default().to_string();
        for (at, part) in parts.enumerate() {
            out.push_str(with.get(at).unwrap_or(&""));
            out.push_str(part);
        }
        out
    }
}

/// Makes a table: `texts! { pub enum Say { Hello: "hello {}", "안녕하세요, {}"; } }`. A test in it
/// compares the two languages' values.
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
                // The question for the language names Korean in Korean.
                let is_shown = |c: char| c.is_ascii() || ('가'..='힣').contains(&c);
                let plain = $crate::charset::plain(english);
                assert!(plain.chars().all(is_shown), "{text:?}: a letter without a likeness");
                // Nobody says both particles: a noun behind the value makes one of them right.
                for both in ["은(는)", "이(가)", "을(를)", "와(과)", "(으)로", "(이)"] {
                    assert!(!korean.contains(both), "{text:?}");
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_recognised_from_what_people_and_environments_say() {
        assert_eq!(Lang::parse("ko_KR.UTF-8"), Some(Lang::Ko));
        assert_eq!(Lang::parse(" EN "), Some(Lang::En));
        assert_eq!(Lang::parse("2"), Some(Lang::Ko));
        assert_eq!(Lang::parse("C.UTF-8"), None);
        assert_eq!(Lang::parse("ko-KR"), Some(Lang::Ko));
        assert_eq!(Lang::parse("en_GB@euro"), Some(Lang::En));
        assert_eq!(Lang::parse("kok_IN.UTF-8"), None, "Konkani");
        assert_eq!(Lang::parse("enm"), None, "Middle English");
    }
}
