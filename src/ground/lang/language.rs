//! The languages, and a text that is said in one of them.

use serde::{Deserialize, Serialize};

/// A language of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // clap prints comments of the values in `--help`, in English only
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
